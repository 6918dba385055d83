"""The process of a server: its socket, its signals, its end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn

from lmsuite.errors import LmError
from lmsuite.serve.app import Service

_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
SILENCE = 30
"""Seconds that a connection may take to bring a whole request's head."""

_SWITCH = 0.001
"""Seconds for which a thread of Python may keep the others waiting: a model's thread, those that
answer."""


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0 takes one that is free.

    Raises:
        LmError: it cannot be had.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        found = socket.socket(family, kind, protocol)
        if os.name == "posix":  # elsewhere it would let two servers share a port
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(2048)
    except (OSError, OverflowError) as error:
        taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        hint = "; choose another with {port}" if taken else ""
        reason = getattr(error, "strerror", None) or str(error)
        raise LmError(f"cannot listen at {host}, port {port} ({reason}){hint}", "port") from None
    return found


def run(
    service: Service, listener: socket.socket, *, grace: float, on_start: Callable[[], None]
) -> int:
    """Serve until a signal comes; returns its number.

    SIGTERM lets texts that are being written go on for `grace` seconds. A second signal, or another
    one, ends them at once.
    """
    return asyncio.run(_run(service, listener, grace, on_start))


async def _run(
    service: Service, listener: socket.socket, grace: float, on_start: Callable[[], None]
) -> int:
    server = _Server(
        uvicorn.Config(
            service.app,
            http="h11",
            ws="none",
            lifespan="on",
            loop="asyncio",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=True,
            proxy_headers=False,
            timeout_keep_alive=SILENCE,
            timeout_graceful_shutdown=None,
        )
    )
    # What clients do wrong is not told here; a mistake of the server is, with its traceback.
    logging.getLogger("uvicorn.error").addFilter(lambda record: record.exc_info is not None)
    signals: list[int] = []
    ending: list[asyncio.TimerHandle] = []
    loop = asyncio.get_running_loop()

    def end(number: int) -> None:
        signals.append(number)
        server.should_exit = True
        wait = grace if signals == [signal.SIGTERM] else 0.0
        ending.append(loop.call_later(wait, server.cut_off))

    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            with contextlib.suppress(NotImplementedError):  # Windows: there the command's own ends
                loop.add_signal_handler(number, end, number)
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, _SWITCH))
    try:
        serving = asyncio.create_task(server.serve([listener]))
        while not (server.started or serving.done()):
            await asyncio.sleep(0.001)
        if server.started:
            on_start()
        await serving
    finally:
        sys.setswitchinterval(before)
        for handle in ending:
            handle.cancel()
        for number in _SIGNALS:
            with contextlib.suppress(NotImplementedError):
                loop.remove_signal_handler(number)
    return signals[0] if signals else 0


class _Server(uvicorn.Server):
    """A server whose signals are handled by others."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._silent_since: dict[Any, float] = {}

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def on_tick(self, counter: int) -> bool:
        if counter % 10 == 0:  # once a second
            self._end_silent()
        return await super().on_tick(counter)

    def _end_silent(self) -> None:
        """End connections on which no whole request has come for long."""
        now = time.monotonic()
        silent = {
            connection: self._silent_since.get(connection, now)
            for connection in self.server_state.connections
            if (cycle := getattr(connection, "cycle", None)) is None or cycle.response_complete
        }
        for connection, since in silent.items():
            if now - since > SILENCE:
                connection.transport.abort()
        self._silent_since = silent

    def cut_off(self) -> None:
        """End all requests now: for each it is as if its client had left."""
        for connection in tuple(self.server_state.connections):
            connection.transport.abort()
