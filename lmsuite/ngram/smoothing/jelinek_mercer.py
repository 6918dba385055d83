"""Jelinek-Mercer smoothing: relative frequencies, mixed with weights learned from other text.

    p(w | h) = weight(h) c(hw) / c(h.) + (1 - weight(h)) p(w | h')

Contexts of one length share a weight if they were seen about equally often: there is one weight for
each power of two (the buckets of Bahl, Jelinek & Mercer 1983). The weights maximise the likelihood
of held-out text, by expectation maximisation (Jelinek & Mercer 1980). In this view, each held-out
word came from one of the lengths. The weights give the probability of each length, and these
probabilities give better weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lmsuite.ngram.counting import NgramCounts, count_ngrams
from lmsuite.ngram.recursion import Shares, Smoothing, Terms, context_sums
from lmsuite.ngram.smoothing.relative_frequency import RelativeFrequency
from lmsuite.ngram.table import BackoffTable
from lmsuite.text.vocabulary import BOS
from lmsuite.types import FloatArray, IntArray

BUCKETS = 32
_START = 0.5
_SMALLEST, _LARGEST = 0.001, 0.999  # bounds of a weight: no word becomes impossible
_TOLERANCE = 1e-4
_ROUNDS = 200
_HELD_OUT_PART = 10


@dataclass(frozen=True)
class _Evidence:
    """The data of one order about the held-out words (H,)."""

    frequency: FloatArray
    """(H,) c(hw) / c(h.), or 0."""
    bucket: NDArray[np.int64]
    """(H,) the bucket of h, or -1 if h was never seen."""


def jelinek_mercer(
    counts: NgramCounts,
    ids: IntArray,
    held_out: IntArray | None,
    base: FloatArray,
    *,
    sentences: bool,
) -> Smoothing:
    """The mixture of relative frequencies, with weights fitted to `held_out`.

    Without held-out text, the weights are fitted to the last tenth of ids (N,), with frequencies
    from the rest. They are then used with the frequencies of the whole text.
    """
    seen_by_weights = counts
    if held_out is None:
        cut = _cut(ids, sentences)
        held_out = ids[cut:]
        seen_by_weights = count_ngrams(
            ids[:cut], counts.vocabulary_size, counts.order, sentences=sentences
        )
    messages: tuple[str, ...] = ()
    weights = [np.full(BUCKETS, _START)] * counts.order
    if np.any(held_out != BOS) and seen_by_weights.orders[0].count.any():
        weights = fit_weights(*_evidence(seen_by_weights, held_out, base))
    else:
        messages = (f"there is no text to fit the weights to; all weights are {_START}",)
    return Smoothing(tuple(map(Weighted, weights)), messages=messages)


@dataclass(frozen=True)
class Weighted(RelativeFrequency):
    """The estimator of one order: relative frequencies with the weight of their context."""

    weights: FloatArray
    """(BUCKETS,)"""

    def shares(
        self, prefix: IntArray, terms: Terms, sums: Sequence[FloatArray], starts: slice
    ) -> Shares:
        """The frequencies times the weights."""
        frequencies = super().shares(prefix, terms, sums, starts)
        weight = np.where(frequencies.leftover > 0, 0.0, self.weights[_buckets(sums[0])])
        return Shares(weight[prefix] * frequencies.share, 1.0 - weight)


def _cut(ids: IntArray, sentences: bool) -> int:
    """Where the last tenth of the text begins; with `sentences`, the next beginning of a line."""
    cut = len(ids) - len(ids) // _HELD_OUT_PART
    if sentences:
        lines = np.flatnonzero(ids == BOS)
        return int(np.append(lines, len(ids))[np.searchsorted(lines, cut)])
    return cut


def _buckets(total: FloatArray) -> NDArray[np.int64]:
    """The bucket (C,) of each context: log2 of its count, rounded down."""
    return np.log2(np.maximum(total, 1.0)).astype(np.int64).clip(max=BUCKETS - 1)


def _evidence(
    counts: NgramCounts, held_out: IntArray, base: FloatArray
) -> tuple[list[_Evidence], FloatArray]:
    """The evidence of every order, and the base probabilities (H,) of the held-out words."""
    orders = counts.orders
    frequencies, buckets = [], []
    for n, order in enumerate(orders, start=1):
        total = context_sums(order.prefix, order.count, counts.contexts(n))
        frequencies.append(order.count / np.maximum(total, 1.0)[order.prefix])
        buckets.append(np.where(total == 0, -1, _buckets(total)))
    # Only the look-up of this table is used; its probabilities are never read.
    table = BackoffTable.build(
        [order.prefix for order in orders],
        [order.word for order in orders],
        [np.zeros(len(order)) for order in orders],
        [np.zeros(len(order)) for order in orders[:-1]],
    )
    history = np.concatenate(([BOS], held_out)).astype(np.int64)
    predicted = history != BOS
    found = [_Evidence(frequencies[0][history], np.full(len(history), buckets[0][0]))]
    for n, here, contexts, ends, ngrams in table.walk(history):
        frequency, bucket = np.zeros(len(history)), np.full(len(history), -1)
        frequency[ends] = frequencies[n - 1][ngrams]
        bucket[here] = buckets[n - 1][contexts]
        found.append(_Evidence(frequency, bucket))
    return (
        [_Evidence(of.frequency[predicted], of.bucket[predicted]) for of in found],
        base[history[predicted]],
    )


def fit_weights(evidence: Sequence[_Evidence], base: FloatArray) -> list[FloatArray]:
    """The weights (BUCKETS,) of each order that make the held-out words most probable.

    A bucket without held-out words has the weight of its whole order.
    """
    weights = [np.full(BUCKETS, _START) for _ in evidence]
    for _ in range(_ROUNDS):
        updated = _one_round(evidence, base, weights)
        change = max(
            float(np.abs(new - old).max()) for new, old in zip(updated, weights, strict=True)
        )
        weights = updated
        if change < _TOLERANCE:
            break
    return weights


def _one_round(
    evidence: Sequence[_Evidence], base: FloatArray, weights: Sequence[FloatArray]
) -> list[FloatArray]:
    """One round of expectation and maximisation."""
    lower = [base]
    used = []
    for of_order, weight in zip(evidence, weights, strict=True):
        used.append(np.where(of_order.bucket >= 0, weight[of_order.bucket], 0.0))
        lower.append(used[-1] * of_order.frequency + (1.0 - used[-1]) * lower[-1])
    # The probability that the word came from this order or a shorter one.
    reached = (lower[-1] > 0).astype(np.float64)
    updated: list[FloatArray] = []
    for n in range(len(evidence), 0, -1):
        of_order, weight = evidence[n - 1], used[n - 1]
        part = reached / np.where(lower[n] > 0, lower[n], 1.0)
        known = of_order.bucket >= 0
        bucket = of_order.bucket[known]
        here = np.bincount(bucket, (part * weight * of_order.frequency)[known], BUCKETS)
        passed = np.bincount(bucket, reached[known], BUCKETS)
        whole = here.sum() / passed.sum() if passed.sum() > 0 else _START
        fitted = np.where(passed > 0, here / np.where(passed > 0, passed, 1.0), whole)
        updated.append(fitted.clip(_SMALLEST, _LARGEST))
        reached = part * (1.0 - weight) * lower[n - 1]
    return updated[::-1]
