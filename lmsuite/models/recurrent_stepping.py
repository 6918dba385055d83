"""Reading on with a recurrent network, one token of each text at a time, as sampling does.

A step of one text is little work and many calls: what does not change from one step to the next is
laid out once, and no more is done at each than the equations ask for. A step of many texts at once
is split over threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from lmsuite.models.recurrent_stack import RecurrentStack
from lmsuite.nn import threads
from lmsuite.nn.losses import log_softmax
from lmsuite.nn.products import SMALL
from lmsuite.nn.reader import Reader
from lmsuite.nn.threads import side_by_side, thread_count
from lmsuite.text.vocabulary import BOS
from lmsuite.types import FloatArray, IntArray

THREADED_STEP = 1 << 24
"""Multiply-adds of the recurrence from which a step of a batch is split over threads."""


@dataclass(frozen=True)
class _Lanes:
    """Some texts of a batch, and what reads them: a reader for each layer."""

    part: slice
    readers: list[Reader]


class RecurrentDecoder:
    """Steps of up to `batch_size` texts with the weights as they are now, and what they predict."""

    def __init__(self, model: RecurrentStack, batch_size: int) -> None:
        """Lay out the weights of `model`."""
        self._checked = model.checked
        self._states = model.carry_shape[0] // model.settings.layers
        self._top = model.carry_shape[0] - self._states
        work = batch_size * model.recurrence_size
        parts = thread_count() if work >= THREADED_STEP else 1
        edges = [batch_size * i // parts for i in range(parts + 1)]
        self._lanes = [
            _Lanes(slice(begin, end), model.readers(end - begin))
            for begin, end in pairwise(edges)
            if end > begin
        ]
        self._output = model.output_weights()
        self._bias = model.output_bias()

    @property
    def parts(self) -> int:
        """Over how many threads a step is split."""
        return len(self._lanes)

    def step(self, state: FloatArray, ids: IntArray) -> FloatArray:
        """The state after one more id (B,) of each text; ``<s>`` puts a text back to zero first."""
        ids = self._checked(ids)
        begins = ids == BOS
        if np.count_nonzero(begins):
            state = np.where(begins[:, None], state.dtype.type(0), state)
        after = np.empty_like(state)
        lanes_needed = [lanes for lanes in self._lanes if lanes.part.start < len(ids)]
        with threads.taking_turns:
            side_by_side(
                [
                    partial(
                        self._step_lanes,
                        lanes.readers,
                        state[:, lanes.part],
                        ids[lanes.part],
                        after[:, lanes.part],
                    )
                    for lanes in lanes_needed
                ]
            )
        return after

    def _step_lanes(
        self, readers: list[Reader], before: FloatArray, ids: IntArray, after: FloatArray
    ) -> None:
        """A step of some texts, through all layers."""
        S = self._states
        below: IntArray | FloatArray = ids
        for i, reader in enumerate(readers):
            mine = slice(i * S, (i + 1) * S)
            reader.step(below, before[mine], after[mine])
            below = after[i * S]

    def log_probs(self, state: FloatArray) -> NDArray[np.float64]:
        """Log-probabilities (B, V) of the next token, from the top hidden vectors of a state."""
        top = state[self._top]  # (B, H)
        logits = np.empty((len(top), len(self._bias)), top.dtype)
        # A threaded BLAS and the threads of `step` would fight: products that need none get none.
        at_once = SMALL // self._output.size or len(top) or 1
        with threads.taking_turns:
            for begin in range(0, len(top), at_once):
                part = slice(begin, begin + at_once)
                np.matmul(top[part], self._output, out=logits[part])
        logits += self._bias
        return log_softmax(logits)

    def score_next(
        self, state: FloatArray, ids: IntArray
    ) -> tuple[NDArray[np.float64], FloatArray]:
        """The log-probability (B,) of one more id (B,) of each text, and the state after it."""
        after = self.step(state, ids)
        return self.log_probs(state)[np.arange(len(ids)), ids], after
