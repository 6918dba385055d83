"""The n-grams of all orders in *ranges* of first pairs of words, each merged from all blocks.

The ranges are about equally long, and all n-grams that begin with one pair are in one range. So is
every context of two words or more, with its n-grams. In every order the ranges follow one another
as the sorted n-grams do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lmsuite.executors import in_order
from lmsuite.files.disk_arrays import DiskArray
from lmsuite.ngram.blocks import Blocks
from lmsuite.ngram.discounts import counts_of_counts
from lmsuite.ngram.packing import Keys, Packing
from lmsuite.ngram.table import word_dtype
from lmsuite.progress import working
from lmsuite.text.vocabulary import BOS
from lmsuite.types import IntArray


class Part(NamedTuple):
    """The n-grams of one order in one range."""

    size: int
    kept: int
    """How many occur more often than the cut-off."""
    sentence_starts: slice
    openings: IntArray
    """Both as in `CountedOrder`, but counted from the range's first n-gram."""
    of_count: IntArray
    """How many occur 0, 1, ... times (`counts_of_counts`)."""


@dataclass(frozen=True)
class PartitionedOrder:
    """The n-grams of one order, from 2 on."""

    prefix: DiskArray
    """The index of all words but the last among the range's n-grams of order n - 1; for bigrams
    the first word."""
    word: DiskArray
    """The last word."""
    count: DiskArray
    """The number of times that the n-gram occurs."""
    begins: list[int]
    """Where each range begins in the arrays; there may be gaps between them."""
    parts: list[Part]

    def __len__(self) -> int:
        return sum(part.size for part in self.parts)

    def span(self, part: int) -> tuple[int, int]:
        """Where a range lies in the arrays."""
        return self.begins[part], self.begins[part] + self.parts[part].size

    def kept_before(self) -> list[int]:
        """(ranges + 1,) how many n-grams before each range are kept; at the end, of all."""
        return [0, *np.cumsum([part.kept for part in self.parts]).tolist()]


@dataclass(frozen=True)
class PartitionedCounts:
    """The n-grams of orders 2, 3, ..."""

    packing: Packing
    ranges: Keys
    """The first pair of each range but the first."""
    orders: list[PartitionedOrder]
    opening_words: IntArray
    """The words at the beginning of a text, each once."""

    def range_of(self, first: IntArray, second: IntArray) -> NDArray[np.uint16]:
        """The range (M,) of n-grams, from their first two words."""
        pairs = self.packing.pair(first, second)
        return np.searchsorted(self.ranges, pairs, side="right").astype(np.uint16)


def merged(
    blocks: Blocks, ngrams: int, cutoffs: tuple[int, ...], workers: int
) -> PartitionedCounts:
    """The n-grams of all blocks, in ranges of about so many.

    Args:
        blocks: of the text; their files are to be given up afterwards.
        ngrams: in a range, as far as pairs allow.
        cutoffs: one an order.
        workers: the processes that share the work.
    """
    packing = blocks.packing
    ranges = blocks.ranges(ngrams)
    cuts = blocks.cut(ranges)
    begins = (cuts - cuts[:, :1]).sum(axis=0).tolist()
    word_kind = word_dtype(packing.vocabulary_size)
    orders = [
        PartitionedOrder(
            DiskArray(np.int32, begins[-1]),
            DiskArray(word_kind, begins[-1]),
            DiskArray(blocks.count_dtype, begins[-1]),
            begins[:-1],
            [],
        )
        for _ in range(2, packing.order + 1)
    ]

    def one(part: int) -> tuple[list[Part], IntArray]:
        spans = cuts[:, part : part + 2].tolist()
        columns = [
            np.concatenate([column.read(*span) for span in spans]) for column in blocks.columns
        ]
        count = np.concatenate([blocks.count.read(*span) for span in spans])
        columns, count = packing.counted(columns, count)
        opens = columns[-1] & np.uint64(1) == 1
        words = packing.words(columns, 0)[opens] - np.uint64(1)
        return _split(packing, columns, count, orders, begins[part], cutoffs), np.unique(words)

    opening = []
    parts = range(len(ranges) + 1)
    with working("merging", len(parts), "parts") as work:
        for of_orders, words in in_order(one, parts, workers):
            opening.append(words)
            for order, part in zip(orders, of_orders, strict=True):
                order.parts.append(part)
            work.advance(1)
    return PartitionedCounts(packing, ranges, orders, np.unique(np.concatenate(opening)))


def _split(
    packing: Packing,
    columns: list[Keys],
    count: IntArray,
    orders: list[PartitionedOrder],
    begin: int,
    cutoffs: tuple[int, ...],
) -> list[Part]:
    """Write the n-grams of each order: the beginnings of the longest n-grams (M,)."""
    first = packing.words(columns, 0)
    starts = np.searchsorted(first, np.array([BOS + 1, BOS + 2], np.uint64))
    opening = np.flatnonzero(columns[-1] & np.uint64(1))
    index: IntArray = (first - np.uint64(1)).astype(np.int32)  # of the n-gram that begins each row
    new = np.ones(len(count), dtype=bool)
    new[1:] = first[1:] != first[:-1]
    parts = []
    for n, (order, cutoff) in enumerate(zip(orders, cutoffs[1:], strict=True), start=2):
        word = packing.words(columns, n - 1)
        new[1:] |= word[1:] != word[:-1]
        rows = np.flatnonzero(new)
        is_ngram = word[rows] > 0
        total = np.add.reduceat(count, rows)[is_ngram] if len(rows) else count
        rows = rows[is_ngram]
        order.prefix.write(begin, index[rows])
        order.word.write(begin, word[rows] - np.uint64(1))
        order.count.write(begin, total)
        begins = np.zeros(len(count), dtype=bool)
        begins[rows] = True
        index = np.cumsum(begins, dtype=np.int32) - np.int32(1)
        low, high = np.searchsorted(rows, starts).tolist()
        parts.append(
            Part(
                len(rows),
                int(np.count_nonzero(total > cutoff)),
                slice(low, high),
                np.unique(index[opening[word[opening] > 0]]),
                counts_of_counts(total),
            )
        )
    return parts
