r"""Dynamic evaluation: a network goes on learning from the text that it is tested on.

Krause, Kahembwe, Murray and Renals (2018), "Dynamic evaluation of neural sequence models". The text
is read in segments. All tokens of a segment are scored first; only then do the weights take a step
along the gradient of the segment's loss. So no token is learned from before it was predicted.

With θ the weights, θ_0 those of the model, g the gradient of a segment's mean loss, and s_i the
mean of g_i² over the segments read so far (the paper takes it from the training text, which a model
file does not hold), one step is

    θ_i  <-  θ_i - η g_i / (sqrt(s_i) + ε) + λ (θ_0i - θ_i).

The last term draws the weights back to the model that was trained, which is never changed itself.

A segment reads few rows of a large table. A row that is not read only goes back: after k steps it
is θ_0 + (1 - λ)^k (θ - θ_0). So it is brought up to date when it is read next.
"""

from __future__ import annotations

from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from lmsuite.models.settings import AdaptationSettings
from lmsuite.nn.parameter import Parameters
from lmsuite.text.vocabulary import BOS
from lmsuite.types import FloatArray, IntArray

_BLOCK = 1 << 15  # parameters that are changed at a time: they stay in the processor's cache


class Learner(Protocol):
    """What a network must offer to adapt; see `lmsuite.models.neural.NeuralModel`."""

    parameters: Parameters

    @property
    def reach(self) -> int | None: ...

    @property
    def carry_shape(self) -> tuple[int, int]: ...

    @property
    def sparse_table(self) -> str | None: ...

    def rows_read(self, inputs: IntArray, carry: FloatArray) -> IntArray: ...

    def checked(self, ids: IntArray) -> IntArray: ...

    def with_buffers(self, values: FloatArray, gradients: FloatArray) -> Self: ...

    def examples(
        self, ids: IntArray, positions: NDArray[np.int64]
    ) -> tuple[IntArray, IntArray]: ...

    def example_vectors(self, inputs: IntArray, carry: FloatArray) -> FloatArray: ...

    def target_scores(self, vectors: FloatArray, targets: IntArray) -> NDArray[np.float64]: ...

    def backpropagate(
        self,
        inputs: IntArray,
        targets: IntArray,
        carry: FloatArray,
        *,
        weight: float,
        rng: np.random.Generator | None,
        rows: IntArray | None = None,
    ) -> float: ...


class Adaptation:
    """Reads one text, in one or several pieces, with a copy of a network that learns from it."""

    def __init__(self, model: Learner, settings: AdaptationSettings) -> None:
        self._trained = model.parameters.values
        self._values = self._trained.copy()
        self._gradients = np.zeros_like(self._values)
        self._squares = np.zeros_like(self._values)  # the sum of g² over the segments
        self._model = model.with_buffers(self._values, self._gradients)
        self._settings = settings
        self._steps = 0
        self._scratch = np.empty((2, min(_BLOCK, self._values.size)), self._values.dtype)
        table = slice(0, 0)  # it is the first parameter
        shape: tuple[int, ...] = (0, 1)
        if model.sparse_table is not None:
            table = model.parameters.slices[model.sparse_table]
            shape = model.parameters.shapes[model.sparse_table]
        self._dense = table.stop
        buffers = (self._trained, self._values, self._gradients, self._squares)
        self._tables = [buffer[table].reshape(shape) for buffer in buffers]
        self._up_to_date = np.zeros(shape[0], np.int64)  # after which step each row is so
        self._reach = model.reach or 1
        arrays, width = model.carry_shape
        self._carry: FloatArray = np.zeros((arrays, 1, width), self._values.dtype)
        # The ids that the segment which is not yet full needs: `_begin` before it, and its own.
        self._ids: IntArray = np.zeros(0, np.int32)
        self._begin = 0
        self._scored = 0  # tokens of that segment that were scored already

    def score(self, ids: IntArray) -> NDArray[np.float64]:
        """The log-probability (M,) of each of the ids (N,) that is not ``<s>``.

        The ids go on where those of the call before ended; how a text is cut changes nothing.
        """
        ids = np.concatenate((self._ids, self._model.checked(ids)))
        positions = self._begin + np.flatnonzero(ids[self._begin :] != BOS)
        size, scores, skipped = self._settings.segment, [], self._scored
        start, self._scored = len(ids), 0
        for first in range(0, len(positions), size):
            segment = positions[first : first + size]
            inputs, targets = self._model.examples(ids, segment)
            rows = self._brought_up_to_date(inputs)
            vectors = self._model.example_vectors(inputs, self._carry.copy())
            scores.append(self._model.target_scores(vectors, targets.ravel())[skipped:])
            skipped = 0
            if len(segment) == size:
                self._learn(inputs, targets, rows)
            else:
                start, self._scored = int(segment[0]), len(segment)
        kept = max(0, start - self._reach)
        self._ids, self._begin = ids[kept:], start - kept
        return np.concatenate([np.empty(0), *scores])

    def _brought_up_to_date(self, inputs: IntArray) -> IntArray | None:
        """The rows of the large table that a segment reads; None if there is no such table."""
        if not self._dense:
            return None
        rows = self._model.rows_read(inputs, self._carry)
        trained, values, _, _ = self._tables
        steps = self._steps - self._up_to_date[rows]
        left = (1 - self._settings.decay) ** steps.astype(values.dtype)
        values[rows] = trained[rows] + left[:, None] * (values[rows] - trained[rows])
        self._up_to_date[rows] = self._steps
        return rows

    def _learn(self, inputs: IntArray, targets: IntArray, rows: IntArray | None) -> None:
        """One step along the gradient of a segment; the state goes on to its end."""
        self._model.backpropagate(
            *(inputs, targets, self._carry), weight=1 / targets.size, rng=None, rows=rows
        )
        self._steps += 1
        for begin in range(self._dense, self._values.size, _BLOCK):
            part = slice(begin, begin + _BLOCK)
            w = self._values[part]
            self._move(
                w,
                self._gradients[part],
                self._squares[part],
                self._trained[part],
                self._scratch[:, : w.size],
            )
        if rows is not None:
            trained, values, gradients, squares = self._tables
            w, s = values[rows], squares[rows]
            self._move(w, gradients[rows], s, trained[rows], np.empty((2, *w.shape), w.dtype))
            values[rows], squares[rows] = w, s
            self._up_to_date[rows] = self._steps

    def _move(
        self, w: FloatArray, g: FloatArray, s: FloatArray, trained: FloatArray, scratch: FloatArray
    ) -> None:
        """The step of some weights w, with their sums of squares s; both are changed."""
        move, root = scratch
        s += np.square(g, out=root)
        np.multiply(s, 1 / self._steps, out=root)
        np.sqrt(root, out=root)
        root += 1e-8
        np.divide(g, root, out=move)
        move *= self._settings.rate
        w -= move
        np.subtract(trained, w, out=move)
        move *= self._settings.decay
        w += move
