"""Trainings with the worst settings: a usable model, or one line that says why not."""

from __future__ import annotations

import contextlib
import itertools
import json
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from covering import covering

from hardening.command import lm_process
from hardening.in_process import RefusedError, lm, lm_must
from lmsuite.analysis.evaluation import evaluate
from lmsuite.errors import TrainingError, UsageError
from lmsuite.models.feedforward import FeedForward, FeedForwardSettings
from lmsuite.models.neural import NeuralModel
from lmsuite.models.recurrent import Recurrent, RecurrentSettings
from lmsuite.nn.optimizers import OPTIMIZERS
from lmsuite.text.encoding import Boundaries, TextEncoder, TextSettings
from lmsuite.training.loop import train
from lmsuite.training.settings import TrainingSettings

TEXT = "the cat sat on the mat and the dog sat on the log.\n" * 8
VALID = "the dog sat on the mat.\nthe cat sat."
NETWORKS: dict[str, Any] = {
    "lstm": RecurrentSettings(cell="lstm", hidden=6, embed=4, layers=2, dropout=0.2),
    "gru": RecurrentSettings(cell="gru", hidden=1, embed=1, tied=True),
    "elman": RecurrentSettings(cell="elman", hidden=6, embed=4, embed_dropout=0.999),
    "ffnn": FeedForwardSettings(context=2, embed=3, hidden=(4,), direct=True, activation="relu"),
}
RATES = (1e-12, 10.0, 1e6, 1e38, 1e300)
HOW = TrainingSettings(epochs=2, minutes=None, batch=4, bptt=5, learning_rate=0.01, schedule="step")
SECONDS = 20


def outcome(name: str, how: TrainingSettings, boundaries: Boundaries = Boundaries.STREAM) -> str:
    """Train so; whether it ended in a ``model`` or a ``refusal``, all else being an error."""
    text, ids = TextEncoder.train(TEXT, TextSettings(tokenizer="char", boundaries=boundaries))
    kind: type[NeuralModel] = FeedForward if name == "ffnn" else Recurrent
    model = kind.initial(text, NETWORKS[name], np.random.default_rng(1))
    began = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        try:
            result = train(model, ids, text.encode(VALID), how)
        except TrainingError as error:
            assert "\n" not in str(error)
            said = str(error)
            assert "learning_rate" in said or said.startswith("no step of the training fits into")
            return "refusal"
        finally:
            assert time.monotonic() - began < SECONDS
        assert_usable(result.model)
        losses = [row.valid_loss for row in result.progress.history]
        assert np.isfinite(losses).all()
        assert result.progress.best_loss == min(losses)  # the untrained model's is among them
    return "model"


def assert_usable(model: NeuralModel) -> None:
    """Finite parameters, finite perplexity, distributions that sum to one."""
    assert np.isfinite(model.parameters.values).all()
    assert np.isfinite(evaluate(model, VALID, name="m").perplexity)
    logs = np.asarray(model.log_probs(model.start(2)), np.float64)
    np.testing.assert_allclose(np.exp(logs).sum(axis=1), 1, atol=1e-5)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, the current one meanwhile."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_at_the_worst_rates(optimizer: str, rate: float) -> None:
    name = list(NETWORKS)[(len(optimizer) + RATES.index(rate)) % len(NETWORKS)]
    ended = outcome(name, replace(HOW, optimizer=optimizer, learning_rate=rate))
    assert ended == "model" or rate > 1


def worst_settings() -> Iterator[tuple[str, Boundaries, dict[str, Any]]]:
    """Every two of the options together, and every network with each of the worst values."""
    for name, boundaries, optimizer, rate, clip in covering(
        NETWORKS, Boundaries, OPTIMIZERS, RATES, (0.0, 1e-300, 1e300)
    ):
        yield name, boundaries, {"optimizer": optimizer, "learning_rate": rate, "clip": clip}
    penalties = [
        *(("l1", value) for value in (1e-300, 1.0, 1e6, 1e38, 1e300)),
        *(("l2", value) for value in (1e-300, 1.0, 1e6, 1e38, 1e300)),
        *(("warmup", value) for value in (1 - 1e-16, 1e-300)),
        *(("then", value) for value in OPTIMIZERS),
        ("minutes", 1e-300),
    ]
    for name, boundaries, (penalty, value) in covering(NETWORKS, Boundaries, penalties):
        yield name, boundaries, {penalty: value, "clip": 0.0}
    sizes = [{"batch": 1}, {"bptt": 1}, {"batch": 1, "bptt": 1}, {"batch": 10**30, "bptt": 10**30}]
    schedules = ("constant", "step", "exponential", "cosine", "plateau")
    for name, boundaries, size, schedule in covering(NETWORKS, Boundaries, sizes, schedules):
        yield name, boundaries, {**size, "schedule": schedule, "epochs": 0.3}


@pytest.mark.slow
def test_every_two_of_the_worst_together() -> None:
    """Some 160 trainings."""
    ended = {"model": 0, "refusal": 0}
    for name, boundaries, change in worst_settings():
        try:
            ended[outcome(name, replace(HOW, **change), boundaries)] += 1
        except Exception as error:
            raise AssertionError(f"{name}, {boundaries.value}, {change}: {error!r}") from error
    assert ended["model"] > 80
    assert ended["refusal"] > 30


