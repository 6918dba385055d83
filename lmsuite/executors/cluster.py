"""A Dask cluster: one that is there already, or one of this machine for a while."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar

from lmsuite.errors import LmError, UsageError
from lmsuite.executors.engine import Executor, killed
from lmsuite.executors.local_cluster import LocalCluster, be_quiet

if TYPE_CHECKING:
    from concurrent.futures import Future

    from distributed import Client

_Result = TypeVar("_Result")

_PATIENCE = 5.0  # seconds to reach a scheduler
_ALONE = 60.0  # seconds that a cluster may have no workers
LOCAL = "local"
"""The cluster that is started on this machine, and ended afterwards."""


class Cluster:
    """A Dask cluster: it schedules tasks, and does again what a lost worker has not done."""

    def __init__(self, connect: Callable[[], Client], workers: int | None = None) -> None:
        """A cluster that is reached when it is first needed.

        Args:
            connect: reaches it.
            workers: of a cluster on this machine, which share its memory with this process; None
                for one elsewhere.
        """
        self._connect = connect
        self.is_local = workers is not None
        self._workers = workers
        self._seen = time.monotonic()

    @cached_property
    def _client(self) -> Client:
        return self._connect()

    @property
    def workers(self) -> int:
        """As `Engine.workers`."""
        return max(2, self._workers or sum(self._client.nthreads().values()))

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
        with suppress(RuntimeError):  # the client has been closed
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
                raise killed() from None
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
    if find_spec("distributed") is None:
        raise UsageError(
            "{cluster} needs the package distributed: pip install 'lmsuite[cluster]'", "cluster"
        )
    with ExitStack() as stack:
        if address == LOCAL:
            started = stack.enter_context(LocalCluster(workers))
            yield Cluster(lambda: stack.enter_context(_client(started.address())), workers)
            return
        client = stack.enter_context(_client(address))
        if not client.nthreads():
            raise LmError(
                f"the scheduler at {address} has no workers; start some with: dask worker {address}"
            )
        yield Cluster(lambda: client)


@contextmanager
def _client(address: str) -> Iterator[Client]:
    """What speaks with the scheduler at an address; errors as for `cluster`."""
    import dask
    import distributed

    quiet = {"logging": {"distributed": "critical"}, "distributed.comm.timeouts.connect": _PATIENCE}
    with dask.config.set(quiet):
        be_quiet()
        try:
            client = distributed.Client(address, timeout=_PATIENCE)
        except (OSError, TimeoutError):
            raise LmError(
                f"no scheduler answers at {address}; start one with: dask scheduler", "cluster"
            ) from None
        except (ValueError, TypeError):
            raise UsageError(
                f"{{cluster}} must be local or an address such as tcp://host:8786, not {address!r}",
                "cluster",
                value=address,
            ) from None
        with client:
            yield client
