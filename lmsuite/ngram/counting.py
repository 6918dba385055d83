"""Counting: every n-gram of every order, as sorted integer arrays.

The *index* of an n-gram is its place among the sorted n-grams of its order; the index of a unigram
is its id. An n-gram is stored as a pair: the index of its prefix (all words but the last) in order
n - 1, and its last word. The arrays of an order are sorted by this pair, and so by the words. The
continuations of a context therefore lie side by side.

The method builds a suffix array by refinement. The positions of the text are sorted by the n - 1
words that start there. Then only positions whose n - 1 words are equal are sorted by the next word.
The more n-grams occur only once, the less work is left for the longer orders.

Letters: N ids, V vocabulary, M n-grams of one order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from lmsuite.progress import each
from lmsuite.text.vocabulary import BOS
from lmsuite.types import BoolArray, IntArray

_AT_ONCE = 1 << 22  # positions refined at a time, few enough that memory is mostly results
_IN_CACHE = 1 << 18  # positions sorted at a time
_NOTHING = np.empty(0, dtype=np.int32)


@dataclass(frozen=True)
class CountedOrder:
    """The M n-grams of one order, sorted by their words."""

    prefix: IntArray
    """(M,) the index, in order n - 1, of all words but the last; 0 for unigrams."""
    word: IntArray
    """(M,) the last word."""
    suffix: IntArray
    """(M,) the index, in order n - 1, of all words but the first; 0 for unigrams."""
    count: IntArray
    """(M,) the number of times that the n-gram occurs."""
    sentence_starts: slice
    """The n-grams whose first word is ``<s>``."""
    openings: IntArray
    """The n-grams at the beginning of a text that has no ``<s>`` before it, each once."""

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
        """The number of contexts of order n, which is the number of (n - 1)-grams."""
        return len(self.orders[n - 2]) if n > 1 else 1

    def starting_contexts(self, n: int) -> slice:
        """The contexts of order n that begin with ``<s>``."""
        return self.orders[n - 2].sentence_starts if n > 1 else slice(0, 0)


def count_ngrams(
    ids: IntArray, vocabulary_size: int, order: int, *, sentences: bool
) -> NgramCounts:
    """Count the n-grams of ids (N,), each below `vocabulary_size`.

    With `sentences`, ``<s>`` may only be the first word of an n-gram (lines, as lmplz counts them).
    It has no count of its own, because it is never predicted. Without `sentences`, no n-gram
    contains ``<s>``, and nothing precedes the first word of the text.
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
    for n in each("counting", range(2, order + 1), "orders"):
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
    """The runs of order n, part by part; then all positions, and the index of the n-gram at each.

    The last two arrays overwrite `position` and `group`.
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
    """The beginning of the text, and the positions after each ``<s>``; none with `sentences`."""
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
    """The first word of each range of about so many positions, and the end of the last range."""
    before = np.concatenate(([0], np.cumsum(np.bincount(ids, minlength=vocabulary_size))))
    cuts = [0]
    while cuts[-1] < vocabulary_size:
        fits = int(np.searchsorted(before, before[cuts[-1]] + positions, side="right")) - 1
        cuts.append(max(fits, cuts[-1] + 1))
    return cuts


def sorted_by_word(
    ids: IntArray, is_boundary: BoolArray, words: tuple[int, int], sentences: bool
) -> tuple[IntArray, IntArray]:
    """The positions (K,) at which a word of the range starts an n-gram, and the words there.

    Both are sorted by word.
    """
    belongs = (ids >= words[0]) & (ids < words[1])
    if not sentences:
        belongs &= ~is_boundary
    position = np.flatnonzero(belongs).astype(np.int32)
    word = ids[position]
    _sort_within_groups(np.zeros_like(word), word, position)
    return position, word


@dataclass(frozen=True)
class Runs:
    """K positions, sorted by the n-grams that start there, in M runs of equal n-grams."""

    position: IntArray
    """(K,) where n-grams start, sorted by the n-grams."""
    run: IntArray
    """(K,) the number of the run to which each position belongs."""
    first: IntArray
    """(M,) the first position of each run."""
    prefix: IntArray
    """(M,) the group of the run: the index of its n-gram's prefix."""
    word: IntArray
    """(M,) the last word of the n-gram."""
    count: IntArray
    """(M,) the number of positions."""


def refined(
    ids: IntArray, is_boundary: BoolArray, position: IntArray, group: IntArray, n: int
) -> Runs:
    """Sort positions by their n-grams; they are sorted by (n - 1)-grams, whose index is `group`."""
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
    """The range of n-grams whose prefix is in `shorter`; the prefixes (M,) are sorted."""
    low, high = np.searchsorted(prefix, [shorter.start, shorter.stop]).tolist()
    return slice(low, high)


def opened(index_at: IntArray, openings: IntArray) -> IntArray:
    """The n-grams that start at `openings`, each once; `index_at` (N,) is -1 if none starts."""
    found = np.unique(index_at[openings])
    return found[found >= 0]


def _sort_within_groups(group: IntArray, word: IntArray, position: IntArray) -> None:
    """Sort `word` within each group, stably and in place, and `position` along with it."""
    begin = 0
    while begin < len(group):
        end = _group_end(group, begin, _IN_CACHE)
        same = group[begin + 1 : end] == group[begin : end - 1]
        # Groups of one need no sorting.
        unsorted = np.concatenate((same, [False])) | np.concatenate(([False], same))
        slots = begin + np.flatnonzero(unsorted)
        if len(slots):
            sorting = _sorting(group[slots], word[slots])
            word[slots] = word[slots[sorting]]
            position[slots] = position[slots[sorting]]
        begin = end


def _group_end(group: IntArray, begin: int, portion: int) -> int:
    """The end of a portion from `begin` on, extended to the end of its last group."""
    last = group[min(begin + portion, len(group)) - 1]
    return begin + int(np.searchsorted(group[begin:], last, side="right"))


def _sorting(group: IntArray, word: IntArray) -> IntArray:
    """The permutation (K,) that sorts the pairs (group, word) stably; `group` is already sorted.

    numpy sorts integers several times faster than it sorts indices. So group, word and place are
    packed into one integer, if they fit. With 16 bits, sorting indices is fast (radix sort).
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
