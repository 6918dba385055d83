"""One step of training, shared by a crew of processes.

First, every rank runs the model forward and backward on its columns of the batch, into its own
gradient buffer. After a barrier, every rank owns a *slice* of the parameters, and sums the ranks'
gradients of that slice in a fixed order. When the global norm is known, it clips and updates its
slice. So the result depends on the number of ranks, which decides the order of the sums, and on
nothing else. The model knows nothing of processes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np

from lmsuite.executors import can_fork, limit_threads
from lmsuite.models.neural import NeuralModel
from lmsuite.nn.memory import keep_freed_memory
from lmsuite.nn.optimizers import BLOCK, OPTIMIZERS, Optimizer, add_penalty, squared_norm
from lmsuite.training.batches import DROPOUT, Batches
from lmsuite.training.interrupts import AbandonedError, Interrupts
from lmsuite.training.settings import TrainingSettings
from lmsuite.training.workers import Crew
from lmsuite.types import FloatArray, IntArray

TINY = 2e7
"""If parameters times tokens of a step is below this, one process is as fast as several."""

STOP, STEP, VALIDATE = range(3)


@dataclass(frozen=True)
class Update:
    """One update of the weights, as rank 0 commands it."""

    step: int  # number of the batch
    phase: int  # number of the optimizer
    update: int  # number of this update among those of the optimizer, from 1
    rate: float


class Engine:
    """Steps and validations of one model; a context manager that ends the crew at its exit."""

    def __init__(
        self,
        model: NeuralModel,
        batches: Batches,
        settings: TrainingSettings,
        validation: Sequence[IntArray],
        interrupts: Interrupts | None = None,
    ) -> None:
        """An engine that trains a copy of `model`.

        Args:
            model: its parameters are the first values.
            batches: the batches to read.
            settings: the options.
            validation: pieces of text that each begin with ``<s>``.
            interrupts: signals that may abandon a step or a validation.
        """
        self._abandonable = nullcontext if interrupts is None else interrupts.abandonable
        size = crew_size(model, batches, settings)
        self._crew = Crew(size)
        self._model, self._batches, self._settings = model, batches, settings
        self._validation = validation
        count = len(model.parameters)
        arrays, width = model.carry_shape
        shared, dtype = self._crew.shared, model.parameters.values.dtype
        self.values: FloatArray = shared((count,), dtype)
        self.values[:] = model.parameters.values
        self.carry: FloatArray = shared((arrays, batches.lanes, width), dtype)
        names = [settings.optimizer] + ([settings.then] if settings.then else [])
        self._optimizers = [OPTIMIZERS[name] for name in names]
        self.moments: list[dict[str, FloatArray]] = [
            {name: shared((count,), dtype) for name in optimizer.moments}
            for optimizer in self._optimizers
        ]
        self._gradients = shared((size, count), dtype)
        self._losses = shared((size,), np.float64)
        self._norms = shared((size,), np.float64)  # squared norm of each slice of the gradient
        self._command = shared((4,), np.int64)  # STOP, STEP or VALIDATE; step, phase, update
        self._rate = shared((1,), np.float64)

    @property
    def processes(self) -> int:
        return self._crew.size

    def __enter__(self) -> Self:
        from threadpoolctl import threadpool_limits

        # Several processes of several BLAS threads each would fight over the cores.
        one_process = self._crew.size == 1 and not can_fork()
        threads = self._settings.threads if one_process else 1
        self._limits = threadpool_limits(threads, user_api="blas")
        limit_threads(threads)
        keep_freed_memory()  # the workers inherit this setting and the two limits
        self._crew.start(self._serve)
        self._open(0)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._command[0] = STOP
                self._crew.barrier(0)
        finally:
            self._crew.close()
            self._limits.restore_original_limits()
            limit_threads(None)

    def step(self, update: Update) -> tuple[float, float]:
        """Make one update; return the batch's mean loss and the gradient's norm before clipping.

        If either is not finite, nothing was updated.

        Raises:
            AbandonedError: a signal came. All values are as before the step, and the engine can
                make no more steps.
        """
        self._rate[0] = update.rate
        before = self.carry.copy()
        try:
            self._together(STEP, update.step, update.phase, update.update)
        except AbandonedError:
            self._crew.close(patience=0)
            self.carry[:] = before
            raise
        return self._loss_and_norm()

    def validate(self) -> float:
        """The mean cross-entropy of the validation pieces, in nats per token.

        Raises:
            AbandonedError: a signal came; the engine can make no more steps.
        """
        self._together(VALIDATE)
        tokens = sum(piece.size - 1 for piece in self._validation)
        return float(self._losses.sum()) / tokens

    def forget(self) -> None:
        """Set to zero what is carried from step to step: optimizers' moments and lanes' states."""
        self.carry[:] = 0
        for moments in self.moments:
            for array in moments.values():
                array[:] = 0

    def _together(self, what: int, *details: int) -> None:
        """Let every rank, this one too, carry out a command; return when all have done it."""
        self._command[: 1 + len(details)] = (what, *details)
        self._crew.barrier(0)
        self._do(0)
        self._crew.barrier(0)

    def _serve(self, rank: int) -> None:
        """A worker's loop: wait for a command, and carry it out, until the command is STOP."""
        self._open(rank)
        while True:
            self._crew.barrier(rank)
            if self._command[0] == STOP:
                return
            self._do(rank)
            self._crew.barrier(rank)

    def _open(self, rank: int) -> None:
        """Make what each process has for itself: its replica of the model, and its optimizers."""
        size, count = self._crew.size, self.values.size
        self._replica = self._model.with_buffers(self.values, self._gradients[rank])
        self._mine = slice(count * rank // size, count * (rank + 1) // size)
        self._updaters: list[Optimizer] = [
            optimizer(
                self._mine.stop - self._mine.start,
                self.values.dtype,
                state={name: array[self._mine] for name, array in moments.items()},
            )
            for optimizer, moments in zip(self._optimizers, self.moments, strict=True)
        ]

    def _do(self, rank: int) -> None:
        what, step, phase, update = map(int, self._command)
        # The loop sees an exploding loss by its value; numpy's warnings would add nothing.
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            # Until all slices are summed, only the carry has changed, and `step` restores that.
            with self._abandonable() if rank == 0 else nullcontext():
                if what == VALIDATE:
                    self._validate_share(rank)
                    self._crew.barrier(rank)
                    return
                self._run_share(rank, step)
                self._crew.barrier(rank)
                self._sum_slice(rank)
            self._crew.barrier(rank)
            self._update_slice(phase, update)

    def _run_share(self, rank: int, step: int) -> None:
        """Forward and backward over this rank's columns of the batch."""
        batch = self._batches.batch(step)
        inputs, targets, lanes = batch.share(rank, self._crew.size)
        carry = self.carry[:, lanes]
        if batch.fresh:
            carry[...] = 0
        self._losses[rank] = self._replica.backpropagate(
            inputs,
            targets,
            carry,
            weight=1 / batch.targets.size,
            rng=np.random.default_rng([self._settings.seed, DROPOUT, step, rank]),
        )

    def _sum_slice(self, rank: int) -> None:
        """Sum all ranks' gradients of this rank's slice into rank 0's buffer."""
        norm = 0.0
        for begin in range(self._mine.start, self._mine.stop, BLOCK):
            part = slice(begin, min(begin + BLOCK, self._mine.stop))
            total = self._gradients[0, part]
            for other in self._gradients[1:]:
                total += other[part]
            add_penalty(self.values[part], total, self._settings.l1, self._settings.l2)
            norm += squared_norm(total)
        self._norms[rank] = norm

    def _update_slice(self, phase: int, update: int) -> None:
        loss, norm = self._loss_and_norm()
        if not math.isfinite(loss) or not math.isfinite(norm):
            return
        total = self._gradients[0, self._mine]
        if norm > self._settings.clip > 0:
            total *= self._settings.clip / norm
        self._updaters[phase].update(self.values[self._mine], total, float(self._rate[0]), update)

    def _loss_and_norm(self) -> tuple[float, float]:
        return float(self._losses.sum()), float(self._norms.sum()) ** 0.5

    def _validate_share(self, rank: int) -> None:
        pieces = self._validation[rank :: self._crew.size]
        text = np.concatenate([np.empty(0, np.int32), *pieces], dtype=np.int32)
        self._losses[rank] = -float(self._replica.score(text).sum())


def crew_size(model: NeuralModel, batches: Batches, settings: TrainingSettings) -> int:
    """The number of processes to use; small steps are faster in one process."""
    tokens = batches.tokens_per_epoch / batches.steps_per_epoch
    if not can_fork() or len(model.parameters) * tokens < TINY:
        return 1
    return min(settings.threads, batches.lanes)
