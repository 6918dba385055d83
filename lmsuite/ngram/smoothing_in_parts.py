"""Each range of n-grams is smoothed, order by order, with the probabilities of their ends.

All sums over a context are made of the same terms in the same order as in memory, so every float is
the same. The contexts of bigrams are words, whose n-grams may be in several ranges; these sums are
made one range after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from lmsuite.errors import TrainingError
from lmsuite.executors import in_order
from lmsuite.files.disk_arrays import DiskArray
from lmsuite.ngram.disk_table import TableOnDisk
from lmsuite.ngram.pipeline import Counts
from lmsuite.ngram.pruning import Survivors
from lmsuite.ngram.recursion import (
    Estimator,
    Leftover,
    Smoothing,
    backed_off,
    given_back,
    joined,
    mixed,
    shares_of,
)
from lmsuite.ngram.table import BackoffTable
from lmsuite.progress import working
from lmsuite.text.vocabulary import BOS
from lmsuite.types import FloatArray, IntArray


def smoothed_in_parts(
    counts: Counts,
    smoothing: Smoothing,
    base: FloatArray,
    cutoffs: tuple[int, ...],
    workers: int,
) -> BackoffTable:
    """As `combine`: the finished table, on disk.

    Raises:
        TrainingError: one order has more n-grams than a model file can hold.
    """
    size, order = len(base), len(cutoffs)
    sizes = [size, *(of_order.kept_before()[-1] for of_order in counts.orders)]
    if max(sizes) >= 1 << 32:
        raise TrainingError(
            f"the model would have {max(sizes):,} n-grams of one order, but its file can hold "
            f"{(1 << 32) - 1:,}; leave out rare ones with {{prune}}",
            "prune",
        )
    table = [TableOnDisk(kept, size, is_highest=n == order) for n, kept in enumerate(sizes, 1)]
    words, nothing = np.arange(size), np.zeros(size, dtype=np.int32)
    every = Survivors(None, nothing, nothing, words)
    shares = shares_of(smoothing.estimators[0], nothing, counts.unigrams, 1, slice(0, 0))
    unigrams, _ = mixed(shares, nothing, every, None, base, smoothing.leftover_of(1))
    table[0].write_ngrams(0, words, unigrams)
    lower: DiskArray | None = None
    with working(
        "smoothing", sum(len(of_order.parts) for of_order in counts.orders), "parts"
    ) as work:
        for n in range(2, order + 1):
            of_order = _OrderInParts(counts, n, smoothing, cutoffs, table, lower)
            smooth = of_order.smooth if n > 2 else of_order.of_bigrams(unigrams)
            for _ in in_order(smooth, range(len(counts.orders[n - 2].parts)), workers):
                work.advance(1)
            lower = of_order.probs
    return BackoffTable(tuple(of_order.mapped() for of_order in table))


class _OrderInParts:
    """The smoothing of one order, from 2 on, a range at a time."""

    def __init__(
        self,
        counts: Counts,
        n: int,
        smoothing: Smoothing,
        cutoffs: tuple[int, ...],
        table: Sequence[TableOnDisk],
        lower: DiskArray | None,
    ) -> None:
        """The n-grams of order n go to its `table`; the weights of their contexts to the one below.

        `lower` has the probability of each n-gram's suffix, where `Suffixes.place` has its place.
        """
        self._order, self._counted = counts.orders[n - 2], counts.counted[n - 2]
        self._estimator: Estimator = smoothing.estimators[n - 1]
        self._leftover, self._lower = smoothing.leftover_of(n), lower
        self._contexts, self._table = table[n - 2 : n]
        self._cutoff, self._cutoff_below = cutoffs[n - 1], cutoffs[n - 2]
        self._kept_before = self._order.kept_before()
        if n > 2:
            self._below, self._suffixes = counts.orders[n - 3], counts.suffixes[n - 3]
        self._longer = counts.suffixes[n - 2] if n < len(cutoffs) else None
        self.probs = DiskArray(np.float64, len(self._longer.place)) if self._longer else None
        """For the order above, what `lower` is for this one."""

    def smooth(self, part: int) -> None:
        """Smooth one range of an order from 3 on."""
        assert self._lower is not None
        prefix, word, count = self._ngrams(part)
        contexts = self._below.parts[part]
        shares = shares_of(self._estimator, prefix, count, contexts.size, contexts.sentence_starts)
        shorter = self._suffixes.values(part, self._lower)
        index, prefix_kept, known = self._kept(part), prefix, None
        if index is not None:
            prefix_kept, word, shorter = prefix[index], word[index], shorter[index]
        if self._cutoff_below:
            below = self._below.count.read(*self._below.span(part))
            known = np.flatnonzero(below > self._cutoff_below)
            prefix_kept = np.searchsorted(known, prefix_kept)
        kept = Survivors(index, prefix_kept, prefix_kept, word)
        probs, weight = mixed(shares, prefix, kept, known, shorter, self._leftover)
        del shares, shorter
        begin = sum(of_part.kept for of_part in self._below.parts[:part])
        children = np.cumsum(np.bincount(prefix_kept, minlength=len(weight)))
        self._contexts.write_contexts(begin, weight, self._kept_before[part] + children)
        self._write(part, index, word, probs)

    def of_bigrams(self, unigrams: FloatArray) -> Callable[[int], None]:
        """What smooths one range of bigrams, as `mixed` does.

        Here the sums over all bigrams of a word are made, and the weights of these contexts.
        """
        parts = range(len(self._order.parts))
        sums: list[FloatArray] = []
        for part in parts:
            prefix, _, count = self._ngrams(part)
            terms = self._estimator.terms(count)
            sums = sums or [np.zeros(len(unigrams)) for _ in terms]
            for of_context, term in zip(sums, terms, strict=True):
                np.add.at(of_context, prefix, term)

        def share_of(prefix: IntArray, count: IntArray) -> FloatArray:
            low, high = (prefix[0], prefix[-1] + 1) if len(prefix) else (0, 0)
            terms, of_words = self._estimator.terms(count), [term[low:high] for term in sums]
            start = slice(max(BOS - low, 0), max(BOS + 1 - low, 0))
            return self._estimator.shares(prefix - low, terms, of_words, start).share

        back, seen = np.zeros((2, len(unigrams)))
        children = np.zeros(len(unigrams), np.int64)
        nothing = np.zeros(0, np.int64)
        terms, start = self._estimator.terms(nothing), slice(BOS, BOS + 1)
        weight = self._estimator.shares(nothing, terms, sums, start).leftover
        for part in parts:
            prefix, word, count = self._ngrams(part)
            index = self._kept(part)
            if index is not None:
                np.add.at(back, prefix, given_back(share_of(prefix, count), index))
                prefix, word = prefix[index], word[index]
            if self._leftover is Leftover.BACKING_OFF:
                np.add.at(seen, prefix, unigrams[word])
            np.add.at(children, prefix, 1)
        if self._leftover is not Leftover.SCORES:
            weight = weight + back
        scale = None
        if self._leftover is Leftover.BACKING_OFF:
            weight, scale = backed_off(weight, seen)
        self._contexts.write_contexts(0, weight, np.cumsum(children))

        def smooth(part: int) -> None:
            prefix, word, count = self._ngrams(part)
            share, index = share_of(prefix, count), self._kept(part)
            if index is not None:
                prefix, word, share = prefix[index], word[index], share[index]
            probs = joined(share, prefix, weight, scale, unigrams[word], self._leftover)
            self._write(part, index, word, probs)

        return smooth

    def _ngrams(self, part: int) -> tuple[IntArray, IntArray, IntArray]:
        """Prefix, word and count of a range's n-grams."""
        span = self._order.span(part)
        return (
            self._order.prefix.read(*span),
            self._order.word.read(*span),
            self._counted.read(*span),
        )

    def _kept(self, part: int) -> IntArray | None:
        """The n-grams of a range that are kept; None for all."""
        if not self._cutoff:
            return None
        return np.flatnonzero(self._order.count.read(*self._order.span(part)) > self._cutoff)

    def _write(self, part: int, index: IntArray | None, word: IntArray, probs: FloatArray) -> None:
        """Write the kept n-grams, and the probabilities that the order above asks for."""
        self._table.write_ngrams(self._kept_before[part], word, probs)
        if self._longer is None or self.probs is None:
            return
        if index is not None:
            kept, probs = probs, np.zeros(self._order.parts[part].size)
            probs[index] = kept
        for begin, end in self._longer.asked_of(part):
            self.probs.write(begin, probs[self._longer.place.read(begin, end)])
