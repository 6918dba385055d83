"""What a request asks for, read from its JSON and checked.

A field that is absent or null has its default. A field that this server does not know is refused,
because a setting that is misspelt would otherwise be ignored. Fields that only an account needs are
read and ignored (`_IGNORED`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Any, NoReturn, TypeAlias

from lmsuite.errors import LmError
from lmsuite.sampling import SamplingSettings
from lmsuite.serve.limits import Limits
from lmsuite.serve.refusals import RefusedError, refusal_of
from lmsuite.settings import check, declarations, setting

MOST_STOPS = 16
"""Stop texts of a request. OpenAI's API takes four; an evaluation harness adds its own to these."""

MOST_ALTERNATIVES = 20
"""The greatest `logprobs`; five in OpenAI's API."""

MOST_BIASES = 1024
"""The most ids of `logit_bias`."""

RawPrompt: TypeAlias = str | list[int]

_IGNORED = {
    *("user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key"),
}
_API_NAMES = {"repetition_penalty": "repeat_penalty"}
"""Settings of sampling that the API calls otherwise."""


@dataclass(frozen=True)
class Asked:
    """The settings of a request that are not settings of sampling.

    Raises:
        UsageError: one is of a wrong type or out of bounds.
    """

    model: str | None = setting(None)
    n: int = setting(1, minimum=1)
    best_of: int | None = setting(None, minimum=1)
    seed: int | None = setting(None, minimum=0, maximum=(1 << 63) - 1)
    logprobs: int | None = setting(None, minimum=0, maximum=MOST_ALTERNATIVES)
    echo: bool = setting(False)
    stream: bool = setting(False)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class CompletionRequest:
    """A request for texts that continue prompts."""

    model: str | None
    prompts: tuple[RawPrompt, ...]
    settings: SamplingSettings
    seed: int | None
    n: int
    best_of: int
    alternatives: int | None
    """The number of alternatives of each token; None if not even its own log-probability is asked
    for."""
    echo: bool
    stream: bool
    include_usage: bool
    logit_bias: Mapping[int, float]
    """What is added to log-probabilities, by id."""

    @property
    def texts(self) -> int:
        """How many texts are written."""
        return len(self.prompts) * self.best_of


