"""What the kernels share: their products, resets, and pieces of time that fit in the cache."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lmsuite.nn.products import GateProducts, by_gate, transposed
from lmsuite.types import BoolArray, FloatArray

CACHED = 1 << 17
"""Numbers in an array of which a few fit in a core's L2 cache."""

HALF = np.array(0.5, np.float32)
"""numpy converts a Python float to an array at every call; this one is converted already."""


def transposed_products(W: FloatArray, gates: int, batch_size: int) -> GateProducts:
    """da Wᵀ gate by gate for W (K, G·H): with W = U, the terms of dh_{t-1}."""
    return GateProducts(transposed(W).reshape(gates, -1, len(W)), batch_size)


def write_products(d_W: FloatArray, inputs: FloatArray, d_gates: FloatArray) -> None:
    """d_W = inputsᵀ [d_g ...], for inputs (N, K) and d_g (N, H) of each gate, gate by gate."""
    for d_W_gate, d_gate in zip(by_gate(d_W, len(d_gates)), d_gates, strict=True):
        d_W_gate[...] = inputs.T @ d_gate


def resets_by_step(resets: BoolArray | None, T: int) -> list[BoolArray | None]:
    """For each step which sequences of the batch are reset before it, (B,); None where none is."""
    if resets is None:
        return [None] * T
    return [is_reset if is_reset.any() else None for is_reset in resets]


def after_reset(states: FloatArray, is_reset: BoolArray | None) -> FloatArray:
    """States (..., H), zero in a copy where `is_reset` (...); None leaves them as they are."""
    if is_reset is None:
        return states
    return np.where(is_reset[..., None], states.dtype.type(0), states)


def pieces_from_the_end(T: int, width: int) -> Iterator[tuple[int, int]]:
    """Ranges of steps, last first, for work on (steps, width) arrays that should stay in L2."""
    steps = max(1, CACHED // width)
    for end in range(T, 0, -steps):
        yield max(0, end - steps), end
