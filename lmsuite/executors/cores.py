"""How many processes may work side by side here, and how further ones are started."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


def available_cores() -> int:
    """The number of cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_limit: int | None = None


def limit_threads(count: int | None) -> None:
    """Use at most `count` threads or processes from now on, here and in forked processes.

    None: all cores.
    """
    global _limit
    _limit = count


def current_limit() -> int | None:
    """What `limit_threads` was given last."""
    return _limit


def thread_count() -> int:
    """The number of tasks that run side by side."""
    return available_cores() if _limit is None else _limit


def can_fork() -> bool:
    """Whether processes can be forked safely here.

    macOS can fork, but its BLAS (Accelerate) must not be used in a forked child.
    """
    return sys.platform.startswith("linux")


def start_method() -> str:
    """How further processes are started: ``fork`` where it is safe, else ``spawn``.

    A program can choose another way by `multiprocessing.set_start_method`.
    """
    import multiprocessing

    chosen = multiprocessing.get_start_method(allow_none=True)
    return chosen or ("fork" if can_fork() else "spawn")


def can_start_processes() -> bool:
    """Whether processes can be started here.

    A process that is not forked first runs the program's main file again, up to the line
    ``if __name__ == "__main__"``. A script without that line would begin its work anew.
    """
    main = sys.modules["__main__"]
    if start_method() == "fork" or getattr(main, "__spec__", None) is not None:
        return True
    if not hasattr(main, "__file__"):  # typed in, or from a notebook
        return True
    try:
        return "__name__" in Path(main.__file__ or "").read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return False


@contextmanager
def signals_blocked() -> Iterator[None]:
    """Processes started within this context are born with `SIGNALS` blocked.

    So a spawned process does not die of Ctrl-C with a traceback before it can ignore it.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Signals come when this ends, so that what is begun here is begun whole.

    An exception in what Python does around the start of a process would be lost, or the process.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: came.append(number))
        for number in SIGNALS
        if signal.getsignal(number) not in (None, signal.SIG_IGN)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in came:
            signal.raise_signal(number)
