"""The counts, discounts and fractions that make an n-gram model's probability, line by line.

A model file holds probabilities and back-off weights, and of Kneser-Ney the discounts, but no
counts. So these are counted again, in the training text. What cannot be: without that text, or if
the model was pruned or quantized after smoothing, the lines show what the file holds.

From the longest context h that was seen to the empty one, every order has its lines. c(hw) is the
count of w after h, c(h·) the sum of these counts, h' the context h without its first word. The
names of the other numbers are those of the files in `lmsuite.ngram.smoothing`. The lines of an
order end with its p, from which the order above begins. The last p is the model's probability.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lmsuite.analysis.explanation import bounded_exp
from lmsuite.errors import DataError
from lmsuite.models.ngram import NgramModel
from lmsuite.ngram.counting import NgramCounts, count_ngrams
from lmsuite.ngram.settings import IMPORTED, KNESER_NEY
from lmsuite.ngram.smoothing.katz import TRUSTED_ABOVE, kept_parts
from lmsuite.ngram.smoothing.kneser_ney import adjusted_counts
from lmsuite.ngram.smoothing.relative_frequency import STUPID_BACKOFF_WEIGHT
from lmsuite.text.vocabulary import BOS, UNK
from lmsuite.types import IntArray

_AGREE = 1e-4  # the relative difference that rounding to float32 explains, with room


@dataclass(frozen=True)
class TracedNumber:
    """One number: its symbol, the formula, the formula with numbers, and the value."""

    symbol: str
    formula: str
    numbers: str
    value: float


@dataclass(frozen=True)
class TracedOrder:
    """What one order contributes to a probability."""

    order: int
    context: tuple[str, ...]
    lines: tuple[TracedNumber, ...]
    """The last is p, the probability of the word at this order."""

    @property
    def prob(self) -> float:
        """p."""
        return self.lines[-1].value


@dataclass(frozen=True)
class TokenTrace:
    """How the probability of one token came about."""

    token: str
    id: int
    levels: tuple[TracedOrder, ...]
    """From the lowest order to the highest; empty if the model file alone is shown."""
    stored: tuple[TracedNumber, ...]
    """What the model file holds: back-off weights, and the probability of the n-gram found."""
    prob: float
    """The model's probability."""


@dataclass(frozen=True)
class _Followers:
    """What was counted after one context, in one order."""

    count: int
    """c(hw)"""
    counts: IntArray
    """c(hw) of every word w that was seen after h."""

    @property
    def total(self) -> int:
        """c(h·)"""
        return int(self.counts.sum())


