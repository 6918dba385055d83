"""What one range needs of another: the n-gram without its first word may begin with any pair.

A range asks each other range for the n-grams of order n - 1 that its n-grams end with, and is told
their places there. These places give the adjusted counts: an n-gram is asked for once for each word
that precedes it. Later, the values of these n-grams go the same way back.

An end is asked for as (the place of the end of its prefix, its last word), for the prefix's end is
known by then. This is one number, and the n-grams of a range are sorted by it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lmsuite.files.scratch import Scratch
from lmsuite.ngram.discounts import counts_of_counts
from lmsuite.ngram.packing import Keys, Packing, sorting_of
from lmsuite.ngram.partitions import Part, PartitionedCounts
from lmsuite.ngram.workplace import Workplace
from lmsuite.types import BoolArray, IntArray


@dataclass(frozen=True)
class Suffixes:
    """For each n-gram of one order, from 3 on, where its words but the first are.

    Each range has ``sorting-order.range``, the permutation that sorts its n-grams by the ranges and
    places of their suffixes, and ``places-order.range``, a section for each range that asks: the
    indexes of what it asks for among the n-grams of this range.
    """

    n: int
    parts: int
    """The number of ranges."""

    def values(self, scratch: Scratch, part: int, answers: str) -> NDArray[Any]:
        """The values (M,) of the suffixes of a range's n-grams.

        Args:
            scratch: the files.
            part: the range.
            answers: the name of their files, which lie as the places do.
        """
        sorting = scratch.read(f"sorting-{self.n}.{part}")[0]
        return _unsorted(sorting, self._answered(scratch, part, answers))

    def places(self, scratch: Scratch, part: int) -> tuple[IntArray, IntArray]:
        """The ranges (M,) of the suffixes of a range's n-grams, and the indexes (M,) there."""
        found = self._answered(scratch, part, f"places-{self.n}")
        ranges = np.repeat(np.arange(self.parts, dtype=np.uint16), [len(index) for index in found])
        sorting = scratch.read(f"sorting-{self.n}.{part}")[0]
        return _unsorted(sorting, [ranges]), _unsorted(sorting, found)

    def answer(self, scratch: Scratch, part: int, answers: str, values: NDArray[Any]) -> None:
        """Tell all ranges the values (M,) that they ask this range for."""
        scratch.write(
            f"{answers}.{part}",
            *([values[index]] for (index,) in scratch.sections(f"places-{self.n}.{part}")),
        )

    def _answered(self, scratch: Scratch, part: int, answers: str) -> list[NDArray[Any]]:
        return [scratch.read(f"{answers}.{other}", part)[0] for other in range(self.parts)]


def _unsorted(sorting: IntArray, sorted_values: list[NDArray[Any]]) -> NDArray[Any]:
    together = np.concatenate(sorted_values)
    values = np.empty_like(together)
    values[sorting] = together
    return values


class MissingEndError(Exception):
    """There is an n-gram, but not its words without the first; counts from elsewhere may be so."""

    def __init__(self, words: list[int]) -> None:
        super().__init__(words)
        self.words = words


class _Answering(NamedTuple):
    """The range that answers, and what is known of its n-grams of order n - 1."""

    part: int
    sentence_starts: list[int]
    openings: list[int]


