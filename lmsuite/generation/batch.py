"""Texts that are continued side by side: one state of the model, with a row for each text.

A text may join or leave between any two steps. Its tokens depend on its own settings, its own
random numbers and its own row of the distributions. They never depend on the other texts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from lmsuite.errors import LmError
from lmsuite.generation.alternatives import most_probable
from lmsuite.generation.conditions import Condition, conditions_of, is_empty, under
from lmsuite.generation.drawing import WIDE, Sampler
from lmsuite.generation.filters import Filter, draw_ids
from lmsuite.generation.writing import writer
from lmsuite.models.interface import BackedOff, Decoder, LanguageModel, State
from lmsuite.sampling import SamplingSettings
from lmsuite.text.encoding import TextEncoder
from lmsuite.text.vocabulary import BOS, EOS, UNK
from lmsuite.types import FloatArray, IntArray

_AT_ONCE = 64
"""Random numbers drawn at a time. They are the same numbers as when drawn one by one."""


_NOTHING_LEFT = "the conditions leave no token any probability here, so the text cannot go on"


class Piece(NamedTuple):
    """The part of a text that one more token adds."""

    text: str
    """The characters that this token makes certain. There are none if it is a part of a character,
    or if it may begin a stop text."""
    id: int
    """The id of the token."""
    log_prob: float
    """Its log-probability in nats, the model's own, before any filter."""
    finish_reason: Literal["stop", "length"] | None
    """In the last piece "stop" (at a stop text, or the end of a document) or "length" (after
    `max_tokens`); else None."""
    alternatives: tuple[tuple[int, float], ...] = ()
    """The most probable tokens here and their log-probabilities, the most probable first: as many
    as the text was to have."""


