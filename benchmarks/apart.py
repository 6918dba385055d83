"""A side of a comparison in a process of its own, as whoever uses it has it.

In one process two libraries are not themselves: a training of ours asks the C library to keep freed
memory, from which PyTorch, too, would gain a tenth to a fifth; and each has threads or processes
that wait for work while the other is measured. So each side has a fresh process, which is stopped
while it is not its turn.

A side is a generator function, named as ``module:function`` so that only its own process imports
what it needs. The generator yields once when it is ready, with anything worth knowing about it, and
then once after every run of its work, with the result.
"""

from __future__ import annotations

import multiprocessing
import os
import pkgutil
import signal
import traceback
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

from benchmarks.measuring import SkippedError


class Apart:
    """A side that is run by calling it; a context manager that ends its process on leaving."""

    about: Any
    """What the side said when it was ready."""

    def __init__(self, side: str, *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, side, arguments))
        self._process.start()
        theirs.close()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        try:
            self.about = self.finish()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __call__(self) -> Any:
        """One run; its result."""
        self.begin()
        return self.finish()

    def begin(self) -> None:
        """Let it run; several sides can run at once."""
        self._signal(signal.SIGCONT)
        self._pipe.send(True)

    def finish(self) -> Any:
        """The result of what was begun.

        Raises:
            SkippedError: so did the side.
            RuntimeError: the side failed in another way.
        """
        try:
            error, result = self._pipe.recv()
        except EOFError:
            raise RuntimeError("a process that was measured has ended") from None
        if error is not None:
            raise error
        self._signal(signal.SIGSTOP)
        return result

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._signal(signal.SIGCONT)
        self._pipe.close()
        self._process.join()

    def _signal(self, number: signal.Signals) -> None:
        """To the side and what it has started; it may have ended."""
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return


def _serve(pipe: Connection, side: str, arguments: tuple[Any, ...]) -> None:
    """The life of the process: a run each time it is told, until nobody is left to tell it."""
    os.setpgid(0, 0)
    try:
        for result in pkgutil.resolve_name(side)(*arguments):
            pipe.send((None, result))
            try:
                pipe.recv()
            except EOFError:
                break
    except SkippedError as reason:
        pipe.send((reason, None))
    except Exception:
        pipe.send((RuntimeError(traceback.format_exc()), None))
