"""The feed-forward language model of Bengio et al. (2003), "A Neural Probabilistic Language Model".

    symbol      here            shape
    w_{t-j}     inputs          (n-1, B)    the last n-1 ids, oldest first
    C           embedding       (V, m)      a vector for each token
    x           x               (B, (n-1)m) the vectors of the window, one after another
    H, d        hidden layers   ((n-1)m, h) a = f(x H + d); more layers stack on it
    U, W, b     output          (h, V)      y = b + a U; with direct connections, + x W;
                                            with tied embeddings, U = Cᵀ

    P(w_t | window) = softmax(y)                                                       (eq. 1)

Dropout, if any, is on x and on each hidden layer's output.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lmsuite.models.blas_threads import blas_threads
from lmsuite.models.neural import NeuralModel, dropped
from lmsuite.models.settings import FeedForwardSettings as FeedForwardSettings
from lmsuite.nn.activations import ACTIVATIONS
from lmsuite.nn.layers import Dropout, Embedding, Linear
from lmsuite.nn.output import SCORED_AT_ONCE, Softmax
from lmsuite.nn.parameter import Parameters
from lmsuite.text.encoding import TextEncoder
from lmsuite.text.vocabulary import BOS
from lmsuite.types import FloatArray, IntArray


def windows(
    ids_at: Callable[[NDArray[np.int64]], IntArray],
    positions: NDArray[np.int64],
    since: NDArray[np.int64],
    context: int,
) -> IntArray:
    """The `context` ids before each position (B,), oldest first: (context, B).

    `ids_at` gives the ids of a text at any positions; since (B,) is the first position that each
    window may read: before it, all is ``<s>``.
    """
    read = positions + np.arange(-context, 0)[:, None]
    return np.where(read >= since, ids_at(np.maximum(read, 0)), np.int32(BOS))


_WINDOWS = 1024
"""The windows of which `FeedForward.layers` computes the vectors at once."""


class FeedForward(NeuralModel):
    """A softmax over a window of the last tokens."""

    kind: ClassVar[str] = "ffnn"
    settings_type = FeedForwardSettings

    def __init__(
        self, encoder: TextEncoder, settings: FeedForwardSettings, parameters: Parameters
    ) -> None:
        super().__init__(encoder, settings, parameters)
        self._activation = ACTIVATIONS[settings.activation]
        self._dropout = Dropout(settings.dropout)
        self._embed_dropout = Dropout(settings.embed_dropout)
        self._embedding = Embedding(parameters, "embedding")
        self._layers = [Linear(parameters, f"hidden.{i}") for i in range(len(settings.hidden))]
        self.output = Softmax(
            parameters, "output", settings.cutoffs, self._embedding if settings.tied else None
        )

    @classmethod
    def shapes(cls, vocabulary: int, settings: FeedForwardSettings) -> dict[str, tuple[int, ...]]:
        window = settings.context * settings.embed
        shapes = Embedding.shapes("embedding", vocabulary, settings.embed)
        inputs = window
        for i, size in enumerate(settings.hidden):
            shapes |= Linear.shapes(f"hidden.{i}", inputs, size)
            inputs = size
        top = cls.output_inputs(settings)
        return shapes | Softmax.shapes(
            "output", top, vocabulary, settings.cutoffs, tied=settings.tied
        )

    @classmethod
    def output_inputs(cls, settings: FeedForwardSettings) -> int:
        # With direct connections, [a | x] times [U over W] is a U + x W.
        window = settings.context * settings.embed if settings.direct else 0
        return settings.hidden[-1] + window

    def initialise(self, rng: np.random.Generator) -> None:
        # A tied table is the output's weights too, and must not start with large logits.
        self._embedding.initialise(rng, self._settings.embed**-0.5 if self._settings.tied else 1.0)
        for layer in self._layers:
            layer.initialise(rng)
        self.output.initialise(rng)

    def _forward(
        self, inputs: IntArray, rng: np.random.Generator | None = None
    ) -> tuple[FloatArray, list[Any]]:
        """The output layer's input (B, D) for windows (context, B), and the caches.

        With dropout if `rng` is given.
        """
        caches: list[Any] = []
        vectors, cache = self._embedding.forward(inputs.T)  # (B, context, m)
        x = vectors.reshape(inputs.shape[1], -1)  # (B, context m)
        x, mask = dropped(self._embed_dropout, x, rng)
        caches.append((cache, mask))
        a = x
        for layer in self._layers:
            z, linear = layer.forward(a)
            y, activation = self._activation.forward(z)  # (B, h)
            a, mask = dropped(self._dropout, y, rng)
            caches.append((linear, activation, mask))
        top = np.concatenate([a, x], axis=1) if self._settings.direct else a
        return top, caches

    def _backward(self, d_top: FloatArray, caches: list[Any]) -> None:
        """The gradients below the output layer, from the gradient of its input (B, D)."""
        size = self._settings.hidden[-1]
        d_a, d_direct = d_top[:, :size], d_top[:, size:]
        for layer in reversed(self._layers):
            linear, activation, mask = caches.pop()
            d_y = self._dropout.backward(d_a, mask)
            d_z = self._activation.backward(d_y, activation)
            d_a = layer.backward(d_z, linear)
        d_x = d_a + d_direct if self._settings.direct else d_a
        ids, mask = caches.pop()
        d_x = self._embed_dropout.backward(d_x, mask)
        self._embedding.backward(d_x.reshape(*ids.shape, -1), ids)

    def largest_sum(self) -> float:
        if self._settings.activation != "relu":
            return super().largest_sum()
        inputs = largest = self.largest("embedding.table")
        for name in (f"hidden.{i}" for i in range(len(self._layers))):
            terms = self.parameters.shapes[f"{name}.W"][0]
            largest = terms * largest * self.largest(f"{name}.W") + self.largest(f"{name}.b")
        # If the output's weights are small, a sum before it may be greater than the last.
        return max(largest, self.output.largest_sum(max(inputs, largest)))

    def backpropagate(
        self,
        inputs: IntArray,
        targets: IntArray,
        carry: FloatArray,
        *,
        weight: float,
        rng: np.random.Generator | None,
        rows: IntArray | None = None,
    ) -> float:
        self.clear_tables(rows)
        top, caches = self._forward(inputs, rng)
        loss, d_top = self.output.loss(top, targets, weight, self.encoder.impossible)
        self._backward(d_top, caches)
        return loss

    def examples(self, ids: IntArray, positions: NDArray[np.int64]) -> tuple[IntArray, IntArray]:
        since = np.maximum.accumulate(np.where(ids == BOS, np.arange(ids.size), 0))
        inputs = windows(ids.__getitem__, positions, since[positions], self._settings.context)
        return inputs, ids[positions]

    def example_vectors(self, inputs: IntArray, carry: FloatArray) -> FloatArray:
        return self._forward(inputs)[0]

    def output_vectors(self, state: IntArray) -> FloatArray:
        with blas_threads(len(state)):
            return self._forward(state.T)[0]

    def example(
        self, rng: np.random.Generator, batch_size: int, length: int
    ) -> tuple[IntArray, IntArray]:
        possible = self._possible()
        inputs = rng.choice(possible, (self._settings.context, batch_size))
        return inputs, rng.choice(possible, batch_size)

    @property
    def reach(self) -> int:  # type: ignore[override]  # a fact of the architecture
        """The length of the window."""
        context: int = self._settings.context
        return context

    def start(self, batch_size: int) -> IntArray:
        return np.full((batch_size, self._settings.context), BOS, np.int32)

    def step(self, state: IntArray, ids: IntArray) -> IntArray:
        ids = self.checked(ids)
        following = np.concatenate([state[:, 1:], ids[:, None]], axis=1, dtype=np.int32)
        following[ids == BOS] = BOS
        return following

    def log_probs(self, state: IntArray) -> FloatArray:
        with blas_threads(len(state)):
            return self.output.log_probs(self._forward(state.T)[0], self.encoder.impossible)

    def score(self, ids: IntArray) -> NDArray[np.float64]:
        ids = self.checked(ids)
        since = np.maximum.accumulate(np.where(ids == BOS, np.arange(ids.size), 0))
        positions = np.flatnonzero(ids != BOS)
        at_once = max(16, SCORED_AT_ONCE // self.output.head.b.size)
        scores = np.empty(positions.size)
        for begin in range(0, positions.size, at_once):
            chunk = positions[begin : begin + at_once]
            inputs = windows(ids.__getitem__, chunk, since[chunk], self._settings.context)
            vectors, _ = self._forward(inputs)
            scores[begin : begin + at_once] = self.target_scores(vectors, ids[chunk])
        return scores

    def layers(self, ids: IntArray) -> list[FloatArray]:
        """As `LanguageModel.layers`; the last token of each window is the one that was read."""
        ids = self.checked(ids)
        since = np.maximum.accumulate(np.where(ids == BOS, np.arange(ids.size), 0))
        read = [np.empty((ids.size, size), np.float32) for size in self._settings.hidden]
        for begin in range(0, ids.size, _WINDOWS):
            chunk = np.arange(begin, min(begin + _WINDOWS, ids.size))
            a = windows(ids.__getitem__, chunk + 1, since[chunk], self._settings.context)
            x, _ = self._embedding.forward(a.T)
            y = x.reshape(len(chunk), -1)
            for vectors, layer in zip(read, self._layers, strict=True):
                y, _ = self._activation.forward(layer.forward(y)[0])
                vectors[chunk] = y
        return [self.embedding()[ids], *read]

    def summary(self) -> Mapping[str, Any]:
        settings = self._settings
        return {
            "architecture": "feed-forward network (Bengio et al. 2003)",
            "context": f"{settings.context} tokens",
            "embedding": f"{settings.embed}{' (tied to the output)' if settings.tied else ''}",
            "hidden layers": " → ".join(map(str, settings.hidden)),
            "activation": settings.activation,
            "direct connections": "yes" if settings.direct else "no",
            "output layer": self._softmax_note(),
            "dropout": f"{settings.dropout}, of embeddings {settings.embed_dropout}",
            "parameters": len(self.parameters),
            "unknown tokens": self._unknown_note(),
        }
