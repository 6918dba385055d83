"""N-grams packed into 64-bit keys: numpy sorts numbers ten times faster than their permutations.

A key holds as many words as fit, each as its id plus one; 0 stands for no word. So an n-gram that
the text cuts short comes before those that begin with it. Long n-grams take several columns of
keys. The lowest bit of a key is no part of a word; in the last column it marks the n-grams at the
beginning of a text (see `CountedOrder.openings`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lmsuite.types import BoolArray, IntArray

Keys: TypeAlias = NDArray[np.uint64]

_ONE = np.uint64(1)


@dataclass(frozen=True)
class Packing:
    """How n-grams of one order are packed."""

    vocabulary_size: int
    order: int

    @property
    def bits(self) -> int:
        """The bits of a word."""
        return self.vocabulary_size.bit_length()

    @property
    def words_of_column(self) -> list[int]:
        """The number of words in each column; the first has at least two if the n-grams have."""
        most = 63 // self.bits
        return [min(most, self.order - begin) for begin in range(0, self.order, most)]

    def pack(self, words: Iterable[Keys], opens: BoolArray) -> list[Keys]:
        """The columns of n-grams, from their words (one array (M,) a place) and their marks."""
        columns = []
        left = iter(words)
        for size in self.words_of_column:
            key = next(left).copy()
            for _ in range(size - 1):
                key <<= np.uint64(self.bits)
                key |= next(left)
            key <<= _ONE
            columns.append(key)
        columns[-1] |= opens
        return columns

    def words(self, columns: Sequence[Keys], place: int) -> Keys:
        """The words (M,) at a place, from 0 on: ids plus one, and 0 where there is none."""
        column, within = divmod(place, self.words_of_column[0])
        after = self.words_of_column[column] - 1 - within
        mask = np.uint64((1 << self.bits) - 1)
        return columns[column] >> np.uint64(1 + self.bits * after) & mask

    def pairs(self, first_column: Keys) -> Keys:
        """The first two words (M,) of n-grams, as one number."""
        return first_column >> self._below_pair

    def beginning_with(self, pairs: Keys) -> Keys:
        """The smallest keys of the first column with these first two words."""
        return pairs << self._below_pair

    def pair(self, first: IntArray, second: IntArray) -> Keys:
        """As `pairs`, from the ids of the two words."""
        bits = np.uint64(self.bits)
        return (first.astype(np.uint64) + _ONE) << bits | (second.astype(np.uint64) + _ONE)

    @property
    def _below_pair(self) -> np.uint64:
        return np.uint64(1 + self.bits * (self.words_of_column[0] - 2))

    def counted(
        self, columns: Sequence[Keys], count: IntArray | None = None
    ) -> tuple[list[Keys], IntArray]:
        """Sort n-grams, and count each once.

        Args:
            columns: of the n-grams; with `count`, a few sorted runs of them.
            count: how often each occurs; once without it.
        """
        if count is None and len(columns) == 1:
            columns = [np.sort(columns[0])]
        else:
            sorting = self._sorting(columns, in_runs=count is not None)
            columns = [column[sorting] for column in columns]
            count = None if count is None else count[sorting]
            del sorting
        begins = np.flatnonzero(_is_new(columns))
        distinct = [column[begins] for column in columns]
        if count is None:
            return distinct, np.diff(begins, append=len(columns[0]))
        return distinct, np.add.reduceat(count, begins, dtype=np.int64) if len(begins) else count

    def _sorting(self, columns: Sequence[Keys], *, in_runs: bool) -> NDArray[np.int64]:
        """The permutation (M,) that sorts the n-grams; numpy merges sorted runs quickly.

        Otherwise they are sorted by as many words as fit beside a place (see `sorting_of`), and
        those that are alike so far by the next words.
        """
        sorting, done = np.arange(len(columns[0])), 0
        if in_runs or len(columns) == 1:
            sorting, done = np.argsort(columns[0], kind="stable"), self.words_of_column[0]
        if len(columns) == 1:
            return sorting
        left: list[Callable[[], Keys]] = [
            partial(self.words, columns, place) for place in range(done, self.order)
        ]
        if (columns[-1] & _ONE).any():
            left.append(lambda: columns[-1] & _ONE)
        slots, run = _tied(columns[0][sorting] if done else np.zeros_like(sorting))
        while left and len(slots):
            rows = sorting[slots]
            free = 63 - len(slots).bit_length() - int(run[-1]).bit_length()
            more = max(1, free // self.bits)
            for words in left[:more]:
                run <<= self.bits
                run |= words()[rows].view(np.int64)
            del left[:more]
            within = sorting_of(run)
            sorting[slots] = rows[within]
            tied, run = _tied(run[within])
            slots = slots[tied]
        return sorting


def _tied(keys: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of sorted keys (M,), the places of those that are there twice or more, numbered by key."""
    begins = np.ones(len(keys) + 1, dtype=bool)
    np.not_equal(keys[1:], keys[:-1], out=begins[1:-1])
    tied = np.flatnonzero(~(begins[:-1] & begins[1:]))
    return tied, np.cumsum(begins[tied]) - 1


def _is_new(columns: Sequence[Keys]) -> BoolArray:
    """Whether each row (M,) of sorted columns differs from the one before."""
    new = np.ones(len(columns[0]), dtype=bool)
    new[1:] = columns[0][1:] != columns[0][:-1]
    for column in columns[1:]:
        new[1:] |= column[1:] != column[:-1]
    return new


def sorting_of(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """The permutation (M,) that sorts keys from 0 on, stably.

    If it fits, key and place are packed into one number: numpy sorts numbers faster.
    """
    bits = len(keys).bit_length()
    if int(keys.max(initial=0)).bit_length() + bits > 63:
        return np.argsort(keys, kind="stable")
    packed = keys << bits | np.arange(len(keys))
    packed.sort()
    return packed & ((1 << bits) - 1)
