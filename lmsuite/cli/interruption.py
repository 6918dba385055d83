"""Ctrl-C, SIGTERM and SIGHUP end every command within two seconds.

The handler raises an exception, but Python calls it only when the current call of C code returns,
and such a call may take long. So a thread receives the signal too. It gives the command `PATIENCE`
seconds to end by itself, and then ends the process. Nothing is lost: a file is replaced at once or
not at all, and the next process that writes to a folder removes what an ended one left there.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from types import FrameType
from typing import Any

PATIENCE = 1.5  # seconds

_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


class InterruptedCommand(BaseException):
    """A signal asked the command to end.

    It is not a KeyboardInterrupt, because typer answers that with exit code 130 for every signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


@contextmanager
def heeding_signals() -> Iterator[None]:
    """Within this context a signal raises `InterruptedCommand`, or ends the process soon after.

    A signal that is ignored at the start stays ignored: `nohup` and a shell's background jobs need
    that. Outside the main thread nothing changes, because signals cannot be caught there.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heeded = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before: dict[int, Any] = {number: signal.signal(number, _interrupt) for number in heeded}
    try:
        with _watched(frozenset(heeded)) if sys.platform != "win32" else nullcontext():
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _watched(heeded: frozenset[int]) -> Iterator[None]:
    """Within this context the thread watches. Not for Windows, which cannot wait for a pipe."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    earlier = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reading, heeded), daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(earlier)
        os.close(writing)  # ends the thread


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise InterruptedCommand(number)


def _watch(reading: int, heeded: frozenset[int]) -> None:
    """Wait for a signal, then for the command to end; end it if it does not."""
    first = 0
    deadline = None
    while True:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        ready, _, _ = select.select([reading], [], [], left)
        if not ready:
            _end(first)
        received = os.read(reading, 1)
        if not received:
            os.close(reading)
            return
        if deadline is None and received[0] in heeded:
            first, deadline = received[0], time.monotonic() + PATIENCE


def _end(number: int) -> None:
    """End this process and those that it has started."""
    if "multiprocessing" in sys.modules:
        import multiprocessing

        for child in multiprocessing.active_children():
            child.kill()
    with suppress(OSError):
        os.write(2, b"interrupted\n")
    os._exit(128 + number)
