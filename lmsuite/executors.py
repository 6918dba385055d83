"""Where tasks run: in this process, or on the cores of this machine, in forked processes."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lmsuite.errors import LmError

if TYPE_CHECKING:
    from concurrent.futures import Future, ProcessPoolExecutor

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")

_AHEAD = 2  # tasks that wait for each process, so that no process waits for a task


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


def in_order(
    function: Callable[[_Task], _Result], tasks: Iterable[_Task], workers: int
) -> Iterator[_Result]:
    """The results of all tasks, in order; some tasks are begun ahead of the result asked for.

    Args:
        function: what does a task. It may be a closure: forked processes have what it refers to.
            Each process has its own copy of that.
        tasks: they, and the results, are pickled.
        workers: how many processes, though no more than tasks, if it is known how many these are;
            with one, or where none can be forked, it is this process.

    Raises:
        LmError: a process was killed.
    """
    workers = min(workers, len(tasks)) if isinstance(tasks, Sized) else workers
    if workers < 2 or not can_fork():
        yield from map(function, tasks)
        return
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    pool = ProcessPoolExecutor(
        workers, get_context("fork"), initializer=_in_worker, initargs=(os.getpid(), function)
    )
    begun: deque[Future[_Result]] = deque()
    try:
        for task in tasks:
            begun.append(_submit(pool, task))
            if len(begun) > workers * _AHEAD:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    except BrokenProcessPool:
        raise LmError(
            "a process that did a part of the work was killed; is there too little memory?"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _submit(pool: ProcessPoolExecutor, task: Any) -> Future[Any]:
    with warnings.catch_warnings():
        # Python 3.12 warns of a fork while threads run. The only threads are OpenBLAS's, which
        # stops and restarts them around a fork, and the pool's own.
        warnings.simplefilter("ignore", DeprecationWarning)
        return pool.submit(_run, task)


_function: Callable[[Any], Any]


def _in_worker(parent: int, function: Callable[[Any], Any]) -> None:
    """Ctrl-C is the parent's to handle; a process ends when its parent has ended."""
    global _function
    _function = function
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with suppress(ValueError):
        signal.set_wakeup_fd(-1)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _run(task: Any) -> Any:
    return _function(task)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
