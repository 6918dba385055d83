"""Where tasks run: in this process, in forked processes on its cores, or on a Dask cluster.

All are a `concurrent.futures.Executor`. Tasks that a killed process has not done are done again.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from lmsuite.errors import LmError, UsageError

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

    from distributed import Client

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")

_AHEAD = 2  # tasks that wait for each process, so that no process waits for a task
_TRIES = 4  # of a task whose process is killed
_PATIENCE = 5.0  # seconds to reach a scheduler
_ALONE = 60.0  # seconds that a cluster may have no workers
SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
LOCAL = "local"
"""The cluster that is started on this machine, and ended afterwards."""


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


class Engine(Protocol):
    """Where tasks run side by side."""

    @property
    def workers(self) -> int:
        """How many tasks run at a time; if it is one, they run in this process."""

    def executor(self, function: Callable[[Any], Any]) -> Executor:
        """What runs `perform(function, task)`; it may be one for this function alone."""

    def give_up(self, executor: Executor) -> None:
        """End the work on the tasks of an executor, done or not."""

    def result(self, future: Future[_Result]) -> _Result:
        """The result of a task.

        Raises:
            BrokenExecutor: processes were killed, and another executor may do better.
        """


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
        executor.shutdown(cancel_futures=True)

    def result(self, future: Future[_Result]) -> _Result:
        """As `Engine.result`."""
        return future.result()


class _Pool(Executor):
    """A pool of processes for one function."""

    def __init__(self, workers: int, function: Callable[[Any], Any]) -> None:
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing import active_children, get_context

        self._others = {*active_children()}
        self._pool = ProcessPoolExecutor(
            workers,
            get_context(start_method()),
            initializer=_in_worker,
            initargs=(os.getpid(), function, _limit),
        )

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        # The first tasks start the processes.
        with warnings.catch_warnings(), _uninterrupted(), signals_blocked():
            # Python 3.12 warns of a fork while threads run. The only threads are OpenBLAS's, which
            # stops and restarts them around a fork, and the pool's own.
            warnings.simplefilter("ignore", DeprecationWarning)
            return self._pool.submit(_run, args[-1])

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes; those that still work on tasks nobody waits for are killed."""
        if cancel_futures:
            for process in self._processes():
                process.kill()
        self._pool.shutdown(wait, cancel_futures=cancel_futures)

    def _processes(self) -> set[BaseProcess]:
        from multiprocessing import active_children

        return {*active_children()} - self._others


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Signals come when this ends: an exception in what Python does around a fork would be lost."""
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


class Cluster:
    """A Dask cluster: it schedules tasks, and does again what a lost worker has not done."""

    def __init__(self, client: Client, *, is_local: bool) -> None:
        self._client = client
        self.is_local = is_local
        """Whether all workers are on this machine, and share its memory with this process."""
        self.workers = max(2, sum(client.nthreads().values()))
        self._seen = time.monotonic()

    def memory(self, of_worker: int | None) -> int | None:
        """The bytes that a task may take of its worker's memory; None if nobody knows.

        Args:
            of_worker: what a worker may take; None for its own limit, of which a task takes half.
        """
        workers: Any = self._client.scheduler_info(n_workers=-1)["workers"].values()
        if of_worker is not None:
            return of_worker // int(max(worker["nthreads"] for worker in workers))
        least: int = min(worker["memory_limit"] // worker["nthreads"] for worker in workers)
        return least // 2 or None

    def executor(self, function: Callable[[Any], Any]) -> Executor:
        """The cluster; the function is pickled."""
        executor: Executor = self._client.get_executor(pure=False)
        return executor

    def give_up(self, executor: Executor) -> None:
        """As `Engine.give_up`; workers end the tasks that they have begun."""
        executor.shutdown(wait=False)

    def result(self, future: Future[_Result]) -> _Result:
        """As `Engine.result`.

        Raises:
            LmError: the scheduler or all workers have ended, or a task kills its worker again and
                again.
        """
        from distributed import CancelledError, KilledWorker

        while True:
            try:
                return future.result(timeout=2.0)
            except TimeoutError:
                if future.done():  # the task's own
                    raise
                self._require_workers()
            except KilledWorker:
                raise _killed() from None
            except (CancelledError, OSError) as error:
                if isinstance(error, OSError) and self._client.status == "running":
                    raise  # the task's own
                raise LmError("the cluster's scheduler has ended") from None

    def _require_workers(self) -> None:
        if self._client.status not in ("running", "connecting"):
            raise LmError("the cluster's scheduler has ended")
        now = time.monotonic()
        if self._client.scheduler_info(n_workers=-1)["workers"]:
            self._seen = now
        elif now - self._seen > _ALONE:
            raise LmError(f"the cluster has had no workers for {_ALONE:.0f} seconds")

    def on_each(self, function: Callable[..., _Result], *args: Any) -> dict[str, Any]:
        """What a function returns on each worker, or the exception that it raises, by address."""
        answers: dict[str, Any] = self._client.run(function, *args, on_error="return")
        return answers


@contextmanager
def cluster(address: str, workers: int) -> Iterator[Cluster]:
    """The Dask cluster at an address; or `LOCAL`, one of so many workers, which ends with this.

    Raises:
        UsageError: the package is missing, or it is no address.
        LmError: no scheduler answers there, or it has no workers.
    """
    try:
        import dask
        import distributed
    except ImportError:
        raise UsageError(
            "{cluster} needs the package distributed: pip install 'lmsuite[cluster]'", "cluster"
        ) from None
    quiet = {"logging": {"distributed": "critical"}, "distributed.comm.timeouts.connect": _PATIENCE}
    with dask.config.set(quiet), ExitStack() as stack:
        _be_quiet()
        if address == LOCAL:
            started = stack.enter_context(_local_cluster(workers))
            client = stack.enter_context(distributed.Client(started))
        else:
            try:
                client = distributed.Client(address, timeout=_PATIENCE)
            except (OSError, TimeoutError):
                raise LmError(
                    f"no scheduler answers at {address}; start one with: dask scheduler", "cluster"
                ) from None
            except (ValueError, TypeError):
                raise UsageError(
                    f"{{cluster}} must be local or an address such as tcp://host:8786, not "
                    f"{address!r}",
                    "cluster",
                    value=address,
                ) from None
            stack.enter_context(client)
        if not client.nthreads():
            raise LmError(
                f"the scheduler at {address} has no workers; start some with: dask worker {address}"
            )
        yield Cluster(client, is_local=address == LOCAL)


@contextmanager
def _local_cluster(workers: int) -> Iterator[Any]:
    """Workers on this machine; Ctrl-C is this process's to handle."""
    from distributed import LocalCluster

    main = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN) if main else None
    try:
        started = LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            memory_limit=0,
            host="127.0.0.1",
        )
    finally:
        if main:
            signal.signal(signal.SIGINT, handler)
    with started:
        yield started


