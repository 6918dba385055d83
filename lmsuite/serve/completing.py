"""The texts that answer a request, in parts, as they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from lmsuite.generation.batcher import SharedStream
from lmsuite.generation.conditions import Bias, Condition
from lmsuite.serve.prompts import Prompt, Shown, TokenWriter
from lmsuite.serve.refusals import RefusedError
from lmsuite.serve.requests import CompletionRequest
from lmsuite.serve.scoring import Scores
from lmsuite.serve.served import ServedModel
from lmsuite.text.encoding import TextEncoder
from lmsuite.text.vocabulary import BOS

_FIRST_PAUSE = 0.001
"""Seconds between the first two parts of a text. Each pause is twice the one before, up to `pace`.
"""


def pace(texts: int) -> float:
    """Seconds between two parts of a text, when so many are being written.

    Tokens that come meanwhile are one part. A part costs the event loop much more than a token. So
    it sends about 500 parts a second, and a reader gets ten parts a second or more.
    """
    return min(max(0.02, 0.002 * texts), 0.1)


class Entry(NamedTuple):
    """A token of an answer."""

    shown: Shown
    log_prob: float | None
    """In nats; None for ``<s>``, which is not predicted."""
    alternatives: tuple[tuple[str, float], ...] | None
    """The most probable tokens here, and this one; None where the token has no log-probability."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of one of the texts that answer a request."""

    index: int
    """The number of the text: its prompt's number, times `n`, plus its number for the prompt."""
    text: str
    entries: list[Entry]
    """Its tokens, if the request asks for them."""
    finish_reason: str | None
    """Of the last part: "stop" or "length"."""
    tokens: int
    """The tokens that were drawn."""
    log_prob: float
    """The sum of their log-probabilities, if the best texts are chosen by it."""


@dataclass
class Usage:
    """The tokens of a request and its answer."""

    prompt_tokens: int = 0
    completion_tokens: int = 0

    def as_json(self) -> dict[str, int]:
        """The field `usage`."""
        total = self.prompt_tokens + self.completion_tokens
        return vars(self) | {"total_tokens": total}