class Continuation:
    """One text that is being written: its settings, its random numbers, and its state so far."""

    def __init__(
        self,
        encoder: TextEncoder,
        prompt_ids: IntArray,
        settings: SamplingSettings,
        rng: np.random.Generator,
        conditions: Sequence[Condition] = (),
        alternatives: int = 0,
    ) -> None:
        """The text after `prompt_ids`. It draws one number a token, all from `rng`.

        The `conditions` are this text's own, beside those of the settings; they have read the
        prompt. Each of its pieces has `alternatives`.
        """
        self.settings = settings
        self.alternatives = alternatives
        self.conditions = (*conditions, *conditions_of(settings, encoder, prompt_ids))
        self._writer = writer(encoder, settings, prompt_ids)
        self._numbers = _numbers(rng)
        self._left = settings.max_tokens

    def number(self) -> float:
        """The next random number, from 0 to 1."""
        return next(self._numbers)

    def fork(self) -> Self:
        """Another text that begins as this one; it draws its numbers from the same generator."""
        other = copy(self)
        other._writer = self._writer.copy()
        other.conditions = tuple(map(copy, self.conditions))
        return other

    def push(self, token: int, log_prob: float) -> Piece:
        """The piece of one more token."""
        self._left -= 1
        for condition in self.conditions:
            condition.push(token)
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
    """Some texts, and the state of the model: row k is the state after text k."""

    def __init__(self, model: LanguageModel) -> None:
        """A batch without texts."""
        self.texts: list[Continuation] = []
        self._model = model
        self._state: State = None
        self._drawn: list[int] = []
        self._excluded = np.array([UNK, *model.encoder.impossible], np.int32)
        self._decoders: dict[int, Decoder] = {}  # by the number of texts that they step
        self._decoder: Decoder = model
        self._samplers: list[Sampler] = []  # of every text
        self._groups: dict[tuple[float, ...], tuple[Sampler, list[int]]] = {}  # rows by filter
        self._is_wide = len(model.encoder.vocabulary) > WIDE

    def join(self, texts: Sequence[Continuation], state: State) -> None:
        """Add texts, and the state after their prompts, one row a text."""
        self._state = self._model.join([self._state, state]) if self.texts else state
        self._have([*self.texts, *texts])

    def keep(self, rows: Sequence[int]) -> None:
        """Keep the texts in these rows, given in rising order; the other texts leave."""
        if len(rows) < len(self.texts):
            self._state = self._model.select(self._state, rows) if rows else None
            self._have([self.texts[row] for row in rows])

    def state(self, row: int) -> State:
        """The state of one text, of batch size 1."""
        return self._model.select(self._state, [row])

    def draw(self) -> list[Piece | LmError]:
        """The next piece of every text, or an error if no token has any probability there."""
        rows: FloatArray | Sequence[BackedOff] | None = None
        if self._is_wide:
            rows = self._model.backed_off(self._state)
        if rows is None:
            rows = self._decoder.log_probs(self._state)  # (B, V)
        marks = [text.number() for text in self.texts]
        changed = self._under_conditions(rows)
        if isinstance(rows, np.ndarray) and len(marks) > 1 and not self._is_wide:
            try:
                self._drawn = self._drawn_together(changed, np.array(marks))
            except LmError:  # of some row: then a token is drawn for each text alone
                pass
            else:
                drawn = enumerate(zip(self.texts, self._drawn, strict=True))
                return [self._piece(text, token, rows[row]) for row, (text, token) in drawn]
        pieces: list[Piece | LmError] = []
        self._drawn = []
        for text, sampler, log_probs, own, mark in zip(
            self.texts, self._samplers, changed, rows, marks, strict=True
        ):
            try:
                token = sampler.draw(log_probs, mark)
            except LmError as error:
                token = UNK
                pieces.append(LmError(_NOTHING_LEFT) if text.conditions else error)
            else:
                pieces.append(self._piece(text, token, own))
            self._drawn.append(token)
        return pieces

    def _piece(self, text: Continuation, token: int, log_probs: FloatArray | BackedOff) -> Piece:
        """The piece of a token drawn from a row (V,)."""
        piece = text.push(token, log_probs.item(token))
        if not text.alternatives:
            return piece
        if isinstance(log_probs, BackedOff):
            log_probs = log_probs.dense(np.empty(len(self._model.encoder.vocabulary)))
        ids, best = most_probable(log_probs[None], text.alternatives)
        pairs = zip(ids[0].tolist(), best[0].tolist(), strict=True)
        return piece._replace(alternatives=tuple(pairs))

    def _under_conditions(self, rows: FloatArray | Sequence[BackedOff]) -> Any:
        """The rows, those of texts with conditions changed: an array, or one for each text.

        Conditions that leave only what no text shows, such as ``<unk>``, leave nothing.
        """
        if not any(text.conditions for text in self.texts):
            return rows
        changed: Any = rows.copy() if isinstance(rows, np.ndarray) else list(rows)
        for row, text in enumerate(self.texts):
            if not text.conditions:
                continue
            own = rows[row]
            if isinstance(own, BackedOff):
                own = own.dense(np.empty(len(self._model.encoder.vocabulary)))
            left = under(text.conditions, own)
            if is_empty(left, self._excluded) and not is_empty(own, self._excluded):
                left = np.full_like(left, -np.inf)
            changed[row] = left
        return changed

    def _drawn_together(self, log_probs: FloatArray, marks: NDArray[np.float64]) -> list[int]:
        """An id for every text."""
        ids = np.empty(len(marks), np.int32)
        for sampler, rows in self._groups.values():
            if len(rows) == len(marks):
                ids = draw_ids(log_probs, sampler.filter, marks)
            else:
                ids[rows] = draw_ids(log_probs[rows], sampler.filter, marks[rows])
        drawn: list[int] = ids.tolist()
        return drawn

    def read(self, rows: Sequence[int]) -> None:
        """Read the tokens drawn in these rows, given in rising order; the other texts leave.

        After ``</s>`` a text begins anew: ``<s>`` is read, too.
        """
        tokens = [self._drawn[row] for row in rows]
        self.keep(rows)
        if not tokens:
            return
        ids = np.array(tokens, np.int32)
        self._state = self._decoder.step(self._state, ids)
        if EOS in tokens:
            ended = np.flatnonzero(ids == EOS)
            begun = self._model.select(self._state, ended)
            begun = self._model.step(begun, np.full(len(ended), BOS, np.int32))
            now = np.arange(len(ids))
            now[ended] = len(ids) + np.arange(len(ended))
            self._state = self._model.select(self._model.join([self._state, begun]), now)

    def _have(self, texts: list[Continuation]) -> None:
        """Set the texts, and group their rows by filter: one call draws for each group."""
        self.texts = texts
        if texts:
            size = 1 << (len(texts) - 1).bit_length()  # the next power of two
            if size not in self._decoders:
                self._decoders[size] = self._model.decoder(size)
            self._decoder = self._decoders[size]
        known, self._groups, self._samplers = self._groups, {}, []
        for row, text in enumerate(texts):
            key = text.settings.filters
            if key not in known:
                vocabulary = len(self._model.encoder.vocabulary)
                tokens = Filter(text.settings, vocabulary, self._excluded)
                known[key] = Sampler(tokens, vocabulary), []
            sampler, _ = known[key]
            self._samplers.append(sampler)
            self._groups.setdefault(key, (sampler, []))[1].append(row)
