"""`lmsuite.nn.losses.softmax_cross_entropy` tuned: in place, as many rows at a time as fit a cache.

A row's maximum is subtracted only if an exp might overflow. Sums over a row are products, because
BLAS is faster than numpy's sum.
"""

from __future__ import annotations

import numpy as np

from lmsuite.nn.losses import NOTHING, Weights, check_targets, row_weights, shift
from lmsuite.types import FloatArray, IntArray

BLOCK = 1 << 18
"""Logits handled at a time: as many as fit in a core's L2 cache."""


def softmax_cross_entropy(
    logits: FloatArray, targets: IntArray, weights: Weights = None, impossible: IntArray = NOTHING
) -> tuple[float, FloatArray]:
    """As `losses.softmax_cross_entropy`, but the gradient overwrites the logits."""
    N, V = logits.shape
    check_targets(targets, N, V)
    w = row_weights(weights, N, logits.dtype)
    rows_at_once = max(1, BLOCK // V)
    loss = 0.0
    for begin in range(0, N, rows_at_once):
        part = slice(begin, begin + rows_at_once)
        loss += _cross_entropy_block(logits[part], targets[part], w[part], impossible)
    return loss, logits


def _cross_entropy_block(
    logits: FloatArray, targets: IntArray, w: FloatArray, impossible: IntArray
) -> float:
    """The loss of a block of rows; the gradient overwrites the logits."""
    rows = np.arange(len(logits))
    shift(logits, impossible)
    at_target = logits[rows, targets]
    np.exp(logits, out=logits)
    total = logits @ np.ones(logits.shape[1], logits.dtype)  # faster than a reduction
    surprisal = np.log(total) - at_target
    logits *= (w / total)[:, None]
    logits[rows, targets] -= w
    return float(np.dot(w, np.where(w == 0, 0, surprisal)))
