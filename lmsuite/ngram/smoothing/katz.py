"""Katz's backing-off with Good-Turing discounts (Katz 1987).

Good-Turing replaces a count r by r* = (r + 1) n_{r+1} / n_r, where n_r is the number of n-grams
that were seen r times. Counts above K = 5 are trusted. Counts up to K keep the part

    d_r = (r* / r - A) / (1 - A),        A = (K + 1) n_{K+1} / n_1.

All of them together lose n_1 / N, which Good-Turing reserves for unseen words.

In small texts, some d_r may not be between 0 and 1. Then K is lowered until all are. If K = 1 does
not help, either, each count up to 5 loses one half. A context that has only trusted counts would
leave nothing for unseen words. So it gets one more occurrence, which stands for these words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lmsuite.ngram.recursion import Leftover, Shares, Smoothing, Terms, divide
from lmsuite.types import FloatArray, IntArray

TRUSTED_ABOVE = 5


def katz(of_count: Sequence[IntArray]) -> Smoothing:
    """The shares of Katz, for backing off; from the `counts_of_counts` of each order."""
    estimators, messages = [], []
    for n, counted in enumerate(of_count, start=1):
        kept, fallback = kept_parts(counted)
        if fallback:
            messages.append(f"order {n}: no usable Good-Turing discounts; {fallback}")
        estimators.append(GoodTuring(kept))
    return Smoothing(tuple(estimators), Leftover.BACKING_OFF, messages=tuple(messages))


@dataclass(frozen=True)
class GoodTuring:
    """The estimator of one order, of which each count keeps a part."""

    kept: FloatArray
    """d_r for r = 0 ... TRUSTED_ABOVE + 1 (the last for all higher counts)."""

    def terms(self, count: IntArray) -> Terms:
        """The counts, and what they keep."""
        return count, count * self.kept[np.minimum(count, TRUSTED_ABOVE + 1)]

    def shares(
        self, prefix: IntArray, terms: Terms, sums: Sequence[FloatArray], starts: slice
    ) -> Shares:
        """The shares, and what is lost."""
        (_, retained), (total, total_retained) = terms, sums
        lost = total - total_retained
        only_trusted = (total > 0) & (lost < 1e-9)
        lost = np.where(only_trusted, 1.0, lost)
        denominator = total + only_trusted
        share = retained / np.maximum(denominator, 1.0)[prefix]
        return Shares(share, divide(lost, denominator, otherwise=1.0))


def kept_parts(of_count: IntArray) -> tuple[FloatArray, str]:
    """d_r for r = 0 ... TRUSTED_ABOVE + 1 (the last for all higher counts), and the fallback."""
    kept = np.ones(TRUSTED_ABOVE + 2)
    for trusted_above in range(TRUSTED_ABOVE, 0, -1):
        r = np.arange(1, trusted_above + 1)
        if not of_count[1 : trusted_above + 1].all():
            continue
        reserved = (trusted_above + 1) * of_count[trusted_above + 1] / of_count[1]
        parts = ((r + 1) * of_count[r + 1] / (r * of_count[r]) - reserved) / (1.0 - reserved or 1.0)
        if (parts > 0).all() and (parts < 1).all():
            kept[r] = parts
            fallback = f"counts above {trusted_above} are trusted, not above {TRUSTED_ABOVE}"
            return kept, fallback if trusted_above < TRUSTED_ABOVE else ""
    r = np.arange(1, TRUSTED_ABOVE + 1)
    kept[r] = (r - 0.5) / r
    return kept, f"counts up to {TRUSTED_ABOVE} lose 0.5"