def read_json(body: bytes) -> dict[str, Any]:
    """The object that the body of a request is.

    Raises:
        RefusedError: it is none.
    """
    try:
        value = json.loads(body.decode("utf-8-sig"), parse_constant=_no_number)
        json.dumps(value, ensure_ascii=False).encode()  # no half of a character anywhere
    except UnicodeError:
        raise RefusedError(400, "the request holds characters that are not Unicode text") from None
    except RecursionError:
        raise RefusedError(400, "the request is nested too deep") from None
    except ValueError as error:
        raise RefusedError(400, f"the request is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise RefusedError(400, 'the request must be a JSON object, as {"prompt": "My lord,"}')
    return {name: entry for name, entry in value.items() if entry is not None}


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def completion_request(given: Mapping[str, Any], limits: Limits) -> CompletionRequest:
    """What a request to ``/v1/completions`` asks for.

    Raises:
        RefusedError: a field is unknown, wrong or beyond the limits.
    """
    left = dict(given)
    if left.pop("suffix", ""):
        raise RefusedError(
            400, "suffix is not supported: these models continue a text", param="suffix"
        )
    prompts = _prompts(left.pop("prompt", ""))
    return _request(left, prompts, limits)


def chat_request(given: Mapping[str, Any], limits: Limits) -> CompletionRequest:
    """What a request to ``/v1/chat/completions`` asks for: the messages, joined, are the prompt.

    Raises:
        RefusedError: as `completion_request`.
    """
    left = dict(given)
    for name in ("logprobs", "top_logprobs", "tools", "functions", "echo", "best_of", "prompt"):
        if left.pop(name, None):
            raise RefusedError(
                400, f"{name} is not supported in a chat; /v1/completions has more", param=name
            )
    if (kind := left.pop("response_format", {"type": "text"})) != {"type": "text"}:
        raise RefusedError(400, f"response_format must be text, not {kind!r:.60}", param=str(kind))
    if "max_completion_tokens" in left:
        left["max_tokens"] = left.pop("max_completion_tokens")
    return _request(left, (_joined(left.pop("messages", None)),), limits)


def _joined(messages: Any) -> str:
    """The contents of messages, a line each: these models do not know who speaks."""
    if not isinstance(messages, list) or not messages:
        raise RefusedError(
            400,
            'messages must be a list, as [{"role": "user", "content": "My lord,"}]',
            param="messages",
        )
    return "\n".join(filter(None, map(_content, messages)))


def _content(message: Any) -> str:
    content = message.get("content") if isinstance(message, dict) else message
    if content is None and isinstance(message, dict):
        return ""
    if isinstance(content, str) and isinstance(message, dict):
        return content
    if isinstance(content, list) and all(isinstance(part, dict) for part in content):
        texts = [part.get("text") for part in content if part.get("type") == "text"]
        if len(texts) == len(content) and all(isinstance(text, str) for text in texts):
            return "".join(map(str, texts))
    raise RefusedError(400, "the content of a message must be text", param="messages")


def _request(
    left: dict[str, Any], prompts: tuple[RawPrompt, ...], limits: Limits
) -> CompletionRequest:
    """The request of the fields that are `left`."""
    for name in _IGNORED:
        left.pop(name, None)
    options = left.pop("stream_options", {})
    biases = _biases(left.pop("logit_bias", {}))
    stops = left.get("stop")
    if isinstance(stops, list) and len(stops) > MOST_STOPS:
        raise RefusedError(
            400, f"stop has {len(stops)} texts; the most are {MOST_STOPS}", param="stop"
        )
    asked = {name: left.pop(name) for name in declarations(Asked) if name in left}
    sampling = {
        field.name: left.pop(name)
        for field in fields(SamplingSettings)
        if (name := _API_NAMES.get(field.name, field.name)) in left
    }
    default = declarations(SamplingSettings)["max_tokens"].default
    sampling.setdefault("max_tokens", min(default, limits.max_tokens))
    if left:
        name = min(left)
        raise RefusedError(
            400, f"this server knows no field {name!r:.60}; leave it out", param=name[:60]
        )
    try:
        have = Asked(**asked)
        settings = SamplingSettings(**sampling)
    except LmError as error:
        raise refusal_of(error, _API_NAMES) from None
    best_of = have.n if have.best_of is None else have.best_of
    if have.stream and best_of > have.n:
        raise RefusedError(400, "best_of cannot be streamed: leave out stream", param="best_of")
    if best_of < have.n:
        raise RefusedError(
            400, f"best_of must be at least n, which is {have.n}, not {best_of}", param="best_of"
        )
    _within("max_tokens", settings.max_tokens, limits.max_tokens)
    _within("n" if have.n == best_of else "best_of", best_of, limits.max_n)
    return CompletionRequest(
        model=have.model,
        prompts=prompts,
        settings=settings,
        seed=have.seed,
        n=have.n,
        best_of=best_of,
        alternatives=have.logprobs,
        echo=have.echo,
        stream=have.stream,
        include_usage=_include_usage(options),
        logit_bias=biases,
    )


def _biases(given: Any) -> dict[int, float]:
    """The field `logit_bias`: numbers from -100 to 100 by id."""
    if isinstance(given, dict) and len(given) <= MOST_BIASES:
        with suppress(ValueError):
            found = {int(token): bias for token, bias in given.items()}
            if all(map(_is_bias, found.values())) and min(found, default=0) >= 0:
                return found
    raise RefusedError(
        400,
        f'logit_bias must be numbers from -100 to 100 by id, as {{"5": -100}}, and {MOST_BIASES} '
        "at most",
        param="logit_bias",
    )


def _is_bias(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -100 <= value <= 100


def _include_usage(options: Any) -> bool:
    if not isinstance(options, dict) or not isinstance(options.get("include_usage", False), bool):
        raise RefusedError(
            400, 'stream_options must be {"include_usage": true}', param="stream_options"
        )
    return bool(options.get("include_usage", False))


def _within(name: str, value: int, limit: int) -> None:
    if value > limit:
        raise RefusedError(
            400, f"{name} is at most {limit} on this server, not {value}", param=name
        )


def _prompts(given: Any) -> tuple[RawPrompt, ...]:
    """The prompts of the field `prompt`: a string, ids, or a list of either."""
    if isinstance(given, str) or (_is_ids(given) and given):
        return (given,)
    if isinstance(given, list) and given:
        are_texts = all(isinstance(each, str) for each in given)
        if are_texts or all(map(_is_ids, given)):
            return tuple(given)
    raise RefusedError(
        400,
        "prompt must be a text, a list of texts, a list of ids, or a list of such lists",
        param="prompt",
    )


def _is_ids(given: Any) -> bool:
    return isinstance(given, list) and all(type(each) is int for each in given)


@dataclass(frozen=True)
class ScoreRequest:
    """A request for the log-probabilities of texts."""

    model: str | None
    texts: tuple[str, ...]
    by: str
    in_context: bool


@dataclass(frozen=True)
class _AskedScore:
    model: str | None = setting(None)
    texts: tuple[str, ...] = setting(())
    by: str = setting("word", choices=("word", "token", "line"))
    in_context: bool = setting(False)

    def __post_init__(self) -> None:
        check(self)


def score_request(given: Mapping[str, Any], limits: Limits) -> ScoreRequest:
    """What a request to ``/v1/score`` asks for.

    Raises:
        RefusedError: a field is unknown or wrong.
    """
    left = dict(given)
    if isinstance(left.get("texts"), str):
        left["texts"] = [left["texts"]]
    asked = _only(left, _AskedScore)
    if not asked.texts:
        raise RefusedError(400, "texts must be a text or a list of texts", param="texts")
    _within("the number of texts", len(asked.texts), limits.max_streams)
    return ScoreRequest(asked.model, asked.texts, asked.by, asked.in_context)


@dataclass(frozen=True)
class TokenizeRequest:
    """A request for the ids of a text."""

    model: str | None = setting(None)
    prompt: str = setting("")

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class DetokenizeRequest:
    """A request for the text of ids."""

    model: str | None = setting(None)
    tokens: tuple[int, ...] = setting((), minimum=0, maximum=(1 << 31) - 1)

    def __post_init__(self) -> None:
        check(self)


def tokenize_request(given: Mapping[str, Any]) -> TokenizeRequest:
    """What a request to ``/tokenize`` asks for; llama.cpp calls the prompt `content`.

    Raises:
        RefusedError: a field is unknown or wrong.
    """
    left = dict(given)
    if left.pop("add_special_tokens", False) or left.pop("add_special", False):
        raise RefusedError(
            400,
            "add_special_tokens is not supported: no token is added",
            param="add_special_tokens",
        )
    if "content" in left:
        left["prompt"] = left.pop("content")
    asked: TokenizeRequest = _only(left, TokenizeRequest)
    return asked


def detokenize_request(given: Mapping[str, Any]) -> DetokenizeRequest:
    """What a request to ``/detokenize`` asks for.

    Raises:
        RefusedError: a field is unknown or wrong.
    """
    asked: DetokenizeRequest = _only(dict(given), DetokenizeRequest)
    return asked


def _only(given: dict[str, Any], kind: Any) -> Any:
    """The dataclass of the fields given, which has no others."""
    unknown = sorted(given.keys() - declarations(kind).keys())
    if unknown:
        raise RefusedError(
            400,
            f"this server knows no field {unknown[0]!r:.60}; leave it out",
            param=unknown[0][:60],
        )
    try:
        return kind(**given)
    except LmError as error:
        raise refusal_of(error) from None
