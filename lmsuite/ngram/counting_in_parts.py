"""The counts of a text in parts: for a file of counts, and as lists of n-grams."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np

from lmsuite.files.disk_arrays import DiskArray
from lmsuite.files.scratch import Scratch
from lmsuite.ngram.blocks import Source, count_in_blocks
from lmsuite.ngram.count_lines import ListedNgrams, in_pieces
from lmsuite.ngram.longest import NOTHING, LongestNgrams
from lmsuite.ngram.packing import Packing
from lmsuite.ngram.partitions import Merging, merged, merged_runs
from lmsuite.ngram.workplace import Workplace
from lmsuite.text.vocabulary import BOS
from lmsuite.types import IntArray


@dataclass(frozen=True)
class _Listing:
    """How the longest n-grams of a range are listed."""

    packing: Packing
    blocks: int

    def of_range(self, scratch: Scratch, part: int) -> None:
        """Write ``longest.range``: the words of all n-grams, side by side, and their counts."""
        columns, count = merged_runs(scratch, self.packing, self.blocks, part, marked=False)
        rows = np.empty((len(count), self.packing.order), np.int32)
        for place in range(self.packing.order):
            # 0 stands for no word, 1 for the word 0.
            rows[:, place] = self.packing.words(columns, place).astype(np.int32) + NOTHING
        scratch.write(f"longest.{part}", [rows.ravel(), count.astype(np.int64)])


def longest_in_parts(
    source: Source, unigrams: IntArray, order: int, memory: int | None, place: Workplace
) -> LongestNgrams:
    """As `LongestNgrams.of`; they stay on disk.

    Args:
        source: of the n-grams.
        unigrams: (V,) how often each id occurs.
        order: the greatest length.
        memory: as for `estimate`.
        place: where the work is done.

    Raises:
        UsageError: the memory is too little for this text.
    """
    if order == 1:
        unigrams = unigrams.copy()
        unigrams[BOS] = 0
        (seen,) = np.nonzero(unigrams)
        return LongestNgrams(seen.astype(np.int32)[:, None], unigrams[seen])
    packing = Packing(len(unigrams), order)
    part = place.begin({}, place.planned(memory, len(source), packing))
    counting = count_in_blocks(source, part, packing, place)
    listing = _Listing(packing, -(-len(source) // part))
    words, counts = DiskArray(np.int32), DiskArray(np.int64)
    parts = range(len(counting.ranges) + 1)
    for number, _ in enumerate(place.stage("longest", listing.of_range, parts, "merging")):
        rows, count = place.scratch.read(f"longest.{number}")
        words.append(rows)
        counts.append(count)
        place.scratch.remove(f"longest.{number}")
    place.spent("runs")
    return LongestNgrams(words.mapped().reshape(-1, order), counts.mapped())


def listed_in_parts(
    source: Source, unigrams: IntArray, order: int, memory: int | None, place: Workplace
) -> Iterator[ListedNgrams]:
    """As `listed_ngrams`; arguments and errors as for `longest_in_parts`."""
    unigrams = unigrams.copy()
    unigrams[BOS] = 0
    yield from in_pieces([np.arange(len(unigrams))], unigrams)
    if order == 1:
        return
    packing = Packing(len(unigrams), order)
    part = place.begin({}, place.planned(memory, len(source), packing))
    counting = count_in_blocks(source, part, packing, place)
    cutoffs = (0,) * order
    longer = merged(Merging(counting, -(-len(source) // part), cutoffs), place)
    for n in range(2, order + 1):
        yield from chain.from_iterable(_listed(place.scratch, n, at) for at in longer.parts)


def _listed(scratch: Scratch, n: int, part: int) -> Iterator[ListedNgrams]:
    """The n-grams of order n in a range."""
    (count,) = scratch.read(f"ngrams-{n}.{part}", 1)
    columns: list[IntArray] = []
    at: IntArray = np.arange(len(count))  # of the beginning of each n-gram
    for length in range(n, 1, -1):
        prefix, word = scratch.read(f"ngrams-{length}.{part}")
        columns.insert(0, word[at])
        at = prefix[at]
    yield from in_pieces([at, *columns], count)