@pytest.mark.parametrize(
    "change",
    [
        *({"learning_rate": rate} for rate in (0.0, -1.0, float("inf"), float("nan"))),
        *({"clip": clip} for clip in (-1.0, float("inf"), float("nan"))),
        *({"l1": share} for share in (-1.0, float("inf"), float("nan"))),
        *({"l2": share} for share in (-1.0, float("inf"), float("nan"))),
        *({"epochs": many} for many in (0.0, -1.0, float("inf"), float("nan"), 1e308)),
        *({"minutes": many} for many in (0.0, -1.0, float("inf"), float("nan"))),
        *({"warmup": share} for share in (-0.1, 1.0, float("nan"))),
        *({"batch": 0}, {"bptt": 0}, {"threads": 0}, {"patience": -1}, {"seed": -1}),
    ],
)
def test_settings_that_mean_nothing_are_wrong_usage(change: dict[str, Any]) -> None:
    (option,) = change
    with pytest.raises(UsageError, match=f"^{option} must be "):
        replace(HOW, **change)


@pytest.mark.parametrize("rate", [0.999, 0.99999, 1 - 2**-20, 1 - 2**-53])
def test_dropout_of_nearly_everything(rate: float) -> None:
    settings = RecurrentSettings(cell="lstm", hidden=6, embed=4, dropout=rate, embed_dropout=rate)
    text, ids = TextEncoder.train(TEXT, TextSettings(tokenizer="char"))
    model = Recurrent.initial(text, settings, np.random.default_rng(1))
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        assert_usable(train(model, ids, text.encode(VALID), HOW).model)


QUICK = ["--epochs", "1", "--tokenizer", "word", "-q", "--batch", "4", "--threads", "1"]
KINDS = {
    "rnn": ["train", "rnn", "--hidden", "3", "--embed", "3", "--layers", "1", "--bptt", "3"],
    "ffnn": ["train", "ffnn", "--hidden", "3", "--embed", "2", "--context", "2"],
    "ngram": ["train", "ngram", "--n", "1"],
}


NEXT_TO_NOTHING = ("", "a", "a b", "a\nb")
MORE = ("\n", "a\n", "a a", "a b c", "\n\n\n", ".", "a a a", "<unk> a")


@pytest.mark.parametrize("texts", [NEXT_TO_NOTHING, pytest.param(MORE, marks=pytest.mark.slow)])
@pytest.mark.parametrize("lines", ["--lines", "--stream"])
@pytest.mark.parametrize("kind", KINDS)
def test_texts_of_next_to_nothing(
    kind: str, lines: str, texts: tuple[str, ...], folder: Path
) -> None:
    """Of 0 to 3 tokens: a model that evaluates and samples, or one line, and no file."""
    quick = ["-q"] if kind == "ngram" else QUICK
    ended = []
    for text, valid in itertools.product(texts, ("0", "0.5")):
        Path("t.txt").write_text(text)
        name = f"m{len(ended)}"
        command = [*KINDS[kind], *quick, lines, "--valid", valid, "--name", name, "t.txt"]
        try:
            lm(command)
        except RefusedError:
            assert not (folder / "models" / f"{name}.safetensors").exists()
            ended.append("refusal")
            continue
        ended.append("model")
        said = json.loads(lm_must(["eval", name, "--text", "t.txt", "--json"]).out)[0]
        assert said["perplexity"] >= 1
        lm_must(["check", name])
        with contextlib.suppress(RefusedError):  # a model that knows no token has no text to give
            lm(["sample", name, "--max-tokens", "5", "--seed", "1"])
    assert "model" in ended
    assert ("refusal" in ended) or "" not in texts  # of nothing there is no model


@pytest.mark.parametrize("rate", ["1e6", "1e38", "1e300"])
def test_a_good_model_survives_a_bad_training(rate: str, folder: Path) -> None:
    """What replaces it is finite; where there is nothing to replace it with, it stays."""
    Path("t.txt").write_text(TEXT)
    command = [*KINDS["rnn"], *QUICK, "t.txt"]
    lm_must(command)
    before = (folder / "models" / "rnn.safetensors").read_bytes()
    try:
        lm([*command, "--lr", rate, "--optimizer", "sgd", "--clip", "0", "--epochs", "3"])
    except RefusedError as error:
        assert "--lr" in str(error)
        assert (folder / "models" / "rnn.safetensors").read_bytes() == before
    said = json.loads(lm_must(["eval", "rnn", "--json"]).out)[0]
    assert 1 < said["perplexity"] < 1000
    assert lm_must(["sample", "rnn", "--max-tokens", "5"]).out


def test_numbers_that_are_none_are_wrong_usage_of_the_command(folder: Path) -> None:
    Path("t.txt").write_text(TEXT)
    for option, value in itertools.product(("--lr", "--clip", "--l1"), ("nan", "inf", "-1")):
        with pytest.raises(RefusedError, match=option):
            lm([*KINDS["rnn"], *QUICK, "t.txt", option, value])
    assert not list(folder.rglob("*.safetensors"))


def test_a_model_that_is_not_finite_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were the loop to end with parameters after an explosion, they would not be saved."""
    from lmsuite.training import loop

    run = loop._Training.run

    def careless(self: loop._Training, limits: loop.TimeLimits) -> bool:
        ended = run(self, limits)
        self.best[-1] = np.inf
        return ended

    assert outcome("elman", HOW) == "model"
    monkeypatch.setattr(loop._Training, "run", careless)
    assert outcome("elman", HOW) == "refusal"
    monkeypatch.setattr(NeuralModel, "require_sound", lambda self: None)
    with pytest.raises(AssertionError):  # which `assert_usable` would find
        outcome("elman", HOW)


def test_a_real_process_says_one_line(folder: Path) -> None:
    Path("t.txt").write_text(TEXT)
    command = [*KINDS["rnn"], "--epochs", "3", "-q", "t.txt", "--lr", "1e300", "--clip", "0"]
    ended = lm_process(*command)
    assert (ended.code, ended.out) == (1, "")
    last = ended.err.splitlines()[-1]
    assert last.startswith("error: the loss exploded at step")
    assert "Warning" not in ended.err
    assert not list(folder.rglob("*.safetensors"))
