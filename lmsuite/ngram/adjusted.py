"""Kneser-Ney's adjusted counts, and counts of counts.

Below the highest order, an n-gram is counted not by its occurrences but by its *continuations*: the
number of different words that precede it (Kneser & Ney 1995; Chen & Goodman 1999).
N-grams that begin with ``<s>`` have nothing before them and keep their occurrences, as in lmplz
(Heafield et al. 2013, section 3.2). Where a text begins without ``<s>``, its beginning counts as
one more preceding word, so that every n-gram seen has a count of at least one.
"""

from __future__ import annotations

import numpy as np

from lmsuite.ngram.counting import NgramCounts
from lmsuite.types import IntArray


def adjusted_counts(counts: NgramCounts) -> tuple[IntArray, ...]:
    """The adjusted counts (M,) of every order; those of the highest are the occurrences."""
    adjusted = []
    for order, longer in zip(counts.orders, counts.orders[1:], strict=False):
        continuations = np.bincount(longer.suffix, minlength=len(order)).astype(np.int32)
        continuations[order.openings] += 1
        continuations[order.sentence_starts] = order.count[order.sentence_starts]
        adjusted.append(continuations)
    return (*adjusted, counts.orders[-1].count)


def counts_of_counts(count: IntArray, highest: int) -> IntArray:
    """How many n-grams were counted r times, for r = 0 ... highest; (highest + 1,)."""
    return np.bincount(np.minimum(count, highest + 1), minlength=highest + 1)[: highest + 1]
