"""A Dask cluster on this machine, in processes of its own.

It starts while its user does other work, and nobody waits for its orderly end: when its standard
input is closed, all its processes are killed. So they end, too, if their user is killed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from types import TracebackType
from typing import Self

from lmsuite.errors import LmError
from lmsuite.executors.cores import uninterrupted

_PATIENCE = 0.5  # seconds for its end
_CONFIGURATION = {
    "logging": {"distributed": "critical"},
    # Dask has its workers give freed memory back at once, which takes arrays of this size longer
    # than what is done with them.
    "distributed.nanny.pre-spawn-environ": {"OMP_NUM_THREADS": 1},
}


class LocalCluster:
    """A context manager: the cluster is started at its beginning, and ended at its end."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        try:
            with uninterrupted():
                self._start()
        except BaseException:
            self._end(patience=0)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end(patience=_PATIENCE if error is None else 0)

    def _start(self) -> None:
        self._folder = tempfile.TemporaryDirectory(
            prefix="lmsuite-cluster-", ignore_cleanup_errors=True
        )
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(self._workers), self._folder.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # what is left unclosed is told there
            start_new_session=True,  # Ctrl-C is its user's to handle
            text=True,
        )

    def _end(self, patience: float) -> None:
        if self._process is not None:
            assert self._process.stdin
            self._process.stdin.close()
            try:
                self._process.wait(patience)
            except subprocess.TimeoutExpired:  # it is still starting, or must end at once
                if hasattr(os, "killpg"):  # its workers at once, or they would still write
                    os.killpg(self._process.pid, signal.SIGTERM)
                else:
                    self._process.terminate()
                self._process.wait()
        if self._folder is not None:
            self._folder.cleanup()

    def address(self) -> str:
        """Where its scheduler answers, as soon as it does.

        Raises:
            LmError: it could not be started.
        """
        assert self._process
        assert self._process.stdout
        address = self._process.stdout.readline().strip()
        if not address:
            raise LmError("the cluster of this machine could not be started", "cluster")
        return address


def be_quiet() -> None:
    """What the library tells of lost workers is told here, in a line, where it matters."""
    import logging

    for name in ("distributed", "tornado", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _serve(workers: int, folder: str) -> None:
    """Be the cluster, until standard input ends."""
    import dask
    import distributed

    with dask.config.set(_CONFIGURATION | {"temporary-directory": folder}):
        be_quiet()
        started = distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            memory_limit=0,
            host="127.0.0.1",
            local_directory=folder,
        )
    sys.stdout.write(f"{started.scheduler_address}\n")
    sys.stdout.flush()
    sys.stdin.read()
    for worker in started.workers.values():
        os.kill(worker.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
    os._exit(0)  # an orderly end takes seconds


if __name__ == "__main__":
    _serve(int(sys.argv[1]), sys.argv[2])
