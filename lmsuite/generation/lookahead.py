"""Draw exactly the wanted texts of an n-gram model, by looking ahead.

Let k be what a text has of the phrases so far (`Phrases`), c its context in the back-off table, and
h_t(c, k) the probability that a text with t tokens to go becomes a wanted one. Then

    h_0(c, k) = 1 if k is wanted, else 0
    h_t(c, k) = sum_w p(w | c) h_{t-1}(c w, k w)

where c w and k w are context and phrases after w, and a token that ends the text counts as t = 0.
A token is drawn with probability p(w | c) h_{t-1}(c w, k w) / h_t(c, k). So a text has exactly its
probability among the wanted texts (Doob's h-transform; Zhang et al. 2023 use it for hidden Markov
models), and none is thrown away.

The table makes the sum short. Most w are not stored after c. Those continue as after c', the
context without its first word. With u_n(j) = p(j) h(j) of each stored n-gram j of order n,

    H_n(c) = sum of u_{n+1}(j) - b(c) u_n(j') over the stored j = c w  +  b(c) H_{n-1}(c')

where j' is j without its first word. That is one pass over the table for each t, for texts that are
in the middle of no phrase. For other texts only the few words of the phrases differ, and only
contexts matter that end with the word drawn last. All h are divided by the sum of p(w | c) over
the words that can be written, for ``<unk>`` never is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmsuite.generation.phrases import START, Phrases, Progress, ending_tokens
from lmsuite.models.interface import LanguageModel
from lmsuite.models.ngram import NgramModel
from lmsuite.sampling import SamplingSettings
from lmsuite.text.vocabulary import BOS, EOS, UNK
from lmsuite.types import Float64Array

_MOST_NUMBERS = 1 << 26
"""Numbers h that are kept, 8 bytes each: for every token to go, one for each context."""

_MOST_WORK = 1 << 31
"""n-grams that are read, over all tokens to go: about ten seconds."""

_Contexts = NDArray[np.int64]
"""Contexts by their numbers: those of order 1 first, as in the table, then those of order 2, ..."""


class LookAhead:
    """What all texts of the same model, phrases and settings share."""

    def __init__(
        self, model: NgramModel, phrases: Phrases, ending: list[int], max_tokens: int
    ) -> None:
        """Compute h for texts of up to `max_tokens` tokens; the `ending` ones end a text."""
        self.model, self.phrases, self.ending = model, phrases, ending
        self.table = table = model.table
        self.first = np.cumsum([0, *table.sizes[:-1]])  # the first number of each order
        self._suffixes: dict[int, NDArray[np.int64]] = {}
        for n in range(2, table.order + 1):
            self._suffixes[n] = table.suffixes(n, self._suffixes.get(n - 1))
        self._prefixes = {n: table.prefixes(n) for n in self._suffixes}
        self._probs = [np.exp(of.log_probs.astype(np.float64)) for of in table.orders]
        self._backoffs = [np.exp(of.log_backoffs.astype(np.float64)) for of in table.orders[:-1]]
        self.written = self._sums(self._writable(np.ones(self.first[-1])))
        self.written[self.written <= 0] = np.inf  # nothing can be written there
        states = [each for each in phrases.reachable() if not phrases.is_decided(each)]
        self._bases = [each for each in states if not each.node]
        self._open = {each: _Open(self, each) for each in states if each.node}
        self._h: list[dict[Progress, Float64Array]] = [
            {
                each: np.full(
                    len(self._open[each].contexts) if each.node else self.first[-1],
                    float(phrases.is_kept(each)),
                )
                for each in states
            }
        ]
        for to_go in range(max_tokens):
            self._h.append(self._one_more(to_go))

    @classmethod
    def of(
        cls, model: LanguageModel, phrases: Phrases, settings: SamplingSettings
    ) -> LookAhead | None:
        """The look-ahead for these texts; None if the model has no table, or it would be too long.

        A stop text of several tokens cannot be looked for either.
        """
        if not isinstance(model, NgramModel) or model.table.order < 2:
            return None
        ending = ending_tokens(model.encoder, settings)
        if ending is None or EOS in phrases.words:
            return None
        bases = 1 << len(settings.contains)
        work = bases * settings.max_tokens * sum(model.table.sizes)
        numbers = bases * (settings.max_tokens + 1) * sum(model.table.sizes[:-1])
        if work > _MOST_WORK or numbers > _MOST_NUMBERS:
            return None
        return cls(model, phrases, ending, settings.max_tokens)

    def condition(self, state: NDArray[np.int64], max_tokens: int) -> AheadCondition:
        """The condition of a text after the contexts (1, order - 1) of its prompt."""
        return AheadCondition(self, state, max_tokens)

    def h(self, to_go: int, state: Progress, contexts: _Contexts) -> Float64Array:
        """h of some contexts, which end with the last word of the state, if it is in a phrase."""
        if self.phrases.is_decided(state):
            return np.ones(len(contexts))
        if state.node:
            contexts = self._open[state].contexts.searchsorted(contexts)
        numbers: Float64Array = self._h[to_go][state][contexts]
        return numbers

    def ending_in(self, word: int) -> _Contexts:
        """The contexts whose last word this is, rising."""
        orders = zip(self.first, self.table.orders[:-1], strict=False)
        return np.concatenate([at + np.flatnonzero(of.words == word) for at, of in orders])

    def rows(self, contexts: _Contexts) -> NDArray[np.int64]:
        """The contexts as the table has them, (K, order - 1)."""
        orders = self.first.searchsorted(contexts, side="right")
        rows = np.full((len(contexts), self.table.order - 1), -1, np.int64)
        index = contexts - self.first[orders - 1]
        for n in range(self.table.order - 1, 0, -1):
            known = orders >= n
            rows[known, n - 1] = index[known]
            if n > 1:
                index[known] = self._suffixes[n][index[known]]
        return rows

    def numbers(self, rows: NDArray[np.int64]) -> _Contexts:
        """The numbers of contexts (K, order - 1)."""
        numbers = rows[:, 0].copy()
        for n in range(2, self.table.order):
            known = rows[:, n - 1] >= 0
            numbers[known] = self.first[n - 1] + rows[known, n - 1]
        return numbers

    def _writable(self, values: Float64Array) -> Float64Array:
        """Values of contexts, 0 after what is never written."""
        for word in (UNK, BOS):
            values[self.ending_in(word)] = 0.0
        return values

    def _sums(self, values: Float64Array) -> Float64Array:
        """For each context c, the sum of p(w | c) times the value of the context c w."""
        last = self.table.order
        at = [values[begin:end] for begin, end in zip(self.first, self.first[1:], strict=False)]
        at.append(at[-1][self._suffixes[last]])  # the first word of the longest n-grams is dropped
        u = [probs * value for probs, value in zip(self._probs, at, strict=True)]
        shorter: Any = u[0].sum()
        sums = []
        for n, backoffs in enumerate(self._backoffs, start=1):
            prefix, suffix = self._prefixes[n + 1], self._suffixes[n + 1]
            stored = u[n] - backoffs[prefix] * u[n - 1][suffix]
            of_shorter = shorter if n == 1 else shorter[self._suffixes[n]]
            shorter = np.bincount(prefix, stored, len(backoffs)) + backoffs * of_shorter
            sums.append(shorter)
        return np.concatenate(sums)

    def _one_more(self, to_go: int) -> dict[Progress, Float64Array]:
        """h of one more token to go."""
        now: dict[Progress, Float64Array] = {}
        for base in self._bases:
            values = self._h[to_go][base].copy()
            if self.model.encoder.boundaries.has_sequences:  # <s> comes after </s>
                values[self.ending_in(EOS)] = values[BOS]
            for word in self.phrases.words:
                contexts = self.ending_in(word)
                values[contexts] = self.h(to_go, self.phrases.step(base, word), contexts)
            for word in self.ending:
                values[self.ending_in(word)] = float(self.phrases.is_kept(base))
            now[base] = self._sums(self._writable(values)) / self.written
            np.clip(now[base], 0.0, 1.0, now[base])  # rounding
        for state, texts in self._open.items():
            base = Progress(0, state.found)
            numbers = now[base][texts.contexts] + texts.difference(base, to_go)
            now[state] = np.clip(numbers, 0.0, 1.0)
        return now


class _Open:
    """Texts that are in the middle of a phrase: how they differ from those that are in none."""

    def __init__(self, ahead: LookAhead, state: Progress) -> None:
        self._ahead, self._state = ahead, state
        phrases = ahead.phrases
        self.contexts = ahead.ending_in(phrases.last[state.node])
        rows = ahead.rows(self.contexts)
        base = Progress(0, state.found)
        words = [
            word
            for word in phrases.words
            if phrases.step(state, word) != phrases.step(base, word) and word not in ahead.ending
        ]
        self._after = [(word, *self._next(rows, word)) for word in words]
        self._end = np.zeros(len(self.contexts))  # what an end adds that is wanted here
        if phrases.is_kept(state):
            for word in ahead.ending:
                self._end += self._next(rows, word)[0]

    def _next(self, rows: NDArray[np.int64], word: int) -> tuple[Float64Array, _Contexts]:
        """The probability of a word after each context, and the contexts after it."""
        ids = np.full(len(rows), word, np.int32)
        log_probs, after = self._ahead.table.score_next(rows, ids)
        probs = np.exp(log_probs) / self._ahead.written[self.contexts]
        return probs, self._ahead.numbers(after)

    def difference(self, base: Progress, to_go: int) -> Float64Array:
        """h of one more token to go, minus that of the same contexts in no phrase."""
        total = self._end.copy()
        for word, probs, after in self._after:
            here, there = (self._ahead.phrases.step(each, word) for each in (self._state, base))
            total += probs * (
                self._ahead.h(to_go, here, after) - self._ahead.h(to_go, there, after)
            )
        return total


class AheadCondition:
    """Makes each token as probable as the wanted texts that begin with it."""

    def __init__(self, ahead: LookAhead, state: NDArray[np.int64], left: int) -> None:
        """The condition of a text with `left` tokens to go, after the contexts (1, order - 1)."""
        self._ahead, self._contexts, self._left = ahead, state, left
        self._progress = START

    def apply(self, log_probs: NDArray[Any]) -> NDArray[Any]:
        ahead, phrases = self._ahead, self._ahead.phrases
        if phrases.is_decided(self._progress):
            return log_probs
        after, to_go = self._after(), self._left - 1
        values = ahead.h(to_go, Progress(0, self._progress.found), after)
        for word in phrases.words:
            [values[word]] = ahead.h(to_go, phrases.step(self._progress, word), after[[word]])
        values[ahead.ending] = float(phrases.is_kept(self._progress))
        with np.errstate(divide="ignore"):
            changed: NDArray[Any] = log_probs + np.log(values)
        return changed

    def _after(self) -> _Contexts:
        """The number of the context after every word (V,)."""
        orders, after = self._ahead.table.orders, np.arange(self._ahead.table.vocabulary_size)
        for n in range(1, len(orders) - 1):
            context = int(self._contexts[0, n - 1])
            if context >= 0:
                children = np.arange(*orders[n - 1].first_child[context : context + 2])
                after[orders[n].words[children]] = self._ahead.first[n] + children
        if self._ahead.model.encoder.boundaries.has_sequences:
            after[EOS] = BOS
        return after

    def push(self, token: int) -> None:
        self._progress = self._ahead.phrases.step(self._progress, token)
        self._contexts = self._ahead.table.extend(self._contexts, np.array([token]))
        if token == EOS:
            self._contexts = self._ahead.table.start(1)
        self._left -= 1
