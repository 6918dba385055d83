"""Fuzz the requests of ``lm serve``: any route, any headers, any body.

``python -m hardening.fuzz_requests --runs 100000 --seed 1``

An input's first two bytes choose the route and the headers; the rest is the body. The server is in
this process, without a socket. Each answer must be a result or a 4xx in the API's shape.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from functools import cache
from random import Random
from typing import Any

import numpy as np

from hardening import mutators
from hardening.fuzz_prompts import TEXT
from hardening.fuzzing import main
from hardening.in_process import RefusedError
from hardening.texts import raw, text
from lmsuite.models.mixture import Mixture
from lmsuite.models.ngram import NgramModel, NgramSettings
from lmsuite.serve.app import Service
from lmsuite.serve.limits import Limits
from lmsuite.serve.page import template
from lmsuite.serve.served import ServedModel, ServedModels
from lmsuite.text.encoding import TextEncoder
from lmsuite.text.settings import Boundaries, TextSettings

for part in ("page.html", "page.css", "trying.css", "page.js"):  # which become code, once
    template().environment.get_template(part)

KEY = b"key"
ROUTES: tuple[tuple[str, str, Any], ...] = (
    ("POST", "/v1/completions", {"prompt": "The king", "max_tokens": 3}),
    ("POST", "/v1/completions", {"prompt": ["The", ""], "echo": True, "logprobs": 2, "n": 2}),
    ("POST", "/v1/completions", {"prompt": [[4, 5], [2, 1]], "stream": True, "model": "bytes"}),
    (
        "POST",
        "/v1/completions",
        {
            **{"prompt": [5, 6], "temperature": 0.7, "top_p": 0.9, "top_k": 5, "min_p": 0.1},
            **{"stop": ["a", "\n"], "seed": 3, "best_of": 3, "logit_bias": {"5": -3}, "user": "u"},
            **{"presence_penalty": 0.5, "frequency_penalty": 0.1, "repeat_penalty": 1.1},
            **{"min_tokens": 1, "no_repeat": 3, "logprobs": 1, "echo": False, "model": "mix"},
        },
    ),
    ("POST", "/v1/chat/completions", {"messages": [{"role": "user", "content": "The king"}]}),
    (
        "POST",
        "/v1/chat/completions",
        {
            "messages": [{"role": "user", "content": [{"type": "text", "text": "is"}]}],
            "stream": True,
            "stream_options": {"include_usage": True},
        },
    ),
    ("POST", "/v1/score", {"texts": ["The king\nis", ""], "by": "token", "in_context": True}),
    ("POST", "/tokenize", {"prompt": "The king", "add_special_tokens": False, "model": "words"}),
    ("POST", "/detokenize", {"tokens": [3, 4, 2], "model": "lines"}),
    ("GET", "/tokenizer_info", None),
    ("GET", "/v1/models/words", None),
    ("GET", "/metrics", None),
    ("GET", "/", None),
)
PATHS = ("/v1/models/%s", "/%s", "/v1/%s", "/models/../%s", "//%s")
HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"host", b"\xff\x00"),
    (b"host", b"[::"),
    (b"origin", b"http://[x"),
    (b"origin", b"\xc3\xa9"),
    (b"content-length", b"99999999999999999999"),
    (b"content-length", b"-1"),
    (b"content-type", b"\xff"),
    (b"authorization", b"Basic \xff\xff=="),
    (b"authorization", b"Bearer \xe9"),
    (b"expect", b"100-continue"),
)


@cache
def service() -> tuple[Service, asyncio.AbstractEventLoop, Any]:
    """A service of a model of every kind of tokens, its event loop and its life; made once."""
    made = {}
    for name, tokenizer, boundaries in (
        ("words", "word", Boundaries.STREAM),
        ("bytes", "bpe", Boundaries.LINES),
        ("lines", "char", Boundaries.LINES),
        ("documents", "whitespace", Boundaries.DOCUMENTS),
    ):
        settings = TextSettings(tokenizer=tokenizer, boundaries=boundaries, bpe_size=270)
        encoder, ids = TextEncoder.train(TEXT, settings)
        made[name] = NgramModel.fit(encoder, ids, NgramSettings(order=3, smoothing="witten-bell"))
    unigram = NgramModel.fit(
        made["words"].encoder,
        made["words"].encoder.encode(TEXT),
        NgramSettings(order=1, smoothing="witten-bell"),
    )
    mix = Mixture({"words": made["words"], "unigram": unigram}, np.array([0.5, 0.5]))
    served = [ServedModel(name, model, 0) for name, model in {**made, "mix": mix}.items()]
    limits = Limits(
        max_body=20_000, max_prompt=200, max_tokens=30, max_n=4, max_streams=16, seconds=10.0
    )
    loop = asyncio.new_event_loop()
    made_service = Service(ServedModels(served), limits, key=KEY.decode(), hosts={"localhost"})
    life = made_service._lifespan(None)  # type: ignore[arg-type]
    loop.run_until_complete(life.__aenter__())
    return made_service, loop, life


def target(data: bytes) -> None:
    """Send one request, and check its answer."""
    found, loop, _ = service()
    place, how, body = data[0] if data else 0, data[1] if len(data) > 1 else 0, data[2:]
    if place < 200:
        method, path, _ = ROUTES[place % len(ROUTES)]
    else:
        name = body[:30].decode("utf-8", "replace")
        method, path = ("GET", "POST")[how % 2], PATHS[place % len(PATHS)] % name
    headers = [(b"host", b"localhost:80"), (b"authorization", b"Bearer " + KEY)]
    if how >= 200:
        odd = HEADERS[how % len(HEADERS)]
        headers = [header for header in headers if header[0] != odd[0]] + [odd]
    status, answer = loop.run_until_complete(_sent(found, method, path, headers, body))
    assert status < 500, (status, answer[:300])
    if status >= 400:
        error = json.loads(answer)["error"]
        assert error.keys() == {"message", "type", "param", "code"}
        assert error["message"] and "Traceback" not in error["message"]
        raise RefusedError(f"{status}: {error['message']}")
    if answer.startswith(b"data: "):
        events = answer.split(b"\n\n")
        assert events[-2:] == [b"data: [DONE]", b""]
        for each in events[:-2]:
            json.loads(each.removeprefix(b"data: "))
    elif path not in ("/", "/metrics"):
        json.loads(answer)


async def _sent(
    found: Service, method: str, path: str, headers: list[tuple[bytes, bytes]], body: bytes
) -> tuple[int, bytes]:
    """The status and the body of an answer."""
    scope = {
        **{"type": "http", "method": method, "path": path, "raw_path": path.encode()},
        **{"query_string": b"", "headers": headers, "scheme": "http", "root_path": ""},
        **{"server": ("localhost", 80), "client": ("localhost", 1), "http_version": "1.1"},
        **{"asgi": {"version": "3.0", "spec_version": "2.3"}},
    }
    half = len(body) // 2
    messages = [
        {"type": "http.request", "body": body[:half], "more_body": True},
        {"type": "http.request", "body": body[half:], "more_body": False},
    ]
    status, parts = 0, []

    async def receive() -> Any:
        return messages.pop(0) if messages else await asyncio.Event().wait()

    async def send(message: Any) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        else:
            parts.append(message.get("body", b""))

    await found.app(scope, receive, send)
    return status, b"".join(parts)


def make_inputs(rng: Random) -> Iterator[bytes]:
    """Bodies that are nearly right, other JSON, and no JSON."""
    while True:
        place = rng.randrange(256)
        good = ROUTES[place % len(ROUTES)][2] if place < 200 else None
        kind = rng.random()
        if good is not None and kind < 0.65:
            body: Any = json.loads(json.dumps(good))
            for _ in range(rng.choice((0, 1, 1, 1, 2, 3))):
                body = _edited(rng, body)
            data = mutators.dumped(body).encode("utf-8", "surrogatepass")
        elif good is not None and kind < 0.8:
            data = mutators.damaged(rng, json.dumps(good).encode())
        elif kind < 0.9:
            data = mutators.dumped(mutators.json_value(rng)).encode("utf-8", "surrogatepass")
        else:
            data = raw(rng, 20)
        yield bytes([place, rng.randrange(256)]) + data[:30_000]


def _edited(rng: Random, body: Any) -> Any:
    kind = rng.random()
    if kind < 0.3 or not isinstance(body, dict) or not body:
        return mutators.edited(rng, body)
    name = rng.choice(list(body))
    if kind < 0.5:
        return {**body, name: mutators.json_value(rng)}
    if kind < 0.7:
        return {**body, name: text(rng, 8)}
    if kind < 0.85:
        return {**body, name: mutators.number(rng)}
    others = rng.choice(ROUTES)[2] or {}
    return {**body, **others}


if __name__ == "__main__":
    main("requests", target, make_inputs)
