"""Processes of this machine that do tasks."""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from lmsuite.executors.cores import (
    SIGNALS,
    can_start_processes,
    current_limit,
    limit_threads,
    signals_blocked,
    start_method,
    uninterrupted,
)
from lmsuite.executors.engine import Executor, perform

if TYPE_CHECKING:
    from concurrent.futures import Future
    from multiprocessing.process import BaseProcess

_Result = TypeVar("_Result")


class Processes:
    """Processes of this machine; forked, or spawned where they cannot be forked."""

    def __init__(self, workers: int) -> None:
        """So many processes; one means this one, as where none can be started."""
        self.workers = workers if can_start_processes() else 1

    def executor(self, function: Callable[[Any], Any]) -> Executor:
        """Processes for one function; only where they are spawned, it is pickled."""
        return _Pool(self.workers, function)

    def give_up(self, executor: Executor) -> None:
        """As `Engine.give_up`; the processes are killed."""
        executor.shutdown(wait=False)

    def result(self, future: Future[_Result]) -> _Result:
        """As `Engine.result`."""
        return future.result()


class StandingProcesses:
    """The same processes for all functions, which are pickled: a stage need not start its own."""

    def __init__(self, workers: int) -> None:
        """So many processes, started with the first task; see `Processes`."""
        self.workers = workers if can_start_processes() else 1
        self._pool: _Pool | None = None

    def limit(self, workers: int) -> None:
        """Have at most so many processes from now on."""
        if workers < self.workers:
            self.close()
            self.workers = workers

    def executor(self, function: Callable[[Any], Any]) -> Executor:
        """As `Engine.executor`."""
        if self._pool is None:
            self._pool = _Pool(self.workers, _perform_pair)
        return _OnPool(self._pool)

    def give_up(self, executor: Executor) -> None:
        """As `Engine.give_up`; the processes are killed."""
        self.close(wait=False)

    def result(self, future: Future[_Result]) -> _Result:
        """As `Engine.result`."""
        from concurrent.futures import BrokenExecutor

        try:
            return future.result()
        except BrokenExecutor:
            self.close()
            raise

    def close(self, *, wait: bool = True) -> None:
        """End the processes."""
        if self._pool is not None:
            self._pool.shutdown(wait=wait)
            self._pool = None


class _OnPool:
    """The executor of one stage; the processes outlive it."""

    def __init__(self, pool: _Pool) -> None:
        self._pool = pool

    def submit(self, function: Callable[..., Any], /, *args: Any) -> Future[Any]:
        return self._pool.submit(function, args)

    def shutdown(self, wait: bool = True) -> None:
        """Nothing: all tasks have been done."""


class _Pool:
    """A pool of processes for one function."""

    def __init__(self, workers: int, function: Callable[[Any], Any]) -> None:
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing import active_children, get_context

        self._others = {*active_children()}
        self._pool = ProcessPoolExecutor(
            workers,
            get_context(start_method()),
            initializer=_in_worker,
            initargs=(os.getpid(), function, current_limit()),
        )

    def submit(self, function: Callable[..., Any], /, *args: Any) -> Future[Any]:
        # The first tasks start the processes.
        with warnings.catch_warnings(), uninterrupted(), signals_blocked():
            # Python 3.12 warns of a fork while threads run. The only threads are OpenBLAS's, which
            # stops and restarts them around a fork, and the pool's own.
            warnings.simplefilter("ignore", DeprecationWarning)
            return self._pool.submit(_run, args[-1])

    def shutdown(self, wait: bool = True) -> None:
        """End the processes; without waiting, they are killed."""
        if not wait:
            for process in self._processes():
                process.kill()
        self._pool.shutdown(cancel_futures=not wait)

    def _processes(self) -> set[BaseProcess]:
        from multiprocessing import active_children

        return {*active_children()} - self._others


_function: Callable[[Any], Any]


def _perform_pair(pair: tuple[Callable[[Any], Any], Any]) -> Any:
    """Do a task that comes with its function."""
    return perform(*pair)


def _in_worker(parent: int, function: Callable[[Any], Any], threads: int | None) -> None:
    """Ctrl-C is the parent's to handle; a process ends when its parent has ended."""
    global _function
    _function = function
    limit_threads(threads)
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    with suppress(ValueError):
        signal.set_wakeup_fd(-1)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _run(task: Any) -> Any:
    return _function(task)


def _end_with(parent: int) -> None:
    import multiprocessing

    process = multiprocessing.parent_process()
    # Windows does not change the number of a parent that has ended.
    while os.getppid() == parent and process is not None and process.is_alive():
        time.sleep(0.5)
    os._exit(1)
