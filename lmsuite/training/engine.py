"""One step of training, shared by a crew of processes.

First, every rank runs the model forward and backward on its columns of the batch, into its own
gradient buffer. After a barrier, every rank owns a *slice* of the parameters, and sums the ranks'
gradients of that slice in a fixed order. When the global norm is known, it clips and updates its
slice. So the result depends on the number of ranks, which decides the order of the sums, and on
nothing else. The model knows nothing of processes.

A batch reads few of the rows of a large table: of the embeddings where the softmax is adaptive, or
of the features of n-grams. Then the ranks share out those rows beside the slices of all else, and
update no others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from math import prod
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike

from lmsuite.executors.cores import can_start_processes, limit_threads, start_method
from lmsuite.models.neural import NeuralModel
from lmsuite.models.settings import CELLS
from lmsuite.nn.memory import keep_freed_memory
from lmsuite.nn.optimizers import BLOCK, OPTIMIZERS, Optimizer, add_penalty, squared_norm
from lmsuite.nn.parameter import Parameters
from lmsuite.text.encoding import TextEncoder
from lmsuite.training.batches import DROPOUT, Batches
from lmsuite.training.interrupts import AbandonedError, Interrupts
from lmsuite.training.settings import TrainingSettings
from lmsuite.training.workers import Crew
from lmsuite.types import FloatArray, IntArray

TINY = 2e7
"""If parameters times tokens of a step is below this, one process is as fast as several."""

PRODUCT, UPDATE, SUM, WAIT = 0.075, 4.0, 0.2, 2e4
"""Nanoseconds of one core: a weight for a token, forward and backward; the update of a weight; a
further rank's gradient of a weight; the barriers of a further rank."""

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
        crew: Crew | None = None,
    ) -> None:
        """An engine that trains a copy of `model`.

        Args:
            model: its parameters are the first values.
            batches: the batches to read.
            settings: the options.
            validation: pieces of text that each begin with ``<s>``.
            interrupts: signals that may abandon a step or a validation.
            crew: in a spawned member of a crew, that crew; the first values are there already.
        """
        self._abandonable = nullcontext if interrupts is None else interrupts.abandonable
        self._crew = Crew(crew_size(model, batches, settings)) if crew is None else crew
        size = self._crew.size
        self._model, self._batches, self._settings = model, batches, settings
        self._validation = validation
        count = len(model.parameters)
        arrays, width = model.carry_shape
        shared, dtype = self._crew.shared, model.parameters.values.dtype
        self.values: FloatArray = shared((count,), dtype)
        if self._crew.leads:
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
        if self._crew.is_spawned:
            ids = shared(batches.ids.shape, batches.ids.dtype)
            if self._crew.leads:
                ids[:] = batches.ids
            self._batches = batches.reading(ids)
        # A penalty gives every row a gradient.
        name = None if settings.l1 or settings.l2 else model.sparse_table
        self._table = slice(0, 0) if name is None else model.parameters.slices[name]
        self._table_shape = (0, 1) if name is None else model.parameters.shapes[name]

    def __reduce__(self) -> tuple[Any, ...]:
        """What a spawned member of the crew gets: no weights, as those are in shared memory."""
        model = self._model
        no_ids = np.empty(0, self._batches.ids.dtype)
        return _engine_of_member, (
            *(self._crew, type(model), model.encoder, model.settings, self.values.dtype),
            *(self._batches.reading(no_ids), self._batches.ids.shape, self._settings),
            list(self._validation),
        )

    @property
    def processes(self) -> int:
        return self._crew.size

    def __enter__(self) -> Self:
        from threadpoolctl import threadpool_limits

        # Several processes of several BLAS threads each would fight over the cores.
        one_process = self._crew.size == 1 and not can_start_processes()
        threads = self._settings.threads if one_process else 1
        self._limits = threadpool_limits(threads, user_api="blas")
        limit_threads(threads)
        keep_freed_memory()  # forked workers inherit this setting and the two limits
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
        from threadpoolctl import threadpool_limits

        limit_threads(1)
        keep_freed_memory()
        with threadpool_limits(1, user_api="blas"):
            self._open(rank)
            while True:
                self._crew.barrier(rank)
                if self._command[0] == STOP:
                    return
                self._do(rank)
                self._crew.barrier(rank)

    def _open(self, rank: int) -> None:
        """Make what each process has for itself: its replica of the model, and its optimizers."""
        self._replica = self._model.with_buffers(self.values, self._gradients[rank])
        # The table comes first in the buffers.
        count = self.values.size - self._table.stop
        mine = self._part(rank, count)
        self._mine = slice(self._table.stop + mine.start, self._table.stop + mine.stop)
        self._updaters = self._updaters_of(self._mine)
        self._table_updaters = self._updaters_of(self._table)

    def _part(self, rank: int, count: int) -> slice:
        """This rank's part of so many things."""
        size = self._crew.size
        return slice(count * rank // size, count * (rank + 1) // size)

    def _updaters_of(self, part: slice) -> list[Optimizer]:
        """The optimizers of some of the parameters."""
        return [
            optimizer(
                part.stop - part.start,
                self.values.dtype,
                state={name: array[part] for name, array in moments.items()},
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
        rows = None
        if self._table.stop:
            before = np.zeros_like(self.carry) if batch.fresh else self.carry
            rows = self._replica.rows_read(batch.inputs, before)
            self._rows = rows[self._part(rank, rows.size)]
            self._crew.barrier(rank)  # now the others may change what is carried
        carry = self.carry[:, lanes]
        if batch.fresh:
            carry[...] = 0
        self._losses[rank] = self._replica.backpropagate(
            inputs,
            targets,
            carry,
            weight=1 / batch.targets.size,
            rng=np.random.default_rng([self._settings.seed, DROPOUT, step, rank]),
            rows=rows,
        )

    def _sum_slice(self, rank: int) -> None:
        """Sum all ranks' gradients of this rank's slice into rank 0's buffer."""
        norm = 0.0
        if self._table.stop:
            first, *others = (
                each[self._table].reshape(self._table_shape) for each in self._gradients
            )
            self._row_gradients = first[self._rows]  # (R, E)
            for table in others:
                self._row_gradients += table[self._rows]
            norm += squared_norm(self._row_gradients.reshape(-1))
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
        total, rate = self._gradients[0, self._mine], float(self._rate[0])
        scale = self._settings.clip / norm if norm > self._settings.clip > 0 else None
        if scale is not None:
            total *= scale
        self._updaters[phase].update(self.values[self._mine], total, rate, update)
        if self._table.stop:
            if scale is not None:
                self._row_gradients *= scale
            table = self.values[self._table].reshape(self._table_shape)
            self._table_updaters[phase].update_rows(
                table, self._row_gradients, self._rows, rate, update
            )

    def _loss_and_norm(self) -> tuple[float, float]:
        return float(self._losses.sum()), float(self._norms.sum()) ** 0.5

    def _validate_share(self, rank: int) -> None:
        pieces = self._validation[rank :: self._crew.size]
        text = np.concatenate([np.empty(0, np.int32), *pieces], dtype=np.int32)
        self._losses[rank] = -float(self._replica.score(text).sum())


def _engine_of_member(
    crew: Crew,
    kind: type[NeuralModel],
    encoder: TextEncoder,
    architecture: Any,
    dtype: DTypeLike,
    batches: Batches,
    ids: tuple[int],
    settings: TrainingSettings,
    validation: list[IntArray],
) -> Engine:
    """The engine in a spawned member: its arrays are those of rank 0."""
    shapes = kind.shapes(len(encoder.vocabulary), architecture)
    model = kind(encoder, architecture, Parameters(shapes, dtype))  # zeros, which take no memory
    room = np.broadcast_to(np.zeros((), batches.ids.dtype), ids)
    return Engine(model, batches.reading(room), settings, validation, crew=crew)


def crew_size(model: NeuralModel, batches: Batches, settings: TrainingSettings) -> int:
    """The number of processes to use: as many as pay, by the estimated time of a step.

    What a step computes for its tokens, and the updates, are shared out. But every further rank has
    gradients of its own, which are written, read and added up, and is waited for.
    """
    tokens = batches.tokens_per_epoch / batches.steps_per_epoch
    if not can_start_processes() or len(model.parameters) * tokens < TINY:
        return 1
    if start_method() != "fork" and getattr(model.settings, "cell", "lstm") not in CELLS:
        return 1  # the other processes would not know this cell
    tables = {model.sparse_table, "" if model.output.is_tied else "embedding.table"}
    shapes = model.parameters.shapes
    weights = sum(prod(shapes[name]) for name in shapes if name not in tables)
    shared = weights * (tokens * PRODUCT + UPDATE)

    def nanoseconds(size: int) -> float:
        return shared / size + (weights * SUM + WAIT) * (size - 1)

    return min(range(1, min(settings.threads, batches.lanes) + 1), key=nanoseconds)
