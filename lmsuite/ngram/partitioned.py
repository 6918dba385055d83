"""Kneser-Ney within a given amount of memory: the same numbers, with nearly everything on disk.

In every order, the n-grams are sorted by their words, so those with the same first word lie side by
side. So the vocabulary is cut into *ranges* of first words, about equally frequent. One range at a
time is counted and smoothed, and the arrays of each order grow on disk from front to back. Nothing
is merged. A range needs only one thing from other ranges: the n-gram without its first word, which
may begin with any word. For this, some numbers stay in memory: one for each position of the text
(when counting), or one for each n-gram of one order (when smoothing).

The steps and their functions are those of `counting`, `discounts`, `recursion` and
`smoothing.kneser_ney`. All n-grams of a context are in one range, so every sum is made of the same
terms as in memory, and every float is the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from lmsuite.errors import UsageError
from lmsuite.files.disk_arrays import DiskArray
from lmsuite.ngram.counting import (
    CountedOrder,
    count_unigrams,
    extensions,
    opened,
    refined,
    sorted_by_word,
    text_openings,
    word_ranges,
)
from lmsuite.ngram.discounts import (
    Discounts,
    counts_of_counts,
    modified_discounts_from,
    single_discount_from,
)
from lmsuite.ngram.memory import resident_bytes, with_unit
from lmsuite.ngram.pruning import Survivors
from lmsuite.ngram.recursion import Leftover, mixed
from lmsuite.ngram.settings import NgramSettings, cutoffs_of
from lmsuite.ngram.smoothing.kneser_ney import discounted_shares
from lmsuite.ngram.table import BackoffTable, TableOrder, word_dtype
from lmsuite.progress import each
from lmsuite.text.vocabulary import BOS
from lmsuite.types import BoolArray, FloatArray, IntArray

_BYTES_A_TOKEN = 24  # for arrays that are as long as the text
_BYTES_A_POSITION = 250  # for a range while it is sorted
_SMALLEST_RANGE = 1 << 16  # positions


@dataclass
class _CountsOnDisk:
    """The M n-grams of one order, as in `CountedOrder`, but on disk."""

    prefix: DiskArray = field(default_factory=lambda: DiskArray(np.int32))
    word: DiskArray = field(default_factory=lambda: DiskArray(np.int32))
    suffix: DiskArray = field(default_factory=lambda: DiskArray(np.int32))
    count: DiskArray = field(default_factory=lambda: DiskArray(np.int32))
    cuts: list[int] = field(default_factory=lambda: [0])
    """(ranges + 1,) range r has the n-grams from cuts[r] to cuts[r + 1]."""
    sentence_starts: slice = field(default_factory=lambda: slice(0, 0))
    openings: IntArray = field(default_factory=lambda: np.empty(0, np.int32))

    def __len__(self) -> int:
        return len(self.word)


@dataclass(frozen=True)
class PartitionedCounts:
    """The n-grams of all orders: those of order 1 in memory, the others on disk."""

    unigrams: CountedOrder
    longer: list[_CountsOnDisk]
    ranges: list[int]
    """(ranges + 1,) the first word of each range, and the end of the last."""

    @property
    def lengths(self) -> list[int]:
        """The number of n-grams of each order."""
        return [len(self.unigrams), *map(len, self.longer)]

    def cuts(self, n: int) -> list[int]:
        """(ranges + 1,) the first n-gram of each range, and the end of the last."""
        return self.ranges if n == 1 else self.longer[n - 2].cuts


def positions_in(memory: int, tokens: int) -> int:
    """The number of positions that can be sorted at a time, for a text of so many tokens.

    Raises:
        UsageError: `memory`, in bytes, is too little for this text.
    """
    taken = resident_bytes() + _BYTES_A_TOKEN * tokens
    positions = (memory - taken) // _BYTES_A_POSITION
    if positions < _SMALLEST_RANGE:
        least = taken + _SMALLEST_RANGE * _BYTES_A_POSITION
        raise UsageError(
            f"{{memory}} {with_unit(memory)} is too little for a text of {tokens:,} tokens; "
            f"give {with_unit(least)} or more",
            "memory",
            value=memory,
        )
    return int(positions)


def count_partitioned(
    ids: IntArray, vocabulary_size: int, order: int, *, sentences: bool, positions: int
) -> PartitionedCounts:
    """As `count_ngrams`, but it sorts only about so many positions at a time."""
    is_boundary = ids == BOS
    openings = text_openings(is_boundary, sentences)
    unigrams = count_unigrams(ids, vocabulary_size, openings)
    counts = PartitionedCounts(unigrams, [], word_ranges(ids, vocabulary_size, positions))
    state = _Positions.sorted_by_word(ids, is_boundary, counts.ranges, sentences)
    index_at, starts = ids, unigrams.sentence_starts
    for _ in each("counting", range(2, order + 1), "orders"):
        state, index_at = _next_order(counts, state, ids, is_boundary, index_at, starts)
        longest = counts.longer[-1]
        longest.openings = opened(index_at, openings)
        starts = longest.sentence_starts
    return counts


@dataclass
class _Positions:
    """The positions of the text, sorted by the (n - 1)-grams that start there, on disk."""

    position: DiskArray = field(default_factory=lambda: DiskArray(np.int32))
    group: DiskArray = field(default_factory=lambda: DiskArray(np.int32))
    """The index of the (n - 1)-gram that starts at each position."""
    cuts: list[int] = field(default_factory=lambda: [0])

    def add_range(self, position: IntArray, group: IntArray) -> None:
        self.position.append(position)
        self.group.append(group)
        self.cuts.append(len(self.position))

    def by_range(self) -> Iterator[tuple[IntArray, IntArray]]:
        for begin, end in pairwise(self.cuts):
            yield self.position.read(begin, end), self.group.read(begin, end)

    @classmethod
    def sorted_by_word(
        cls, ids: IntArray, is_boundary: BoolArray, ranges: list[int], sentences: bool
    ) -> _Positions:
        state = cls()
        for words in pairwise(ranges):
            state.add_range(*sorted_by_word(ids, is_boundary, words, sentences))
        return state


def _next_order(
    counts: PartitionedCounts,
    state: _Positions,
    ids: IntArray,
    is_boundary: BoolArray,
    index_at: IntArray,
    starts: slice,
) -> tuple[_Positions, IntArray]:
    """Add order n to `counts`; returns the positions sorted by n-gram, and the index at each."""
    n = len(counts.longer) + 2
    order, finer = _CountsOnDisk(), _Positions()
    longer_at = np.full(len(ids), -1, dtype=np.int32)
    low = high = 0
    for position, group in state.by_range():
        runs = refined(ids, is_boundary, position, group, n)
        index = runs.run + order.cuts[-1]
        longer_at[runs.position] = index
        finer.add_range(runs.position, index)
        order.prefix.append(runs.prefix)
        order.word.append(runs.word)
        order.suffix.append(index_at[runs.first + 1])
        order.count.append(runs.count)
        order.cuts.append(len(order))
        of_range = extensions(runs.prefix, starts)
        low, high = low + of_range.start, high + of_range.stop
    order.sentence_starts = slice(low, high)
    counts.longer.append(order)
    return finer, longer_at


def adjust_partitioned(counts: PartitionedCounts) -> tuple[IntArray, list[DiskArray]]:
    """As `adjusted_counts`: the counts of the unigrams (V,), and those of longer orders on disk."""
    if not counts.longer:
        return counts.unigrams.count, []
    unigrams = _continuations(counts.longer[0], counts.unigrams)
    starts = counts.unigrams.sentence_starts
    unigrams[starts] = counts.unigrams.count[starts]
    adjusted = []
    for order, longer in pairwise(counts.longer):
        continuations = _continuations(longer, order)
        starts = order.sentence_starts
        continuations[starts] = order.count.read(starts.start, starts.stop)
        adjusted.append(DiskArray(np.int32))
        adjusted[-1].append(continuations)
    return unigrams, [*adjusted, counts.longer[-1].count]


def _continuations(longer: _CountsOnDisk, order: _CountsOnDisk | CountedOrder) -> IntArray:
    """For each n-gram of `order`, (M,), the number of n-grams of `longer` that end with it."""
    continuations = np.zeros(len(order), dtype=np.int32)
    for suffix in longer.suffix.chunks():
        np.add.at(continuations, suffix, 1)
    continuations[order.openings] += 1
    return continuations


def discounts_of(
    unigrams: IntArray, longer: list[DiskArray], settings: NgramSettings
) -> list[tuple[Discounts, list[str]]]:
    """The discounts of every order, from its adjusted counts, and messages about them."""
    found = []
    for n in range(1, len(longer) + 2):
        chunks = [unigrams] if n == 1 else longer[n - 2].chunks()
        of_count = np.sum([counts_of_counts(chunk, 4) for chunk in chunks], axis=0)
        if settings.smoothing == "modified-kneser-ney":
            found.append(modified_discounts_from(of_count, n))
        elif settings.discount is None:
            found.append(single_discount_from(of_count, n))
        else:
            found.append((Discounts(*[settings.discount] * 3), []))
    return found


@dataclass
class _TableOnDisk:
    """One order of the table, as in `TableOrder`, which grows on disk."""

    words: DiskArray
    log_probs: DiskArray = field(default_factory=lambda: DiskArray(np.float32))
    log_backoffs: DiskArray = field(default_factory=lambda: DiskArray(np.float32))
    first_child: DiskArray = field(default_factory=lambda: DiskArray(np.uint32))

    def add_ngrams(self, words: IntArray, probs: FloatArray) -> None:
        self.words.append(words)
        with np.errstate(divide="ignore"):
            # Sums of rounded shares may exceed one by the last bit.
            self.log_probs.append(np.minimum(np.log(probs), 0.0))

    def add_contexts(self, weight: FloatArray, prefix: IntArray, children: int) -> None:
        """Add the weights (C,) of the next C contexts, and the places of their continuations.

        `prefix` is the context of each n-gram, from 0 to C - 1. All contexts before have so many
        `children`.
        """
        with np.errstate(divide="ignore"):
            self.log_backoffs.append(np.log(weight))
        if not len(self.first_child):
            self.first_child.append(np.zeros(1))
        self.first_child.append(children + np.cumsum(np.bincount(prefix, minlength=len(weight))))

    def mapped(self) -> TableOrder:
        return TableOrder(
            self.words.mapped(),
            self.log_probs.mapped(),
            self.log_backoffs.mapped(),
            self.first_child.mapped(),
        )


def smooth_partitioned(
    counts: PartitionedCounts,
    adjusted: tuple[IntArray, list[DiskArray]],
    discounts: list[Discounts],
    base: FloatArray,
    prune: tuple[int, ...],
) -> BackoffTable:
    """As `discounted_shares` and `combine`: the finished table, on disk."""
    unigrams, longer = adjusted
    cutoffs = cutoffs_of(prune, len(discounts))
    words = np.arange(len(base))
    nothing = np.zeros(len(base), dtype=np.int32)
    every = Survivors(None, nothing, nothing, words)
    shares = discounted_shares(nothing, unigrams, discounts[0], 1)
    probs, _ = mixed(shares, nothing, every, None, base, Leftover.INTERPOLATED)
    kind = word_dtype(len(base))
    table = [_TableOnDisk(DiskArray(kind))]
    table[0].add_ngrams(words, probs)
    renumbered: IntArray | None = None
    for n, count in enumerate(each("smoothing", longer, "orders"), start=2):
        table.append(_TableOnDisk(DiskArray(kind)))
        probs, renumbered = _smooth_order(
            _Smoothing(counts, n, count, discounts[n - 1], cutoffs[n - 1], probs, renumbered),
            table[-2],
            table[-1],
        )
    return BackoffTable(tuple(order.mapped() for order in table))


@dataclass(frozen=True)
class _Smoothing:
    """All that the smoothing of order n needs."""

    counts: PartitionedCounts
    n: int
    adjusted: DiskArray
    discounts: Discounts
    cutoff: int
    lower: FloatArray
    """The probabilities of the kept (n - 1)-grams."""
    renumbered: IntArray | None
    """The index of each (n - 1)-gram among the kept ones, or -1; None if all are kept."""


def _smooth_order(
    given: _Smoothing, contexts: _TableOnDisk, table: _TableOnDisk
) -> tuple[FloatArray, IntArray | None]:
    """Fill in the weights of contexts, and the n-grams; returns `lower` and `renumbered` for n."""
    order = given.counts.longer[given.n - 2]
    lower, renumbered = DiskArray(np.float64), DiskArray(np.int32)
    shorter_cuts = given.counts.cuts(given.n - 1)
    for (begin, end), (first, last) in zip(
        pairwise(order.cuts), pairwise(shorter_cuts), strict=True
    ):
        prefix = order.prefix.read(begin, end) - first
        adjusted = given.adjusted.read(begin, end)
        shares = discounted_shares(prefix, adjusted, given.discounts, last - first)
        known, kept = _survivors_in_range(given, order, prefix, (begin, end), (first, last))
        probs, weight = mixed(
            shares, prefix, kept, known, given.lower[kept.suffix], Leftover.INTERPOLATED
        )
        contexts.add_contexts(weight, kept.prefix, len(table.words))
        if kept.index is not None:
            index = np.full(len(prefix), -1, dtype=np.int32)
            index[kept.index] = len(table.words) + np.arange(len(kept.index))
            renumbered.append(index)
        table.add_ngrams(kept.word, probs)
        lower.append(probs)
    return lower.read(), renumbered.read() if given.cutoff else None


def _survivors_in_range(
    given: _Smoothing,
    order: _CountsOnDisk,
    prefix: IntArray,
    ngrams: tuple[int, int],
    contexts: tuple[int, int],
) -> tuple[IntArray | None, Survivors]:
    """The kept contexts of a range and its kept n-grams, numbered from the range's first."""
    suffix, word = order.suffix.read(*ngrams), order.word.read(*ngrams)
    index = np.flatnonzero(order.count.read(*ngrams) > given.cutoff) if given.cutoff else None
    if index is not None:
        prefix, suffix, word = prefix[index], suffix[index], word[index]
    if given.renumbered is None:
        return None, Survivors(index, prefix, suffix, word)
    known = np.flatnonzero(given.renumbered[slice(*contexts)] >= 0)
    return known, Survivors(index, np.searchsorted(known, prefix), given.renumbered[suffix], word)
