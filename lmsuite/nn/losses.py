"""Losses in nats and their gradients.

A loss is a weighted sum over N rows. By default every weight is 1/N, and the loss is the mean. A
number is the weight of every row: a share of a larger batch passes 1/N of the whole batch. An array
(N,) has one weight for each row. A row of weight 0 does not count, whatever its target.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from lmsuite.types import FloatArray, IntArray

Weights: TypeAlias = float | FloatArray | None

NOTHING: IntArray = np.empty(0, np.int32)

SAFE = 40.0
"""For logits between ± this, exp neither overflows nor vanishes, nor does a sum of a million."""


def softmax_cross_entropy(
    logits: FloatArray, targets: IntArray, weights: Weights = None, impossible: IntArray = NOTHING
) -> tuple[float, FloatArray]:
    """Cross-entropy of p = softmax(logits) with the targets, and its gradient by the logits.

        log p_nv = a_nv - log sum_u exp a_nu                          (1)
        loss     = - sum_n w_n log p_n,target                         (2)
        d_nv     = w_n (p_nv - [v = target_n])                        (2), (1) by a_nv

    This is the definition; `lmsuite.nn.kernels.softmax` has the tuned form.

    Args:
        logits: a (N, V).
        targets: ids (N,).
        weights: w; the module's docstring explains them.
        impossible: ids of probability zero; the sum leaves them out.

    Returns:
        The loss, and the gradient (N, V).

    Raises:
        ValueError: targets are not (N,) integers from 0 to V - 1.
    """
    N, V = logits.shape
    check_targets(targets, N, V)
    w = row_weights(weights, N, logits.dtype)
    a = logits.copy()
    a[:, impossible] = -np.inf  # exp a = 0
    a -= a.max(axis=1, keepdims=True)  # no exp overflows now, and p stays the same
    log_p = a - np.log(np.exp(a).sum(axis=1, keepdims=True))  # (1)
    is_target = np.arange(V) == targets[:, None]  # (N, V)
    counts = w > 0
    loss = -np.sum(w[counts] * log_p[is_target][counts])  # (2)
    d_a = w[:, None] * (np.exp(log_p) - is_target)  # (2), (1) by a
    return float(loss), d_a


def log_softmax(logits: FloatArray, impossible: IntArray = NOTHING) -> NDArray[np.float64]:
    """Log-probabilities (N, V), -inf for the impossible ids. The logits are overwritten.

    The result is float64, so the probabilities sum to one even if the logits were rounded.
    """
    if impossible.size:
        logits[:, impossible] = -np.inf
    # For a single row, `max` and `sum` would take longer than the reductions that they call.
    best = np.maximum.reduce(logits, axis=1, keepdims=True)
    log_probs = np.subtract(logits, best, dtype=np.float64)
    total = np.add.reduce(np.exp(log_probs), axis=1, keepdims=True)
    log_probs -= np.log(total)
    return log_probs


def target_log_probs(
    logits: FloatArray, targets: IntArray, impossible: IntArray = NOTHING
) -> NDArray[np.float64]:
    """Log-probability (N,) of each row's target. The logits (N, V) are overwritten."""
    check_targets(targets, *logits.shape)
    rows = np.arange(len(logits))
    shift(logits, impossible)
    at_target = logits[rows, targets].astype(np.float64)
    np.exp(logits, out=logits)
    log_probs: NDArray[np.float64] = at_target - np.log(logits.sum(axis=1, dtype=np.float64))
    return np.minimum(log_probs, 0, out=log_probs)


def squared_error(
    outputs: FloatArray, targets: FloatArray, weights: Weights = None
) -> tuple[float, FloatArray]:
    """sum_n w_n |y_n - t_n|² / 2 over outputs (N, D), and its gradient w_n (y_n - t_n).

    Raises:
        ValueError: outputs and targets differ in shape, or are not (N, D).
    """
    _check_same_shape(outputs, targets)
    w = row_weights(weights, len(outputs), outputs.dtype)[:, None]
    error = outputs - targets
    return float(0.5 * np.sum(w * error * error)), w * error


