"""Kneser-Ney on many cores within a given amount of memory: the same numbers, in parts.

1. `blocks`: the n-grams of each block of the text are sorted and counted.
2. `partitions`: each range of n-grams is merged from all blocks, and gives all orders.
3. `exchange`: the ranges tell each other where the ends of n-grams are, for adjusted counts.
4. `smoothing_in_parts`: each range is smoothed, with the probabilities of the ends of its n-grams.

Every step is a list of tasks, which read files and write files.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lmsuite.errors import UsageError
from lmsuite.files.disk_arrays import DiskArray
from lmsuite.ngram.blocks import count_in_blocks
from lmsuite.ngram.discounts import counts_of_counts
from lmsuite.ngram.exchange import Suffixes, suffixes_of
from lmsuite.ngram.memory import resident_bytes, with_unit
from lmsuite.ngram.packing import Packing
from lmsuite.ngram.partitions import PartitionedCounts, PartitionedOrder, merged
from lmsuite.progress import each
from lmsuite.text.vocabulary import BOS
from lmsuite.types import IntArray

_IN_CACHE = 1 << 20  # n-grams that are worked on fast: larger parts save no time
_MOST_PARTS = 1 << 10  # but every range reads from every block and from every range
_FEWEST = 1 << 16  # n-grams that a part may be limited to
_MOST_RANGES = 1 << 15  # numbers of ranges have 16 bits
_BYTES_A_WORD = 100  # of the vocabulary
_BYTES_AN_NGRAM = 150  # for a block or a range while it is worked on
_BYTES_A_COLUMN = 24  # more, for each column of keys


@dataclass(frozen=True)
class Plan:
    """How the work is cut."""

    workers: int
    """Processes that share the work."""
    part: int
    """Positions of a block, and n-grams of a range."""


def planned(memory: int, tokens: int, packing: Packing, threads: int) -> Plan:
    """The plan for so much memory, in bytes; it may have fewer workers than threads.

    Raises:
        UsageError: the memory is too little for this text.
    """
    resident = resident_bytes()
    of_words = _BYTES_A_WORD * packing.vocabulary_size
    of_ngram = _BYTES_AN_NGRAM + _BYTES_A_COLUMN * len(packing.words_of_column)
    fewest = max(_FEWEST, tokens // _MOST_RANGES)
    for workers in range(threads, 0, -1):
        processes = workers + 1 if workers > 1 else 1  # each has what this process has now
        left = memory - of_words - resident * processes
        ngrams = left // (of_ngram * workers)
        if ngrams >= fewest:
            part = min(ngrams, max(_IN_CACHE, tokens // _MOST_PARTS))
            return Plan(workers, part)
    least = resident + of_words + fewest * of_ngram
    raise UsageError(
        f"{{memory}} {with_unit(memory)} is too little for a text of {tokens:,} tokens; "
        f"give {with_unit(least)} or more",
        "memory",
        value=memory,
    )


@dataclass(frozen=True)
class Counts:
    """The counts of all orders that a smoothing works with: adjusted counts, or occurrences."""

    unigrams: IntArray
    """(V,) the counts of unigrams."""
    longer: PartitionedCounts | None
    """The longer n-grams; None for order 1."""
    counted: list[DiskArray]
    """The counts of orders 2, 3, ..."""
    suffixes: list[Suffixes]
    """Of orders 3, 4, ..."""
    of_count: list[IntArray]
    """The `counts_of_counts` of each order."""

    @property
    def orders(self) -> list[PartitionedOrder]:
        """The n-grams of orders 2, 3, ..."""
        return self.longer.orders if self.longer else []

    @property
    def lengths(self) -> list[int]:
        """The number of n-grams of each order."""
        return [len(self.unigrams), *map(len, self.orders)]


def counted_in_parts(
    ids: IntArray,
    unigrams: IntArray,
    cutoffs: tuple[int, ...],
    plan: Plan,
    *,
    sentences: bool,
    adjusted: bool,
) -> Counts:
    """As `count_ngrams`, and `adjusted_counts` if these are asked for.

    Args:
        ids: (N,) the text.
        unigrams: (V,) how often each id occurs.
        cutoffs: one an order.
        plan: how the work is cut.
        sentences: as for `count_ngrams`.
        adjusted: whether the counts are to be adjusted.
    """
    unigrams = unigrams.copy()
    unigrams[BOS] = 0
    if len(cutoffs) == 1:
        return Counts(unigrams, None, [], [], [counts_of_counts(unigrams)])
    packing = Packing(len(unigrams), len(cutoffs))
    blocks = count_in_blocks(
        ids, packing, sentences=sentences, block=plan.part, workers=plan.workers
    )
    longer = merged(blocks, plan.part, cutoffs, plan.workers)
    del blocks
    counted = [order.count for order in longer.orders]
    of_count = [np.sum([part.of_count for part in order.parts], axis=0) for order in longer.orders]
    suffixes: list[Suffixes] = []
    for n in each("adjusting", range(3, len(cutoffs) + 1), "orders"):
        shorter = suffixes[-1] if suffixes else None
        of_order, counts, of_counts = suffixes_of(longer, n, shorter, plan.workers)
        suffixes.append(of_order)
        if adjusted:
            counted[n - 3], of_count[n - 3] = counts, of_counts
    if adjusted:
        unigrams = _adjusted_unigrams(longer)
    of_count.insert(0, counts_of_counts(unigrams))
    return Counts(unigrams, longer, counted, suffixes, of_count)


def _adjusted_unigrams(longer: PartitionedCounts) -> IntArray:
    bigrams = longer.orders[0]
    continuations = np.zeros(longer.packing.vocabulary_size, np.int64)
    for part in range(len(bigrams.parts)):
        np.add.at(continuations, bigrams.word.read(*bigrams.span(part)), 1)
    continuations[longer.opening_words] += 1
    continuations[BOS] = 0
    return continuations
