"""The text in blocks: the n-grams of each block are sorted, counted, and written to disk.

An n-gram belongs to the block in which it begins. Only the longest n-grams are counted, and those
that the end of a sentence or of the text cuts short: all others are the beginnings of these.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from lmsuite.executors import in_order
from lmsuite.files.disk_arrays import DiskArray, in_memory
from lmsuite.ngram.packing import Keys, Packing
from lmsuite.progress import working
from lmsuite.text.vocabulary import BOS
from lmsuite.types import IntArray

_SAMPLES = 1 << 10  # n-grams of a block that are in the sample
_SHORT = 1 << 31  # tokens; in a shorter text every count has 31 bits


@dataclass(frozen=True)
class Blocks:
    """The n-grams of all blocks."""

    packing: Packing
    columns: list[DiskArray]
    """The columns of the n-grams; those of a block begin where the block does in the text."""
    count: DiskArray
    spans: list[tuple[int, int]]
    """Where the n-grams of each block begin and end in the arrays."""
    sample: Keys
    """Some of the first column, sorted."""

    @property
    def count_dtype(self) -> type[np.signedinteger[Any]]:
        """What can hold the sum of all counts."""
        return np.int32 if len(self.count) < _SHORT else np.int64

    def __len__(self) -> int:
        return sum(end - begin for begin, end in self.spans)

    def ranges(self, ngrams: int) -> Keys:
        """The first pairs of ranges of about so many n-grams, but of the first range.

        The n-grams that begin with one pair of words are never apart.
        """
        wanted = -(-len(self) // ngrams)
        places = np.arange(1, wanted) * len(self.sample) // wanted
        return np.unique(self.packing.pairs(self.sample[places]))

    def cut(self, ranges: Keys) -> IntArray:
        """Where each range begins in each block, and the end of the last: (blocks, ranges + 1)."""
        keys = self.packing.beginning_with(ranges)
        first = self.columns[0].mapped()
        cuts = [
            [begin, *(begin + np.searchsorted(first[begin:end], keys)).tolist(), end]
            for begin, end in self.spans
        ]
        return np.array(cuts, dtype=np.int64)


def count_in_blocks(
    ids: IntArray, packing: Packing, *, sentences: bool, block: int, workers: int
) -> Blocks:
    """The n-grams of ids (N,), in blocks of so many positions.

    Args:
        ids: as for `count_ngrams`; a mapped file or an array.
        packing: of the n-grams.
        sentences: as for `count_ngrams`.
        block: the positions of a block.
        workers: the processes that share the work.
    """
    columns = [DiskArray(np.uint64, len(ids)) for _ in packing.words_of_column]
    count = DiskArray(np.int32, len(ids))

    def one(begin: int) -> tuple[int, Keys]:
        end = min(begin + block, len(ids))
        distinct, counts = packing.counted(_keys(ids, begin, end, packing, sentences))
        for column, keys in zip(columns, distinct, strict=True):
            column.write(begin, keys)
        count.write(begin, counts)
        return len(counts), distinct[0][:: max(1, block // _SAMPLES)].copy()

    spans, samples = [], []
    begins = range(0, len(ids), block)
    with working("counting", len(ids), "tokens") as work:
        for begin, (size, sample) in zip(begins, in_order(one, begins, workers), strict=True):
            spans.append((begin, begin + size))
            samples.append(sample)
            work.advance(min(block, len(ids) - begin))
    return Blocks(packing, columns, count, spans, np.sort(np.concatenate(samples)))


def _keys(ids: IntArray, begin: int, end: int, packing: Packing, sentences: bool) -> list[Keys]:
    """The packed n-grams that begin at these positions."""
    size, order = end - begin, packing.order
    words = np.zeros(1 + size + order - 1, np.uint64)  # from the position before the block on
    words[0] = BOS + 1
    before = min(begin, 1)
    around = in_memory(ids[begin - before : end + order - 1])
    words[1 - before : 1 - before + len(around)] = around
    words[1 - before : 1 - before + len(around)] += np.uint64(1)
    is_boundary = words == BOS + 1

    def places() -> Iterator[Keys]:
        yield words[1 : 1 + size]
        goes_on = np.ones(size, dtype=bool)
        for place in range(2, order + 1):
            goes_on &= ~is_boundary[place : place + size]
            yield words[place : place + size] * goes_on

    if sentences:
        return packing.pack(places(), np.zeros(size, dtype=bool))
    columns = packing.pack(places(), is_boundary[:size])
    begins = ~is_boundary[1 : 1 + size]
    return [column[begins] for column in columns]
