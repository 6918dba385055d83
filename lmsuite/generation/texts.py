"""Texts that a model writes: whole, or piece by piece when the caller asks.

The seed of a call makes a random generator. Text k draws from the k-th child of this generator
(``numpy.random.Generator.spawn``), one number a token. So text k depends only on the seed and on k,
not on the other texts.

If only some texts are wanted, an n-gram model looks ahead (`lookahead`) and draws no others. Other
models draw text k again, from the children of its generator, until it is wanted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np

from lmsuite.errors import LmError, UsageError
from lmsuite.generation.batch import Batch, Continuation
from lmsuite.generation.batch import Piece as Piece
from lmsuite.generation.conditions import Condition
from lmsuite.generation.lookahead import LookAhead
from lmsuite.generation.phrases import Phrases
from lmsuite.models.interface import LanguageModel, State
from lmsuite.sampling import SamplingSettings
from lmsuite.text.vocabulary import BOS
from lmsuite.types import IntArray

Seed: TypeAlias = int | np.random.Generator | None
"""The same integer gives the same text. With a generator, each call gives the next texts. None
gives a new text at every call."""


_AT_ONCE = 256
"""Texts that are drawn side by side."""

_AGAIN = 256
"""Texts that are drawn side by side in place of those that are not wanted."""


@dataclass
class Sample:
    """One text drawn, without the prompt."""

    text: str = ""
    ids: list[int] = field(default_factory=list)
    """The ids of its tokens, including those of the stop text at which it stopped."""
    log_probs: list[float] = field(default_factory=list)
    """The log-probability of each token in nats, the model's own, before any filter."""
    draws: int = 1
    """How often it was drawn until it was wanted."""

    @classmethod
    def of(cls, pieces: Iterable[Piece], draws: int = 1) -> Sample:
        """The text of these pieces."""
        texts, ids, log_probs, *_ = zip(*pieces, strict=True) if pieces else ((), (), ())
        return cls("".join(texts), list(ids), list(log_probs), draws)


def sample(
    model: LanguageModel,
    prompt: str | IntArray = "",
    settings: SamplingSettings = SamplingSettings(),
    seed: Seed = None,
    *,
    samples: int = 1,
    conditions: Sequence[Condition] = (),
    **changes: Any,
) -> list[Sample]:
    """`samples` texts that continue a prompt, drawn side by side.

    After ``</s>`` a text begins anew in the model's start state, so a model of lines writes line
    after line. A text of a model of documents is one document, and ends there. A backward model
    writes what comes before the prompt, up to the stop text.

    Args:
        model: of any family.
        prompt: the beginning, as text or as ids (N,).
        settings: how tokens are drawn, which texts are wanted, and when to stop.
        seed: decides the texts; see `Seed`.
        samples: the number of texts.
        conditions: such as `MaxCopy`, of texts with nothing before them. Each text has copies.
        changes: settings by name, such as ``temperature=0.8, max_tokens=40``.

    Raises:
        UsageError: a setting is out of bounds, or `samples` is below 1.
        DataError: the prompt holds a reserved token, or an id out of range.
        LmError: the model gives no token any probability; or none of `max_draws` texts is wanted.
    """
    each = sample_each(
        model, [prompt], settings, seed, samples=samples, conditions=conditions, **changes
    )
    return next(each)


