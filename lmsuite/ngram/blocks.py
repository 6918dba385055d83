"""The text in blocks: the n-grams of each block are sorted, counted, and written to disk.

An n-gram belongs to the block in which it begins. Only the longest n-grams are counted, and those
that the end of a sentence or of the text cuts short: all others are the beginnings of these. Each
block is cut by the same *ranges* of first pairs of words.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from lmsuite.files.disk_arrays import in_memory
from lmsuite.files.scratch import Scratch
from lmsuite.ngram.packing import Keys, Packing
from lmsuite.ngram.workplace import Workplace
from lmsuite.text.vocabulary import BOS
from lmsuite.types import IntArray

_STRETCH, _STRETCHES = 1 << 10, 1 << 8  # positions of the text from which the ranges come


@dataclass(frozen=True)
class Counting:
    """How the n-grams of a text are counted."""

    packing: Packing
    ranges: Keys
    """The first pair of each range but the first; the n-grams that begin with one pair of words are
    never apart."""
    sentences: bool
    """As for `count_ngrams`."""

    def of_block(self, scratch: Scratch, task: tuple[int, int]) -> int:
        """Count the n-grams that begin in a block of the text.

        It reads ``text.block``: the words around the block. It writes ``runs.block``: a section
        for each range, with the columns of its n-grams, sorted, and their counts.

        Args:
            scratch: the files.
            task: the number of the block, and its positions.

        Returns:
            The number of n-grams.
        """
        block, size = task
        (around,) = scratch.read(f"text.{block}")
        columns, count = self.packing.counted(
            keys_of(around, size, self.packing, sentences=self.sentences)
        )
        count = count.astype(np.int32)
        cuts = np.searchsorted(columns[0], self.packing.beginning_with(self.ranges)).tolist()
        scratch.write(
            f"runs.{block}",
            *(
                [*(column[begin:end] for column in columns), count[begin:end]]
                for begin, end in pairwise([0, *cuts, len(count)])
            ),
        )
        return len(count)


def count_in_blocks(ids: IntArray, block: int, counting: Counting, place: Workplace) -> int:
    """Count the n-grams of ids (N,), in blocks of so many positions, which become ``runs``.

    Returns:
        The number of blocks.
    """
    order = counting.packing.order

    def written() -> Iterator[tuple[int, int]]:
        for number, begin in enumerate(begins):
            around = words_around(ids, begin, block, order)
            place.scratch.write(f"text.{number}", [around])
            yield number, min(block, len(ids) - begin)

    begins = range(0, len(ids), block)
    stage = place.stage(
        "runs",
        counting.of_block,
        written(),
        "counting",
        total=len(ids),
        unit="tokens",
        amount=block,
    )
    for number, _ in enumerate(stage):
        place.scratch.remove(f"text.{number}")
    return len(begins)


def words_around(ids: IntArray, begin: int, block: int, order: int) -> IntArray:
    """A block of ids (N,) that begins there, the one before it, and those that its n-grams reach.

    Before the text is ``<s>``.
    """
    around = in_memory(ids[max(begin - 1, 0) : begin + block + order - 1])
    return around if begin else np.insert(around, 0, BOS)


def ranges_for(ids: IntArray, packing: Packing, size: int, *, sentences: bool) -> Keys:
    """The first pairs of ranges that have about so many n-grams of all blocks, but of the first.

    They come from stretches all over the text. An n-gram is taken once, as in a block, in which
    there are rather more that are alike: so the ranges are rather too small.
    """
    step = max(_STRETCH, -(-len(ids) // _STRETCHES))
    columns: list[list[Keys]] = []
    positions = 0
    for begin in range(0, len(ids), step):
        around = words_around(ids, begin, _STRETCH, packing.order)
        positions += min(_STRETCH, len(ids) - begin)
        columns.append(
            keys_of(around, min(_STRETCH, len(ids) - begin), packing, sentences=sentences)
        )
    (first, *_), _ = packing.counted(
        [np.concatenate(parts) for parts in zip(*columns, strict=True)]
    )
    wanted = max(1, -(-len(ids) * len(first) // (size * positions)))
    places = np.arange(1, wanted) * len(first) // wanted
    return np.unique(packing.pairs(first[places]))


def keys_of(around: IntArray, size: int, packing: Packing, *, sentences: bool) -> list[Keys]:
    """The packed n-grams that begin at the positions of a block, from the `words_around` it."""
    order = packing.order
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

    if sentences:
        return packing.pack(places(), np.zeros(size, dtype=bool))
    columns = packing.pack(places(), is_boundary[:size])
    begins = ~is_boundary[1 : 1 + size]
    return [column[begins] for column in columns]
