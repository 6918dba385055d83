"""The n-grams of all orders in *ranges* of first pairs of words, each merged from all blocks.

The ranges are about equally long, and all n-grams that begin with one pair are in one range. So is
every context of two words or more, with its n-grams. In every order the ranges follow one another
as the sorted n-grams do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lmsuite.files.scratch import Scratch
from lmsuite.ngram.blocks import Counting, count_dtype
from lmsuite.ngram.discounts import counts_of_counts
from lmsuite.ngram.packing import Keys, Packing
from lmsuite.ngram.table import word_dtype
from lmsuite.ngram.workplace import Workplace
from lmsuite.text.vocabulary import BOS
from lmsuite.types import IntArray


class Part(NamedTuple):
    """The n-grams of one order in one range."""

    size: int
    kept: int
    """How many occur more often than the cut-off."""
    sentence_starts: list[int]
    """The first n-gram whose first word is ``<s>``, and the first after these."""
    openings: list[int]
    """As in `CountedOrder`. Both are counted from the range's first n-gram."""
    of_count: list[int]
    """How many occur 0, 1, ... times (`counts_of_counts`)."""


@dataclass(frozen=True)
class PartitionedCounts:
    """The n-grams of orders 2, 3, ...; their files are ``ngrams-order.range``.

    A file has two sections. The first has, of each n-gram, the index of all words but the last
    among the range's n-grams of order n - 1 (for bigrams the first word), and the last word. The
    second has the number of times that it occurs.
    """

    packing: Packing
    ranges: Keys
    """The first pair of each range but the first."""
    orders: list[list[Part]]
    """The ranges of each order."""
    opening_words: list[int]
    """The words at the beginning of a text, each once."""
    marks_openings: bool
    """Whether the openings are known; if not, they follow from the counts."""

    @property
    def parts(self) -> range:
        """The numbers of the ranges."""
        return range(len(self.ranges) + 1)

    @property
    def lengths(self) -> list[int]:
        """The number of n-grams of each order."""
        return [sum(part.size for part in parts) for parts in self.orders]

    def kept_before(self, n: int) -> list[int]:
        """(ranges + 1,) how many n-grams before each range are kept; at the end, of all."""
        return [0, *np.cumsum([part.kept for part in self.orders[n - 2]]).tolist()]


@dataclass(frozen=True)
class Merging:
    """How the n-grams of a range are merged from all blocks."""

    counting: Counting
    """How the blocks were counted."""
    blocks: int
    cutoffs: tuple[int, ...]
    """One an order."""

    @property
    def packing(self) -> Packing:
        """Of the n-grams."""
        return self.counting.packing

    def of_range(self, scratch: Scratch, part: int) -> tuple[list[Part], list[int]]:
        """Merge a section of all ``runs``, and write ``ngrams-order.range`` of all orders.

        Returns:
            What there is of each order, and the words at the beginning of a text, each once.
        """
        columns, count = merged_runs(scratch, self.counting.packing, self.blocks, part)
        opens = columns[-1] & np.uint64(1) == 1
        words = self.packing.words(columns, 0)[opens] - np.uint64(1)
        return self._split(scratch, columns, count, part), np.unique(words).tolist()

    def _split(
        self, scratch: Scratch, columns: list[Keys], count: IntArray, part: int
    ) -> list[Part]:
        """Write the n-grams of each order: the beginnings of the longest n-grams (M,)."""
        packing = self.packing
        first = packing.words(columns, 0)
        starts = np.searchsorted(first, np.array([BOS + 1, BOS + 2], np.uint64))
        opening = np.flatnonzero(columns[-1] & np.uint64(1))
        index: IntArray = (first - np.uint64(1)).astype(np.int32)  # of what begins each row
        new = np.ones(len(count), dtype=bool)
        new[1:] = first[1:] != first[:-1]
        word_kind = word_dtype(packing.vocabulary_size)
        count_kind = count_dtype(self.counting.is_long)
        parts = []
        for n, cutoff in enumerate(self.cutoffs[1:], start=2):
            word = packing.words(columns, n - 1)
            new[1:] |= word[1:] != word[:-1]
            rows = np.flatnonzero(new)
            is_ngram = word[rows] > 0
            total = np.add.reduceat(count, rows)[is_ngram] if len(rows) else count
            rows = rows[is_ngram]
            scratch.write(
                f"ngrams-{n}.{part}",
                [index[rows], (word[rows] - np.uint64(1)).astype(word_kind)],
                [total.astype(count_kind)],
            )
            begins = np.zeros(len(count), dtype=bool)
            begins[rows] = True
            index = np.cumsum(begins, dtype=np.int32) - np.int32(1)
            low, high = np.searchsorted(rows, starts).tolist()
            parts.append(
                Part(
                    len(rows),
                    int(np.count_nonzero(total > cutoff)),
                    [low, high],
                    np.unique(index[opening[word[opening] > 0]]).tolist(),
                    counts_of_counts(total).tolist(),
                )
            )
        return parts


class RareNgramError(Exception):
    """An n-gram occurs less often than those together that begin with it."""

    def __init__(self, words: list[int]) -> None:
        super().__init__(words)
        self.words = words


def merged_runs(
    scratch: Scratch, packing: Packing, blocks: int, part: int, *, marked: bool = True
) -> tuple[list[Keys], IntArray]:
    """The longest n-grams of a range, from all ``runs``, sorted, and how often each occurs.

    Args:
        scratch: the files.
        packing: of the n-grams.
        blocks: how many runs there are.
        part: the range.
        marked: whether n-grams at the beginning of a text stay apart.

    Raises:
        RareNgramError: counts from elsewhere contradict each other.
    """
    runs = [scratch.read(f"runs.{block}", part) for block in range(blocks)]
    *columns, count = (np.concatenate(arrays) for arrays in zip(*runs, strict=True))
    del runs
    if not marked:
        columns[-1] &= ~np.uint64(1)
    columns, count = packing.counted(columns, count)
    rare = np.flatnonzero(count < 0)[:1]
    if len(rare):
        words = (packing.words(columns, place)[rare] for place in range(packing.order))
        raise RareNgramError([int(word[0]) - 1 for word in words if word[0]])
    is_there = count != 0  # counts of texts that follow one another may be taken away again
    if is_there.all():
        return columns, count
    return [column[is_there] for column in columns], count[is_there]


def merged(merging: Merging, place: Workplace) -> PartitionedCounts:
    """The n-grams of all blocks, whose ``runs`` are removed."""
    ranges = merging.counting.ranges
    orders: list[list[Part]] = [[] for _ in merging.cutoffs[1:]]
    opening: set[int] = set()
    parts = range(len(ranges) + 1)
    for of_orders, words in place.stage("merged", merging.of_range, parts, "merging"):
        opening.update(words)
        for order, part in zip(orders, of_orders, strict=True):
            order.append(Part(*part))
    place.spent("runs")
    marked = merging.counting.form.marks_openings
    return PartitionedCounts(merging.packing, ranges, orders, sorted(opening), marked)
