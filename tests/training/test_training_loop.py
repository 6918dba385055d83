"""The loop: it learns, repeats itself to the bit, and survives what goes wrong."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lmsuite.errors import ModelFileError, TrainingError
from lmsuite.executors import cores
from lmsuite.files import atomic
from lmsuite.models.feedforward import FeedForward, FeedForwardSettings
from lmsuite.models.neural import NeuralModel
from lmsuite.models.recurrent import Recurrent, RecurrentSettings
from lmsuite.nn.schedules import SCHEDULES
from lmsuite.store.history import HistoryRow, read_history
from lmsuite.text.encoding import Boundaries, TextEncoder, TextSettings
from lmsuite.training import checkpoint, engine
from lmsuite.training.clock import TimeLimits
from lmsuite.training.interrupts import TrainingInterruptedError
from lmsuite.training.loop import TrainingFiles, TrainingResult, make_batches, train
from lmsuite.training.settings import TrainingSettings

TEXT = "the cat sat on the mat and the dog sat on the log. " * 30
VALID = "the dog sat on the mat and the cat sat on the log. " * 3
HOW = TrainingSettings(
    epochs=4,
    minutes=None,
    batch=6,
    bptt=10,
    learning_rate=0.01,
    warmup=0.0,
    patience=6,
    threads=2,
    checkpoint_every=0.05,
)
NETWORKS: dict[str, Any] = {
    "lstm": RecurrentSettings(
        cell="lstm", hidden=12, embed=6, dropout=0.2, embed_dropout=0.2, weight_drop=0.2
    ),
    "gru": RecurrentSettings(cell="gru", hidden=12, embed=6, layers=2),
    "elman": RecurrentSettings(cell="elman", hidden=12, embed=12, tied=True),
    "ffnn": FeedForwardSettings(context=4, embed=6, hidden=(12,), dropout=0.2, embed_dropout=0.2),
    "ffnn-adaptive": FeedForwardSettings(
        context=4, embed=6, hidden=(12,), softmax="adaptive", cutoffs=(8, 11)
    ),
    "features": RecurrentSettings(
        hidden=12, embed=6, ngram_features=3, feature_rows=50, feature_dropout=0.3
    ),
}


class Recorder:
    """A reporter that keeps what it is told, and can act on a step."""

    def __init__(self, on_step: Any = lambda step: None) -> None:
        self.rows: list[HistoryRow] = []
        self.messages: list[str] = []
        self.steps = 0
        self._on_step = on_step

    def stepped(self, progress: float, tokens: int, loss: float, rate: float) -> None:
        self.steps += 1
        self._on_step(self.steps)

    def validated(self, row: HistoryRow, *, best: bool) -> None:
        self.rows.append(row)

    def said(self, message: str) -> None:
        self.messages.append(message)


@pytest.fixture
def several(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small work is shared by processes too."""
    for cost in ("TINY", "SUM", "WAIT"):
        monkeypatch.setattr(engine, cost, 0)


@pytest.fixture
def files(tmp_path: Path) -> TrainingFiles:
    return TrainingFiles(tmp_path / "m.checkpoint", tmp_path / "m.history.jsonl")


def run(
    name: str, how: TrainingSettings = HOW, reporter: Any = None, **more: Any
) -> TrainingResult:
    settings = NETWORKS[name]
    boundaries = more.pop("boundaries", Boundaries.STREAM)
    text, ids = TextEncoder.train(TEXT, TextSettings(tokenizer="char", boundaries=boundaries))
    kind: type[NeuralModel] = Recurrent
    if name.startswith("ffnn"):
        kind, how = FeedForward, dataclasses.replace(how, batch=how.batch * how.bptt)
    model = kind.initial(text, settings, np.random.default_rng(1))
    return train(model, ids, text.encode(VALID), how, reporter or Recorder(), **more)


def curve(result: TrainingResult) -> list[HistoryRow]:
    """The history but for what a clock wrote."""
    return [
        dataclasses.replace(row, seconds=0, tokens_per_second=0) for row in result.progress.history
    ]


