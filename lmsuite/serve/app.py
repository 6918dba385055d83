"""The routes of the server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, aclosing, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from lmsuite.errors import LmError
from lmsuite.models.text_scores import surprisals
from lmsuite.serve import metrics
from lmsuite.serve.attending import TimeLimit, attended
from lmsuite.serve.completing import Completing, Part
from lmsuite.serve.guarding import Guard, refused
from lmsuite.serve.limits import Limits
from lmsuite.serve.page import page
from lmsuite.serve.refusals import RefusedError, refusal_of
from lmsuite.serve.replies import (
    DONE,
    ChatCompletion,
    Completion,
    as_json,
    best_of,
    event,
    finite,
)
from lmsuite.serve.requests import (
    CompletionRequest,
    ScoreRequest,
    chat_request,
    completion_request,
    detokenize_request,
    read_json,
    score_request,
    tokenize_request,
)
from lmsuite.serve.served import ServedModel, ServedModels
from lmsuite.text.vocabulary import BOS, EOS, SPECIALS

_SHORT = 4096
"""A prompt of so many characters or ids is read at once; a longer one in a thread."""

_THREADS = 32
"""Threads that read long prompts and put scores together."""

_PARTING = 5.0
"""Seconds that a client has to take the error which ends its stream."""


class Service:
    """Models, and the routes that lead to them."""

    def __init__(
        self,
        models: ServedModels,
        limits: Limits,
        *,
        key: str | None = None,
        hosts: Collection[str] | None = None,
    ) -> None:
        """A service of these models.

        Args:
            models: what is served.
            limits: the most that a request gets.
            key: that every request must have; None for none.
            hosts: the names by which it may be reached; None for all.
        """
        self._models, self._limits = models, limits
        self._metrics = metrics.Metrics()
        self._in_flight = 0  # texts
        self._needs_key = key is not None
        routes: dict[str, tuple[Callable[[Request], Any], str]] = {
            "/": (self._page, "GET"),
            "/health": (self._health, "GET"),
            "/metrics": (self._metrics_page, "GET"),
            "/v1/models": (self._list_models, "GET"),
            "/v1/models/{model}": (self._show_model, "GET"),
            "/v1/completions": (self._completions, "POST"),
            "/v1/chat/completions": (self._chat, "POST"),
            "/v1/score": (self._score, "POST"),
            "/tokenizer_info": (self._tokenizer_info, "GET"),
            "/tokenize": (self._tokenize, "POST"),
            "/detokenize": (self._detokenize, "POST"),
        }
        inner = Starlette(
            routes=[Route(path, do, methods=[method]) for path, (do, method) in routes.items()],
            exception_handlers={
                HTTPException: _http_error,
                RefusedError: _refusal,
                LmError: _refusal,
                ClientDisconnect: _nobody,
                Exception: _failure,
            },
            lifespan=self._lifespan,
        )
        inner.router.redirect_slashes = False

        def route_of(path: str) -> str:
            if path.startswith("/v1/models/"):
                return "/v1/models/{model}"
            return path if path in routes else "other"

        self.app: ASGIApp = Guard(inner, self._metrics, key=key, hosts=hosts, route_of=route_of)

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        self._pool = ThreadPoolExecutor(_THREADS, "lmsuite-serve")
        try:
            yield
        finally:
            self._models.close()
            self._pool.shutdown(cancel_futures=True)

    # What a route does

    async def _page(self, request: Request) -> Response:
        text, policy = page(self._models, self._limits, needs_key=self._needs_key)
        return HTMLResponse(text, headers={"content-security-policy": policy})

    async def _health(self, request: Request) -> Response:
        return _json({"status": "ok"})

    async def _metrics_page(self, request: Request) -> Response:
        text = self._metrics.page(self._in_flight)
        return PlainTextResponse(text, media_type=metrics.CONTENT_TYPE)

    async def _list_models(self, request: Request) -> Response:
        return _json({"object": "list", "data": [*map(_described, self._models.values())]})

    async def _show_model(self, request: Request) -> Response:
        return _json(_described(self._models.named(request.path_params["model"])))

    async def _completions(self, request: Request) -> ASGIApp:
        return await self._complete(request, completion_request, Completion)

    async def _chat(self, request: Request) -> ASGIApp:
        return await self._complete(request, chat_request, ChatCompletion)

    async def _complete(
        self,
        request: Request,
        read: Callable[[Mapping[str, Any], Limits], CompletionRequest],
        kind: type[Completion],
    ) -> ASGIApp:
        begin, limit = time.perf_counter(), TimeLimit(self._limits.seconds)
        asked = read(await self._object(request, limit), self._limits)
        served = self._models.named(asked.model)
        reply = kind(served.name, wants_tokens=asked.alternatives is not None)
        with ExitStack() as stack:
            stack.enter_context(self._room(asked.texts))
            completing = await self._prepared(served, asked)
            self._metrics.prompt_tokens[served.name] += completing.usage.prompt_tokens
            parts = self._counted(completing, begin)
            if not asked.stream:
                found = await attended(request.receive, _all(parts), limit)
                if asked.best_of > asked.n:
                    found = best_of(found, asked.n, asked.best_of)
                return await self._encoded(lambda: reply.whole(found, completing.usage))
            first = await attended(request.receive, _first(parts), limit)
            stream = _events(reply, completing, first, parts)
            return EventStream(stream, limit, stack.pop_all())

    async def _prepared(self, served: ServedModel, asked: CompletionRequest) -> Completing:
        """The work on a request, with its prompts read."""

        def prepare() -> Completing:
            most = self._limits.max_prompt
            prompts = [served.prompt(each, most) for each in asked.prompts]
            return Completing(served, asked, prompts, lambda: self._in_flight)

        if sum(map(len, asked.prompts)) <= _SHORT:
            return prepare()
        return await asyncio.get_running_loop().run_in_executor(self._pool, prepare)

    async def _counted(self, completing: Completing, begin: float) -> AsyncGenerator[Part, None]:
        """The parts of an answer; the metrics learn of them."""
        is_first = True
        async with aclosing(completing.parts()) as parts:
            async for part in parts:
                if is_first:
                    self._metrics.first_token_seconds.observe(time.perf_counter() - begin)
                    is_first = False
                self._metrics.completion_tokens[completing.served.name] += part.tokens
                yield part

    async def _score(self, request: Request) -> Response:
        limit = TimeLimit(self._limits.seconds)
        asked = score_request(await self._object(request, limit), self._limits)
        served = self._models.named(asked.model)
        with self._room(len(asked.texts)):
            loop = asyncio.get_running_loop()
            scored = [
                loop.run_in_executor(self._pool, _scores, served, asked, number)
                for number in range(len(asked.texts))
            ]
            data = await attended(request.receive, _gathered(scored), limit)
        tokens = sum(each["tokens"] for each in data)
        self._metrics.prompt_tokens[served.name] += tokens
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        answer = {"object": "list", "model": served.name, "data": data, "usage": usage}
        return await self._encoded(lambda: answer)

    async def _tokenizer_info(self, request: Request) -> Response:
        served = self._models.named(request.query_params.get("model"))
        encoder = served.model.encoder
        return _json(
            {
                "tokenizer_class": encoder.tokenizer.name,
                "model": served.name,
                "vocab_size": len(encoder.vocabulary),
                "bos_token": SPECIALS[BOS],
                "eos_token": SPECIALS[EOS],
                "pad_token": None,
            }
        )

    async def _tokenize(self, request: Request) -> Response:
        asked = tokenize_request(await self._object(request, TimeLimit(self._limits.seconds)))
        served = self._models.named(asked.model)
        ids = await asyncio.get_running_loop().run_in_executor(
            self._pool, served.tokenize, asked.prompt
        )
        return await self._encoded(
            lambda: {"count": len(ids), "max_model_len": self._limits.max_prompt, "tokens": ids}
        )

    async def _detokenize(self, request: Request) -> Response:
        asked = detokenize_request(await self._object(request, TimeLimit(self._limits.seconds)))
        text = self._models.named(asked.model).detokenize(asked.tokens)
        return _json({"prompt": text, "content": text})  # vLLM's name, and llama.cpp's

    # What all need

    async def _object(self, request: Request, limit: TimeLimit) -> dict[str, Any]:
        """The JSON object that a client has sent.

        Raises:
            RefusedError: there is none, it is too long, or it takes too long to come.
        """
        most = self._limits.max_body
        too_long = RefusedError(413, f"a request has at most {most} bytes on this server")
        if request.headers.get("content-length", "").isdecimal() and (
            int(request.headers["content-length"]) > most
        ):
            raise too_long
        body = bytearray()
        try:
            async with asyncio.timeout(limit.left):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > most:
                        raise too_long
        except TimeoutError:
            raise limit.refusal from None
        return read_json(bytes(body))

    @contextmanager
    def _room(self, texts: int) -> Iterator[None]:
        """Room for so many texts.

        Raises:
            RefusedError: there is none.
        """
        most = self._limits.max_streams
        if texts > most:
            raise RefusedError(
                400, f"{texts} texts in one request; the most are {most} on this server"
            )
        if self._in_flight + texts > most:
            raise RefusedError(
                429, f"{self._in_flight} texts are being written, of {most} at most: try again soon"
            )
        self._in_flight += texts
        try:
            yield
        finally:
            self._in_flight -= texts

    async def _encoded(self, answer: Callable[[], Any]) -> Response:
        """An answer, which may be long, as JSON."""
        loop = asyncio.get_running_loop()
        body = await loop.run_in_executor(self._pool, lambda: as_json(answer()))
        return Response(body, media_type="application/json")


@dataclass
class EventStream:
    """A stream of server-sent events, as the answer to a request."""

    events: AsyncGenerator[bytes, None]
    limit: TimeLimit
    resources: ExitStack
    """What the request holds until its end."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events, until the client leaves or its time is up."""
        with self.resources:
            headers = Response(media_type="text/event-stream").raw_headers
            headers = [header for header in headers if header[0] != b"content-length"]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            try:
                await attended(receive, self._send_all(send), self.limit)
            except ClientDisconnect:
                pass
            except RefusedError as error:
                last = event(error.as_json()) + DONE
                with suppress(TimeoutError):
                    async with asyncio.timeout(_PARTING):
                        await send({"type": "http.response.body", "body": last, "more_body": False})

    async def _send_all(self, send: Send) -> None:
        async with aclosing(self.events) as events:
            async for body in events:
                await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _events(
    reply: Completion,
    completing: Completing,
    first: Part,
    parts: AsyncGenerator[Part, None],
) -> AsyncGenerator[bytes, None]:
    """The events of an answer."""
    include_usage = completing.request.include_usage
    try:
        async with aclosing(parts):
            yield event(reply.chunk(first, include_usage=include_usage))
            async for part in parts:
                yield event(reply.chunk(part, include_usage=include_usage))
    except LmError as error:
        yield event(refusal_of(error).as_json())
    else:
        if include_usage:
            yield event(reply.usage_chunk(completing.usage))
    yield DONE


