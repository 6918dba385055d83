"""Estimation on many cores or machines within a given amount of memory: the same numbers, in parts.

1. `blocks`: the n-grams of each block of the text are sorted and counted.
2. `partitions`: each range of n-grams is merged from all blocks, and gives all orders.
3. `exchange`: the ranges tell each other where the ends of n-grams are, for adjusted counts.
4. `smoothing_in_parts`: each range is smoothed, with the probabilities of the ends of its n-grams.

Every step is a stage: a list of tasks, which read files and write files (`workplace`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lmsuite.ngram.blocks import Source, count_in_blocks
from lmsuite.ngram.discounts import counts_of_counts
from lmsuite.ngram.exchange import MissingEndError, Suffixes, suffixes_of
from lmsuite.ngram.packing import Packing
from lmsuite.ngram.partitions import Merging, Part, PartitionedCounts, merged
from lmsuite.ngram.workplace import Workplace
from lmsuite.text.vocabulary import BOS
from lmsuite.types import IntArray


@dataclass(frozen=True)
class Counts:
    """The counts of all orders that a smoothing works with: adjusted counts, or occurrences."""

    unigrams: IntArray
    """(V,) the counts of unigrams."""
    longer: PartitionedCounts | None
    """The longer n-grams; None for order 1."""
    counted: list[tuple[str, int]]
    """The counts of orders 2, 3, ...: the folder of their files, and the section."""
    suffixes: list[Suffixes]
    """Of orders 3, 4, ..."""
    of_count: list[IntArray]
    """The `counts_of_counts` of each order."""

    @property
    def orders(self) -> list[list[Part]]:
        """The n-grams of orders 2, 3, ..., range by range."""
        return self.longer.orders if self.longer else []

    @property
    def lengths(self) -> list[int]:
        """The number of n-grams of each order."""
        return [len(self.unigrams), *(sum(part.size for part in order) for order in self.orders)]


def counted_in_parts(
    source: Source,
    unigrams: IntArray,
    cutoffs: tuple[int, ...],
    part: int,
    place: Workplace,
    *,
    adjusted: bool,
) -> Counts:
    """As `count_ngrams`, and `adjusted_counts` if these are asked for.

    Args:
        source: of the n-grams.
        unigrams: (V,) how often each id occurs.
        cutoffs: one an order.
        part: the n-grams of a block and of a range.
        place: where the work is done.
        adjusted: whether the counts are to be adjusted.

    Raises:
        MissingEndError: counts lack the end of an n-gram that they have.
    """
    unigrams = unigrams.copy()
    unigrams[BOS] = 0
    order = len(cutoffs)
    if order == 1:
        return Counts(unigrams, None, [], [], [counts_of_counts(unigrams)])
    counting = count_in_blocks(source, part, Packing(len(unigrams), order), place)
    blocks = -(-len(source) // part)
    longer = merged(Merging(counting, blocks, cutoffs), place)
    if not longer.marks_openings:
        _require_words(unigrams, longer, place)
    counted = [(f"ngrams-{n}", 1) for n in range(2, order + 1)]
    of_count = [np.sum([part.of_count for part in parts], axis=0) for parts in longer.orders]
    suffixes: list[Suffixes] = []
    for n in range(3, order + 1):
        of_order, of_counts = suffixes_of(longer, n, place)
        suffixes.append(of_order)
        if adjusted:
            counted[n - 3], of_count[n - 3] = (f"adjusted-{n - 1}", 0), of_counts
    if adjusted:
        (unigrams,) = place.once("unigrams", lambda: [_adjusted(unigrams, longer, place)])
    of_count.insert(0, counts_of_counts(unigrams))
    return Counts(unigrams, longer, counted, suffixes, of_count)


def _adjusted(unigrams: IntArray, longer: PartitionedCounts, place: Workplace) -> IntArray:
    """The adjusted counts (V,) of unigrams that occur so often."""
    continuations, preceded = np.zeros((2, len(unigrams)), np.int64)
    for part in longer.parts:
        _, word = place.scratch.read(f"ngrams-2.{part}")
        np.add.at(continuations, word, 1)
        if not longer.marks_openings:
            np.add.at(preceded, word, place.scratch.read(f"ngrams-2.{part}", 1)[0])
    if longer.marks_openings:
        continuations[longer.opening_words] += 1
    else:
        continuations += unigrams > preceded
    continuations[BOS] = 0
    return continuations


def _require_words(unigrams: IntArray, longer: PartitionedCounts, place: Workplace) -> None:
    for part in longer.parts:
        prefix, word = place.scratch.read(f"ngrams-2.{part}")
        missing = np.flatnonzero(unigrams[word] == 0)[:1]
        if len(missing):
            raise MissingEndError([int(prefix[missing[0]]), int(word[missing[0]])])
