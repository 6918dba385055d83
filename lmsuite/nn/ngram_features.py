"""Features of n-grams in the output of a network: RNNME, Mikolov et al. (2011), section 5.

A network learns slowly what a table knows at once: which token follows these few. So a maximum
entropy model is trained together with it. Its logits are added to those of the network,

    y_t = h_t W + b + sum over n = 1 ... K of F[r_n(t)],                                 (1)

where row r_n(t) of F (R, V) belongs to the last n tokens, w_{t-n+1} ... w_t. There are far more
contexts than rows. So a hash of the context is its row, and contexts may share one (section 5.2):

    s_0 = 1,  s_n = (A s_{n-1} + w_{t-n+1} + 1) mod P,  r_n = (s_n² mod P) mod R.        (2)

The square is there because s_n is linear in the tokens, so that like contexts would share rows.
"""

from __future__ import annotations

from functools import cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from lmsuite.nn.layers import Layer, Linear, Shapes, TiedLinear, add_rows_by_id
from lmsuite.nn.parameter import Parameters
from lmsuite.types import FloatArray, IntArray

FACTOR, PRIME = 742_938_285, (1 << 31) - 1
"""A and P of equation (2), a generator of Fishman and Moore (1986); no product exceeds 63 bits."""


def context_rows(recent: IntArray, rows: int) -> NDArray[np.int64]:
    """The row of each context of 1, 2, ... K tokens, by equation (2).

    Args:
        recent: (..., K), the last K tokens, the newest first, each as its id plus one; zero where
            there are fewer.
        rows: R.

    Returns:
        (..., K), from 0 to R - 1.
    """
    powers, first = _unrolled(recent.shape[-1])
    # No sum exceeds 63 bits: there are at most 16 tokens below 2^28, and powers are below 2^31.
    state = recent.astype(np.int64, copy=False) @ powers
    state += first
    state %= PRIME
    state *= state
    state %= PRIME
    state %= rows
    return state


@cache
def _unrolled(count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Equation (2) without recursion: s_n = A^n + the sum over j <= n of A^(n-j) w_j, mod P."""
    power = [pow(FACTOR, n, PRIME) for n in range(count + 1)]
    powers = [[power[n - j] if j <= n else 0 for n in range(count)] for j in range(count)]
    return np.array(powers), np.array(power[1:])


class NgramFeatures(Layer):
    """F of equation (1): a row of `table` (R, V) for the contexts of each hash."""

    names = ("table",)
    table: FloatArray
    d_table: FloatArray

    def __init__(self, parameters: Parameters, prefix: str, count: int) -> None:
        """Of contexts of up to `count` = K tokens."""
        super().__init__(parameters, prefix)
        self.count = count

    @staticmethod
    def shapes(prefix: str, rows: int, vocabulary: int) -> Shapes:
        return {f"{prefix}.table": (rows, vocabulary)}

    def initialise(self, rng: np.random.Generator) -> None:
        """Zero, without `rng`: a context that never came says nothing."""
        self.table[...] = 0

    def add_to(self, logits: FloatArray, rows: NDArray[np.int64], values: FloatArray) -> None:
        """Add the rows (N, K), times the values (N, K) of the features, to the logits (N, V)."""
        weights = self.table.take(rows, axis=0)  # (N, K, V)
        logits += np.matmul(values[:, None], weights)[:, 0]

    def backward(self, d_logits: FloatArray, rows: NDArray[np.int64], values: FloatArray) -> None:
        """Add the gradients (N, V) to those of the rows."""
        for row, value in zip(rows.T, values.T, strict=True):
            add_rows_by_id(self.d_table, row, d_logits * value[:, None])


_Features: TypeAlias = tuple[FloatArray, NDArray[np.int64], FloatArray]


class WithFeatures:
    """Equation (1) as a layer: its inputs are [h | r_1 ... r_K | v_1 ... v_K] (N, H + 2 K).

    v_n is the value of a feature: one, or what dropout makes of it.
    """

    def __init__(self, linear: Linear | TiedLinear, features: NgramFeatures) -> None:
        self.linear, self.features = linear, features

    def initialise(self, rng: np.random.Generator) -> None:
        self.linear.initialise(rng)
        self.features.initialise(rng)

    @property
    def weights(self) -> FloatArray:
        """The matrix (H, V) by which hidden vectors are multiplied."""
        return self.linear.weights

    @property
    def b(self) -> FloatArray:
        return self.linear.b

    def divided(self, inputs: FloatArray) -> _Features:
        """The hidden vectors (N, H), the rows (N, K), and the values (N, K)."""
        K = self.features.count
        return inputs[:, : -2 * K], inputs[:, -2 * K : -K].astype(np.int64), inputs[:, -K:]

    def forward(self, inputs: FloatArray) -> tuple[FloatArray, _Features]:
        hidden, rows, values = self.divided(inputs)
        logits, _ = self.linear.forward(hidden)
        self.features.add_to(logits, rows, values)
        return logits, (hidden, rows, values)

    def backward(self, d_outputs: FloatArray, cache: _Features, *, add: bool = False) -> FloatArray:
        """The gradient by the hidden vectors (N, H); that of the table is always added to."""
        hidden, rows, values = cache
        self.features.backward(d_outputs, rows, values)
        return self.linear.backward(d_outputs, hidden, add=add)


def with_features(
    hidden: FloatArray, rows: NDArray[np.int64], values: FloatArray | None = None
) -> FloatArray:
    """The inputs (..., H + 2 K) of `WithFeatures`; without values, those are one."""
    if values is None:
        values = np.ones(rows.shape, hidden.dtype)
    return np.concatenate((hidden, rows.astype(hidden.dtype), values), axis=-1)
