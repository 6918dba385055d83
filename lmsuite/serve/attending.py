"""Work for a client, as long as there is a client and time."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from lmsuite.serve.refusals import RefusedError

T = TypeVar("T")


class TimeLimit:
    """The time that a request may take, from now on."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = asyncio.get_running_loop().time() + seconds

    @property
    def left(self) -> float:
        """Seconds."""
        return max(0.0, self._end - asyncio.get_running_loop().time())

    @property
    def refusal(self) -> RefusedError:
        """What a client is told whose time is up."""
        return RefusedError(
            408, f"a request may take {self._seconds:g} seconds on this server; ask for less"
        )


async def attended(receive: Receive, work: Coroutine[Any, Any, T], limit: TimeLimit) -> T:
    """The result of some work, which is cancelled when its client leaves or its time is up.

    Raises:
        ClientDisconnect: the client has left.
        RefusedError: the time is up.
    """
    task = asyncio.create_task(work)
    gone = asyncio.create_task(_disconnected(receive))
    try:
        await asyncio.wait({task, gone}, timeout=limit.left, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        if gone.done():
            raise ClientDisconnect
        raise limit.refusal
    finally:
        task.cancel()
        gone.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
