"""The JSON of answers, in the shapes of OpenAI's API."""

from __future__ import annotations

import json
import math
import time
import uuid
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from lmsuite.serve.completing import Entry, Part, Usage

LOWEST = -9999.0
"""Stands for the logarithm of zero, which JSON cannot write. Clients add log-probabilities up, so
it is a number."""


def as_json(value: Any) -> bytes:
    """A line of JSON in ASCII, which holds every string, half a character too."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode("ascii") + b"\n"


def finite(number: float) -> float | None:
    """A number of `/v1/score`, null if JSON cannot write it."""
    return number if math.isfinite(number) else None


class Completion:
    """The answer to ``/v1/completions``: one object, or one for each chunk of a stream."""

    kind = chunk_kind = "text_completion"

    def __init__(self, model: str, *, wants_tokens: bool) -> None:
        self.id = f"cmpl-{uuid.uuid4().hex}"
        self._model, self._wants_tokens = model, wants_tokens
        self._created = int(time.time())

    def whole(self, parts: Iterable[Part], usage: Usage) -> dict[str, Any]:
        """The answer that all parts make."""
        choices = [self._choice(part) for part in sorted(_added_up(parts), key=lambda p: p.index)]
        return self._envelope(self.kind, choices) | {"usage": usage.as_json()}

    def chunk(self, part: Part, *, include_usage: bool) -> dict[str, Any]:
        """The chunk of one part."""
        envelope = self._envelope(self.chunk_kind, [self._choice_of_chunk(part)])
        return envelope | ({"usage": None} if include_usage else {})

    def usage_chunk(self, usage: Usage) -> dict[str, Any]:
        """The last chunk, if the client asks for it."""
        return self._envelope(self.chunk_kind, []) | {"usage": usage.as_json()}

    def _envelope(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self._created,
            "model": self._model,
            "choices": choices,
        }

    def _choice(self, part: Part) -> dict[str, Any]:
        return {
            "text": part.text,
            "index": part.index,
            "logprobs": _log_probs(part.entries) if self._wants_tokens else None,
            "finish_reason": part.finish_reason,
        }

    def _choice_of_chunk(self, part: Part) -> dict[str, Any]:
        return self._choice(part)


class ChatCompletion(Completion):
    """The answer to ``/v1/chat/completions``."""

    kind, chunk_kind = "chat.completion", "chat.completion.chunk"

    def _choice(self, part: Part) -> dict[str, Any]:
        return {
            "index": part.index,
            "message": {"role": "assistant", "content": part.text, "refusal": None},
            "logprobs": None,
            "finish_reason": part.finish_reason,
        }

    def _choice_of_chunk(self, part: Part) -> dict[str, Any]:
        return {
            "index": part.index,
            "delta": {"role": "assistant", "content": part.text},
            "logprobs": None,
            "finish_reason": part.finish_reason,
        }


def _added_up(parts: Iterable[Part]) -> list[Part]:
    """One part for each text."""
    texts: dict[int, list[Part]] = {}
    for part in parts:
        texts.setdefault(part.index, []).append(part)
    return [
        Part(
            index,
            "".join(part.text for part in own),
            [entry for part in own for entry in part.entries],
            own[-1].finish_reason,
            sum(part.tokens for part in own),
            sum(part.log_prob for part in own),
        )
        for index, own in texts.items()
    ]


def best_of(parts: Iterable[Part], n: int, best: int) -> list[Part]:
    """Of each prompt's `best` texts the `n` whose tokens have the highest mean log-probability."""
    kept = []
    texts = sorted(_added_up(parts), key=lambda part: part.index)
    for number in range(len(texts) // best):
        own = texts[number * best : (number + 1) * best]
        own.sort(key=lambda part: -part.log_prob / max(part.tokens, 1))
        kept += [replace(part, index=number * n + k) for k, part in enumerate(own[:n])]
    return kept


def _log_probs(entries: list[Entry]) -> dict[str, Any]:
    return {
        "tokens": [entry.shown.text for entry in entries],
        "token_logprobs": [
            None if entry.log_prob is None else max(entry.log_prob, LOWEST) for entry in entries
        ],
        "top_logprobs": [
            None if entry.alternatives is None else _by_name(entry.alternatives)
            for entry in entries
        ],
        "text_offset": [entry.shown.offset for entry in entries],
    }


def _by_name(alternatives: tuple[tuple[str, float], ...]) -> dict[str, float]:
    """Log-probabilities by name; of tokens that are shown alike, the more probable."""
    named: dict[str, float] = {}
    for name, value in alternatives:
        named.setdefault(name, max(value, LOWEST))
    return named


def event(value: Any) -> bytes:
    """An event of a stream."""
    return b"data: " + as_json(value) + b"\n"


DONE = b"data: [DONE]\n\n"
"""The end of a stream."""