def _be_quiet() -> None:
    """What the library tells of lost workers is told here, in a line, where it matters."""
    import logging

    for name in ("distributed", "tornado", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def in_order(
    function: Callable[[_Task], _Result], tasks: Iterable[_Task], engine: Engine | int
) -> Iterator[_Result]:
    """The results of all tasks, in order; some tasks are begun ahead of the result asked for.

    Args:
        function: what does a task. It may be a closure where processes are forked, and is pickled
            on a cluster. What cannot be pickled is not sent to spawned processes: this one does
            all. A task may be done twice.
        tasks: they, and the results, are pickled.
        engine: where they run; a number means so many `Processes`, though no more than tasks, if it
            is known how many these are.

    Raises:
        LmError: processes were killed again and again.
    """
    if isinstance(engine, int):
        engine = Processes(min(engine, len(tasks)) if isinstance(tasks, Sized) else engine)
        if engine.workers > 1 and not _can_have(function):
            engine = Processes(1)
    if engine.workers < 2:
        yield from map(function, tasks)
        return
    crew = _Crew(engine, function)
    try:
        for task in tasks:
            crew.begin(task)
            if len(crew) > engine.workers * _AHEAD:
                yield crew.next_result()
        while len(crew):
            yield crew.next_result()
        crew.end()
    except BaseException:
        crew.give_up()
        raise


def _can_have(function: Callable[[Any], Any]) -> bool:
    """Whether another process can have this function."""
    if start_method() == "fork":
        return True
    from multiprocessing.reduction import ForkingPickler

    try:
        ForkingPickler.dumps(function)
    except Exception:  # each type refuses in its own way
        return False
    return True


class _Crew:
    """Those who work on the tasks of one function."""

    def __init__(self, engine: Engine, function: Callable[[Any], Any]) -> None:
        self._engine, self._function = engine, function
        self._executor = engine.executor(function)
        self._begun: deque[tuple[Any, Future[Any]]] = deque()
        self._done = self._done_before = self._tries = 0

    def __len__(self) -> int:
        return len(self._begun)

    def begin(self, task: Any) -> None:
        try:
            future = self._executor.submit(perform, self._function, task)
        except BrokenExecutor as error:
            future = Future()
            future.set_exception(error)
        self._begun.append((task, future))

    def next_result(self) -> Any:
        while True:
            try:
                result = self._engine.result(self._begun[0][1])
            except BrokenExecutor:
                self._begin_again()
            else:
                self._begun.popleft()
                self._done += 1
                return result

    def end(self) -> None:
        self._executor.shutdown()

    def give_up(self) -> None:
        for _, future in self._begun:
            future.cancel()
        self._engine.give_up(self._executor)

    def _begin_again(self) -> None:
        """Do the tasks that are not done with another executor.

        Raises:
            LmError: nothing has been done since the last few times.
        """
        begun, self._begun = self._begun, deque()
        is_done = [future.done() and not future.exception() for _, future in begun]
        done = self._done + sum(is_done)
        self._tries = self._tries + 1 if done == self._done_before else 1
        self._done_before = done
        if self._tries == _TRIES:
            raise _killed()
        self._executor.shutdown(wait=True)
        self._executor = self._engine.executor(self._function)
        for (task, future), finished in zip(begun, is_done, strict=True):
            if finished:
                self._begun.append((task, future))
            else:
                self.begin(task)


def _killed() -> LmError:
    return LmError(
        "a process that did a part of the work was killed again and again; is there too little "
        "memory?"
    )


def perform(function: Callable[[_Task], _Result], task: _Task) -> _Result:
    """Do a task."""
    return function(task)


_function: Callable[[Any], Any]


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
