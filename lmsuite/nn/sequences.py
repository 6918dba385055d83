"""Sequences of different lengths in one array: padding, masks, means.

An array (T, B, ...) has a column for each of B sequences. T is the length of the longest. A shorter
sequence is filled up at its end. The lengths (B,) say what is sequence and what is padding.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from lmsuite.types import BoolArray, FloatArray, IntArray


def pad(sequences: Sequence[ArrayLike], padding: int = 0) -> tuple[IntArray, IntArray]:
    """Ids (T, B) of B sequences of ids, and their lengths (B,). The rest is `padding`."""
    lengths = np.array([len(np.atleast_1d(ids)) for ids in sequences], int)
    padded = np.full((lengths.max(initial=0), len(lengths)), padding)
    for column, (ids, length) in enumerate(zip(sequences, lengths, strict=True)):
        padded[:length, column] = ids
    return padded, lengths


def length_mask(lengths: IntArray, steps: int) -> BoolArray:
    """(T, B), true where step t belongs to the sequence: t < its length."""
    return np.arange(steps)[:, None] < lengths


class Average:
    """The weighted mean m of each sequence's vectors x_t.

        m    = sum_t w_t x_t / sum_t w_t                              (1)
        dx_t = w_t dm / sum_t w_t                                     (1), by x_t

    The weights (T, B) have no gradient. A mask is a set of weights. A weight of zero also drops a
    word: the word dropout of Iyyer et al. (2015). Where all weights are zero, the mean is zero.
    """

    def forward(
        self, vectors: FloatArray, weights: FloatArray | BoolArray
    ) -> tuple[FloatArray, FloatArray]:
        """Means (B, D) of vectors (T, B, D)."""
        total = weights.sum(axis=0, dtype=vectors.dtype)  # (B,)
        shares = np.divide(weights, np.where(total == 0, 1, total), dtype=vectors.dtype)
        return np.einsum("tb,tbd->bd", shares, vectors), shares  # (1)

    def backward(self, d_outputs: FloatArray, cache: FloatArray) -> FloatArray:
        return cache[:, :, None] * d_outputs  # (1), by x_t
