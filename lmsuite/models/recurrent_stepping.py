"""Step a recurrent network by one token of each text, as sampling does.

For one text, a step is little work but many calls. So all that does not change from step to step is
prepared once, and a step computes the equations and nothing else. A step of many texts is split
over threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from lmsuite.executors.cores import thread_count
from lmsuite.models.blas_threads import blas_threads
from lmsuite.models.recurrent_stack import RecurrentStack
from lmsuite.nn.output import SoftmaxReader
from lmsuite.nn.reader import Reader
from lmsuite.nn.threads import side_by_side
from lmsuite.text.vocabulary import BOS
from lmsuite.types import FloatArray, IntArray

THREADED_STEP = 1 << 24
"""A step of a batch with at least so many multiply-adds in the recurrence is split over threads."""


@dataclass(frozen=True)
class _Part:
    """Some texts of a batch, with a reader for each layer."""

    texts: slice
    readers: list[Reader]


class RecurrentDecoder:
    """Steps and predictions for up to `batch_size` texts, with the present weights."""

    def __init__(self, model: RecurrentStack, batch_size: int) -> None:
        """Prepare the weights of `model`."""
        self._checked = model.checked
        self._states = model.states_a_layer
        self._vectors, self._step_tokens = model.output_vectors, model.step_tokens
        work = batch_size * model.recurrence_size
        count = thread_count() if work >= THREADED_STEP else 1
        edges = [batch_size * i // count for i in range(count + 1)]
        self._parts = [
            _Part(slice(begin, end), model.readers(end - begin))
            for begin, end in pairwise(edges)
            if end > begin
        ]
        self._output = SoftmaxReader(model.output, model.encoder.impossible)

    @property
    def parts(self) -> int:
        """The number of threads over which a step is split."""
        return len(self._parts)

    def step(self, state: FloatArray, ids: IntArray) -> FloatArray:
        """The state after one more id (B,) of each text; ``<s>`` first resets its state to zero."""
        ids = self._checked(ids)
        begins = ids == BOS
        if np.count_nonzero(begins):
            state = np.where(begins[:, None], state.dtype.type(0), state)
        after = np.empty_like(state)
        self._step_tokens(state, ids, after)
        first = self._parts[0]
        with blas_threads(len(ids)):
            if len(ids) <= first.texts.stop:  # the usual case, in as few calls as can be
                self._step_part(first.readers, state, ids, after)
            else:
                side_by_side(
                    [
                        partial(
                            self._step_part,
                            part.readers,
                            state[:, part.texts],
                            ids[part.texts],
                            after[:, part.texts],
                        )
                        for part in self._parts
                        if part.texts.start < len(ids)
                    ]
                )
        return after

    def _step_part(
        self, readers: list[Reader], before: FloatArray, ids: IntArray, after: FloatArray
    ) -> None:
        """One step of some texts, through all layers, written to `after`."""
        S = self._states
        below: IntArray | FloatArray = ids
        for i, reader in enumerate(readers):
            mine = slice(i * S, (i + 1) * S)
            reader.step(below, before[mine], after[mine])
            below = after[i * S]

    def log_probs(self, state: FloatArray) -> NDArray[np.float64]:
        """The log-probabilities (B, V) of the next token."""
        vectors = self._vectors(state)  # (B, D)
        with blas_threads(len(vectors)):
            return self._output.log_probs(vectors)

    def score_next(
        self, state: FloatArray, ids: IntArray
    ) -> tuple[NDArray[np.float64], FloatArray]:
        """The log-probability (B,) of one more id (B,) of each text, and the state after it."""
        ids = self._checked(ids)
        after = self.step(state, ids)
        with blas_threads(len(ids)):
            return self._output.target_log_probs(self._vectors(state), ids), after