@dataclass
class Completing:
    """The work on one request."""

    served: ServedModel
    request: CompletionRequest
    prompts: Sequence[Prompt]
    texts_in_flight: Callable[[], int]
    """How many texts are being written, for all clients."""
    usage: Usage = field(default_factory=Usage)

    def __post_init__(self) -> None:
        self.usage.prompt_tokens = sum(prompt.count for prompt in self.prompts)
        self._encoder: TextEncoder = self.served.model.encoder
        self._scores = self.request.echo and self.request.alternatives is not None
        self._tokens = [
            prompt.shown(self._encoder) if self._scores else [] for prompt in self.prompts
        ]
        vocabulary = len(self._encoder.vocabulary)
        for token in self.request.logit_bias:
            if token >= vocabulary:
                raise RefusedError(
                    400,
                    f"logit_bias has the id {token}; the vocabulary has 0 to {vocabulary - 1}",
                    param="logit_bias",
                )
        bias = self.request.logit_bias
        self._conditions: tuple[Condition, ...] = (Bias(bias),) if bias else ()

    async def parts(self) -> AsyncGenerator[Part, None]:
        """The parts of all texts, as they come.

        Raises:
            LmError: a text cannot go on.
        """
        request = self.request
        scored = [
            asyncio.ensure_future(self._scored(number)) if self._scores else None
            for number in range(len(self.prompts))
        ]
        texts = []
        for number, prompt in enumerate(self.prompts):
            rng = np.random.default_rng(request.seed)  # so each prompt has its texts of `sample`
            for k in range(request.best_of):
                stream = self._stream(prompt, rng)
                index = number * request.best_of + k
                texts.append(self._text(index, number, stream, scored[number]))
        try:
            async with aclosing(_merged(texts)) as merged:
                async for part in merged:
                    self.usage.completion_tokens += part.tokens
                    yield part
        finally:
            for each in filter(None, scored):
                each.cancel()

    def _stream(self, prompt: Prompt, rng: np.random.Generator) -> SharedStream:
        request = self.request
        return self.served.batcher.submit(
            prompt.ids,
            request.settings,
            rng,
            conditions=self._conditions,
            alternatives=request.alternatives or 0,
        )

    async def _scored(self, number: int) -> list[Entry]:
        """The tokens of a prompt that is echoed."""
        prompt, wanted = self.prompts[number], self.request.alternatives or 0
        scores = await asyncio.wrap_future(self.served.scorer.submit(prompt.ids, wanted))
        return self._prompt_entries(prompt, self._tokens[number], scores)

    def _prompt_entries(self, prompt: Prompt, shown: list[Shown], scores: Scores) -> list[Entry]:
        writer = TokenWriter(self._encoder, prompt.ids[:0])
        rows = zip(*(array.tolist() for array in scores), strict=True)
        tokens = iter(shown)
        entries = []
        for token, is_counted in zip(prompt.ids.tolist(), prompt.is_counted.tolist(), strict=True):
            if not is_counted:
                continue
            here = next(tokens)
            if token == BOS:
                entries.append(Entry(here, None, None))
                continue
            log_prob, best, best_log_probs = next(rows)
            pairs = list(zip(best, best_log_probs, strict=True))
            entries.append(_entry(writer, token, log_prob, pairs, here))
        return entries

    async def _text(
        self,
        index: int,
        number: int,
        stream: SharedStream,
        scored: asyncio.Future[list[Entry]] | None,
    ) -> AsyncGenerator[Part, None]:
        """The parts of one text."""
        request, prompt = self.request, self.prompts[number]
        wants_tokens = request.alternatives is not None
        ranks = request.best_of > request.n
        spare_space = prompt.spare_space(self._encoder)
        writer = TokenWriter(
            self._encoder,
            prompt.ids if wants_tokens else prompt.ids[:0],
            len(prompt.text) if request.echo else 0,
            spare_space=spare_space,
        )
        with stream:
            if request.echo:
                entries = [] if scored is None else await asyncio.shield(scored)
                yield Part(index, prompt.text, entries, None, 0, 0.0)
            if not request.settings.max_tokens:
                yield Part(index, "", [], "length", 0, 0.0)
                return
            pause = _FIRST_PAUSE
            while pieces := await stream.arrived():
                text = "".join([piece.text for piece in pieces])
                if spare_space and text:
                    text, spare_space = text.removeprefix(" "), False
                entries = []
                if wants_tokens:
                    entries = [
                        _entry(writer, piece.id, piece.log_prob, piece.alternatives)
                        for piece in pieces
                    ]
                total = sum([piece.log_prob for piece in pieces]) if ranks else 0.0
                reason = pieces[-1].finish_reason
                yield Part(index, text, entries, reason, len(pieces), total)
                if reason:
                    return
                await asyncio.sleep(pause)
                pause = min(2 * pause, pace(self.texts_in_flight()))


def _entry(
    writer: TokenWriter,
    token: int,
    log_prob: float,
    pairs: Sequence[tuple[int, float]],
    shown: Shown | None = None,
) -> Entry:
    """The entry of the next token, which is written; `pairs` are its alternatives, by id.

    It is `shown` so, or as the writer shows it.
    """
    names = {other: writer.name(other) for other, _ in pairs if other != token}
    pushed = writer.push(token)
    shown = shown or pushed
    names[token] = shown.text
    alternatives = [(names[other], value) for other, value in pairs]
    if all(other != token for other, _ in pairs):
        alternatives.append((shown.text, log_prob))
    return Entry(shown, log_prob, tuple(alternatives))


async def _merged(texts: Sequence[AsyncGenerator[Part, None]]) -> AsyncGenerator[Part, None]:
    """The parts of several texts, in the order in which they come.

    A text waits while its last part is not yet taken.
    """
    if len(texts) == 1:
        async with aclosing(texts[0]) as parts:
            async for part in parts:
                yield part
        return
    queue: asyncio.Queue[Part | BaseException | None] = asyncio.Queue(len(texts))

    async def carry(text: AsyncGenerator[Part, None]) -> None:
        try:
            async with aclosing(text):
                async for part in text:
                    await queue.put(part)
        except Exception as error:
            await queue.put(error)
        else:
            await queue.put(None)

    tasks = [asyncio.create_task(carry(text)) for text in texts]
    left = len(tasks)
    try:
        while left:
            item = await queue.get()
            if isinstance(item, BaseException):
                raise item
            if item is None:
                left -= 1
            else:
                yield item
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