def assert_equal(result: TrainingResult, other: TrainingResult) -> None:
    np.testing.assert_array_equal(result.model.parameters.values, other.model.parameters.values)
    assert curve(result) == curve(other)
    assert result.progress.step == other.progress.step


@pytest.mark.parametrize("boundaries", Boundaries)
@pytest.mark.parametrize("name", NETWORKS)
def test_it_learns(name: str, boundaries: Boundaries) -> None:
    how = dataclasses.replace(HOW, epochs=12)
    rows = run(name, how, boundaries=boundaries).progress.history
    assert rows[0].valid_loss == pytest.approx(np.log(18), abs=0.6)  # of a uniform guess
    assert rows[-1].valid_loss < 1.6  # of the letters' frequencies: 2.6


@pytest.mark.parametrize("name", ["lstm", "ffnn"])
def test_the_same_seed_and_threads_give_the_same_model(name: str, several: None) -> None:
    first, second = run(name), run(name)
    assert first.processes == 2
    assert_equal(first, second)


@pytest.mark.parametrize("name", ["gru", "elman"])
def test_more_processes_change_only_the_rounding(name: str, several: None) -> None:
    # One optimizer step's difference grows with every step, so only the first few are compared.
    how = dataclasses.replace(HOW, epochs=0.2)
    one = run(name, dataclasses.replace(how, threads=1))
    three = run(name, dataclasses.replace(how, threads=3))
    assert (one.processes, three.processes) == (1, 3)
    np.testing.assert_allclose(
        one.model.parameters.values, three.model.parameters.values, atol=2e-4
    )


@pytest.mark.parametrize("name", ["ffnn-adaptive", "features"])
@pytest.mark.parametrize("optimizer", ["sgd", "adagrad"])
def test_rows_that_no_batch_reads_need_no_update(
    name: str, optimizer: str, several: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """These optimizers change nothing where a gradient is zero: all rows or some are the same."""
    how = dataclasses.replace(HOW, optimizer=optimizer, learning_rate=0.1, batch=2, epochs=1)
    some = run(name, how)
    assert some.processes == 2
    for kind in (FeedForward, Recurrent):
        monkeypatch.setattr(kind, "sparse_table", None)
    every = run(name, how)
    np.testing.assert_allclose(
        some.model.parameters.values, every.model.parameters.values, rtol=0, atol=1e-4
    )


def test_the_crew_is_as_large_as_pays() -> None:
    """By rule, so that the same threads give the same crew: little work has few members."""
    text, ids = TextEncoder.train(TEXT, TextSettings(tokenizer="char"))
    sizes = []
    for hidden, batch in ((20, 8), (128, 32), (512, 64)):
        how = dataclasses.replace(HOW, threads=16, batch=batch)
        model = Recurrent.initial(text, RecurrentSettings(hidden=hidden), np.random.default_rng(1))
        batches = make_batches(model, np.tile(ids, 9), how)
        assert engine.crew_size(model, batches, dataclasses.replace(how, threads=1)) == 1
        sizes.append(engine.crew_size(model, batches, how))
    assert sizes == [1, 8, 15]


def test_small_work_is_done_by_one_process() -> None:
    assert run("lstm").processes == 1


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_processes_are_spawned_where_they_cannot_be_forked(
    platform: str, several: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cores, "sys", SimpleNamespace(platform=platform, modules=sys.modules))
    multiprocessing.set_start_method(None, force=True)  # to begin as a fresh program does
    assert cores.start_method() == "spawn"
    assert run("lstm", dataclasses.replace(HOW, epochs=0.2)).processes == 2


@pytest.mark.parametrize(
    ("name", "at"), [("lstm", 1), ("lstm", 60), ("gru", 9), ("elman", 27), ("ffnn", 14)]
)
def test_a_resumed_training_ends_as_if_never_interrupted(
    name: str, at: int, several: None, files: TrainingFiles
) -> None:
    how = dataclasses.replace(HOW, then="sgd", schedule="plateau", patience=0)
    whole = run(name, how)
    interrupt = Recorder(lambda step: os.kill(os.getpid(), signal.SIGTERM) if step == at else None)
    with pytest.raises(TrainingInterruptedError, match=f"at step {at}; the checkpoint is"):
        run(name, how, interrupt, files=files)
    resumed = run(name, how, files=files, resume=True)
    assert_equal(whole, resumed)
    assert read_history(files.history) == resumed.progress.history


def test_a_second_ctrl_c_changes_nothing(files: TrainingFiles) -> None:
    def twice(step: int) -> None:
        if step == 5:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(TrainingInterruptedError, match="at step 5"):
        run("lstm", reporter=Recorder(twice), files=files)
    assert signal.getsignal(signal.SIGINT) is handler
    assert_equal(run("lstm"), run("lstm", files=files, resume=True))


def test_a_finished_training_resumes_to_the_same_end(files: TrainingFiles) -> None:
    assert_equal(run("gru", files=files), run("gru", files=files, resume=True))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 2}, "seed is 1, here it is 2"),
        ({"epochs": 5}, "epochs is 4.0, here it is 5.0"),
        ({"optimizer": "adagrad"}, "optimizer is adam, here it is adagrad"),
        ({"threads": 1}, "threads is 2, here it is 1"),
    ],
)
def test_the_checkpoint_of_other_settings_is_refused(
    change: dict[str, Any], named: str, files: TrainingFiles
) -> None:
    run("lstm", files=files)
    with pytest.raises(ModelFileError, match=named):
        run("lstm", dataclasses.replace(HOW, **change), files=files, resume=True)


