"""Count cut-offs: n-grams that occur too rarely are left out, as lmplz prunes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lmsuite.ngram.counting import NgramCounts
from lmsuite.types import IntArray


@dataclass(frozen=True)
class Survivors:
    """The n-grams of one order that are kept, M of them, numbered anew."""

    index: IntArray | None
    """(M,) their indexes among all n-grams of the order; None where all are kept."""
    prefix: IntArray
    """(M,) as in `CountedOrder`, among the kept ones."""
    suffix: IntArray
    """(M,) as in `CountedOrder`, among the kept ones."""
    word: IntArray
    """(M,)"""


def survivors_of(counts: NgramCounts, cutoffs: Sequence[int]) -> tuple[Survivors, ...]:
    """The n-grams that occur more often than their order's cut-off, as lmplz prunes.

    What begins or ends an n-gram occurs at least as often as it does, so that with cut-offs that
    do not fall it is kept too.
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
