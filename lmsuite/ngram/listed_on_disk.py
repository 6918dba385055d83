"""Counts that a text lists, kept on disk: for lists that do not fit into memory.

In memory, how often an n-gram is a longest one is its count less those of all listed n-grams that
have one word more. Here these are left as they are, one after the other: the count of each n-gram,
and the same with the other sign for the n-gram without its last word. Whoever adds equal n-grams,
range by range, has the same numbers.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from lmsuite.errors import DataError, UsageError
from lmsuite.files.disk_arrays import DiskArray
from lmsuite.ngram.longest import NOTHING, LongestNgrams, filled_up
from lmsuite.text.vocabulary import BOS, EOS
from lmsuite.types import BoolArray, IntArray

_AT_ONCE = 1 << 18  # rows that are copied


class ListOnDisk:
    """N-grams of all lengths and their counts, as they come."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._words: dict[int, DiskArray] = {}  # by length
        self._count: dict[int, DiskArray] = {}
        self._whole: set[int] = set()  # lengths of n-grams that do not begin with <s>
        self.has_sequences = False
        """Whether some n-gram has ``<s>`` or ``</s>``."""

    def add(self, ngrams: IntArray, count: NDArray[np.int64]) -> None:
        """More n-grams (M, n) and their counts (M,)."""
        n = ngrams.shape[1]
        if n not in self._words:
            self._words[n], self._count[n] = DiskArray(np.int32), DiskArray(np.int64)
        self._words[n].append(ngrams.ravel())
        self._count[n].append(count)
        self.has_sequences |= bool(((ngrams == BOS) | (ngrams == EOS)).any())
        if (ngrams[:, 0] != BOS).any():
            self._whole.add(n)

    def longest(self) -> LongestNgrams:
        """The longest n-grams, as rows that are to be added: neither sorted, nor each once.

        Raises:
            DataError: as `lowest_order`.
            UsageError: n-grams of a lower order are missing; to complete them takes all in memory.
        """
        order = max(self._words)
        lowest = lowest_order(self._whole, order, self._name)
        if lowest > 1:
            raise UsageError(
                f"{self._name} has no {lowest - 1}-grams; to complete them takes all its n-grams "
                "in memory: leave out {memory}, or give the counts of all orders",
                "memory",
            )
        words, counts = DiskArray(np.int32), DiskArray(np.int64)
        for n in sorted(self._words):
            count_of_order = self._count[n]
            for begin in range(0, len(count_of_order), _AT_ONCE):
                end = min(begin + _AT_ONCE, len(count_of_order))
                rows = self._words[n].read(begin * n, end * n).reshape(-1, n)
                count = count_of_order.read(begin, end)
                # <s> alone is never a longest n-gram.
                listed, shorter = (rows[:, 0] != BOS) | (n > 1), (rows[:, 0] != BOS) | (n > 2)
                words.append(filled_up(rows[listed], order).ravel())
                counts.append(count[listed])
                if n > 1:
                    words.append(filled_up(rows[shorter, :-1], order).ravel())
                    counts.append(-count[shorter])
            del self._words[n], self._count[n]
        return LongestNgrams(words.mapped().reshape(-1, order), counts.mapped())


def lowest_order(whole: Collection[int], order: int, name: str) -> int:
    """The lowest order of which all n-grams are listed, as are those of all orders to the highest.

    Args:
        whole: the lengths of the n-grams that do not begin with ``<s>``. Of lower orders, only
            others may be there.
        order: the highest.
        name: of the list.

    Raises:
        DataError: there are n-grams of lower orders, but none of an order between.
    """
    lowest = order
    while lowest - 1 in whole:
        lowest -= 1
    if min(whole, default=order) < lowest:
        raise DataError(
            f"{name} has n-grams of {min(whole)} and of {lowest} words, but none of "
            f"{lowest - 1}; give those, too, or only those of {lowest}"
        )
    return lowest


def starts_or_ends_within(ngrams: IntArray) -> IntArray:
    """The n-grams (M, n) with ``<s>`` after, or ``</s>`` before another word."""
    before, after = ngrams[:, :-1], ngrams[:, 1:]
    is_wrong: BoolArray = ((after == BOS) | ((before == EOS) & (after != NOTHING))).any(axis=1)
    wrong: IntArray = ngrams[is_wrong]
    return wrong
