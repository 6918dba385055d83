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

import numpy as np

from lmsuite.ngram.counting import NgramCounts
from lmsuite.ngram.discounts import counts_of_counts
from lmsuite.ngram.recursion import Leftover, Shares, Smoothed, context_sums, divide
from lmsuite.types import FloatArray, IntArray

TRUSTED_ABOVE = 5


def katz(counts: NgramCounts) -> Smoothed:
    """The shares of Katz, for backing off."""
    shares, messages = [], []
    for n, order in enumerate(counts.orders, start=1):
        kept, fallback = kept_parts(counts_of_counts(order.count, TRUSTED_ABOVE + 1))
        if fallback:
            messages.append(f"order {n}: no usable Good-Turing discounts; {fallback}")
        retained = order.count * kept[np.minimum(order.count, TRUSTED_ABOVE + 1)]
        contexts = counts.contexts(n)
        total = context_sums(order.prefix, order.count, contexts)
        lost = total - context_sums(order.prefix, retained, contexts)
        only_trusted = (total > 0) & (lost < 1e-9)
        lost = np.where(only_trusted, 1.0, lost)
        denominator = total + only_trusted
        share = retained / np.maximum(denominator, 1.0)[order.prefix]
        shares.append(Shares(share, divide(lost, denominator, otherwise=1.0)))
    return Smoothed(tuple(shares), Leftover.BACKING_OFF, messages=tuple(messages))


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
