"""Texts that are continued side by side: one state of the model, a row for each.

A text may join and leave between any two steps. What is drawn for it depends on its own settings,
its own random numbers and its own row of the distributions, never on who is beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Literal, NamedTuple

import numpy as np

from lmsuite.errors import LmError
from lmsuite.generation.filters import Filter, draw_ids
from lmsuite.generation.writing import Writer
from lmsuite.models.interface import Decoder, LanguageModel, State
from lmsuite.sampling import SamplingSettings
from lmsuite.text.encoding import TextEncoder
from lmsuite.text.vocabulary import BOS, EOS, UNK
from lmsuite.types import FloatArray, IntArray

_AT_ONCE = 64
"""Numbers drawn from a generator at a time, as many as the same number of draws would give."""


class Piece(NamedTuple):
    """What one more token adds to a text."""

    text: str
    """The characters that became certain with it. None, if the token is a part of a character, or
    may begin a stop text."""
    id: int
    """The id of the token."""
    log_prob: float
    """Its log-probability in nats, the model's own, before any filter."""
    finish_reason: Literal["stop", "length"] | None
    """None but in the last piece: "stop" at a stop text, "length" after `max_tokens`."""


class Continuation:
    """One text in the making: its settings, its random numbers, and the text so far."""

    def __init__(
        self,
        encoder: TextEncoder,
        prompt_ids: IntArray,
        settings: SamplingSettings,
        rng: np.random.Generator,
    ) -> None:
        """The text that follows `prompt_ids`; it draws from `rng` alone, one number a token."""
        self.settings = settings
        self._writer = Writer(encoder, settings, prompt_ids)
        self._numbers = _numbers(rng)
        self._left = settings.max_tokens

    def number(self) -> float:
        """The next random number, from 0 to 1."""
        return next(self._numbers)

    def push(self, token: int, log_prob: float) -> Piece:
        """The piece of one more token."""
        self._left -= 1
        text = self._writer.push(token)
        if not self._left and not self._writer.stopped:
            text += self._writer.finish()
        if self._writer.stopped:
            return Piece(text, token, log_prob, "stop")
        return Piece(text, token, log_prob, None if self._left else "length")


def _numbers(rng: np.random.Generator) -> Iterator[float]:
    while True:
        yield from rng.random(_AT_ONCE).tolist()


class Batch:
    """Some texts, and the state of the model after what each has read: row k is that of text k."""

    def __init__(self, model: LanguageModel) -> None:
        """No texts yet."""
        self.texts: list[Continuation] = []
        self._model = model
        self._state: State = None
        self._ids: IntArray = np.empty(0, np.int32)
        self._excluded = np.array([UNK, *model.encoder.impossible], np.int32)
        self._decoders: dict[int, Decoder] = {}  # by the number of texts that they step
        self._decoder: Decoder = model
        self._filters: dict[tuple[float, ...], tuple[Filter, list[int]]] = {}

    def join(self, texts: Sequence[Continuation], state: State) -> None:
        """More texts, and the state (of as many rows) after their prompts."""
        self._state = self._model.join([self._state, state]) if self.texts else state
        self._have([*self.texts, *texts])

    def keep(self, rows: Sequence[int]) -> None:
        """The texts in these rows, which rise, stay; the others leave."""
        if len(rows) < len(self.texts):
            self._state = self._model.select(self._state, rows) if rows else None
            self._have([self.texts[row] for row in rows])

    def state(self, row: int) -> State:
        """The state of one text, of batch size 1."""
        return self._model.select(self._state, [row])

    def draw(self) -> list[Piece | LmError]:
        """The next piece of every text, or why it has none: no token has any probability there."""
        log_probs = self._decoder.log_probs(self._state)  # (B, V)
        failures: dict[int, LmError] = {}
        self._ids = self._drawn(log_probs, failures)
        return [
            failures[row] if row in failures else text.push(token, log_probs.item(row, token))
            for row, (text, token) in enumerate(zip(self.texts, self._ids.tolist(), strict=True))
        ]

    def _drawn(self, log_probs: FloatArray, failures: dict[int, LmError]) -> IntArray:
        """An id (B,) for every text; a text that can have none is put among the failures."""
        numbers = np.array([text.number() for text in self.texts])
        if len(self._filters) == 1:
            [(tokens, _)] = self._filters.values()
            with suppress(LmError):  # of some row: then each is drawn for itself
                return draw_ids(log_probs, tokens, numbers)
        ids = np.zeros(len(numbers), np.int32)
        for tokens, rows in self._filters.values():
            try:
                ids[rows] = draw_ids(log_probs[rows], tokens, numbers[rows])
            except LmError:
                for row in rows:
                    part = slice(row, row + 1)
                    try:
                        ids[part] = draw_ids(log_probs[part], tokens, numbers[part])
                    except LmError as error:
                        failures[row] = error
        return ids

    def read(self, rows: Sequence[int]) -> None:
        """Read what was drawn in these rows, as `keep` takes them; the others leave.

        After ``</s>`` a text begins anew: ``<s>`` is read, too.
        """
        ids = self._ids
        if len(rows) < len(self.texts):
            ids = ids[rows]
            self.keep(rows)
        if not self.texts:
            return
        self._state = self._decoder.step(self._state, ids)
        ended = np.flatnonzero(ids == EOS)
        if len(ended):
            begun = self._model.select(self._state, ended)
            begun = self._model.step(begun, np.full(len(ended), BOS, np.int32))
            now = np.arange(len(ids))
            now[ended] = len(ids) + np.arange(len(ended))
            self._state = self._model.select(self._model.join([self._state, begun]), now)

    def _have(self, texts: list[Continuation]) -> None:
        """These are the texts from now on; those with equal filters are drawn together."""
        self.texts = texts
        if texts:
            size = 1 << (len(texts) - 1).bit_length()  # the next power of two
            if size not in self._decoders:
                self._decoders[size] = self._model.decoder(size)
            self._decoder = self._decoders[size]
        known, self._filters = self._filters, {}
        for row, text in enumerate(texts):
            key = text.settings.filters
            if key not in known:
                vocabulary = len(self._model.encoder.vocabulary)
                known[key] = Filter(text.settings, vocabulary, self._excluded), []
            tokens, _ = known[key]
            self._filters.setdefault(key, (tokens, []))[1].append(row)
