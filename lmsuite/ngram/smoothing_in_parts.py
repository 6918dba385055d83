"""Each range of n-grams is smoothed, order by order, with the probabilities of their ends.

All sums over a context are made of the same terms in the same order as in memory, so every float is
the same. The contexts of bigrams are words, whose n-grams may be in several ranges; these sums are
made one range after the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lmsuite.errors import TrainingError
from lmsuite.files.scratch import Scratch
from lmsuite.ngram.disk_table import TableOnDisk, log_backoffs_of, log_probs_of
from lmsuite.ngram.exchange import Suffixes
from lmsuite.ngram.partitions import Part
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
from lmsuite.ngram.workplace import Workplace
from lmsuite.text.vocabulary import BOS
from lmsuite.types import FloatArray, IntArray

_WORDS = "contexts-1"  # what all ranges of bigrams share


def smoothed_in_parts(
    counts: Counts,
    smoothing: Smoothing,
    base: FloatArray,
    cutoffs: tuple[int, ...],
    place: Workplace,
) -> BackoffTable:
    """As `combine`: the finished table, on disk.

    Raises:
        TrainingError: one order has more n-grams than a model file can hold.
    """
    size, order = len(base), len(cutoffs)
    sizes = [size, *(sum(part.kept for part in parts) for parts in counts.orders)]
    if max(sizes) >= 1 << 32:
        raise TrainingError(
            f"the model would have {max(sizes):,} n-grams of one order, but its file can hold "
            f"{(1 << 32) - 1:,}; leave out rare ones with {{prune}}",
            "prune",
        )
    table = [TableOnDisk(size, is_highest=n == order) for n in range(1, order + 1)]
    words, nothing = np.arange(size), np.zeros(size, dtype=np.int32)
    every = Survivors(None, nothing, nothing, words)
    shares = shares_of(smoothing.estimators[0], nothing, counts.unigrams, 1, slice(0, 0))
    unigrams, _ = mixed(shares, nothing, every, None, base, smoothing.leftover_of(1))
    table[0].add_ngrams(words, log_probs_of(unigrams))
    for n in range(2, order + 1):
        smooth = _Smoothing(
            n,
            counts.counted[n - 2],
            smoothing.estimators[n - 1],
            smoothing.leftover_of(n),
            (cutoffs[n - 2], cutoffs[n - 1]),
            counts.suffixes[n - 3] if n > 2 else None,
            counts.suffixes[n - 2] if n < order else None,
        )
        _smooth_order(smooth, counts, unigrams, table[n - 2 : n], place)
    return BackoffTable(tuple(of_order.mapped() for of_order in table))


def _smooth_order(
    smoothing: _Smoothing,
    counts: Counts,
    unigrams: FloatArray,
    tables: list[TableOnDisk],
    place: Workplace,
) -> None:
    """Add the n-grams of one order to its table, and their contexts to the one below."""
    n, parts = smoothing.n, counts.orders[smoothing.n - 2]
    if n == 2:
        of_words = place.once("words", lambda: smoothing.of_words(place.scratch, parts, unigrams))
        place.scratch.write(_WORDS, of_words)
        weight, _, children, *_ = of_words
        tables[0].add_contexts(log_backoffs_of(weight), np.cumsum(children))
    tasks, kept = [], 0
    for number, part in enumerate(parts):
        below = counts.orders[n - 3][number] if n > 2 else None
        contexts, starts = (below.size, below.sentence_starts) if below else (0, [0, 0])
        tasks.append(_Range(number, part.size, kept, contexts, starts))
        kept += part.kept
    function = smoothing.smooth if n > 2 else smoothing.smooth_bigrams
    of_one_range = [f"ngrams-{n - 1}", f"sorting-{n}"] if n > 2 else []
    of_one_range.append(f"places-{n + 1}" if smoothing.longer else f"ngrams-{n}")
    if smoothing.counted[0] != f"ngrams-{n}":
        of_one_range.append(smoothing.counted[0])
    stage = place.stage(f"smoothed-{n}", function, tasks, f"smoothing {n}-grams")
    for number, _ in enumerate(stage):
        with place.here("table", number):
            tables[1].add_ngrams(*place.scratch.read(f"table-{n}.{number}"))
            place.used_up(f"table-{n}.{number}")
            if n > 2:
                tables[0].add_contexts(*place.scratch.read(f"contexts-{n - 1}.{number}"))
                place.used_up(f"contexts-{n - 1}.{number}")
        for name in of_one_range:
            place.used_up(f"{name}.{number}")
    place.spent(*of_one_range, f"answers-{n}", *([_WORDS] if n == 2 else []))


class _Range(NamedTuple):
    """What is to be smoothed of one order."""

    part: int
    size: int
    """The number of n-grams."""
    kept_before: int
    """How many n-grams of the ranges before it are kept."""
    contexts: int
    """The number of contexts, for orders from 3 on."""
    sentence_starts: list[int]
    """The first context whose first word is ``<s>``, and the first after these."""


@dataclass(frozen=True)
class _Smoothing:
    """The smoothing of one order, from 2 on, a range at a time."""

    n: int
    counted: tuple[str, int]
    """The counts: the folder of their files, and the section."""
    estimator: Estimator
    leftover: Leftover
    cutoffs: tuple[int, int]
    """Of order n - 1 and of this one."""
    suffixes: Suffixes | None
    """Of this order, from 3 on."""
    longer: Suffixes | None
    """Of order n + 1."""

    def smooth(self, scratch: Scratch, task: _Range) -> None:
        """Smooth one range of an order from 3 on.

        It writes ``table-order.range`` (words and log-probabilities), ``contexts-order.range`` of
        the order below (log back-off weights, and where the continuations of each context end), and
        ``answers-order.range`` for the order above: the probabilities that it asks for, which lie
        as the places do.
        """
        assert self.suffixes is not None
        n, part = self.n, task.part
        prefix, word, count = self._ngrams(scratch, part)
        starts = slice(*task.sentence_starts)
        shares = shares_of(self.estimator, prefix, count, task.contexts, starts)
        shorter = self.suffixes.values(scratch, part, f"answers-{n}")
        index, prefix_kept, known = self._kept(scratch, part), prefix, None
        if index is not None:
            prefix_kept, word, shorter = prefix[index], word[index], shorter[index]
        if self.cutoffs[0]:
            below = scratch.read(f"ngrams-{n - 1}.{part}", 1)[0]
            known = np.flatnonzero(below > self.cutoffs[0])
            prefix_kept = np.searchsorted(known, prefix_kept)
        kept = Survivors(index, prefix_kept, prefix_kept, word)
        probs, weight = mixed(shares, prefix, kept, known, shorter, self.leftover)
        del shares, shorter
        children = np.cumsum(np.bincount(prefix_kept, minlength=len(weight)))
        children += task.kept_before
        scratch.write(
            f"contexts-{n - 1}.{part}",
            [log_backoffs_of(weight), children.astype(np.uint32)],
            compressed=False,
        )
        self._write(scratch, task, index, word, probs)

    def of_words(
        self, scratch: Scratch, parts: list[Part], unigrams: FloatArray
    ) -> list[NDArray[Any]]:
        """What all ranges of bigrams share: of each word as a context (V,), the weight, the scale
        (see `backed_off`; none unless backing off), the number of bigrams, and the sums; and the
        probability of each word.
        """
        sums: list[FloatArray] = []
        for part in range(len(parts)):
            prefix, _, count = self._ngrams(scratch, part)
            terms = self.estimator.terms(count)
            sums = sums or [np.zeros(len(unigrams)) for _ in terms]
            for of_context, term in zip(sums, terms, strict=True):
                np.add.at(of_context, prefix, term)
        back, seen = np.zeros((2, len(unigrams)))
        children = np.zeros(len(unigrams), np.int64)
        nothing = np.zeros(0, np.int64)
        terms, start = self.estimator.terms(nothing), slice(BOS, BOS + 1)
        weight = self.estimator.shares(nothing, terms, sums, start).leftover
        for part in range(len(parts)):
            prefix, word, count = self._ngrams(scratch, part)
            index = self._kept(scratch, part)
            if index is not None:
                np.add.at(back, prefix, given_back(self._share_of(prefix, count, sums), index))
                prefix, word = prefix[index], word[index]
            if self.leftover is Leftover.BACKING_OFF:
                np.add.at(seen, prefix, unigrams[word])
            np.add.at(children, prefix, 1)
        if self.leftover is not Leftover.SCORES:
            weight = weight + back
        scale = unigrams[:0]
        if self.leftover is Leftover.BACKING_OFF:
            weight, scale = backed_off(weight, seen)
        return [weight, scale, children, unigrams, *sums]

    def smooth_bigrams(self, scratch: Scratch, task: _Range) -> None:
        """Smooth one range of bigrams, as `mixed` does; files as for `smooth`."""
        prefix, word, count = self._ngrams(scratch, task.part)
        weight, scale, _, unigrams, *sums = scratch.read(_WORDS)
        share, index = self._share_of(prefix, count, sums), self._kept(scratch, task.part)
        if index is not None:
            prefix, word, share = prefix[index], word[index], share[index]
        scales = scale if len(scale) else None
        probs = joined(share, prefix, weight, scales, unigrams[word], self.leftover)
        self._write(scratch, task, index, word, probs)

    def _share_of(self, prefix: IntArray, count: IntArray, sums: list[FloatArray]) -> FloatArray:
        """The shares of bigrams (M,), from the sums (V,) over all bigrams of a word."""
        low, high = (prefix[0], prefix[-1] + 1) if len(prefix) else (0, 0)
        terms, of_words = self.estimator.terms(count), [term[low:high] for term in sums]
        start = slice(max(BOS - low, 0), max(BOS + 1 - low, 0))
        return self.estimator.shares(prefix - low, terms, of_words, start).share

    def _ngrams(self, scratch: Scratch, part: int) -> tuple[IntArray, IntArray, IntArray]:
        """Prefix, word and count of a range's n-grams."""
        prefix, word = scratch.read(f"ngrams-{self.n}.{part}")
        folder, section = self.counted
        return prefix, word, scratch.read(f"{folder}.{part}", section)[0]

    def _kept(self, scratch: Scratch, part: int) -> IntArray | None:
        """The n-grams of a range that are kept; None for all."""
        if not self.cutoffs[1]:
            return None
        return np.flatnonzero(scratch.read(f"ngrams-{self.n}.{part}", 1)[0] > self.cutoffs[1])

    def _write(
        self,
        scratch: Scratch,
        task: _Range,
        index: IntArray | None,
        word: IntArray,
        probs: FloatArray,
    ) -> None:
        """Write the kept n-grams, and the probabilities that the order above asks for."""
        scratch.write(f"table-{self.n}.{task.part}", [word, log_probs_of(probs)], compressed=False)
        if self.longer is None:
            return
        if index is not None:
            kept, probs = probs, np.zeros(task.size)
            probs[index] = kept
        self.longer.answer(scratch, task.part, f"answers-{self.n + 1}", probs)
