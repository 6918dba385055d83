"""What one range needs of another: the n-gram without its first word may begin with any pair.

A range asks each other range for the n-grams of order n - 1 that its n-grams end with, and is told
their places there. These places give the adjusted counts: an n-gram is asked for once for each word
that precedes it. Later, the values of these n-grams go the same way back.

An end is asked for as (the place of the end of its prefix, its last word), for the prefix's end is
known by then. This is one number, and the n-grams of a range are sorted by it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmsuite.executors import in_order
from lmsuite.files.disk_arrays import DiskArray
from lmsuite.ngram.discounts import counts_of_counts
from lmsuite.ngram.packing import sorting_of
from lmsuite.ngram.partitions import PartitionedCounts, PartitionedOrder
from lmsuite.types import IntArray


@dataclass(frozen=True)
class Suffixes:
    """For each n-gram of one order, from 3 on, where its words but the first are."""

    order: PartitionedOrder
    sorting: DiskArray
    """The permutation of each range's n-grams that sorts them by the places of their suffixes; it
    lies where the n-grams do."""
    place: DiskArray
    """The index of the suffix in its range; it lies in the range of the suffix, where there is a
    section for each range that asks."""
    asked: NDArray[np.int64]
    """(ranges, ranges) how many suffixes the n-grams of one range (row) have in another."""

    def asked_of(self, part: int) -> Iterator[tuple[int, int]]:
        """The section of each range that asks this range."""
        for asker in range(len(self.asked)):
            yield self._section(part, asker)

    def values(self, part: int, answers: DiskArray) -> NDArray[Any]:
        """The values (M,) of the suffixes of a range's n-grams; `answers` lie as `place` does."""
        return self._unsorted(
            part,
            [answers.read(*self._section(other, part)) for other in range(len(self.asked))],
        )

    def ranges(self, part: int) -> NDArray[Any]:
        """The ranges (M,) of the suffixes of a range's n-grams."""
        return self._unsorted(part, [np.repeat(self._parts, self.asked[part])])

    @property
    def _parts(self) -> NDArray[np.uint16]:
        return np.arange(len(self.asked), dtype=np.uint16)

    def _unsorted(self, part: int, sorted_values: list[NDArray[Any]]) -> NDArray[Any]:
        values = np.concatenate(sorted_values)
        values[self.sorting.read(*self.order.span(part))] = values.copy()
        return values

    def _section(self, part: int, asker: int) -> tuple[int, int]:
        begin = int(self.asked[:, :part].sum() + self.asked[:asker, part].sum())
        return begin, begin + int(self.asked[asker, part])


def suffixes_of(
    counts: PartitionedCounts, n: int, shorter: Suffixes | None, workers: int
) -> tuple[Suffixes, DiskArray, IntArray]:
    """The suffixes of order n, from those of order n - 1 if n is above 3.

    Returns:
        The suffixes; the adjusted counts of order n - 1, as `adjusted_counts` has them; and how
        many n-grams have the adjusted counts 0, 1, ...
    """
    order, below = counts.orders[n - 2], counts.orders[n - 3]
    parts = range(len(order.parts))
    size = counts.packing.vocabulary_size
    questions = DiskArray(np.int64, len(order.word))
    sorting = DiskArray(np.int32, len(order.word))

    def ask(part: int) -> IntArray:
        prefix, word = order.prefix.read(*order.span(part)), order.word.read(*order.span(part))
        if shorter is None:
            middle = below.word.read(*below.span(part))[prefix]
            target = counts.range_of(middle, word)
        else:
            middle = shorter.values(part, shorter.place)[prefix]
            target = shorter.ranges(part)[prefix]
        question = middle.astype(np.int64) * size + word
        # Sorted questions are answered several times faster.
        by_question = sorting_of(question)
        by_range = by_question[np.argsort(target[by_question], kind="stable")]
        sorting.write(order.begins[part], by_range)
        questions.write(order.begins[part], question[by_range])
        return np.bincount(target, minlength=len(parts))

    asked = np.array(list(in_order(ask, parts, workers))).reshape(len(parts), len(parts))
    place = DiskArray(np.int32, len(order))
    suffixes = Suffixes(order, sorting, place, asked)
    adjusted = DiskArray(np.int64, len(below.word))

    def answer(part: int) -> IntArray:
        span = below.span(part)
        known = below.prefix.read(*span).astype(np.int64) * size + below.word.read(*span)
        continuations = np.zeros(len(known), np.int64)
        for asker, (begin, end) in enumerate(suffixes.asked_of(part)):
            first = order.begins[asker] + int(asked[asker, :part].sum())
            index = np.searchsorted(known, questions.read(first, first + end - begin))
            place.write(begin, index)
            np.add.at(continuations, index, 1)
        of_part = below.parts[part]
        continuations[of_part.openings] += 1
        counted = below.count.read(*span)
        continuations[of_part.sentence_starts] = counted[of_part.sentence_starts]
        adjusted.write(span[0], continuations)
        return counts_of_counts(continuations)

    of_count = np.sum(list(in_order(answer, parts, workers)), axis=0)
    return suffixes, adjusted, of_count
