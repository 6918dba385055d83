"""A text, or counts of it, in blocks: the n-grams of each are sorted, added, and written to disk.

Only the longest n-grams are counted, and those that the end of a sentence or of the text cuts
short: all others are the beginnings of these. In a text one begins at each position. Each block is
cut by the same *ranges* of first pairs of words.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lmsuite.files.disk_arrays import in_memory
from lmsuite.files.scratch import Scratch
from lmsuite.ngram.packing import Keys, Packing
from lmsuite.ngram.workplace import Workplace
from lmsuite.text.vocabulary import BOS
from lmsuite.types import IntArray

_STRETCH, _STRETCHES = 1 << 10, 1 << 8  # n-grams from which the ranges come
_LONG = 1 << 31  # the sum of counts that needs more than 31 bits


class Form(Protocol):
    """How the n-grams of a block are written down; it goes to the processes that count them."""

    @property
    def marks_openings(self) -> bool:
        """Whether the n-grams at the beginning of a text are marked (see `packing`)."""
        ...

    def packed(
        self, block: list[NDArray[Any]], size: int, packing: Packing
    ) -> tuple[list[Keys], IntArray | None]:
        """The columns of a block's n-grams, and their counts; None if each is there once."""
        ...


class Source(Protocol):
    """Where the longest n-grams of a text come from."""

    @property
    def form(self) -> Form:
        """How its blocks are written."""
        ...

    @property
    def total(self) -> int:
        """The sum of all counts."""
        ...

    @property
    def identity(self) -> dict[str, Any]:
        """Facts that tell it from others, beside its arrays."""
        ...

    @property
    def arrays(self) -> list[NDArray[Any]]:
        """All that it consists of."""
        ...

    def __len__(self) -> int:
        """The n-grams of all blocks."""
        ...

    def block(self, begin: int, end: int, order: int) -> list[NDArray[Any]]:
        """What has the n-grams, of at most `order` words, from `begin` to `end`."""
        ...


@dataclass(frozen=True)
class TextSource:
    """A text, ids (N,), which has an n-gram at each position; a mapped file or an array."""

    ids: IntArray
    sentences: bool
    """As for `count_ngrams`."""

    @property
    def form(self) -> Form:
        """Stretches of text."""
        return _Stretches(self.sentences)

    @property
    def total(self) -> int:
        """N."""
        return len(self.ids)

    @property
    def identity(self) -> dict[str, Any]:
        """Whether it is sentences."""
        return {"sentences": self.sentences}

    @property
    def arrays(self) -> list[NDArray[Any]]:
        """The ids."""
        return [self.ids]

    def __len__(self) -> int:
        return len(self.ids)

    def block(self, begin: int, end: int, order: int) -> list[NDArray[Any]]:
        """The ids from `begin` to `end`, the one before, and those that their n-grams reach.

        Before the text is ``<s>``.
        """
        around = in_memory(self.ids[max(begin - 1, 0) : end + order - 1])
        return [around if begin else np.insert(around, 0, BOS)]


@dataclass(frozen=True)
class _Stretches:
    """Words, and an n-gram at each of them but the first and the last ones."""

    sentences: bool

    @property
    def marks_openings(self) -> bool:
        return True

    def packed(
        self, block: list[NDArray[Any]], size: int, packing: Packing
    ) -> tuple[list[Keys], IntArray | None]:
        (around,), order = block, packing.order
        words = np.zeros(1 + size + order - 1, np.uint64)  # from the position before the block on
        words[: len(around)] = around
        words[: len(around)] += np.uint64(1)
        is_boundary = words == BOS + 1

        def places() -> Iterator[Keys]:
            yield words[1 : 1 + size]
            goes_on = np.ones(size, dtype=bool)
            for place in range(2, order + 1):
                goes_on &= ~is_boundary[place : place + size]
                yield words[place : place + size] * goes_on

        if self.sentences:
            return packing.pack(places(), np.zeros(size, dtype=bool)), None
        columns = packing.pack(places(), is_boundary[:size])
        begins = ~is_boundary[1 : 1 + size]
        return [column[begins] for column in columns], None


@dataclass(frozen=True)
class Counting:
    """How n-grams are counted."""

    packing: Packing
    ranges: Keys
    """The first pair of each range but the first; the n-grams that begin with one pair of words are
    never apart."""
    form: Form
    is_long: bool
    """Whether a sum of counts may have more than 31 bits."""

    def of_block(self, scratch: Scratch, task: tuple[int, int]) -> int:
        """Count the n-grams of a block.

        It reads ``text.block``: the n-grams in their form. It writes ``runs.block``: a section for
        each range, with the columns of its n-grams, sorted, and their counts.

        Args:
            scratch: the files.
            task: the number of the block, and how many n-grams it has.

        Returns:
            The number of different n-grams.
        """
        block, size = task
        columns, count = self.form.packed(scratch.read(f"text.{block}"), size, self.packing)
        columns, count = self.packing.counted(columns, count)
        count = count.astype(count_dtype(self.is_long))
        cuts = np.searchsorted(columns[0], self.packing.beginning_with(self.ranges)).tolist()
        scratch.write(
            f"runs.{block}",
            *(
                [*(column[begin:end] for column in columns), count[begin:end]]
                for begin, end in pairwise([0, *cuts, len(count)])
            ),
        )
        return len(count)


def count_dtype(is_long: bool) -> type[np.signedinteger[Any]]:
    """The type of counts."""
    return np.int64 if is_long else np.int32


def count_in_blocks(source: Source, block: int, packing: Packing, place: Workplace) -> Counting:
    """Count the n-grams of a source, in blocks of so many, which become ``runs``.

    Returns:
        How they were counted; so many n-grams as in a block are about those of a range.
    """

    def written() -> Iterator[tuple[int, int]]:
        for number, begin in enumerate(range(0, len(source), block)):
            end = min(begin + block, len(source))
            with place.here("text", number):
                place.scratch.write(f"text.{number}", source.block(begin, end, packing.order))
            yield number, end - begin

    ranges = ranges_for(source, packing, block)
    counting = Counting(packing, ranges, source.form, source.total >= _LONG)
    stage = place.stage(
        "runs",
        counting.of_block,
        written(),
        "counting",
        total=len(source),
        unit="tokens" if source.form.marks_openings else "n-grams",
        amount=block,
    )
    for number, _ in enumerate(stage):
        place.scratch.remove(f"text.{number}")
    return counting


def ranges_for(source: Source, packing: Packing, size: int) -> Keys:
    """The first pairs of ranges that have about so many n-grams of all blocks, but of the first.

    They come from stretches all over the source. An n-gram is taken once, as in a block, in which
    there are rather more that are alike: so the ranges are rather too small.
    """
    step = max(_STRETCH, -(-len(source) // _STRETCHES))
    columns: list[list[Keys]] = []
    taken = 0
    for begin in range(0, len(source), step):
        end = min(begin + _STRETCH, len(source))
        block = source.block(begin, end, packing.order)
        columns.append(source.form.packed(block, end - begin, packing)[0])
        taken += end - begin
    (first, *_), _ = packing.counted(
        [np.concatenate(parts) for parts in zip(*columns, strict=True)]
    )
    wanted = max(1, -(-len(source) * len(first) // (size * taken)))
    places = np.arange(1, wanted) * len(first) // wanted
    return np.unique(packing.pairs(first[places]))
