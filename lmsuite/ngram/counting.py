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

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from lmsuite.text.vocabulary import BOS
from lmsuite.types import BoolArray, IntArray

_AT_ONCE = 1 << 22  # positions told apart at a time, few enough that memory is mostly results
_IN_CACHE = 1 << 18  # positions sorted at a time
_NOTHING = np.empty(0, dtype=np.int32)


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
    ids = np.ascontiguousarray(ids, dtype=np.int32)
    is_boundary = ids == BOS
    openings = text_openings(is_boundary, sentences)
    orders = [count_unigrams(ids, vocabulary_size, openings)]
    starts = [
        sorted_by_word(ids, is_boundary, words, sentences)
        for words in pairwise(word_ranges(ids, vocabulary_size, _AT_ONCE))
    ]
    position, group = (np.concatenate(parts) for parts in zip(*starts, strict=True))
    del starts
    index_at: IntArray = ids  # (N,) the index of the (n - 1)-gram that starts at each position
    for n in range(2, order + 1):
        found, position, group = _next_order(ids, is_boundary, position, group, n)
        suffix = index_at[np.concatenate([runs.first for runs in found]) + 1]
        index_at = np.full(len(ids), -1, dtype=np.int32)
        index_at[position] = group
        prefix = np.concatenate([runs.prefix for runs in found])
        orders.append(
            CountedOrder(
                prefix,
                np.concatenate([runs.word for runs in found]),
                suffix,
                np.concatenate([runs.count for runs in found]),
                extensions(prefix, orders[-1].sentence_starts),
                opened(index_at, openings),
            )
        )
    return NgramCounts(vocabulary_size, tuple(orders))


def _next_order(
    ids: IntArray, is_boundary: BoolArray, position: IntArray, group: IntArray, n: int
) -> tuple[list[Runs], IntArray, IntArray]:
    """What `refined` gives, part by part, and all positions with the index of their n-grams.

    The two arrays are made of the memory of position and group, which is not theirs any more.
    """
    found = [Runs(*[_NOTHING] * 6)]
    size = kept = begin = 0
    while begin < len(group):
        end = _group_end(group, begin, _AT_ONCE)
        runs = refined(ids, is_boundary, position[begin:end], group[begin:end], n)
        until = kept + len(runs.position)
        position[kept:until] = runs.position
        group[kept:until] = runs.run + np.int32(size)
        found.append(replace(runs, position=_NOTHING, run=_NOTHING))
        size, kept, begin = size + len(runs.word), until, end
    return found, position[:kept], group[:kept]


def text_openings(is_boundary: BoolArray, sentences: bool) -> IntArray:
    """The positions at which the text begins with no ``<s>`` before it, and after each ``<s>``."""
    openings = np.flatnonzero(~is_boundary & np.concatenate(([True], is_boundary[:-1])))
    return openings[:0] if sentences else openings


def count_unigrams(ids: IntArray, vocabulary_size: int, openings: IntArray) -> CountedOrder:
    """Order 1, with an entry for every id."""
    count = np.bincount(ids, minlength=vocabulary_size).astype(np.int32)
    count[BOS] = 0
    nothing = np.zeros(vocabulary_size, dtype=np.int32)
    word = np.arange(vocabulary_size, dtype=np.int32)
    starts = slice(BOS, BOS + 1)
    return CountedOrder(nothing, word, nothing, count, starts, np.unique(ids[openings]))


def word_ranges(ids: IntArray, vocabulary_size: int, positions: int) -> list[int]:
    """The first words of ranges of about so many positions, and the end of the last."""
    before = np.concatenate(([0], np.cumsum(np.bincount(ids, minlength=vocabulary_size))))
    cuts = [0]
    while cuts[-1] < vocabulary_size:
        fits = int(np.searchsorted(before, before[cuts[-1]] + positions, side="right")) - 1
        cuts.append(max(fits, cuts[-1] + 1))
    return cuts


def sorted_by_word(
    ids: IntArray, is_boundary: BoolArray, words: tuple[int, int], sentences: bool
) -> tuple[IntArray, IntArray]:
    """The positions (K,) at which words of a range start n-grams, by word; and the words there."""
    belongs = (ids >= words[0]) & (ids < words[1])
    if not sentences:
        belongs &= ~is_boundary
    position = np.flatnonzero(belongs).astype(np.int32)
    word = ids[position]
    _sort_within_groups(np.zeros_like(word), word, position)
    return position, word


@dataclass(frozen=True)
class Runs:
    """Positions told apart by one word more: K positions, M runs of equal n-grams."""

    position: IntArray
    """(K,) where n-grams start, sorted by the n-grams."""
    run: IntArray
    """(K,) which of the runs each belongs to."""
    first: IntArray
    """(M,) the first position of each run."""
    prefix: IntArray
    """(M,) the group that each run comes from: the index of its n-gram's prefix."""
    word: IntArray
    """(M,) the last word."""
    count: IntArray
    """(M,) how many positions."""


def refined(
    ids: IntArray, is_boundary: BoolArray, position: IntArray, group: IntArray, n: int
) -> Runs:
    """Positions sorted by their (n - 1)-grams, of which group says which, sorted by n-grams."""
    goes_on = position < len(ids) - (n - 1)
    goes_on[goes_on] = ~is_boundary[position[goes_on] + (n - 1)]
    position, group = position[goes_on], group[goes_on]
    word = ids[position + (n - 1)]
    _sort_within_groups(group, word, position)
    differs = (group[1:] != group[:-1]) | (word[1:] != word[:-1])
    is_new = np.concatenate(([True], differs))[: len(word)]
    first = np.flatnonzero(is_new)
    return Runs(
        position,
        np.cumsum(is_new, dtype=np.int32) - np.int32(1),
        position[first],
        group[first],
        word[first],
        np.diff(first, append=len(word)).astype(np.int32),
    )


def extensions(prefix: IntArray, shorter: slice) -> slice:
    """The n-grams whose prefixes (M,), which rise, are in `shorter`."""
    low, high = np.searchsorted(prefix, [shorter.start, shorter.stop]).tolist()
    return slice(low, high)


def opened(index_at: IntArray, openings: IntArray) -> IntArray:
    """The n-grams that start at `openings`, each once; `index_at` (N,) is -1 where none starts."""
    found = np.unique(index_at[openings])
    return found[found >= 0]


def _sort_within_groups(group: IntArray, word: IntArray, position: IntArray) -> None:
    """Sort word, and position with it, within each run of equal group, in place and stably."""
    begin = 0
    while begin < len(group):
        end = _group_end(group, begin, _IN_CACHE)
        same = group[begin + 1 : end] == group[begin : end - 1]
        # Groups of one need no sorting.
        unsorted = np.concatenate((same, [False])) | np.concatenate(([False], same))
        slots = begin + np.flatnonzero(unsorted)
        if len(slots):
            order = _order(group[slots], word[slots])
            word[slots] = word[slots[order]]
            position[slots] = position[slots[order]]
        begin = end


def _group_end(group: IntArray, begin: int, portion: int) -> int:
    """The end of the group that holds the last of a portion that begins there."""
    last = group[min(begin + portion, len(group)) - 1]
    return begin + int(np.searchsorted(group[begin:], last, side="right"))


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
