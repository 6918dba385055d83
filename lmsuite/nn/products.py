"""The products that a recurrence repeats: a few rows times one and the same matrix for each gate.

A BLAS first copies ("packs") the operands of a product into a layout of its own. That pays for
large products; for the few rows of one time step it costs up to a third of the time. OpenBLAS has
a kernel that reads small operands where they lie, so the matrices are cut, once, into contiguous
blocks of columns that are small in its sense. Any other BLAS just sees more and smaller products.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np

from lmsuite.types import FloatArray

SMALL = 10**6
"""A product of (m, k) and (k, n) is small if m·n·k is at most this: OpenBLAS's own bound."""

NARROW = 16
"""Blocks of fewer columns than this would waste the vector registers."""

PANEL = 16
"""Rows of float32 that fill a line of the cache when they are written side by side."""


class GateProducts:
    """x W_g for fixed matrices W (G, K, C), one for each gate, and any x of up to `rows` rows."""

    def __init__(self, W: FloatArray, rows: int) -> None:
        """Lay out W (G, K, C) in blocks that suit `rows` rows.

        A W that already lies so is not copied: it must stay as it is.
        """
        G, K, C = W.shape
        blocks = _count_blocks(K, C, rows)
        self.rows = rows
        self._cut = blocks > 1
        self._products = np.empty((G, rows, C), W.dtype)
        self._out: FloatArray = self._products
        if self._cut:  # (G, blocks, K, C / blocks)
            W = cast(FloatArray, W.reshape(G, K, blocks, C // blocks).swapaxes(1, 2))
            self._out = self._products.reshape(G, rows, blocks, C // blocks).swapaxes(1, 2)
        self._W = np.ascontiguousarray(W)
        self._ones = np.ones(G, W.dtype)

    def __call__(self, x: FloatArray) -> FloatArray:
        """Products (G, n, C) of x (n, K), or of one x for each gate (G, n, K), n at most `rows`.

        They lie in memory that is the caller's until the next call.
        """
        n = x.shape[-2]
        if self._cut:
            x = x[..., None, :, :]
        if n == self.rows:
            np.matmul(x, self._W, out=self._out)
            return self._products
        np.matmul(x, self._W, out=self._out[..., :n, :])
        return self._products[:, :n]

    def total(self, x: FloatArray, out: FloatArray) -> None:
        """Fills out (rows, C) with the sum of all x_g W_g, for x (G, rows, K)."""
        # As a product, which BLAS has done before numpy has set up its reduction.
        np.dot(self._ones, self(x).reshape(self._ones.size, -1), out=out.reshape(-1))


def gate_products(W: FloatArray, gates: int, rows: int) -> Callable[[FloatArray], FloatArray]:
    """x W gate by gate, (n, K) to (G, n, C), for the columns (K, G·C) of W; n at most `rows`.

    For a single row W serves as it lies: its weights are read once and used once, so it is their
    reading that takes the time, and to lay them out anew would take that of many products.
    """
    if rows == 1:
        return lambda x: (x @ W).reshape(gates, 1, -1)
    return GateProducts(by_gate(W, gates), rows)


def by_gate(W: FloatArray, gates: int) -> FloatArray:
    """Columns in blocks of H, (K, G·H), seen as one matrix for each gate, (G, K, H)."""
    return W.reshape(len(W), gates, -1).swapaxes(0, 1)


def transposed(W: FloatArray) -> FloatArray:
    """Wᵀ in memory of its own, copied in panels of rows: several times faster than at once."""
    copy = np.empty(W.shape[::-1], W.dtype)
    for first in range(0, len(W), PANEL):
        copy[:, first : first + PANEL] = W[first : first + PANEL].T
    return copy


def _count_blocks(K: int, C: int, rows: int) -> int:
    """The fewest blocks of C columns that make the products small; 1 if they would be narrow."""
    for blocks in range(1, C // NARROW + 1):
        if C % blocks == 0 and rows * K * (C // blocks) <= SMALL:
            return blocks
    return 1
