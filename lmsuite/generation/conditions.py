"""What changes the next-token distribution of one text, depending on the text so far.

A filter (`filters`) changes a distribution by its probabilities alone. A condition knows the tokens
that came before. Conditions change the model's log-probabilities first; the filters come after.

* *min-tokens*: a token that would end the text is not drawn before there are N tokens.
* *no-repeat* N (Paulus, Xiong and Socher 2017): no N tokens come a second time in the same order,
  those of the prompt included.
* *repetition penalty* r (Keskar et al. 2019): the log-probability of every token that is in the
  text or its prompt is multiplied by r, so p becomes proportional to p^r. (Their paper divides a
  logit by r. Log-probabilities are the logits that every family has, and are never above 0.)
* *presence* and *frequency penalties* a and f (of OpenAI's API): of a token that was drawn c times,
  c > 0, a + c f is taken from the log-probability. The prompt does not count.
* *bias* (of OpenAI's API): a number is added to the log-probability of a token.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lmsuite.generation.writing import Writer, writer
from lmsuite.sampling import SamplingSettings
from lmsuite.text.encoding import TextEncoder
from lmsuite.text.settings import Boundaries
from lmsuite.text.vocabulary import BOS, EOS, UNK
from lmsuite.types import FloatArray, IntArray


class Condition(Protocol):
    """A condition of one text.

    What `push` changes in a condition, it replaces. So ``copy.copy`` of a condition is that of a
    second text with the same beginning.
    """

    def apply(self, log_probs: NDArray[Any]) -> NDArray[Any]:
        """Changed log-probabilities (V,) of the next token; those given stay as they are."""

    def push(self, token: int) -> None:
        """Read a token that was drawn."""


def conditions_of(
    settings: SamplingSettings, encoder: TextEncoder, prompt: IntArray
) -> tuple[Condition, ...]:
    """The conditions that these settings make for a text that continues a prompt (N,)."""
    conditions: list[Condition] = []
    prompt = prompt[prompt != BOS]
    if settings.repetition_penalty != 1:
        size = len(encoder.vocabulary)
        conditions.append(RepetitionPenalty(settings.repetition_penalty, size, prompt))
    if settings.presence_penalty or settings.frequency_penalty:
        conditions.append(CountPenalty(settings, len(encoder.vocabulary)))
    if settings.no_repeat:
        conditions.append(NoRepeat(settings.no_repeat, prompt))
    if settings.min_tokens:
        conditions.append(MinTokens(settings, encoder, prompt))
    return tuple(conditions)


def without(log_probs: NDArray[Any], ids: IntArray | list[int]) -> NDArray[Any]:
    """The log-probabilities (V,) with these tokens made impossible."""
    changed = log_probs.copy()
    changed[ids] = -np.inf
    return changed


def is_empty(log_probs: NDArray[Any], excluded: IntArray) -> bool:
    """Whether only excluded tokens have any probability in a row (V,)."""
    return bool(without(log_probs, excluded).max() == -np.inf)


class RepetitionPenalty:
    """Tokens that came before are less probable; with a penalty below 1, more."""

    def __init__(self, penalty: float, vocabulary: int, prompt: IntArray) -> None:
        """The condition of a text after `prompt` (N,), over `vocabulary` tokens."""
        self._penalty = penalty
        self._is_seen = np.zeros(vocabulary, bool)
        self._is_seen[prompt] = True

    def apply(self, log_probs: NDArray[Any]) -> NDArray[Any]:
        changed = log_probs.copy()
        changed[self._is_seen] *= self._penalty
        return changed

    def push(self, token: int) -> None:
        if not self._is_seen[token]:
            self._is_seen = self._is_seen.copy()
            self._is_seen[token] = True


class CountPenalty:
    """Tokens that were drawn are less probable: a little for each time, and once for all."""

    def __init__(self, settings: SamplingSettings, vocabulary: int) -> None:
        """The condition of a text that begins, over `vocabulary` tokens."""
        self._presence, self._frequency = settings.presence_penalty, settings.frequency_penalty
        self._counts = np.zeros(vocabulary)

    def apply(self, log_probs: NDArray[Any]) -> NDArray[Any]:
        penalties = self._frequency * self._counts + self._presence * (self._counts > 0)
        return np.asarray(log_probs - penalties)

    def push(self, token: int) -> None:
        self._counts = self._counts.copy()
        self._counts[token] += 1


class Bias:
    """Some tokens are more or less probable everywhere."""

    def __init__(self, biases: Mapping[int, float]) -> None:
        """The condition that adds these numbers, by id, to log-probabilities."""
        self._ids = np.array(list(biases), np.int32)
        self._biases = np.array(list(biases.values()))

    def apply(self, log_probs: NDArray[Any]) -> NDArray[Any]:
        changed = log_probs.astype(np.float64)
        changed[self._ids] += self._biases
        return changed

    def push(self, token: int) -> None:
        """Nothing: the biases stay."""


class NoRepeat:
    """No `order` tokens come a second time in the same order."""

    def __init__(self, order: int, prompt: IntArray) -> None:
        """The condition of a text after `prompt` (N,)."""
        self._order = order
        self._ids = prompt.astype(np.int32)

    def apply(self, log_probs: NDArray[Any]) -> NDArray[Any]:
        before = self._order - 1  # tokens
        places = len(self._ids) - before
        if places <= 0:
            return log_probs
        is_same = np.ones(places, bool)  # whether the last tokens stand there, too
        for back in range(before):
            is_same &= self._ids[back : back + places] == self._ids[places + back]
        return without(log_probs, self._ids[before:][is_same])

    def push(self, token: int) -> None:
        self._ids = np.append(self._ids, np.int32(token))


class MinTokens:
    """Before there are `min_tokens`, no token is drawn that would end the text."""

    def __init__(self, settings: SamplingSettings, encoder: TextEncoder, prompt: IntArray) -> None:
        """The condition of a text after `prompt` (N,)."""
        self._left = settings.min_tokens
        self._writer = writer(encoder, settings, prompt)
        self._candidates = _may_end(encoder, settings.stop)

    def apply(self, log_probs: NDArray[Any]) -> NDArray[Any]:
        if self._left <= 1 or not self._candidates:  # the last of them may end the text
            return log_probs
        ending = [token for token in self._candidates if _after(self._writer, token).stopped]
        return without(log_probs, ending) if ending else log_probs

    def push(self, token: int) -> None:
        if self._left > 1:
            self._left -= 1
            self._writer = _after(self._writer, token)


def _after(before: Writer, token: int) -> Writer:
    """The writer that another one becomes by one more token."""
    later = before.copy()
    later.push(token)
    return later


@lru_cache(maxsize=8)
def _may_end(encoder: TextEncoder, stops: tuple[str, ...]) -> tuple[int, ...]:
    """The tokens that may end a text; whether one does depends on the text before it.

    A token completes a stop text if it brings the last character. Whoever joins tokens adds spaces,
    and nothing else, or holds a line back until its end.
    """
    if not stops:
        return (EOS,) if encoder.boundaries is Boundaries.DOCUMENTS else ()
    tokens, tokenizer = encoder.vocabulary.tokens, encoder.tokenizer
    if encoder.backward and any(len(stop) > 1 for stop in stops):
        return tuple(sorted({*range(len(tokens))} - {UNK, BOS}))  # the first character is the last
    ids = {EOS, encoder.vocabulary.id(tokenizer.newline)}
    for stop in stops:
        is_added = not encoder.lossless and stop[-1] != "\n" and stop[-1].isspace()
        last = "" if is_added else tokenizer.token_of(stop)[-1]
        ids.update(number for number, token in enumerate(tokens) if last in token)
    return tuple(sorted(ids - {UNK, BOS}))


def under(conditions: tuple[Condition, ...], log_probs: FloatArray) -> FloatArray:
    """The log-probabilities (V,) under all conditions."""
    for condition in conditions:
        log_probs = condition.apply(log_probs)
    return log_probs
