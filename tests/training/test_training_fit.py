"""`fit` is ``lm train``: the same model, to the byte."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lmsuite
from hardening.command import lm
from lmsuite.errors import UsageError
from lmsuite.store.artefact import load_model
from lmsuite.training.interrupts import TrainingInterruptedError

TRAININGS: list[tuple[str, dict[str, Any], list[str]]] = [
    ("ngram", {"n": 4, "smoothing": "witten-bell"}, ["--n", "4", "--smoothing", "witten-bell"]),
    (
        "ngram",
        {"order": 2, "lines": True, "valid_by": "random"},
        ["--n", "2", "--lines", "--valid-by", "random"],
    ),
    ("ngram", {"tokenizer": "char", "valid": 0}, ["--tokenizer", "char", "--valid", "0"]),
    ("ffnn", {"epochs": 0.5, "hidden": (8,)}, ["--epochs", "0.5", "--hidden", "8"]),
    (
        "rnn",
        {"epochs": 0.5, "hidden": 8, "cell": "gru", "learning_rate": 0.01, "lines": True},
        ["--epochs", "0.5", "--hidden", "8", "--cell", "gru", "--lr", "0.01", "--lines"],
    ),
]


@pytest.mark.parametrize(
    ("kind", "settings", "options"), TRAININGS, ids=lambda each: str(each)[:40]
)
def test_a_fitted_model_is_that_of_the_command(
    kind: str, settings: dict[str, Any], options: list[str], play: str, tmp_path: Path
) -> None:
    (tmp_path / "text.txt").write_text(play[:30_000], encoding="utf-8")
    fitted = lmsuite.fit(kind, play[:30_000], **settings)
    assert lm("train", kind, "text.txt", *options, "-q", "--models", ".", cwd=tmp_path).done
    trained = load_model(tmp_path / f"{kind}.safetensors")
    assert trained.encoder.fingerprint() == fitted.encoder.fingerprint()
    assert trained.settings_dict() == fitted.settings_dict()
    ours, theirs = fitted.arrays(), trained.arrays()
    assert ours.keys() == theirs.keys()
    assert all(ours[name].tobytes() == theirs[name].tobytes() for name in ours)


def test_a_network_learns_what_an_unknown_word_is(play: str) -> None:
    model = lmsuite.fit("rnn", play[:20_000], epochs=1, hidden=8)
    ids = model.encoder.encode("zebra lord zebra")
    assert np.exp(model.score(ids)[0]) > 1e-3


@pytest.mark.parametrize(
    ("kind", "settings", "said"),
    [
        ("cnn", {}, "kind must be one of ngram, ffnn, rnn, not 'cnn'"),
        ("ngram", {"hiden": 3}, "no setting is called hiden"),
        ("rnn", {"hiden": 3}, "no setting is called hiden; did you mean hidden"),
        ("ngram", {"smoothing": "none"}, "smoothing must be one of"),
        ("ngram", {"valid": 1.5}, "valid takes a share above 0 and below 1"),
        ("ngram", {"valid_by": "chance"}, "valid_by must be one of end, random"),
    ],
)
def test_what_means_nothing_is_refused(kind: str, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        lmsuite.fit(kind, "the cat sat on the mat\n" * 30, **settings)


def test_interrupted_without_files_the_best_is_kept(play: str) -> None:
    """The exception holds the parameters that did best until then."""

    def interrupt() -> None:
        time.sleep(1.0)
        signal.raise_signal(signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(TrainingInterruptedError) as ended:
        lmsuite.fit("rnn", play[:40_000], tokenizer="char", hidden=64, epochs=10_000)
    assert ended.value.best is not None
    assert np.isfinite(ended.value.best).all()


def test_n_gram_features_belong_to_the_network_of_the_recipe(play: str) -> None:
    def features(**chosen: Any) -> tuple[int, int, float]:
        how = {"tokenizer": "char", "epochs": 0.1, "threads": 1, **chosen}
        settings: Any = lmsuite.fit("rnn", play[:3000], **how).settings
        return settings.ngram_features, settings.feature_rows, settings.feature_dropout

    count, rows, dropout = features()
    assert count > 0 and rows > 0 and dropout > 0
    assert features(hidden=8) == features(ngram_features=0) == (0, 0, 0)
    assert features(hidden=8, ngram_features=2) == (2, rows, 0)
    assert features(hidden=8, ngram_features=2, feature_dropout=0.5) == (2, rows, 0.5)
    with pytest.raises(UsageError, match="feature_dropout needs ngram_features"):
        features(hidden=8, feature_dropout=0.5)
    with pytest.raises(UsageError, match="are for small vocabularies"):
        features(ngram_features=2, softmax="adaptive", cutoffs=(10,))
    with pytest.raises(UsageError, match="ngram_features 9 needs hidden of at least 9"):
        features(hidden=8, ngram_features=9)
