"""Count cut-offs: rare n-grams are left out, as lmplz prunes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lmsuite.ngram.counting import NgramCounts
from lmsuite.types import IntArray


@dataclass(frozen=True)
class Survivors:
    """The M n-grams of one order that are kept, with new indexes."""

    index: IntArray | None
    """(M,) their indexes among all n-grams of the order; None if all are kept."""
    prefix: IntArray
    """(M,) as in `CountedOrder`, among the kept ones."""
    suffix: IntArray
    """(M,) as in `CountedOrder`, among the kept ones."""
    word: IntArray
    """(M,)"""


def survivors_of(counts: NgramCounts, cutoffs: Sequence[int]) -> tuple[Survivors, ...]:
    """The n-grams that occur more often than their order's cut-off, as lmplz prunes.

    The beginning and the end of an n-gram occur at least as often as the n-gram. The cut-offs do
    not fall from order to order, so the beginning and the end are kept, too.
    """
    survivors: list[Survivors] = []
    renumbered: IntArray | None = None  # old index in order n - 1 -> new index
    for order, cutoff in zip(counts.orders, cutoffs, strict=True):
        index = np.flatnonzero(order.count > cutoff) if cutoff else None
        prefix, suffix, word = order.prefix, order.suffix, order.word
        if index is not None:
            prefix, suffix, word = prefix[index], suffix[index], word[index]
        if renumbered is not None:
            prefix, suffix = renumbered[prefix], renumbered[suffix]
        survivors.append(Survivors(index, prefix, suffix, word))
        renumbered = None
        if index is not None:
            renumbered = np.full(len(order), -1, dtype=np.int32)
            renumbered[index] = np.arange(len(index))
    return tuple(survivors)