def sample_each(
    model: LanguageModel,
    prompts: Sequence[str | IntArray],
    settings: SamplingSettings = SamplingSettings(),
    seed: Seed = None,
    *,
    samples: int = 1,
    conditions: Sequence[Condition] = (),
    **changes: Any,
) -> Iterator[list[Sample]]:
    """`samples` texts for each of several prompts, in their order; many are drawn side by side.

    The arguments and the errors are those of `sample`. Text j of prompt i is text number
    ``i * samples + j`` of the seed.
    """
    if samples < 1:
        raise UsageError(f"{samples} samples: at least 1 is needed")
    settings = replace(settings, **changes)
    drawing = _Drawing(model, settings, conditions)
    rngs = np.random.default_rng(seed).spawn(len(prompts) * samples)
    together = max(1, _AT_ONCE // samples)
    return (
        drawn
        for begin in range(0, len(prompts), together)
        for drawn in drawing.samples(
            prompts[begin : begin + together],
            rngs[begin * samples : (begin + together) * samples],
        )
    )


def stream(
    model: LanguageModel,
    prompt: str | IntArray = "",
    settings: SamplingSettings = SamplingSettings(),
    seed: Seed = None,
    *,
    conditions: Sequence[Condition] = (),
    **changes: Any,
) -> Iterator[Piece]:
    """One text that continues a prompt, one `Piece` a token, drawn when the caller asks for it.

    Joined, the texts of the pieces are the text that `sample` gives with the same seed. A piece
    holds only characters that are certain: a character waits until all its bytes are there, and
    characters that may begin a stop text wait until it is clear that they do not. If a text must be
    drawn again until it is wanted, or the model is backward, all its characters come at its end.

    The arguments and the errors are those of `sample`.
    """
    settings = replace(settings, **changes)
    drawing = _Drawing(model, settings, conditions)
    [start] = drawing.starts([prompt], np.random.default_rng(seed).spawn(1))
    if drawing.draws_again:
        [(pieces, _)] = drawing.wanted([start])
        return iter(pieces)
    return (piece for (piece,) in drawing.side_by_side([start]) if isinstance(piece, Piece))


def prompt_ids(model: LanguageModel, prompt: str | IntArray) -> IntArray:
    """The ids (N,) of a prompt. Of a long text, only the end that the model needs is encoded.

    Raises:
        UsageError, DataError: the prompt is neither text nor ids, or holds a reserved token.
    """
    if isinstance(prompt, str):
        return model.encoder.encode_prompt(prompt, last=model.reach)
    return model.checked(prompt)


@dataclass(frozen=True)
class _Start:
    """Where a text begins."""

    prompt: IntArray
    state: State  # after the prompt
    rng: np.random.Generator


class _Drawing:
    """Draws texts with the same settings."""

    def __init__(
        self, model: LanguageModel, settings: SamplingSettings, conditions: Sequence[Condition]
    ) -> None:
        self._model, self._settings, self._conditions = model, settings, conditions
        if model.encoder.backward and settings.ends_with is not None:
            raise UsageError(
                "a backward model begins with the end of a text: give it as the prompt, not with "
                "{ends_with}",
                "ends_with",
            )
        self._phrases = Phrases(model.encoder, settings) if settings.is_choosy else None
        self._ahead = LookAhead.of(model, self._phrases, settings) if self._phrases else None

    @property
    def draws_again(self) -> bool:
        """Whether a text may have to be drawn again."""
        return self._phrases is not None and (self._ahead is None or self._is_conditional)

    @property
    def _is_conditional(self) -> bool:
        """Whether conditions beside the look-ahead may leave a text no way to go on."""
        settings = self._settings
        return bool(self._conditions or settings.no_repeat or settings.min_tokens)

    def starts(
        self, prompts: Sequence[str | IntArray], rngs: Sequence[np.random.Generator]
    ) -> list[_Start]:
        """Where the texts of these prompts begin; each prompt has the same number of texts."""
        starts, samples = [], len(rngs) // max(1, len(prompts))
        for number, prompt in enumerate(prompts):
            ids = prompt_ids(self._model, prompt)
            state = self._model.read(self._model.start(1), ids)
            own = rngs[number * samples : (number + 1) * samples]
            starts += [_Start(ids, state, rng) for rng in own]
        return starts

    def samples(
        self, prompts: Sequence[str | IntArray], rngs: Sequence[np.random.Generator]
    ) -> list[list[Sample]]:
        """The texts of each prompt."""
        starts, samples = self.starts(prompts, rngs), len(rngs) // len(prompts)
        texts = [Sample.of(pieces, draws) for pieces, draws in self.wanted(starts)]
        return [texts[begin : begin + samples] for begin in range(0, len(texts), samples)]

    def wanted(self, starts: Sequence[_Start]) -> list[tuple[list[Piece], int]]:
        """The pieces of one wanted text for each start, and how often it was drawn.

        Raises:
            LmError: a text cannot go on, or none of `max_draws` is wanted.
        """
        drawn = self._drawn(starts)
        if not self.draws_again:
            for each in drawn:
                if isinstance(each, LmError):
                    raise self._explained(each)
            return [(each, 1) for each in drawn if not isinstance(each, LmError)]
        found: dict[int, tuple[list[Piece], int]] = {}
        tried = 1
        attempts = [[each] for each in drawn]
        missing = list(range(len(starts)))
        while True:
            for number, of_start in zip(missing, attempts, strict=True):
                for draw, pieces in enumerate(of_start, start=tried):
                    if not isinstance(pieces, LmError) and self._is_wanted(pieces):
                        found[number] = pieces, draw
                        break
            tried += len(attempts[0])
            missing = [number for number in missing if number not in found]
            again = min(
                max(1, _AGAIN // max(1, len(missing))), self._settings.max_draws + 1 - tried
            )
            if not missing:
                return [found[number] for number in range(len(starts))]
            if again <= 0:
                wants, fields = _wanted(self._settings)
                raise LmError(
                    f"none of {self._settings.max_draws:,} texts is as {wants} wants it; raise "
                    "{max_draws}, or ask for what the model writes more often",
                    *fields,
                    "max_draws",
                )
            new = [
                replace(starts[number], rng=rng)
                for number in missing
                for rng in starts[number].rng.spawn(again)
            ]
            drawn = self._drawn(new)
            attempts = [drawn[begin : begin + again] for begin in range(0, len(drawn), again)]

    def _is_wanted(self, pieces: Sequence[Piece]) -> bool:
        assert self._phrases is not None
        ids = [piece.id for piece in pieces]
        if pieces and pieces[-1].finish_reason == "stop":
            ids = self._before_stop(pieces)
        return self._phrases.are_kept(ids)

    def _before_stop(self, pieces: Sequence[Piece]) -> list[int]:
        """The ids of the tokens before the one that begins the stop text."""
        ids = [piece.id for piece in pieces]
        encoder = self._model.encoder
        if encoder.backward:
            return ids[:-1]
        decoder, written, ends = encoder.decoder(), "", [0]
        for token in ids:
            written += decoder.push(token)
            ends.append(len(written))
        written += decoder.finish()
        stops = [at for stop in self._settings.stop if (at := written.find(stop)) >= 0]
        if not stops:  # the end of a document
            return ids[:-1]
        begin = min(stops)
        return ids[: sum(end <= begin for end in ends[1:])]

    def _drawn(self, starts: Sequence[_Start]) -> list[list[Piece] | LmError]:
        """The pieces of each text, or why it could not go on."""
        texts: list[list[Piece] | LmError] = [[] for _ in starts]
        for pieces in self.side_by_side(starts):
            for number, piece in enumerate(pieces):
                text = texts[number]
                if isinstance(piece, LmError):
                    texts[number] = piece
                elif piece is not None and not isinstance(text, LmError):
                    text.append(piece)
        return texts

    def side_by_side(self, starts: Sequence[_Start]) -> Iterator[list[Piece | LmError | None]]:
        """The next pieces of all texts, until the last text ends; None for texts that have ended.

        Raises:
            LmError: the only text cannot go on.
        """
        texts = [self._continuation(start) for start in starts]
        if not self._settings.max_tokens:
            return
        batch, going = Batch(self._model), list(range(len(starts)))
        batch.join(texts, self._model.join([start.state for start in starts]))
        while going:
            pieces: list[Piece | LmError | None] = [None] * len(starts)
            staying = []
            for row, piece in enumerate(batch.draw()):
                if isinstance(piece, LmError) and len(starts) == 1 and not self.draws_again:
                    raise self._explained(piece)
                pieces[going[row]] = piece
                if not isinstance(piece, LmError) and piece.finish_reason is None:
                    staying.append(row)
            yield pieces
            batch.read(staying)
            going = [going[row] for row in staying]

    def _explained(self, error: LmError) -> LmError:
        """The error of a text that cannot go on; after a look-ahead, that none is wanted."""
        if self._ahead is None:
            return error
        most, (wants, fields) = self._settings.max_tokens, _wanted(self._settings)
        return LmError(
            f"no text of at most {most} tokens is as {wants} wants it; raise {{max_tokens}}, or "
            "ask for what the model can write",
            *fields,
            "max_tokens",
        )

    def _continuation(self, start: _Start) -> Continuation:
        own: list[Condition] = [copy(condition) for condition in self._conditions]
        for condition in own:
            for token in start.prompt[start.prompt != BOS].tolist():
                condition.push(token)
        if self._ahead is not None:
            own.append(self._ahead.condition(start.state, self._settings.max_tokens))
        return Continuation(self._model.encoder, start.prompt, self._settings, start.rng, own)


def _wanted(settings: SamplingSettings) -> tuple[str, list[str]]:
    """What is wanted, in words, and the fields in them."""
    wants = [f"{{contains}} {text!r}" for text in settings.contains]
    fields = ["contains"] if wants else []
    if settings.ends_with is not None:
        wants.append(f"{{ends_with}} {settings.ends_with!r}")
        fields.append("ends_with")
    return " and ".join(wants), fields
