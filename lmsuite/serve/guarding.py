"""What comes before and after every request: who may ask, how errors look, what is counted."""

from __future__ import annotations

import base64
import binascii
import hmac
import time
import uuid
from collections.abc import Callable, Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lmsuite.serve.metrics import Metrics
from lmsuite.serve.refusals import RefusedError
from lmsuite.serve.replies import as_json

_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
_CHALLENGE = 'Basic realm="lm serve", charset="UTF-8"'


def refused(error: RefusedError) -> Response:
    """The answer to a request that is refused."""
    headers = {}
    if error.status == 401:
        headers["www-authenticate"] = _CHALLENGE  # a browser then asks for the key
    if error.status == 429:
        headers["retry-after"] = "1"
    return Response(as_json(error.as_json()), error.status, headers, "application/json")


class Guard:
    """An application around another.

    * With a key, every route asks for it: ``Authorization: Bearer KEY``, or the key as the password
      of Basic, which is what a browser sends when it is asked.
    * A page of another site can send requests from the browser of whoever looks at it. They have an
      ``Origin`` of that site, or come by a name that points here, and are refused.
    """

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        *,
        key: str | None,
        hosts: Collection[str] | None,
        route_of: Callable[[str], str],
    ) -> None:
        """Guard an application.

        Args:
            app: the application.
            metrics: counts what passes.
            key: that requests must have; None for none.
            hosts: the names by which it may be reached; None for all.
            route_of: the route of a path, for the metrics.
        """
        self._app, self._metrics, self._hosts, self._route_of = app, metrics, hosts, route_of
        self._key = None if key is None else key.encode("utf-8", "surrogateescape")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begin, status = time.perf_counter(), 0
        request_id = f"req_{uuid.uuid4().hex}"

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = request_id
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        response: ASGIApp = self._app
        try:
            self._check(Headers(scope=scope))
        except RefusedError as error:
            response = refused(error)
        try:
            await response(scope, receive, send_on)
        finally:
            # 499, as nginx says it: the client left before there was an answer.
            self._metrics.requests[self._route_of(scope["path"]), status or 499] += 1
            self._metrics.request_seconds.observe(time.perf_counter() - begin)

    def _check(self, headers: Headers) -> None:
        """Refuse whoever may not ask."""
        host = headers.get("host", "")
        if self._hosts is not None and host and _name(host) not in self._hosts:
            raise RefusedError(403, f"this server is not reached by the name {host!r:.100}")
        if self._key is not None and not self._has_key(headers.get("authorization", "")):
            raise RefusedError(
                401, "give the API key: Authorization: Bearer KEY", code="invalid_api_key"
            )
        origin = headers.get("origin")
        if origin is not None and _origin_host(origin) != host.lower():
            raise RefusedError(403, f"pages of {origin!r:.100} may not use this server")

    def _has_key(self, authorization: str) -> bool:
        scheme, _, given = authorization.partition(" ")
        said = given.strip().encode("latin-1")  # the bytes that were sent
        if scheme.lower() == "basic":
            try:
                said = base64.b64decode(said, validate=True).partition(b":")[2]
            except binascii.Error:
                said = b""
        elif scheme.lower() != "bearer":
            said = b""
        return self._key is not None and hmac.compare_digest(said, self._key)


def _name(host: str) -> str:
    """The name in ``name:port``."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _origin_host(origin: str) -> str:
    """The ``name:port`` of an origin."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
