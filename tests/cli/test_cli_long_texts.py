"""A text that does not fit in memory gives the models and the figures of one that does."""

from __future__ import annotations

import gc
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hardening.command import Run
from lmsuite.files import stored_text
from lmsuite.models.ngram import NgramModel
from lmsuite.store.artefact import load_model, read_manifest
from lmsuite.text import encoding, long_texts


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LM_MODELS", raising=False)


@pytest.fixture
def everything_is_long(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From the call on, texts of a few lines are stored, and cut into pieces."""

    def begin() -> None:
        monkeypatch.setattr(stored_text, "IN_MEMORY", 500)
        monkeypatch.setattr(stored_text, "BLOCK", 77)
        monkeypatch.setattr(encoding, "LONG", 200)
        monkeypatch.setattr(long_texts, "LONG", 200)
        monkeypatch.setattr(long_texts, "_PIECE", 300)

    return begin


RNN = ("--hidden", "8", "--embed", "8", "--epochs", "0.3", "--batch", "8", "--threads", "1")


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("ngram", ["--n", "3"]),
        ("ngram", ["--n", "3", "--lines", "--valid-by", "random"]),
        ("ngram", ["--n", "2", "--tokenizer", "bpe", "--bpe-size", "300"]),
        ("ngram", ["--n", "3", "--documents", "--delimiter", "", "--tokenizer", "char"]),
        ("ngram", ["--n", "3", "--tokenizer", "whitespace", "--lines", "--memory", "2G"]),
        ("rnn", [*RNN]),
        ("rnn", [*RNN, "--lines"]),
        ("ffnn", ["--hidden", "8", "--epochs", "0.3", "--threads", "1", "--tokenizer", "char"]),
    ],
)
def test_the_model_is_the_same(
    lm: Run,
    everything_is_long: Callable[[], None],
    play: str,
    kind: str,
    options: list[str],
) -> None:
    Path("a.txt").write_text(play[:15_000] + "naïve 語 🙂\n", encoding="utf-8")
    assert lm("train", kind, "a.txt", *options, "--name", "short", "-q").done
    figures = json.loads(lm("eval", "short", "--json").done.out)
    everything_is_long()
    assert lm("train", kind, "a.txt", *options, "--name", "long", "-q").done
    long, short = load_model("models/long.safetensors"), load_model("models/short.safetensors")
    assert long.encoder.fingerprint() == short.encoder.fingerprint()
    assert {name: array.tobytes() for name, array in long.arrays().items()} == {
        name: array.tobytes() for name, array in short.arrays().items()
    }
    records = [
        read_manifest(Path(f"models/{name}.safetensors")).provenance for name in ("long", "short")
    ]
    assert records[0].corpus_sha256 == records[1].corpus_sha256
    assert records[0].validation.sha256 == records[1].validation.sha256
    texts = [
        gzip.decompress(Path(f"models/{n}.valid.txt.gz").read_bytes()) for n in ("long", "short")
    ]
    assert texts[0] == texts[1]
    again = json.loads(lm("eval", "short", "--json").done.out)
    for key in ("tokens", "oov", "cross_entropy", "perplexity", "chars", "bits_per_char"):
        assert again[0][key] == pytest.approx(figures[0][key], rel=1e-12), key


@pytest.mark.parametrize("valid", ["0", "0.2"])
def test_the_text_leaves_the_disk_before_the_estimation(
    lm: Run,
    everything_is_long: Callable[[], None],
    play: str,
    monkeypatch: pytest.MonkeyPatch,
    valid: str,
) -> None:
    Path("a.txt").write_text(play[:15_000], encoding="utf-8")
    everything_is_long()
    fit, held = NgramModel.fit, []

    def watched(*args: Any, **settings: Any) -> NgramModel:
        gc.collect()
        files = (each for each in gc.get_objects() if isinstance(each, stored_text._File))
        held.append(sum(file.length for file in files))
        return fit(*args, **settings)

    monkeypatch.setattr(NgramModel, "fit", watched)
    assert lm("train", "ngram", "a.txt", "--valid", valid, "-q").done
    assert held == [round(15_000 * float(valid))]
