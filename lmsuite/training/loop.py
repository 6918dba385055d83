"""The training loop: steps, validations, checkpoints, and what to do when something fails.

`_Training.run` is the outline. The engine makes the steps, and the batches are functions of the
step. So the loop keeps only a `Progress` and a few arrays, and a checkpoint holds just these.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from lmsuite.errors import DataError, ModelFileError, TrainingError
from lmsuite.models.neural import NeuralModel
from lmsuite.nn.optimizers import OPTIMIZERS
from lmsuite.nn.schedules import SCHEDULES
from lmsuite.store.history import HistoryRow, write_history
from lmsuite.training.batches import Batches, Lanes, Windows, validation_pieces
from lmsuite.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from lmsuite.training.clock import Clock, TimeLimits
from lmsuite.training.engine import Engine, Update
from lmsuite.training.interrupts import AbandonedError, Interrupts, TrainingInterruptedError
from lmsuite.training.recovery import Recovery
from lmsuite.training.reporting import Reporter, Silent
from lmsuite.training.settings import TrainingSettings
from lmsuite.training.unknown import MaskedWords
from lmsuite.types import Array, IntArray

FINE_TUNING = 0.2  # the last share of a training, for the second optimizer (`then`)


@dataclass(frozen=True)
class TrainingFiles:
    """The files of a training: its checkpoint and its learning curve."""

    checkpoint: Path
    history: Path

    def __post_init__(self) -> None:
        for name in ("checkpoint", "history"):
            object.__setattr__(self, name, Path(getattr(self, name)))


@dataclass(frozen=True)
class TrainingResult:
    """A finished training."""

    model: NeuralModel  # with the weights of the best validation
    progress: Progress
    processes: int
    stopped_early: bool


def make_batches(model: NeuralModel, ids: IntArray, settings: TrainingSettings) -> Batches:
    """Windows for a model with a fixed context (`reach`); lanes for one that carries a state."""
    masked = MaskedWords.of(ids, model.encoder, model.settings.unknown_share)
    stream = not model.encoder.boundaries.has_sequences
    if model.reach is not None:
        return Windows(
            ids, masked, settings.seed, batch=settings.batch, context=model.reach, stream=stream
        )
    return Lanes(
        ids,
        masked,
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
    limits: TimeLimits = TimeLimits(),  # noqa: B008
) -> TrainingResult:
    """Train on `ids`, starting from `model`; the result has the model that was best on `valid_ids`.

    Args:
        model: from `initial`; it is not changed.
        ids: the training text (N,), as encoded.
        valid_ids: the validation text, likewise.
        settings: the options.
        reporter: its methods are called in the course of the training.
        files: where to keep the checkpoint and the learning curve; None keeps neither.
        resume: go on from the checkpoint in `files`, as if the training had never stopped.
        limits: what a training with `settings.minutes` must take into account.

    Raises:
        DataError: a text has nothing to predict.
        ModelFileError: the checkpoint to resume is damaged or of another training.
        TrainingError: no step fits into the minutes; the loss exploded too often; the weights grew
            too large to be used; or a worker process died.
        TrainingInterruptedError: Ctrl-C, SIGTERM or SIGHUP. The checkpoint was written; without
            `files`, the error holds the best parameters.
    """
    batches = make_batches(model, ids, settings)
    sequences = model.encoder.boundaries.has_sequences
    pieces = validation_pieces(valid_ids, lines=sequences, most=limits.validation)
    if not pieces:
        raise DataError("the validation text holds no token to predict; give a longer text")
    identity = _identity(model, ids, valid_ids, settings)
    with Interrupts() as interrupts, Engine(model, batches, settings, pieces, interrupts) as engine:
        loop = _Training(engine, batches, settings, reporter, interrupts, files, identity)
        if resume and files is not None:
            loop.resume()
        stopped_early = loop.run(limits)
        best = model.with_buffers(loop.best, np.zeros_like(loop.best))
        try:
            best.require_sound()  # or else nobody could open its file
        except ModelFileError as error:
            raise TrainingError(
                f"{error}; train anew with a lower {{learning_rate}} or {{clip}}",
                *("learning_rate", "clip"),
            ) from error
        return TrainingResult(best, loop.progress, engine.processes, stopped_early)


def _identity(
    model: NeuralModel, ids: IntArray, valid_ids: IntArray, settings: TrainingSettings
) -> dict[str, Any]:
    """The facts that identify a training: to resume it, all of them must be the same."""
    facts = {"kind of model": model.kind, "vocabulary": model.encoder.fingerprint()[:16]}
    facts |= {name.replace("_", " "): value for name, value in model.settings_dict().items()}
    facts["training text"] = hashlib.sha256(ids.tobytes()).hexdigest()[:16]
    facts["validation text"] = hashlib.sha256(valid_ids.tobytes()).hexdigest()[:16]
    options = asdict(settings)
    options.pop("checkpoint_every")
    return facts | {f"--{name.replace('_', '-')}": value for name, value in options.items()}


class _Training:
    """A running training."""

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
        self._recovery = Recovery(engine)
        self._schedule = SCHEDULES[settings.schedule](settings.warmup)
        self._tokens_per_step = batches.tokens_per_epoch / batches.steps_per_epoch

    def run(self, limits: TimeLimits) -> bool:
        """Train to the end; return whether the end came early, because nothing improved any more.

        Raises:
            TrainingError: no step fits into the time, or the loss explodes.
            TrainingInterruptedError: a signal came.
        """
        progress = self.progress
        self._clock = clock = Clock(
            self._settings, self._batches.steps_per_epoch, limits, progress.seconds
        )
        try:
            if not progress.history or clock.validation_due(progress.step, progress.loss_steps):
                self._validate()
            clock.validated(progress.step, 0.0)
            while clock.share(progress.step) < 1 and not self._stale():
                if self._interrupts.requested:
                    raise AbandonedError
                self._step()
                if clock.validation_due(progress.step, progress.loss_steps):
                    self._validate()
                if clock.save_due():
                    self._save()
            clock.require_a_step(progress.step)
            if progress.history[-1].step != progress.step:
                self._validate()
        except AbandonedError:
            self._interrupt()
        self._save()
        return clock.share(progress.step) < 1

    def _step(self) -> None:
        progress = self.progress
        instruction = self._instruction()
        began = time.monotonic()
        loss, norm = self._engine.step(instruction)
        if not math.isfinite(norm) or self._recovery.exploded(loss, progress):
            self._reporter.said(self._recovery.go_back(progress))
            return
        self._clock.stepped(time.monotonic() - began)
        progress.step += 1
        progress.update += 1
        progress.loss_sum += loss
        progress.loss_steps += 1
        share = self._clock.share(progress.step)
        self._reporter.stepped(share, round(self._tokens_per_step), loss, instruction.rate)

    def _instruction(self) -> Update:
        """The next update, with its optimizer and its learning rate."""
        progress, settings = self.progress, self._settings
        share = self._clock.share(progress.step)
        phase, peak = 0, settings.learning_rate
        if settings.then is not None:
            phase = int(share >= 1 - FINE_TUNING)
            share = (
                (share - (1 - FINE_TUNING)) / FINE_TUNING if phase else share / (1 - FINE_TUNING)
            )
            peak = OPTIMIZERS[settings.then].learning_rate if phase else peak
        if phase != progress.phase:
            progress.phase, progress.update = phase, 0
        progress.rate = peak * progress.rate_scale * self._schedule.factor(share)
        return Update(progress.step, phase, progress.update + 1, progress.rate)

    def _validate(self) -> None:
        """Score the validation text and note the result; recovery can return to this step."""
        progress = self.progress
        began = time.monotonic()
        loss = self._engine.validate()
        seconds = time.monotonic() - began
        if self._recovery.exploded(loss, progress):
            self._reporter.said(self._recovery.go_back(progress))
            self._clock.validated(progress.step, seconds)
            return
        row = self._row(loss)
        progress.history.append(row)
        progress.loss_sum, progress.loss_steps = 0.0, 0
        self._schedule.observe(loss)
        progress.schedule = self._schedule.state()
        self._recovery.keep()
        best = loss < progress.best_loss
        progress.waited = 0 if best else progress.waited + 1
        if best:
            progress.best_loss, progress.best_step = loss, progress.step
            self.best[:] = self._engine.values
        self._clock.validated(progress.step, seconds)
        self._reporter.validated(row, best=best)
        self._write_history()

    def _stale(self) -> bool:
        """Whether too many validations in a row brought no new best."""
        return 0 < self._settings.patience <= self.progress.waited

    def _row(self, loss: float) -> HistoryRow:
        progress = self.progress
        seconds = self._clock.seconds
        since = seconds - (progress.history[-1].seconds if progress.history else 0)
        # Before the first step there is no training loss; the validation loss stands in for it.
        steps = progress.loss_steps
        return HistoryRow(
            step=progress.step,
            epoch=progress.step / self._batches.steps_per_epoch,
            seconds=seconds,
            train_loss=progress.loss_sum / steps if steps else loss,
            valid_loss=loss,
            learning_rate=progress.rate,
            tokens_per_second=steps * self._tokens_per_step / max(since, 1e-9),
        )

    def _arrays(self) -> dict[str, Array]:
        """The arrays of a checkpoint."""
        arrays: dict[str, Array] = {
            "values": self._engine.values,
            "best": self.best,
            "good": self._recovery.good,
            "carry": self._engine.carry,
        }
        for phase, moments in enumerate(self._engine.moments):
            arrays |= {f"moments.{phase}.{name}": array for name, array in moments.items()}
        return arrays

    def resume(self) -> None:
        """Restore the state of the checkpoint."""
        assert self._files is not None
        path = self._files.checkpoint
        progress = load_checkpoint(path, self._identity, self._arrays())
        if progress.schedule.keys() != self._schedule.state().keys():
            raise ModelFileError(f"the checkpoint {path} is damaged: it has another schedule")
        self.progress = progress
        self._schedule.restore(progress.schedule)
        self._reporter.said(f"going on from step {self.progress.step:,}")

    def _write_history(self) -> None:
        if self._files is None:
            return
        try:
            write_history(self._files.history, self.progress.history)
        except ModelFileError as error:
            self._reporter.said(f"{error}; the training goes on")

    def _save(self) -> str | None:
        """Write the checkpoint; if that fails, return the reason and let the training go on."""
        self._clock.saved()
        if self._files is None:
            return None
        self.progress.seconds = self._clock.seconds
        try:
            save_checkpoint(self._files.checkpoint, self._identity, self.progress, self._arrays())
        except ModelFileError as error:
            self._reporter.said(f"no checkpoint: {error}; the training goes on")
            return str(error)
        return None

    def _interrupt(self) -> NoReturn:
        """End the training early.

        Raises:
            TrainingInterruptedError: always.
        """
        at = f"interrupted at step {self.progress.step:,}"
        number = self._interrupts.requested
        if self._files is None:
            raise TrainingInterruptedError(at, number, self.best)
        self._reporter.said(f"{at}; writing the checkpoint")
        failure = self._save()
        if failure is not None:
            raise TrainingInterruptedError(f"{at}, without a checkpoint: {failure}", number)
        raise TrainingInterruptedError(f"{at}; the checkpoint is {self._files.checkpoint}", number)
