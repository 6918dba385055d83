"""Longest n-grams: the form in which the counts of texts are kept, added and renumbered.

At each position of a text begins its *longest n-gram*: n words, or fewer if the sequence ends
before. A shorter n-gram occurs wherever a longest one begins with its words. So the counts of the
longest n-grams give those of every order, and where two texts have no n-gram in common, nothing
but addition is needed to have the counts of both.

For "a b a" and n = 2::

    longest n-grams    a b   b a   a .      . is NOTHING: the text ends
    counts             1     1     1        so c(a) = 2: of "a b" and of "a ."

Letters: M longest n-grams, n their greatest length, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from lmsuite.errors import DataError
from lmsuite.files.tensors import release_pages
from lmsuite.ngram.counting import CountedOrder, NgramCounts, extensions
from lmsuite.text.vocabulary import BOS
from lmsuite.types import IntArray

NOTHING = -1
"""Stands in place of words that are not there."""

MOST_COUNT = 10**15
"""Counts are below this, so that they are exact as floats, and many can be added."""

_KEY_BITS = 63
_AT_ONCE = 1 << 20  # rows that are read from a file


@dataclass(frozen=True)
class LongestNgrams:
    """The longest n-grams of a text, each once, sorted by their words; `NOTHING` comes first."""

    ngrams: IntArray
    """(M, n) int32 ids; after the last word, `NOTHING`."""
    count: IntArray
    """(M,) int64, how often each is the longest n-gram."""

    @property
    def order(self) -> int:
        """The greatest length n."""
        return int(self.ngrams.shape[1])

    @classmethod
    def added(cls, ngrams: IntArray, count: IntArray) -> Self:
        """Each row of n-grams (M, n) once, with the sum of its counts (M,), if that is not zero."""
        ngrams, count = ngrams.astype(np.int32, copy=False), count.astype(np.int64, copy=False)
        if len(ngrams):
            sorting = np.lexsort(_keys(ngrams)[::-1])
            ngrams, count = ngrams[sorting], count[sorting]
            first = np.flatnonzero(_differs(ngrams))
            ngrams, count = ngrams[first], np.add.reduceat(count, first)
        is_there = count != 0
        return cls(ngrams[is_there], count[is_there])

    @classmethod
    def sum(cls, parts: Sequence[LongestNgrams]) -> Self:
        """The longest n-grams of all parts, which are of one order."""
        return cls.added(
            np.concatenate([part.ngrams for part in parts]),
            np.concatenate([part.count for part in parts]),
        )

    @classmethod
    def at(cls, ids: IntArray, positions: int, order: int, count: int = 1) -> Self:
        """Those of a sequence (N,) that begin at the first `positions`, each `count` times."""
        padded = np.concatenate((ids, np.full(order, NOTHING, np.int32)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, order)[:positions]
        return cls.added(windows, np.full(positions, count))

    @classmethod
    def of(cls, counts: NgramCounts) -> Self:
        """Those of a text with these counts: whatever was seen more often than its continuations.

        ``<s>``, which has no count, is never one of them.
        """
        words = counts.orders[0].word[:, None]
        parts = []
        for n, order in enumerate(counts.orders, start=1):
            if n > 1:
                words = np.concatenate((words[order.prefix], order.word[:, None]), axis=1)
            count = order.count.astype(np.int64)
            if n < counts.order:
                longer = counts.orders[n]
                np.subtract.at(count, longer.prefix, longer.count)
            (ended,) = np.nonzero(count > 0)
            parts.append(cls(filled_up(words[ended], counts.order), count[ended]))
        return cls.sum(parts)

    def shortened(self, order: int) -> LongestNgrams:
        """The longest n-grams of at most `order` words."""
        if order == self.order:
            return self
        return LongestNgrams.added(self.ngrams[:, :order], self.count)

    def renumbered(self, ids: IntArray) -> LongestNgrams:
        """The same with new ids: `ids` (V,) has that of each word; several words may share one."""
        with_nothing = np.append(ids, NOTHING)  # to which NOTHING, the last place, leads
        return LongestNgrams.added(with_nothing[self.ngrams], self.count)

    def unigrams(self, vocabulary_size: int) -> NDArray[np.int64]:
        """The count (V,) of each word; of ``<s>`` the number of sequences, if n is above 1."""
        count = np.zeros(vocabulary_size, np.int64)
        for begin in range(0, len(self.count), _AT_ONCE):
            piece = slice(begin, begin + _AT_ONCE)
            np.add.at(count, self.ngrams[piece, 0], self.count[piece])
            self.release()
        return count

    @property
    def total(self) -> int:
        """The sum of all counts, as if none were below 0."""
        pieces = range(0, len(self.count), _AT_ONCE)
        return sum(int(np.abs(self.count[begin : begin + _AT_ONCE]).sum()) for begin in pieces)

    def release(self) -> None:
        """If they are in a file, let the system take back the memory of what was read."""
        release_pages(self.ngrams)
        release_pages(self.count)

    def counts(self, tokens: Sequence[str]) -> NgramCounts:
        """The counts of every order, as `count_ngrams` gives them.

        The openings are the n-grams that were seen more often than with a word before them; those
        of the highest order, which nothing needs, are left out.

        Args:
            tokens: the (V,) words.

        Raises:
            DataError: an n-gram is there, but not its end; only counts from elsewhere lack some.
        """
        size = len(tokens)
        unigrams = self.unigrams(size)
        unigrams[BOS] = 0
        word = np.arange(size, dtype=np.int32)
        nothing = np.zeros(size, dtype=np.int32)
        none = np.empty(0, dtype=np.int64)
        orders = [CountedOrder(nothing, word, nothing, unigrams, slice(BOS, BOS + 1), none)]
        is_new = np.concatenate(([True], np.diff(self.ngrams[:, 0]) != 0))[: len(self.ngrams)]
        index = self.ngrams[:, 0]  # of the (n - 1)-gram with which each row begins
        for n in range(2, self.order + 1):
            column, shorter = self.ngrams[:, n - 1], orders[-1]
            is_new[1:] |= column[1:] != column[:-1]
            runs = np.flatnonzero(is_new)
            total = np.add.reduceat(self.count, runs) if len(runs) else self.count
            goes_on = column[runs] != NOTHING
            first = runs[goes_on]
            prefix, word = index[first].astype(np.int32), column[first]
            order = CountedOrder(
                prefix,
                word,
                _suffixes(shorter, prefix, word, size),
                total[goes_on],
                extensions(prefix, shorter.sentence_starts),
                none,
            )
            orders.append(order)
            is_first = np.zeros(len(column), dtype=bool)
            is_first[first] = True
            index = np.cumsum(is_first) - 1
        counts = NgramCounts(size, tuple(orders))
        _require_ends(counts, tokens)
        return _with_openings(counts)


def filled_up(ngrams: IntArray, order: int) -> IntArray:
    """The n-grams (M, k) with `NOTHING` after them, (M, order)."""
    return np.pad(ngrams, ((0, 0), (0, order - ngrams.shape[1])), constant_values=NOTHING)


def words_of(counts: NgramCounts, n: int, index: int) -> list[int]:
    """The ids of one n-gram of order n."""
    words: list[int] = []
    for order in reversed(counts.orders[:n]):
        words.append(int(order.word[index]))
        index = int(order.prefix[index])
    return words[::-1]


def _require_ends(counts: NgramCounts, tokens: Sequence[str]) -> None:
    for n, order in enumerate(counts.orders, start=1):
        (missing,) = np.nonzero(order.suffix < 0)
        if len(missing):
            raise missing_end(words_of(counts, n, int(missing[0])), tokens)


def missing_end(ngram: Sequence[int], tokens: Sequence[str]) -> DataError:
    """An error about an n-gram, given by the ids of its words, whose end is missing."""
    words = [tokens[id] for id in ngram]
    return DataError(
        f"the counts have {' '.join(words)!r}, but not {' '.join(words[1:])!r}; "
        "give the counts of all n-grams of the text"
    )


def rare_ngram(ngram: Sequence[int], tokens: Sequence[str]) -> DataError:
    """An error about an n-gram, given by the ids of its words, that has too low a count or none."""
    words = " ".join(tokens[id] for id in ngram)
    return DataError(
        f"{words!r} is rarer than all that begins with it; give the counts of all n-grams of the "
        "text"
    )


def _keys(ngrams: IntArray) -> list[NDArray[np.int64]]:
    """Numbers (M,) by which the rows (M, n) are sorted, the first one first: few of many bits."""
    bits = (int(ngrams.max()) + 1).bit_length()
    together = _KEY_BITS // bits
    keys = []
    for begin in range(0, ngrams.shape[1], together):
        key = np.zeros(len(ngrams), np.int64)
        for column in ngrams[:, begin : begin + together].T:
            key = key << bits | (column - NOTHING)
        keys.append(key)
    return keys


def _differs(ngrams: IntArray) -> NDArray[np.bool_]:
    """Whether each row (M, n) is another than the one before it."""
    differs: NDArray[np.bool_] = np.ones(len(ngrams), dtype=bool)
    differs[1:] = (ngrams[1:] != ngrams[:-1]).any(axis=1)
    return differs


def _suffixes(shorter: CountedOrder, prefix: IntArray, word: IntArray, size: int) -> IntArray:
    """The index, in order n - 1, of all words but the first of each n-gram (M,); -1 for none.

    It ends with the same word, and begins with the suffix of the prefix.
    """
    known = shorter.prefix.astype(np.int64) * size + shorter.word
    sought = shorter.suffix[prefix].astype(np.int64) * size + word
    found = np.searchsorted(known, sought)
    found[found == len(known)] = 0
    if not len(known):
        return np.full(len(word), -1, np.int32)
    is_known = (known[found] == sought) & (shorter.count[found] > 0)
    return np.where(is_known, found, -1).astype(np.int32)


def _with_openings(counts: NgramCounts) -> NgramCounts:
    """The same, with the openings of all orders but the highest."""
    orders = list(counts.orders)
    for n, longer in enumerate(orders[1:]):
        order = orders[n]
        alone = order.count.copy()
        np.subtract.at(alone, longer.suffix, longer.count)
        alone[order.sentence_starts] = 0
        orders[n] = replace(order, openings=np.flatnonzero(alone > 0))
    return replace(counts, orders=tuple(orders))
