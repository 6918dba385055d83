"""The products that a recurrence repeats: a few rows, times a matrix for each gate that stays.

A BLAS first copies ("packs") the operands of a product into a layout of its own. That pays for
large products. For the few rows of one time step it costs up to a third of the time. OpenBLAS has a
kernel that reads small operands where they lie. So each matrix is cut, once, into contiguous blocks
of columns, small enough for that kernel. With another BLAS there are just more, smaller products.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np

from lmsuite.nn.cells.cell import by_gate
from lmsuite.types import FloatArray

SMALL = 10**6
"""A product of (m, k) and (k, n) is small if m·n·k is at most this. OpenBLAS has this bound."""

NARROW = 16
"""The fewest columns of a block: fewer would waste the vector registers."""

PANEL = 16
"""So many float32 values fill a line of the cache."""


class GateProducts:
    """x W_g for fixed matrices W (G, K, C), one for each gate, and x of up to `batch_size` rows."""

    def __init__(self, W: FloatArray, batch_size: int) -> None:
        """Lay out W (G, K, C) in blocks that suit an x of `batch_size` rows.

        If W already has this layout it is not copied, and the caller must not change it.
        """
        G, K, C = W.shape
        blocks = _count_blocks(K, C, batch_size)
        self.batch_size = batch_size
        self._cut = blocks > 1
        self._products = np.empty((G, batch_size, C), W.dtype)
        self._out: FloatArray = self._products
        if self._cut:  # (G, blocks, K, C / blocks)
            W = cast(FloatArray, W.reshape(G, K, blocks, C // blocks).swapaxes(1, 2))
            self._out = self._products.reshape(G, batch_size, blocks, C // blocks).swapaxes(1, 2)
        self._W = np.ascontiguousarray(W)
        self._ones = np.ones(G, W.dtype)

    def __call__(self, x: FloatArray) -> FloatArray:
        """Products (G, n, C) of x (n, K), or of x (G, n, K), one for each gate; n <= `batch_size`.

        The caller may change them. The next call overwrites them.
        """
        n = x.shape[-2]
        if self._cut:
            x = x[..., None, :, :]
        if n == self.batch_size:
            np.matmul(x, self._W, out=self._out)
            return self._products
        np.matmul(x, self._W, out=self._out[..., :n, :])
        return self._products[:, :n]

    def total(self, x: FloatArray, out: FloatArray) -> None:
        """Fill out (batch_size, C) with the sum of all x_g W_g, for x (G, batch_size, K)."""
        # The sum is a product with ones: BLAS is faster than the start of numpy's own sum.
        np.dot(self._ones, self(x).reshape(self._ones.size, -1), out=out.reshape(-1))


def gate_products(W: FloatArray, gates: int, batch_size: int) -> Callable[[FloatArray], FloatArray]:
    """x W gate by gate: from x (n, K) to (G, n, C), for W (K, G·C) and n <= `batch_size`.

    For a single row, W stays as it is. Each weight is then read once and used once, and reading
    takes the time. Another layout would cost as much as many products.
    """
    if batch_size == 1:
        return lambda x: x.dot(W).reshape(gates, 1, -1)  # `dot` starts sooner than `@`
    return GateProducts(by_gate(W, gates), batch_size)


def transposed(W: FloatArray) -> FloatArray:
    """A copy of Wᵀ, made `PANEL` rows at a time, which is several times faster than at once."""
    copy = np.empty(W.shape[::-1], W.dtype)
    for first in range(0, len(W), PANEL):
        copy[:, first : first + PANEL] = W[first : first + PANEL].T
    return copy


def _count_blocks(K: int, C: int, batch_size: int) -> int:
    """The fewest blocks of C columns that make the products small; 1 if they would be narrow."""
    for blocks in range(1, C // NARROW + 1):
        if C % blocks == 0 and batch_size * K * (C // blocks) <= SMALL:
            return blocks
    return 1