@dataclass(frozen=True)
class _Exchange:
    """The questions of order n, and their answers."""

    n: int
    packing: Packing
    ranges: Keys
    marks_openings: bool
    """As in `PartitionedCounts`; if not, the questions come with the counts of those who ask."""

    @property
    def suffixes(self) -> Suffixes:
        return Suffixes(self.n, len(self.ranges) + 1)

    def ask(self, scratch: Scratch, part: int) -> None:
        """Write ``questions-order.range``, a section for each range that is asked."""
        n, size = self.n, self.packing.vocabulary_size
        prefix, word = scratch.read(f"ngrams-{n}.{part}")
        if n == 3:
            middle = scratch.read(f"ngrams-2.{part}")[1][prefix]
            target = self._range_of(middle, word)
        else:
            shorter = Suffixes(n - 1, len(self.ranges) + 1)
            target, middle = (values[prefix] for values in shorter.places(scratch, part))
        question = middle.astype(np.int64) * size + word
        # Sorted questions are answered several times faster.
        by_question = sorting_of(question)
        by_range = by_question[np.argsort(target[by_question], kind="stable")]
        scratch.write(f"sorting-{n}.{part}", [by_range.astype(np.int32)])
        ends = np.cumsum(np.bincount(target, minlength=len(self.ranges) + 1))[:-1]
        asked = [np.split(question[by_range], ends)]
        if not self.marks_openings:
            count = scratch.read(f"ngrams-{n}.{part}", 1)[0]
            asked.append(np.split(count[by_range], ends))
        scratch.write(f"questions-{n}.{part}", *map(list, zip(*asked, strict=True)))

    def _range_of(self, first: IntArray, second: IntArray) -> NDArray[np.uint16]:
        """The range (M,) of n-grams, from their first two words."""
        pairs = self.packing.pair(first, second)
        return np.searchsorted(self.ranges, pairs, side="right").astype(np.uint16)

    def answer(self, scratch: Scratch, task: _Answering) -> list[int]:
        """Write ``places-order.range``, and the ``adjusted`` counts of order n - 1.

        Returns:
            How many n-grams have the adjusted counts 0, 1, ...
        """
        n, below = self.n, f"ngrams-{self.n - 1}.{task.part}"
        prefix, word = scratch.read(below)
        known = prefix.astype(np.int64) * self.packing.vocabulary_size + word
        continuations = np.zeros(len(known), np.int64)
        (count,) = scratch.read(below, 1)
        unpreceded = count.astype(np.int64)  # how often nothing precedes, if that is not marked
        places = []
        for asker in range(len(self.ranges) + 1):
            questions, *counts = scratch.read(f"questions-{n}.{asker}", task.part)
            index = np.searchsorted(known, questions)
            if counts:
                is_found = np.append(known, -1)[index] == questions
                self._require_found(scratch, task.part, asker, is_found)
            np.add.at(continuations, index, 1)
            places.append([index.astype(np.int32)])
            if counts:
                np.subtract.at(unpreceded, index, counts[0])
        scratch.write(f"places-{n}.{task.part}", *places)
        continuations[task.openings] += 1
        if not self.marks_openings:
            continuations += unpreceded > 0
        starts = slice(*task.sentence_starts)
        continuations[starts] = count[starts]
        scratch.write(f"adjusted-{n - 1}.{task.part}", [continuations.astype(count.dtype)])
        of_count: list[int] = counts_of_counts(continuations).tolist()
        return of_count

    def _require_found(self, scratch: Scratch, part: int, asker: int, is_found: BoolArray) -> None:
        """Name an n-gram whose end, for which range `asker` asks this range, is not there."""
        if is_found.all():
            return
        before = sum(
            len(scratch.read(f"questions-{self.n}.{asker}", other)[0]) for other in range(part)
        )
        place = before + int(np.argmin(is_found))
        index = int(scratch.read(f"sorting-{self.n}.{asker}")[0][place])
        words: list[int] = []
        for n in range(self.n, 1, -1):
            prefix, word = scratch.read(f"ngrams-{n}.{asker}")
            words.insert(0, int(word[index]))
            index = int(prefix[index])
        raise MissingEndError([index, *words])


def suffixes_of(counts: PartitionedCounts, n: int, place: Workplace) -> tuple[Suffixes, IntArray]:
    """The suffixes of order n, after those of order n - 1 if n is above 3.

    It also writes ``adjusted-order.range``: the adjusted counts of order n - 1, as
    `adjusted_counts` has them.

    Returns:
        The suffixes, and how many n-grams have the adjusted counts 0, 1, ...
    """
    exchange = _Exchange(n, counts.packing, counts.ranges, counts.marks_openings)
    parts = counts.parts
    list(place.stage(f"asked-{n}", exchange.ask, parts, f"looking up {n}-grams"))
    below: list[Part] = counts.orders[n - 3]
    tasks = [_Answering(part, below[part].sentence_starts, below[part].openings) for part in parts]
    answers = place.stage(f"answered-{n}", exchange.answer, tasks, f"adjusting {n - 1}-grams")
    of_count = np.sum(list(answers), axis=0)
    place.spent(f"questions-{n}")
    return exchange.suffixes, of_count
