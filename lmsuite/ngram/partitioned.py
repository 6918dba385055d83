"""Kneser-Ney within a given amount of memory: the same numbers, with nearly everything on disk.

Sorted by their words, the n-grams that begin with the same words lie side by side in every order.
So the vocabulary is cut into *ranges* of first words, about equally frequent, and one range at a
time is counted and smoothed, each order's arrays growing on disk from front to back. No merging is
needed. What a range must know of the others is the n-gram without its first word, which may begin
with any word: for that, one number for each position of the text (when counting), or for each
n-gram of one order (when smoothing), stays in memory.

The steps, and the functions that take them, are those of `counting`, `adjusted`, `discounts` and
`smoothing`; a sum over the n-grams of a context never reaches over a range, so that every float is
the same as when all are in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from lmsuite.errors import UsageError
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
from lmsuite.ngram.disk_arrays import DiskArray
from lmsuite.ngram.memory import resident_bytes, with_unit
from lmsuite.ngram.pruning import Survivors
from lmsuite.ngram.recursion import Leftover, mixed
from lmsuite.ngram.settings import NgramSettings, cutoffs_of
from lmsuite.ngram.smoothing.kneser_ney import discounted_shares
from lmsuite.ngram.table import BackoffTable, TableOrder, word_dtype
from lmsuite.text.vocabulary import BOS
from lmsuite.types import BoolArray, FloatArray, IntArray

_BYTES_A_TOKEN = 24  # of arrays as long as the text
_BYTES_A_POSITION = 250  # of a range while it is sorted
_SMALLEST_RANGE = 1 << 16  # positions


@dataclass
class _Order:
    """The n-grams of one order, M of them, on disk; as in `CountedOrder`."""

    prefix: DiskArray = field(default_factory=lambda: DiskArray(np.int32))
    word: DiskArray = field(default_factory=lambda: DiskArray(np.int32))
    suffix: DiskArray = field(default_factory=lambda: DiskArray(np.int32))
    count: DiskArray = field(default_factory=lambda: DiskArray(np.int32))
    cuts: list[int] = field(default_factory=lambda: [0])
    """(ranges + 1,) the n-grams of range r are those from cuts[r] to cuts[r + 1]."""
    sentence_starts: slice = field(default_factory=lambda: slice(0, 0))
    openings: IntArray = field(default_factory=lambda: np.empty(0, np.int32))

    def __len__(self) -> int:
        return len(self.word)


@dataclass(frozen=True)
class PartitionedCounts:
    """The n-grams of all orders; those of order 1 in memory, the others on disk."""

    unigrams: CountedOrder
    longer: list[_Order]
    ranges: list[int]
    """(ranges + 1,) the first words of each range."""

    @property
    def lengths(self) -> list[int]:
        """How many n-grams each order has."""
        return [len(self.unigrams), *map(len, self.longer)]

    def cuts(self, n: int) -> list[int]:
        """(ranges + 1,) where the n-grams of each range lie."""
        return self.ranges if n == 1 else self.longer[n - 2].cuts


def positions_in(memory: int, tokens: int) -> int:
    """How many positions of a text of so many tokens can be sorted at a time.

    Raises:
        UsageError: `memory`, in bytes, is too little for that text.
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
    """As `count_ngrams`, sorting about so many positions at a time."""
    is_boundary = ids == BOS
    openings = text_openings(is_boundary, sentences)
    unigrams = count_unigrams(ids, vocabulary_size, openings)
    counts = PartitionedCounts(unigrams, [], word_ranges(ids, vocabulary_size, positions))
    state = _Positions.sorted_by_word(ids, is_boundary, counts.ranges, sentences)
    index_at, starts = ids, unigrams.sentence_starts
    while len(counts.longer) < order - 1:
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
    """Which (n - 1)-gram it is that starts at each."""
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
    """Add the next order to `counts`; the positions sorted by it, and its index at each."""
    n = len(counts.longer) + 2
    order, finer = _Order(), _Positions()
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


def adjusted_columns(counts: PartitionedCounts) -> tuple[IntArray, list[DiskArray]]:
    """As `adjusted_counts`: those of the unigrams (V,), and of the longer orders on disk."""
    if not counts.longer:
        return counts.unigrams.count, []
    unigrams = _continuations(counts.longer[0], counts.unigrams)
    starts = counts.unigrams.sentence_starts
    unigrams[starts] = counts.unigrams.count[starts]
    columns = []
    for order, longer in pairwise(counts.longer):
        continuations = _continuations(longer, order)
        starts = order.sentence_starts
        continuations[starts] = order.count.read(starts.start, starts.stop)
        columns.append(DiskArray(np.int32))
        columns[-1].append(continuations)
    return unigrams, [*columns, counts.longer[-1].count]


def _continuations(longer: _Order, order: _Order | CountedOrder) -> IntArray:
    """How many n-grams of the order `longer` end with each of `order`, (M,)."""
    continuations = np.zeros(len(order), dtype=np.int32)
    for suffix in longer.suffix.chunks():
        np.add.at(continuations, suffix, 1)
    continuations[order.openings] += 1
    return continuations


def discounts_of(
    unigrams: IntArray, longer: list[DiskArray], settings: NgramSettings
) -> list[tuple[Discounts, list[str]]]:
    """The discounts of every order, from its adjusted counts, and what there is to say."""
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
class _Columns:
    """One order of the table to be, on disk."""

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
        """Weights (C,) of contexts, and the prefix of each n-gram, from 0 to below C, that
        follows so many `children` of contexts before.
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
    table = [_Columns(DiskArray(kind))]
    table[0].add_ngrams(words, probs)
    renumbered: IntArray | None = None
    for n, count in enumerate(longer, start=2):
        table.append(_Columns(DiskArray(kind)))
        probs, renumbered = _smooth_order(
            _Smoothing(counts, n, count, discounts[n - 1], cutoffs[n - 1], probs, renumbered),
            table[-2],
            table[-1],
        )
    return BackoffTable(tuple(columns.mapped() for columns in table))


@dataclass(frozen=True)
class _Smoothing:
    """What the smoothing of order n starts from."""

    counts: PartitionedCounts
    n: int
    adjusted: DiskArray
    discounts: Discounts
    cutoff: int
    lower: FloatArray
    """The probabilities of the (n - 1)-grams that are kept."""
    renumbered: IntArray | None
    """The index of each (n - 1)-gram among those kept, or -1; None where all are."""


def _smooth_order(
    given: _Smoothing, contexts: _Columns, table: _Columns
) -> tuple[FloatArray, IntArray | None]:
    """Fill in the weights of contexts and the n-grams; `lower` and `renumbered` of order n."""
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
    order: _Order,
    prefix: IntArray,
    ngrams: tuple[int, int],
    contexts: tuple[int, int],
) -> tuple[IntArray | None, Survivors]:
    """The contexts of a range that are kept, and its n-grams, numbered from the range's first."""
    suffix, word = order.suffix.read(*ngrams), order.word.read(*ngrams)
    index = np.flatnonzero(order.count.read(*ngrams) > given.cutoff) if given.cutoff else None
    if index is not None:
        prefix, suffix, word = prefix[index], suffix[index], word[index]
    if given.renumbered is None:
        return None, Survivors(index, prefix, suffix, word)
    known = np.flatnonzero(given.renumbered[slice(*contexts)] >= 0)
    return known, Survivors(index, np.searchsorted(known, prefix), given.renumbered[suffix], word)
