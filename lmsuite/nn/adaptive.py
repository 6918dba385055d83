"""Adaptive softmax: Grave, Joulin, Cissé, Grangier and Jégou (2017).

A full softmax forms a logit of every word for every token of a batch, although most tokens are of a
few frequent words. So the ids, which are in the order of frequency, are cut into a *shortlist* and
K *clusters* of ever rarer words. The *head* is a softmax over the shortlist and the clusters; each
cluster has a softmax of its own, the *tail*:

    p(w | h) = p_head(w | h)                                  w in the shortlist       (1)
    p(w | h) = p_head(cluster k | h) · p_k(w | h)             w in cluster k           (2)

It is a distribution: the shares of a cluster's words add up to the share that the head gives to the
cluster. The logits of a tail are needed only for the tokens whose targets are in its cluster. With
h (N, D) the logits are

    y_head = h W + b        (N, n + K)     the shortlist's n words, then the clusters
    y_k    = (h P_k) W_k + b_k             P_k projects to fewer numbers, the fewer the rarer

With embeddings that are also the output's weights, a row of the table keeps its whole length, so
nothing is projected: y_k = h A_kᵀ + b_k, where A_k are the table's rows of cluster k.

The functions here are the definition: they form every logit, as (1) and (2) have it.
`lmsuite.nn.output.Softmax` is the tuned form, which tests hold to this one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lmsuite.nn.losses import NOTHING, Weights, check_targets, row_weights
from lmsuite.types import FloatArray, IntArray


def adaptive_log_softmax(
    head: FloatArray, tails: Sequence[FloatArray], impossible: IntArray = NOTHING
) -> FloatArray:
    """Log-probabilities (N, V) from the logits of the head (N, n + K) and of K tails (N, n_k).

    The ids `impossible`, all of them in the shortlist, have -inf.
    """
    head = head.copy()
    head[:, impossible] = -np.inf
    log_head = _log_softmax(head)
    n = head.shape[1] - len(tails)
    parts = [log_head[:, :n]]  # (1)
    for k, tail in enumerate(tails):
        parts.append(log_head[:, n + k, None] + _log_softmax(tail))  # (2)
    return np.concatenate(parts, axis=1)


def adaptive_cross_entropy(
    head: FloatArray,
    tails: Sequence[FloatArray],
    targets: IntArray,
    weights: Weights = None,
    impossible: IntArray = NOTHING,
) -> tuple[float, FloatArray, list[FloatArray]]:
    """Cross-entropy with the targets (N,), and its gradients by the logits of head and tails.

    loss    = - sum_n w_n log p(target_n | h_n)                                    (3)
    d_head  = w (p_head - [the target, or its cluster])                            (3), (1), (2)
    d_tail  = w (p_k - [the target])       where the target is in k, else 0        (3), (2)
    """
    log_p = adaptive_log_softmax(head, tails, impossible)
    check_targets(targets, *log_p.shape)
    w = row_weights(weights, len(log_p), head.dtype)
    rows, counts = np.arange(len(log_p)), w > 0
    loss = -np.sum((w * log_p[rows, targets])[counts])  # (3)
    n = head.shape[1] - len(tails)
    log_head = head.copy()
    log_head[:, impossible] = -np.inf
    d_head = np.exp(_log_softmax(log_head))
    entry, d_tails, first = targets.copy(), [], n
    for k, tail in enumerate(tails):
        inside = (first <= targets) & (targets < first + tail.shape[1])
        entry[inside] = n + k
        is_target = np.arange(first, first + tail.shape[1]) == targets[:, None]
        d_tails.append((w * inside)[:, None] * (np.exp(_log_softmax(tail)) - is_target))
        first += tail.shape[1]
    d_head[rows, entry] -= 1
    d_head *= w[:, None]
    return float(loss), d_head, d_tails


def _log_softmax(logits: FloatArray) -> FloatArray:
    shifted: FloatArray = logits - logits.max(axis=1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return shifted