class NgramTracer:
    """Traces the probabilities of one model."""

    def __init__(self, model: NgramModel, training: IntArray | None = None) -> None:
        """A tracer of `model`; `training` are the ids of its training text, if they are at hand."""
        self._model = model
        self._settings = settings = model.settings
        self._encoder = model.encoder
        self.reason = _why_not_counted(model, training is not None)
        """Why the counts cannot be shown; empty if they can."""
        if training is None or self.reason:
            return
        self._counts: NgramCounts = count_ngrams(
            training,
            len(model.encoder.vocabulary),
            settings.order,
            sentences=model.encoder.boundaries.has_sequences,
        )
        occurrences = tuple(order.count for order in self._counts.orders)
        adjusts = settings.smoothing in KNESER_NEY
        self._count_of = adjusted_counts(self._counts) if adjusts else occurrences
        self._possible = len(model.encoder.vocabulary) - len(model.encoder.impossible)
        self._level = self._estimators[settings.smoothing]

    def trace(self, text: str) -> Iterator[TokenTrace]:
        """The trace of every predicted token of a text.

        Raises:
            DataError: the text has no tokens; or the text that was counted is not the one on which
                the model was trained.
        """
        ids = self._encoder.encode(text)
        if not (ids != BOS).any():
            raise DataError("nothing to trace: the text has no tokens")
        for at, word in enumerate(ids.tolist()):
            if word != BOS:
                yield self._traced(ids[:at], word)

    def _traced(self, history: IntArray, word: int) -> TokenTrace:
        found = self._model.trace(history, word)
        prob = bounded_exp(found.total)
        levels = () if self.reason else tuple(self._levels(self._context(history), word))
        if levels and not math.isclose(levels[-1].prob, prob, rel_tol=_AGREE, abs_tol=1e-12):
            raise DataError(
                f"the counts give {self._token(word)!r} the probability {levels[-1].prob:.6g}, and "
                f"the model {prob:.6g}: it was not trained on this text; give {{training}} TEXT",
                "training",
            )
        stored = []
        for length, weight in sorted(found.log_backoffs, reverse=True):
            context = self._joined(found.context[len(found.context) - length :])
            stored.append(TracedNumber(f"bow({context})", "", "", bounded_exp(weight)))
        context = self._joined(found.context[len(found.context) - found.order + 1 :])
        given = f" | {context}" if context else ""
        stored.append(
            TracedNumber(f"p({self._token(word)}{given})", "", "", bounded_exp(found.log_prob))
        )
        return TokenTrace(self._token(word), word, levels, tuple(stored), prob)

    def _context(self, history: IntArray) -> list[int]:
        """The words before, up to the order less one, and back to ``<s>`` at most."""
        words = np.concatenate(([BOS], history))
        words = words[np.flatnonzero(words == BOS)[-1] :]
        if not self._encoder.boundaries.has_sequences:
            words = words[1:]  # in a stream <s> is no word
        longest = self._settings.order - 1
        return [int(word) for word in words[max(0, len(words) - longest) :]]

    def _levels(self, words: list[int], word: int) -> Iterator[TracedOrder]:
        lower = self._base(word)
        for n in range(1, len(words) + 2):
            context = words[len(words) - n + 1 :]
            followers = self._followers(n, context, word)
            if n > 1 and not followers.total:
                return  # no longer context was seen either
            lines = tuple(self._level(n, context, word, followers, lower))
            if n == 1 and self._shows_base:
                lines = (
                    TracedNumber("p(w | nothing)", "1 / V", f"1 / {self._possible}", lower),
                    *lines,
                )
            yield TracedOrder(n, tuple(map(self._token, context)), lines)
            lower = lines[-1].value

    def _base(self, word: int) -> float:
        """The distribution below the unigrams."""
        settings = self._settings
        if settings.smoothing in KNESER_NEY and not settings.interpolate_unigrams:
            return float(word == UNK)
        return 0.0 if word in self._encoder.impossible else 1 / self._possible

    @property
    def _shows_base(self) -> bool:
        return self._settings.interpolate_unigrams and self._settings.smoothing != "mle"

    def _index(self, words: list[int]) -> int:
        """The index of an n-gram among those counted, or -1."""
        index = words[0] if words else 0
        for n, word in enumerate(words[1:], start=2):
            order = self._counts.orders[n - 1]
            low, high = np.searchsorted(order.prefix, [index, index + 1]).tolist()
            index = low + int(np.searchsorted(order.word[low:high], word))
            if index == high or order.word[index] != word:
                return -1
        return index

    def _followers(self, n: int, context: list[int], word: int) -> _Followers:
        order, counts = self._counts.orders[n - 1], self._count_of[n - 1]
        if n == 1:
            return _Followers(int(counts[word]), counts[counts > 0])
        index = self._index(context)
        low, high = np.searchsorted(order.prefix, [index, index + 1]).tolist()
        at = low + int(np.searchsorted(order.word[low:high], word))
        seen = at < high and order.word[at] == word
        return _Followers(int(counts[at]) if seen else 0, counts[low:high])

    @cached_property
    def _estimators(self) -> dict[str, Callable[..., Iterator[TracedNumber]]]:
        return {
            "modified-kneser-ney": self._discounted,
            "kneser-ney": self._discounted,
            "absolute": self._discounted,
            "witten-bell": self._witten_bell,
            "jelinek-mercer": self._jelinek_mercer,
            "katz": self._katz,
            "add-k": self._add_k,
            "mle": self._relative,
            "stupid-backoff": self._stupid,
        }

    def _what_counts(self, n: int, context: list[int]) -> str:
        """What c counts at this order."""
        if self._settings.smoothing not in KNESER_NEY or n == self._settings.order:
            return "occurrences"
        return "occurrences" if context[:1] == [BOS] else "different words before"

    def _counted(self, n: int, context: list[int], found: _Followers) -> Iterator[TracedNumber]:
        what = self._what_counts(n, context)
        yield TracedNumber("c(hw)", what, "", found.count)
        total = f"sum over {len(found.counts)} different w"
        yield TracedNumber("c(h·)", total, "", found.total)

    def _discounted(
        self, n: int, context: list[int], word: int, found: _Followers, lower: float
    ) -> Iterator[TracedNumber]:
        if n == 1 and self._plain_unigrams:
            yield from self._relative(n, context, word, found, lower)
            return
        yield from self._counted(n, context, found)
        amounts = self._model.discounts[n - 1].as_tuple()
        is_one = len(set(amounts)) == 1
        of_count = [0.0, *amounts][min(found.count, 3)]
        total = found.total
        share = (found.count - of_count) / total
        name = "D" if is_one else f"D{'₀₁₂₃'[min(found.count, 3)]}{'₊' * (found.count > 2)}"
        if found.count:
            yield TracedNumber(name, "the discount of this count", "", of_count)
        yield TracedNumber(
            "share",
            f"(c(hw) − {name}) / c(h·)" if found.count else "0, because c(hw) = 0",
            f"({found.count} − {_short(of_count)}) / {total}" if found.count else "",
            share,
        )
        numbers = [int(np.sum(found.counts == r)) for r in (1, 2)]
        numbers.append(len(found.counts) - sum(numbers))
        leftover = sum(a * b for a, b in zip(amounts, numbers, strict=True)) / total
        if is_one:
            formula = "D N / c(h·), with N different w"
            figures = f"{_short(amounts[0])} · {len(found.counts)} / {total}"
        else:
            formula = "(D₁ N₁ + D₂ N₂ + D₃₊ N₃₊) / c(h·)"
            terms = (f"{_short(a)} · {b}" for a, b in zip(amounts, numbers, strict=True))
            figures = f"({' + '.join(terms)}) / {total}"
        yield TracedNumber("leftover", formula, figures, leftover)
        yield _mixed(share, leftover, lower)

    @property
    def _plain_unigrams(self) -> bool:
        """Whether unigrams are relative frequencies, whatever the smoothing."""
        settings = self._settings
        return not settings.interpolate_unigrams and settings.smoothing not in KNESER_NEY

    def _witten_bell(
        self, n: int, context: list[int], word: int, found: _Followers, lower: float
    ) -> Iterator[TracedNumber]:
        if n == 1 and self._plain_unigrams:
            yield from self._relative(n, context, word, found, lower)
            return
        yield from self._counted(n, context, found)
        types, total = len(found.counts), found.total
        yield TracedNumber("T(h)", "different words after h", "", types)
        share, leftover = found.count / (total + types), types / (total + types)
        yield TracedNumber(
            "share", "c(hw) / (c(h·) + T(h))", f"{found.count} / ({total} + {types})", share
        )
        yield TracedNumber(
            "leftover", "T(h) / (c(h·) + T(h))", f"{types} / ({total} + {types})", leftover
        )
        yield _mixed(share, leftover, lower)

    def _relative(
        self, n: int, context: list[int], word: int, found: _Followers, lower: float
    ) -> Iterator[TracedNumber]:
        yield from self._counted(n, context, found)
        numbers = f"{found.count} / {found.total}"
        yield TracedNumber("p(w | h)", "c(hw) / c(h·)", numbers, found.count / found.total)

    def _stupid(
        self, n: int, context: list[int], word: int, found: _Followers, lower: float
    ) -> Iterator[TracedNumber]:
        if found.count or (n == 1 and self._plain_unigrams):
            yield from self._relative(n, context, word, found, lower)
            return
        yield from self._counted(n, context, found)
        weight = STUPID_BACKOFF_WEIGHT
        numbers = f"{weight:g} · {_short(lower)}"
        formula = f"{weight:g} p(w | h'), a score"
        yield TracedNumber("p(w | h)", formula, numbers, weight * lower)

    def _add_k(
        self, n: int, context: list[int], word: int, found: _Followers, lower: float
    ) -> Iterator[TracedNumber]:
        k, V = self._settings.k, self._possible
        is_complete = n == self._settings.order or context[:1] == [BOS]
        if not is_complete:
            yield TracedNumber(
                "p(w | h)", "1 / V, because the context is not complete", f"1 / {V}", lower
            )
            return
        yield from self._counted(n, context, found)
        yield TracedNumber("V", "words that can follow", "", V)
        yield TracedNumber(
            "p(w | h)",
            "(c(hw) + k) / (c(h·) + k V)",
            f"({found.count} + {k:g}) / ({found.total} + {k:g} · {V})",
            (found.count + k) / (found.total + k * V),
        )

    def _jelinek_mercer(
        self, n: int, context: list[int], word: int, found: _Followers, lower: float
    ) -> Iterator[TracedNumber]:
        if n == 1 and self._plain_unigrams:
            yield from self._relative(n, context, word, found, lower)
            return
        yield from self._counted(n, context, found)
        weight = self._weight(n, context, found)
        frequency = found.count / found.total
        yield TracedNumber(
            "frequency", "c(hw) / c(h·)", f"{found.count} / {found.total}", frequency
        )
        bucket = f"of contexts with about {2 ** int(math.log2(found.total))} to twice that"
        yield TracedNumber("weight(h)", f"fitted to held-out text; {bucket}", "", weight)
        yield TracedNumber(
            "p(w | h)",
            "weight(h) c(hw) / c(h·) + (1 − weight(h)) p(w | h')",
            f"{_short(weight)} · {_short(frequency)} + {_short(1 - weight)} · {_short(lower)}",
            weight * frequency + (1 - weight) * lower,
        )

    def _weight(self, n: int, context: list[int], found: _Followers) -> float:
        """The weight of a context, which the model file holds as what it leaves over."""
        table = self._model.table
        if n > 1:
            return 1 - bounded_exp(float(table.orders[n - 2].log_backoffs[self._in_table(context)]))
        counts = self._count_of[0]  # of unigrams, it follows from the most frequent word
        best = int(counts.argmax())
        uniform = 1 / self._possible
        frequency = int(counts[best]) / found.total
        most = bounded_exp(float(table.orders[0].log_probs[best]))
        return (most - uniform) / (frequency - uniform) if frequency != uniform else 0.5

    def _katz(
        self, n: int, context: list[int], word: int, found: _Followers, lower: float
    ) -> Iterator[TracedNumber]:
        if n == 1 and self._plain_unigrams:
            yield from self._relative(n, context, word, found, lower)
            return
        yield from self._counted(n, context, found)
        highest = TRUSTED_ABOVE + 1
        all_counts = self._counts.orders[n - 1].count
        of_count = np.bincount(np.minimum(all_counts, highest + 1), minlength=highest + 2)
        kept, _ = kept_parts(of_count[: highest + 1])
        retained = found.counts * kept[np.minimum(found.counts, highest)]
        total, lost = found.total, found.total - float(retained.sum())
        if lost < 1e-9:
            lost, total = 1.0, total + 1
            yield TracedNumber(
                "c(h·)", "and one more for words not seen, all counts being trusted", "", total
            )
        leftover = lost / total
        keeps = float(kept[min(found.count, highest)]) if found.count else 0.0
        share = found.count * keeps / total
        if found.count:
            yield TracedNumber("d", f"the part that a count of {found.count} keeps", "", keeps)
            yield TracedNumber(
                "share", "d c(hw) / c(h·)", f"{_short(keeps)} · {found.count} / {total}", share
            )
        if n == 1:  # below the unigrams every word gets a part
            yield TracedNumber(
                "leftover", "what the discounts take / c(h·)", f"{_short(lost)} / {total}", leftover
            )
            yield _mixed(share, leftover, lower)
            return
        weight = bounded_exp(
            float(self._model.table.orders[n - 2].log_backoffs[self._in_table(context)])
        )
        if found.count:
            prob = share if weight else share / (1 - leftover)
            scaled = (
                "share" if weight else "share / (1 − leftover), for no word is left to get that"
            )
            yield TracedNumber("p(w | h)", scaled, "", prob)
            return
        yield TracedNumber(
            "leftover", "what the discounts take / c(h·)", f"{_short(lost)} / {total}", leftover
        )
        unseen = leftover / weight if weight else 0.0
        formula = "leftover / the sum of p(w | h') over the w not seen after h"
        yield TracedNumber("α(h)", formula, f"{_short(leftover)} / {_short(unseen)}", weight)
        numbers = f"{_short(weight)} · {_short(lower)}"
        yield TracedNumber("p(w | h)", "α(h) p(w | h')", numbers, weight * lower)

    def _in_table(self, context: list[int]) -> int:
        """The index of a context in the model's table."""
        state = self._model.null_context(1)
        for word in context:
            state = self._model.step(state, np.array([word], np.int32))
        return int(state[0][len(context) - 1])

    def _token(self, word: int) -> str:
        return self._encoder.token_text(word)

    def _joined(self, words: tuple[int, ...]) -> str:
        tokens = [self._token(word) for word in words]
        return ("" if all(len(token) == 1 for token in tokens) else " ").join(tokens)


def _mixed(share: float, leftover: float, lower: float) -> TracedNumber:
    """The end of every interpolated order."""
    return TracedNumber(
        "p(w | h)",
        "share + leftover · p(w | h')",
        f"{_short(share)} + {_short(leftover)} · {_short(lower)}",
        share + leftover * lower,
    )


def _short(value: float) -> str:
    return f"{value:.6g}"


def _why_not_counted(model: NgramModel, has_text: bool) -> str:
    """Why the fractions of a model cannot be shown; empty if they can."""
    settings = model.settings
    if settings.smoothing == IMPORTED:
        return "the model comes from an ARPA file, which does not say how it was smoothed"
    if settings.quantize:
        return "the model is quantized: its numbers are rounded"
    if settings.prune or settings.entropy_prune:
        return "the model is pruned: what the dropped n-grams had went to the back-off weights"
    return "" if has_text else "the model file has none; {training} TEXT names the training text"
