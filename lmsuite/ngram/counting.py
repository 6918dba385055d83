"""Counting: every n-gram of every order, as sorted integer arrays.

An n-gram of order n is known by its *index* among the sorted n-grams of that order; the index of a
unigram is its id. An n-gram is then a pair, the index of its prefix (all but its last word) in
order n - 1 and its last word, and its order's arrays are sorted by that pair, which is to say by
its words. So the continuations of a context lie side by side.

The method is that of a suffix array built by refinement: the positions of the text are kept sorted
by the n - 1 words that start there, and only the runs that are not yet told apart are sorted by the
next word. What the longer orders cost falls with the number of n-grams seen once.

Letters: N ids, V vocabulary, M n-grams of one order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lmsuite.text.vocabulary import BOS

IntArray: TypeAlias = NDArray[np.integer[Any]]
FloatArray: TypeAlias = NDArray[np.float64]


_PORTION = 1 << 18  # positions sorted at a time, few enough to lie in the cache


@dataclass(frozen=True)
class CountedOrder:
    """The n-grams of one order, sorted by their words; M of them."""

    prefix: IntArray
    """(M,) the index in order n - 1 of all words but the last; 0 for unigrams."""
    word: IntArray
    """(M,) the last word."""
    suffix: IntArray
    """(M,) the index in order n - 1 of all words but the first; 0 for unigrams."""
    count: IntArray
    """(M,) how often the n-gram occurs."""
    sentence_starts: slice
    """The n-grams whose first word is ``<s>``."""
    openings: IntArray
    """The n-grams that begin the text where no ``<s>`` stands before it, each once."""

    def __len__(self) -> int:
        return len(self.word)


@dataclass(frozen=True)
class NgramCounts:
    """The n-grams of orders 1 to `order`; order 1 has an entry for every id, seen or not."""

    vocabulary_size: int
    orders: tuple[CountedOrder, ...]

    @property
    def order(self) -> int:
        """The length of the longest n-grams."""
        return len(self.orders)

    def contexts(self, n: int) -> int:
        """How many contexts n-grams of order n can have: the number of (n - 1)-grams."""
        return len(self.orders[n - 2]) if n > 1 else 1


def count_ngrams(
    ids: IntArray, vocabulary_size: int, order: int, *, sentences: bool
) -> NgramCounts:
    """Count the n-grams of ids (N,), each below `vocabulary_size`.

    With `sentences`, ``<s>`` may begin an n-gram but never stands within one (lines, as lmplz
    counts them); it has no count of its own, since it is never predicted. Without, no n-gram
    contains ``<s>``, and the text begins with nothing before it.
    """
    ids = np.ascontiguousarray(ids, dtype=np.int64)
    is_boundary = ids == BOS
    openings = np.flatnonzero(~is_boundary & np.concatenate(([True], is_boundary[:-1])))
    if sentences:
        openings = openings[:0]

    unigrams = np.bincount(ids, minlength=vocabulary_size)
    unigrams[BOS] = 0
    nothing = np.zeros(vocabulary_size, dtype=np.int32)
    orders = [
        CountedOrder(
            nothing,
            np.arange(vocabulary_size, dtype=np.int32),
            nothing,
            unigrams,
            slice(BOS, BOS + 1),
            np.unique(ids[openings]),
        )
    ]
    position, group = _sorted_by_word(ids, is_boundary, sentences)
    index_at = ids  # (N,) the index of the (n - 1)-gram that starts at each position
    for n in range(2, order + 1):
        position, group = _extendable(position, group, is_boundary, n)
        word = ids[position + (n - 1)]
        _sort_within_groups(group, word, position)
        differs = (group[1:] != group[:-1]) | (word[1:] != word[:-1])
        is_new = np.concatenate(([True], differs))[: len(word)]
        first = np.flatnonzero(is_new)
        starts = orders[-1].sentence_starts
        prefix = group[first]
        suffix = index_at[position[first] + 1]
        group = np.cumsum(is_new) - 1
        index_at = np.full(len(ids), -1, dtype=np.int32)
        index_at[position] = group
        opened = np.unique(index_at[openings])
        low, high = np.searchsorted(prefix, [starts.start, starts.stop]).tolist()
        orders.append(
            CountedOrder(
                prefix.astype(np.int32),
                word[first].astype(np.int32),
                suffix.astype(np.int32),
                np.diff(first, append=len(word)),
                slice(low, high),
                opened[opened >= 0],
            )
        )
    return NgramCounts(vocabulary_size, tuple(orders))


def _sorted_by_word(
    ids: IntArray, is_boundary: NDArray[np.bool_], sentences: bool
) -> tuple[IntArray, IntArray]:
    """The positions at which a unigram starts, sorted by its id, and the ids in that order."""
    position = np.arange(len(ids)) if sentences else np.flatnonzero(~is_boundary)
    word = ids[position]
    _sort_within_groups(np.zeros_like(word), word, position)
    return position, word


def _extendable(
    position: IntArray, group: IntArray, is_boundary: NDArray[np.bool_], n: int
) -> tuple[IntArray, IntArray]:
    """Those of the positions whose (n - 1)-gram is followed by a word, with their groups."""
    follows = np.concatenate((~is_boundary, np.zeros(n - 1, dtype=bool)))
    keep = follows[position + (n - 1)]
    return position[keep], group[keep]


def _sort_within_groups(group: IntArray, word: IntArray, position: IntArray) -> None:
    """Sort word, and position with it, within each run of equal group, in place and stably."""
    same = group[1:] == group[:-1]
    # Groups of one need no sorting.
    unsorted = np.flatnonzero(np.concatenate((same, [False])) | np.concatenate(([False], same)))
    begin = 0
    while begin < len(unsorted):
        # Up to the end of the group that holds the last of a portion.
        last = unsorted[min(begin + _PORTION, len(unsorted)) - 1]
        end = int(np.searchsorted(unsorted, np.searchsorted(group, group[last], side="right")))
        slots = unsorted[begin:end]
        order = _order(group[slots], word[slots])
        word[slots] = word[slots[order]]
        position[slots] = position[slots[order]]
        begin = end


def _order(group: IntArray, word: IntArray) -> IntArray:
    """The stable order (K,) of pairs of group, already sorted, and word.

    Group, word and place are packed into one integer where they fit, since numpy sorts integers
    several times faster than it sorts indices to them, unless they have 16 bits (radix sort).
    """
    if group[0] == group[-1] and word.max() < 1 << 16:
        return np.argsort(word.astype(np.uint16), kind="stable")
    run = np.cumsum(np.concatenate(([False], group[1:] != group[:-1])))
    word_bits, place_bits = int(word.max()).bit_length(), len(word).bit_length()
    if int(run[-1]).bit_length() + word_bits + place_bits >= 64:
        return np.lexsort((word, run))
    packed = (run << word_bits | word) << place_bits | np.arange(len(word))
    packed.sort()
    return packed & ((1 << place_bits) - 1)
