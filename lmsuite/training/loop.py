"""The one training loop: steps, validations, checkpoints, and what to do when things go wrong.

`train` reads as the outline; the engine makes the steps, the batches are functions of the step, so
all that the loop keeps is a `Progress` and a few arrays, and these are what a checkpoint holds.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from lmsuite.errors import DataError, ModelFileError, TrainingError
from lmsuite.models.feedforward import FeedForward
from lmsuite.models.interface import Array, IntArray
from lmsuite.models.neural import NeuralModel
from lmsuite.nn.optimizers import OPTIMIZERS
from lmsuite.nn.schedules import SCHEDULES
from lmsuite.text.encoding import Boundaries
from lmsuite.training.batches import Batches, Lanes, Windows
from lmsuite.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from lmsuite.training.engine import Engine, Order
from lmsuite.training.history import HistoryRow, write_history
from lmsuite.training.interrupts import Interrupts, TrainingInterruptedError
from lmsuite.training.settings import TrainingSettings
from lmsuite.training.unknown import HiddenWords
from lmsuite.training.validation import validation_pieces

VALIDATIONS = (8, 40)  # at least, at most; an epoch each if that lies between
TIMED_VALIDATIONS = 12  # of a training that fits a time
FINE_TUNING = 0.2  # share of the training for the optimizer of --then
RETURNS = 3  # to an earlier state before an exploding loss ends the training
SLOWER = 0.3  # factor of the rate after each


class Reporter(Protocol):
    """Who is told how the training goes."""

    def stepped(self, progress: float, tokens: int, loss: float, rate: float) -> None:
        """After every step: share done, tokens read by it, its mean loss, its learning rate."""

    def validated(self, row: HistoryRow, *, best: bool) -> None:
        """After every validation."""

    def said(self, message: str) -> None:
        """Something that the user should know."""


class Silent:
    """A reporter that keeps everything to itself."""

    def stepped(self, progress: float, tokens: int, loss: float, rate: float) -> None:
        pass

    def validated(self, row: HistoryRow, *, best: bool) -> None:
        pass

    def said(self, message: str) -> None:
        pass


@dataclass(frozen=True)
class TrainingFiles:
    """Where a training keeps what it must not lose; None for a training in memory alone."""

    checkpoint: Path
    history: Path


@dataclass(frozen=True)
class TrainingResult:
    """A finished training."""

    model: NeuralModel  # the best on the validation text
    progress: Progress
    processes: int
    stopped_early: bool


def make_batches(model: NeuralModel, ids: IntArray, settings: TrainingSettings) -> Batches:
    """Windows for a feed-forward model, lanes for a recurrent one."""
    hidden = HiddenWords.of(ids, model.encoder, model.settings.unknown_share)
    stream = model.encoder.boundaries is Boundaries.STREAM
    if isinstance(model, FeedForward):
        context = model.settings.context
        return Windows(
            ids, hidden, settings.seed, batch=settings.batch, context=context, stream=stream
        )
    return Lanes(
        ids,
        hidden,
        settings.seed,
        batch=settings.batch,
        window=settings.bptt,
        shuffle_lines=not stream,
    )


def train(
    model: NeuralModel,
    ids: IntArray,
    valid_ids: IntArray,
    settings: TrainingSettings,
    reporter: Reporter = Silent(),  # noqa: B008
    *,
    files: TrainingFiles | None = None,
    resume: bool = False,
    overhead: float = 0.0,
) -> TrainingResult:
    """Trains `model` on `ids`, and gives the model that was best on `valid_ids`.

    Args:
        model: as `initial` made it; it is left as it is.
        ids: the training text (N,), as encoded.
        valid_ids: the validation text, likewise.
        settings: the options.
        reporter: is told how it goes.
        files: where to keep the checkpoint and the learning curve.
        resume: go on with the checkpoint in `files`, as if it had never been interrupted.
        overhead: seconds of ``settings.minutes`` that pass before and after the loop.

    Raises:
        DataError: a text has nothing to predict.
        ModelFileError: the checkpoint to resume is damaged or of another training.
        TrainingError: the loss exploded again and again, or the weights grew until they are of no
            use; or a worker process died.
        TrainingInterruptedError: Ctrl-C or SIGTERM; the checkpoint has been written.
    """
    batches = make_batches(model, ids, settings)
    pieces = validation_pieces(valid_ids, lines=model.encoder.boundaries is Boundaries.LINES)
    if not pieces:
        raise DataError("the validation text holds no token to predict; give a longer text")
    identity = _identity(model, ids, valid_ids, settings)
    with Interrupts() as interrupts, Engine(model, batches, settings, pieces) as engine:
        loop = _Loop(engine, batches, settings, reporter, interrupts, files, identity)
        if resume and files is not None:
            loop.resume()
        stopped_early = loop.run(overhead)
        best = model.over(loop.best, np.zeros_like(loop.best))
        try:
            best.require_sound()  # the file of a model that is not would be refused
        except ModelFileError as error:
            raise TrainingError(
                f"{error}; train anew with a lower {{learning_rate}} or {{clip}}",
                *("learning_rate", "clip"),
            ) from error
        return TrainingResult(best, loop.progress, engine.processes, stopped_early)


def _identity(
    model: NeuralModel, ids: IntArray, valid_ids: IntArray, settings: TrainingSettings
) -> dict[str, Any]:
    """What makes this training this one: to resume, all of it must agree."""
    facts = {"kind of model": model.kind, "vocabulary": model.encoder.fingerprint()[:16]}
    facts |= {name.replace("_", " "): value for name, value in model.settings_dict().items()}
    facts["training text"] = hashlib.sha256(ids.tobytes()).hexdigest()[:16]
    facts["validation text"] = hashlib.sha256(valid_ids.tobytes()).hexdigest()[:16]
    options = asdict(settings)
    options.pop("checkpoint_every")
    return facts | {f"--{name.replace('_', '-')}": value for name, value in options.items()}


class _Loop:
    """A training under way."""

    def __init__(
        self,
        engine: Engine,
        batches: Batches,
        settings: TrainingSettings,
        reporter: Reporter,
        interrupts: Interrupts,
        files: TrainingFiles | None,
        identity: Mapping[str, Any],
    ) -> None:
        self._engine, self._batches, self._settings = engine, batches, settings
        self._reporter, self._interrupts = reporter, interrupts
        self._files, self._identity = files, identity
        self.progress = Progress()
        self.best = engine.values.copy()
        self._good = engine.values.copy()  # of the last validation
        self._schedule = SCHEDULES[settings.schedule](settings.warmup)
        epochs = settings.epochs if settings.epochs is not None else float("inf")
        self._planned = epochs * batches.steps_per_epoch
        if settings.minutes is None:
            self._planned = max(1, round(self._planned))
            pieces = min(max(settings.epochs or 0, VALIDATIONS[0]), VALIDATIONS[1])
            self._stride = max(1, math.ceil(self._planned / pieces))
        self._validating = 0.0  # seconds that a validation takes

    def resume(self) -> None:
        """Goes on from the checkpoint."""
        assert self._files is not None
        path = self._files.checkpoint
        progress = load_checkpoint(path, self._identity, self._arrays())
        if progress.schedule.keys() != self._schedule.state().keys():
            raise ModelFileError(f"the checkpoint {path} is damaged: its schedule is another")
        self.progress = progress
        self._schedule.restore(progress.schedule)
        self._reporter.said(f"going on from step {self.progress.step:,}")

    def _arrays(self) -> dict[str, Array]:
        arrays: dict[str, Array] = {
            "values": self._engine.values,
            "best": self.best,
            "good": self._good,
            "carry": self._engine.carry,
        }
        for phase, moments in enumerate(self._engine.moments):
            arrays |= {f"moments.{phase}.{name}": array for name, array in moments.items()}
        return arrays

    def run(self, overhead: float) -> bool:
        """Trains to the end; whether it came early, for want of progress."""
        progress, settings = self.progress, self._settings
        self._started = time.monotonic() - progress.seconds
        if settings.minutes is not None:
            self._budget = max(1e-9, 60 * settings.minutes - overhead)
        self._saved = time.monotonic()
        if not progress.history:
            self._validate()
        self._validated_share = self._share()
        while self._share() < 1 and not self._stale():
            if self._interrupts.requested:
                self._interrupt()
            self._step()
            if self._validation_due():
                self._validate()
            if time.monotonic() - self._saved >= settings.checkpoint_every:
                self._save()
        if progress.history[-1].step != progress.step:
            self._validate()
        self._save()
        return self._share() < 1

    def _stale(self) -> bool:
        """Whether too many validations in a row brought no new best."""
        return 0 < self._settings.patience <= self.progress.waited

    def _seconds(self) -> float:
        return time.monotonic() - self._started

    def _share(self) -> float:
        """How much of the training is done, from 0 to 1: by steps or by the clock, if sooner."""
        share = self.progress.step / self._planned
        if self._settings.minutes is not None:
            # The last validation belongs to the time given.
            share = max(share, self._seconds() / max(1e-9, self._budget - self._validating))
        return min(1.0, share)

    def _step(self) -> None:
        progress, settings = self.progress, self._settings
        share = self._share()
        phase, peak = 0, settings.learning_rate
        if settings.then is not None:
            phase = int(share >= 1 - FINE_TUNING)
            share = (
                (share - (1 - FINE_TUNING)) / FINE_TUNING if phase else share / (1 - FINE_TUNING)
            )
            peak = OPTIMIZERS[settings.then].learning_rate if phase else peak
        if phase != progress.phase:
            progress.phase, progress.update = phase, 0
        progress.rate = rate = peak * progress.rate_scale * self._schedule.factor(share)
        loss, norm = self._engine.step(Order(progress.step, phase, progress.update + 1, rate))
        if not math.isfinite(norm) or self._exploded(loss):
            self._return()
            return
        progress.step += 1
        progress.update += 1
        progress.loss_sum += loss
        progress.loss_steps += 1
        tokens = self._batches.tokens_per_epoch / self._batches.steps_per_epoch
        self._reporter.stepped(self._share(), round(tokens), loss, rate)

    def _exploded(self, loss: float) -> bool:
        """Whether a loss is not finite, or far above the untrained model's.

        The first validation has only to be finite.
        """
        history = self.progress.history
        limit = 10 + 3 * history[0].valid_loss if history else float("inf")
        return not loss < limit

    def _return(self) -> None:
        """Back to the last validation, with fresh moments and a lower rate.

        Raises:
            TrainingError: it has been done too often.
        """
        progress, engine = self.progress, self._engine
        exploded_at = progress.step
        if progress.returns == RETURNS or not progress.history:
            raise TrainingError(
                f"the loss exploded at step {exploded_at:,}, {progress.returns} lower learning "
                "rates notwithstanding; try a lower {learning_rate} or {clip}",
                *("learning_rate", "clip"),
            )
        engine.values[:] = self._good
        engine.forget()
        progress.returns += 1
        progress.rate_scale *= SLOWER
        progress.step, progress.update = progress.history[-1].step, 0
        progress.loss_sum, progress.loss_steps = 0.0, 0
        self._reporter.said(
            f"the loss exploded at step {exploded_at:,}: back to step {progress.step:,}, "
            f"with the learning rate times {progress.rate_scale:.2g}"
        )

    def _validation_due(self) -> bool:
        if self._settings.minutes is None:
            return self.progress.step % self._stride == 0 and self.progress.loss_steps > 0
        pieces = TIMED_VALIDATIONS
        return int(self._share() * pieces) > int(self._validated_share * pieces)

    def _validate(self) -> None:
        """Scores the validation text and notes the result; also a good moment to return to."""
        progress, engine = self.progress, self._engine
        began = time.monotonic()
        loss = engine.validate()
        self._validating = max(self._validating, time.monotonic() - began)
        if self._exploded(loss):
            self._return()
            return
        row = self._row(loss)
        progress.history.append(row)
        progress.loss_sum, progress.loss_steps = 0.0, 0
        self._schedule.observe(loss)
        progress.schedule = self._schedule.state()
        self._good[:] = engine.values
        best = loss < progress.best_loss
        progress.waited = 0 if best else progress.waited + 1
        if best:
            progress.best_loss, progress.best_step = loss, progress.step
            self.best[:] = engine.values
        self._validated_share = self._share()
        self._reporter.validated(row, best=best)
        self._write_history()

    def _row(self, loss: float) -> HistoryRow:
        progress = self.progress
        seconds = self._seconds()
        tokens = self._batches.tokens_per_epoch / self._batches.steps_per_epoch
        since = seconds - (progress.history[-1].seconds if progress.history else 0)
        # Before the first step there is no training loss; the untrained model's is the same.
        steps = progress.loss_steps
        return HistoryRow(
            step=progress.step,
            epoch=progress.step / self._batches.steps_per_epoch,
            seconds=seconds,
            train_loss=progress.loss_sum / steps if steps else loss,
            valid_loss=loss,
            learning_rate=progress.rate,
            tokens_per_second=steps * tokens / max(since, 1e-9),
        )

    def _write_history(self) -> None:
        if self._files is None:
            return
        try:
            write_history(self._files.history, self.progress.history)
        except ModelFileError as error:
            self._reporter.said(f"{error}; the training goes on")

    def _save(self) -> str | None:
        """Writes the checkpoint; what went wrong if it could not be, which stops no training."""
        self._saved = time.monotonic()
        if self._files is None:
            return None
        self.progress.seconds = self._seconds()
        try:
            save_checkpoint(self._files.checkpoint, self._identity, self.progress, self._arrays())
        except ModelFileError as error:
            self._reporter.said(f"no checkpoint: {error}; the training goes on")
            return str(error)
        return None

    def _interrupt(self) -> None:
        """Ends the training early.

        Raises:
            TrainingInterruptedError: always.
        """
        at = f"interrupted at step {self.progress.step:,}"
        if self._files is None:
            raise TrainingInterruptedError(at)
        self._reporter.said(f"{at}; writing the checkpoint")
        failure = self._save()
        if failure is not None:
            raise TrainingInterruptedError(f"{at}, without a checkpoint: {failure}")
        raise TrainingInterruptedError(f"{at}; the checkpoint is {self._files.checkpoint}")