def test_the_checkpoint_of_another_model_or_text_is_refused(
    files: TrainingFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("lstm", files=files)
    with pytest.raises(ModelFileError, match="kind of model is rnn, here it is ffnn"):
        run("ffnn", files=files, resume=True)
    with pytest.raises(ModelFileError, match="cell is lstm, here it is gru"):
        run("gru", files=files, resume=True)
    with pytest.raises(ModelFileError, match="its vocabulary is"):
        run("lstm", files=files, resume=True, boundaries=Boundaries.LINES)
    monkeypatch.setattr(f"{__name__}.TEXT", TEXT[: len(TEXT) // 2])
    with pytest.raises(ModelFileError, match="its training text is"):
        run("lstm", files=files, resume=True)


def test_the_checkpoint_of_another_version_is_refused(
    files: TrainingFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("lstm", files=files)
    monkeypatch.setattr(checkpoint, "__version__", "99.0")
    with pytest.raises(ModelFileError, match=r"a checkpoint of lmsuite [\d.]+, this is 99\.0"):
        run("lstm", files=files, resume=True)


def test_a_checkpoint_cut_short_is_refused(files: TrainingFiles) -> None:
    run("lstm", files=files)
    content = files.checkpoint.read_bytes()
    for length in (0, 5, 1000, len(content) - 1):
        files.checkpoint.write_bytes(content[:length])
        with pytest.raises(ModelFileError, match=r"m\.checkpoint"):
            run("lstm", files=files, resume=True)


def test_a_full_disk_stops_no_training(
    files: TrainingFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.checkpoint.write_bytes(b"the checkpoint before")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic.os, "fsync", full)
    reporter = Recorder()
    how = dataclasses.replace(HOW, checkpoint_every=0)
    result = run("lstm", how, reporter, files=files)
    assert_equal(result, run("lstm"))
    assert any("No space left on device" in message for message in reporter.messages)
    assert files.checkpoint.read_bytes() == b"the checkpoint before"
    assert sorted(files.checkpoint.parent.iterdir()) == [files.checkpoint]


def test_an_exploding_loss_goes_back_and_slows_down(monkeypatch: pytest.MonkeyPatch) -> None:
    step, exploded = engine.Engine.step, []

    def explodes_once(self: engine.Engine, order: engine.Update) -> tuple[float, float]:
        loss, norm = step(self, order)
        if order.step == 30 and not exploded:
            exploded.append(order.rate)
            self.values[:] = np.nan
            return float("nan"), norm
        if exploded and len(exploded) == 1:
            exploded.append(order.rate)
        return loss, norm

    monkeypatch.setattr(engine.Engine, "step", explodes_once)
    reporter = Recorder()
    result = run("lstm", reporter=reporter)
    # 4 epochs of 26 steps, validated every 13.
    assert reporter.messages == [
        "the loss exploded at step 30: back to step 26, with the learning rate times 0.3"
    ]
    assert exploded[1] == pytest.approx(
        0.3 * 0.01 * SCHEDULES["cosine"]().factor(26 / 104), rel=1e-6
    )
    assert np.isfinite(result.model.parameters.values).all()
    assert result.progress.step == 104


def test_a_rate_that_cannot_work_ends_in_an_error_that_names_the_step() -> None:
    how = dataclasses.replace(HOW, learning_rate=1e30, clip=0)
    with pytest.raises(TrainingError, match=r"exploded at step \d+, .* 3 times; .* learning_rate"):
        run("elman", how)


def test_it_stops_when_nothing_is_gained() -> None:
    how = dataclasses.replace(HOW, epochs=30, learning_rate=1e-30, patience=3)
    result = run("lstm", how)
    assert result.stopped_early
    assert result.progress.waited == 3


def test_the_best_model_is_given_not_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    losses = iter([3.0, 2.0, 1.0, 1.5, 1.6, 1.7, 1.8, 1.9, 2.0])
    kept = []

    def validate(self: engine.Engine) -> float:
        kept.append(self.values.copy())
        return next(losses)

    monkeypatch.setattr(engine.Engine, "validate", validate)
    result = run("gru", dataclasses.replace(HOW, patience=0))
    assert result.progress.best_step == result.progress.history[2].step
    np.testing.assert_array_equal(result.model.parameters.values, kept[2])


@pytest.mark.parametrize("spent", [0.0, 0.7])
def test_minutes_hold_the_whole_schedule(spent: float) -> None:
    how = dataclasses.replace(HOW, epochs=None, minutes=3 / 60, patience=0)
    began = time.monotonic()
    result = run("lstm", how, limits=TimeLimits(overhead=spent))
    taken = time.monotonic() - began
    assert 0.5 * (3 - spent) < taken < 3 - spent + 3
    assert result.progress.history[-1].learning_rate < 0.01 * 0.05
    assert len(result.progress.history) >= 8


def test_minutes_go_on_with_what_is_left(files: TrainingFiles) -> None:
    how = dataclasses.replace(HOW, epochs=None, minutes=2 / 60)
    started = time.monotonic()

    def halfway(step: int) -> None:
        if time.monotonic() - started > 1:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(TrainingInterruptedError):
        run("lstm", how, Recorder(halfway), files=files)
    began = time.monotonic()
    result = run("lstm", how, files=files, resume=True)
    assert 0.1 < time.monotonic() - began < 4
    assert result.progress.history[-1].seconds == pytest.approx(2, abs=1)


@pytest.mark.parametrize("penalty", ["l1", "l2"])
def test_penalties_shrink_weights(penalty: str) -> None:
    plain = run("lstm").model.parameters.values
    shrunk = run("lstm", dataclasses.replace(HOW, **{penalty: 0.01})).model.parameters.values
    assert np.abs(shrunk).sum() < 0.9 * np.abs(plain).sum()


@pytest.mark.parametrize("length", [2, 3, 40])
@pytest.mark.parametrize("name", ["lstm", "ffnn"])
def test_a_text_shorter_than_a_batch_is_trained_on(
    name: str, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{__name__}.TEXT", TEXT[:length])
    monkeypatch.setattr(f"{__name__}.VALID", TEXT[:length])
    rows = run(name, dataclasses.replace(HOW, epochs=60)).progress.history
    assert rows[-1].train_loss < rows[0].train_loss


def test_a_validation_that_explodes_is_nothing_to_return_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    losses = iter([3.0, 2.0, 900.0, 1.5, 1.4, 1.3, 1.2, 1.1, 1.0, 0.9])
    monkeypatch.setattr(engine.Engine, "validate", lambda self: next(losses))
    reporter = Recorder()
    result = run("gru", reporter=reporter)
    assert len(reporter.messages) == 1
    assert [row.valid_loss for row in result.progress.history[:4]] == [3.0, 2.0, 1.5, 1.4]