async def _all(parts: AsyncGenerator[Part, None]) -> list[Part]:
    async with aclosing(parts):
        return [part async for part in parts]


async def _first(parts: AsyncGenerator[Part, None]) -> Part:
    return await anext(parts)


async def _gathered(futures: list[asyncio.Future[Any]]) -> list[Any]:
    return list(await asyncio.gather(*futures))


def _scores(served: ServedModel, asked: ScoreRequest, number: int) -> dict[str, Any]:
    """What ``/v1/score`` says of one text."""
    lines = served.sentences(asked.texts[number], in_context=asked.in_context)
    encoder = served.model.encoder
    words = [
        word
        for place, line in enumerate(lines, start=1)
        for word in surprisals(encoder, line, place, by=asked.by)  # type: ignore[arg-type]
    ]
    return {
        "index": number,
        "log_prob": finite(sum(line.log_prob for line in lines)),
        "tokens": sum(len(line.ids) for line in lines),
        "oov": sum(line.oov for line in lines),
        "words": [vars(word) | {"surprisal": finite(word.surprisal)} for word in words],
    }


def _described(served: ServedModel) -> dict[str, Any]:
    return {
        "id": served.name,
        "object": "model",
        "created": served.created,
        "owned_by": "lmsuite",
        "kind": served.model.kind,
        "tokenizer": served.model.encoder.tokenizer.name,
        "vocabulary": len(served.model.encoder.vocabulary),
    }


def _json(value: Any) -> Response:
    return Response(as_json(value), media_type="application/json")


async def _refusal(request: Request, error: Exception) -> Response:
    return refused(refusal_of(error) if isinstance(error, LmError) else cast(RefusedError, error))


async def _nobody(request: Request, error: Exception) -> Response:
    """The client has left; this answer goes nowhere."""
    return Response(status_code=499)


async def _failure(request: Request, error: Exception) -> Response:
    """A mistake of the server itself; the process prints the traceback."""
    said = {"message": "the server failed", "type": "server_error", "param": None, "code": None}
    return Response(as_json({"error": said}), 500, media_type="application/json")


async def _http_error(request: Request, error: Exception) -> Response:
    """An error of HTTP itself: no such route, or another method."""
    assert isinstance(error, HTTPException)
    response = refused(RefusedError(error.status_code, f"{request.url.path:.200}: {error.detail}"))
    response.headers.update(error.headers or {})
    return response
