"""The parts that kernels share: products, resets, and pieces of time that fit in the cache."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lmsuite.nn.cells.cell import by_gate
from lmsuite.nn.products import GateProducts, transposed
from lmsuite.types import BoolArray, FloatArray

CACHED = 1 << 17
"""An array of so many numbers is small enough that a few of them fit in a core's L2 cache."""

HALF = np.array(0.5, np.float32)
"""numpy converts a Python float to an array at every call; this one is converted already."""


def transposed_products(W: FloatArray, gates: int, batch_size: int) -> GateProducts:
    """The products da_g W_gᵀ of each gate g, for W (K, G·H). With W = U they sum to dh_{t-1}."""
    return GateProducts(transposed(W).reshape(gates, -1, len(W)), batch_size)


def write_products(d_W: FloatArray, inputs: FloatArray, d_gates: FloatArray) -> None:
    """Write d_W = inputsᵀ d_g, gate by gate, for inputs (N, K) and d_gates (G, N, H)."""
    for d_W_gate, d_gate in zip(by_gate(d_W, len(d_gates)), d_gates, strict=True):
        d_W_gate[...] = inputs.T @ d_gate


def resets_by_step(resets: BoolArray | None, T: int) -> list[BoolArray | None]:
    """For each step, which sequences (B,) are reset before it, or None if no sequence is."""
    if resets is None:
        return [None] * T
    return [is_reset if is_reset.any() else None for is_reset in resets]


def after_reset(states: FloatArray, is_reset: BoolArray | None) -> FloatArray:
    """A copy of states (..., H), zero where `is_reset` (...); for None, the states themselves."""
    if is_reset is None:
        return states
    return np.where(is_reset[..., None], states.dtype.type(0), states)


def pieces_from_the_end(T: int, width: int) -> Iterator[tuple[int, int]]:
    """Ranges of steps, last first: an array (steps, width) of each range stays in the L2 cache."""
    steps = max(1, CACHED // width)
    for end in range(T, 0, -steps):
        yield max(0, end - steps), end