def binary_cross_entropy(
    logits: FloatArray, targets: FloatArray, weights: Weights = None
) -> tuple[float, FloatArray]:
    """Cross-entropy of y = sigmoid(a) with targets t in [0, 1], and its gradient by the logits a.

        loss = sum_n w_n (log(1 + exp a_n) - t_n a_n)  =  -sum_n w_n (t log y + (1-t) log(1-y))
        d_n  = w_n (y_n - t_n)

    Logits and targets are (N, D); the loss is a sum over D.

    Raises:
        ValueError: they differ in shape, or are not (N, D).
    """
    _check_same_shape(logits, targets)
    w = row_weights(weights, len(logits), logits.dtype)[:, None]
    loss = float(np.sum(w * (np.logaddexp(0, logits) - targets * logits)))
    return loss, w * (0.5 * np.tanh(0.5 * logits) + 0.5 - targets)


def hinge(
    scores: FloatArray, targets: FloatArray, weights: Weights = None
) -> tuple[float, FloatArray]:
    """The hinge loss of scores a with targets t, 1 or -1, and its gradient by the scores.

        loss = sum_n w_n max(0, 1 - t_n a_n)
        d_n  = -w_n t_n  where t_n a_n < 1, else 0

    Scores and targets are (N, D); the loss is a sum over D. It is zero if every score is on its
    target's side with a margin of 1: Cortes and Vapnik (1995).

    Raises:
        ValueError: they differ in shape, are not (N, D), or a target is neither 1 nor -1.
    """
    _check_same_shape(scores, targets)
    if (np.abs(targets) != 1).any():
        raise ValueError("targets of the hinge loss are 1 and -1")
    w = row_weights(weights, len(scores), scores.dtype)[:, None]
    missing = 1 - targets * scores
    loss = float(np.sum(w * np.maximum(0, missing)))
    return loss, np.where(missing > 0, -w * targets, 0).astype(scores.dtype)


def multiclass_hinge(
    scores: FloatArray, targets: IntArray, weights: Weights = None
) -> tuple[float, FloatArray]:
    """The hinge loss of several classes: Crammer and Singer (2001).

        r_n  = the class with the best score, the target n apart
        loss = sum_n w_n max(0, 1 + a_n,r - a_n,target)
        d_nv = w_n ([v = r_n] - [v = target_n])  where the loss of row n is above 0, else 0

    Args:
        scores: a (N, V), V at least 2.
        targets: ids (N,).
        weights: w; the module's docstring explains them.

    Returns:
        The loss, and the gradient (N, V).

    Raises:
        ValueError: targets are not (N,) integers from 0 to V - 1.
    """
    N, V = scores.shape
    check_targets(targets, N, V)
    w = row_weights(weights, N, scores.dtype)
    is_target = np.arange(V) == targets[:, None]  # (N, V)
    rivals = np.where(is_target, -np.inf, scores).argmax(axis=1)
    rows = np.arange(N)
    missing = 1 + scores[rows, rivals] - scores[rows, targets]
    d_scores = np.zeros_like(scores)
    d_scores[rows, rivals] = np.where(missing > 0, w, 0)
    d_scores[rows, targets] = -d_scores[rows, rivals]
    return float(np.sum(w * np.maximum(0, missing))), d_scores


def _check_same_shape(outputs: FloatArray, targets: FloatArray) -> None:
    if np.ndim(outputs) != 2 or np.shape(outputs) != np.shape(targets):
        raise ValueError(
            f"outputs of shape {np.shape(outputs)}, targets of shape {np.shape(targets)}: "
            "both must have the same shape (N, D)"
        )


def check_targets(targets: IntArray, N: int, V: int) -> None:
    if np.shape(targets) != (N,) or targets.dtype.kind not in "iu":
        raise ValueError(
            f"targets of shape {np.shape(targets)} and type {np.asarray(targets).dtype}: "
            f"({N},) integers are needed, one for each row of the logits"
        )
    if N and not 0 <= targets.min() <= targets.max() < V:
        wrong = targets[(targets < 0) | (targets >= V)][0]
        raise ValueError(f"target {wrong}: the logits have columns 0 to {V - 1}")


def shift(logits: FloatArray, impossible: IntArray) -> None:
    """Set impossible ids to -inf; subtract each row's maximum if an exp might overflow."""
    safe = bool(logits.size) and logits.min() > -SAFE and logits.max() < SAFE
    logits[:, impossible] = -np.inf
    if not safe:
        logits -= logits.max(axis=1, keepdims=True)


def row_weights(weights: Weights, N: int, dtype: np.dtype[np.floating]) -> FloatArray:
    if weights is None:
        weights = 1 / max(N, 1)
    return np.broadcast_to(np.asarray(weights, dtype), (N,))
