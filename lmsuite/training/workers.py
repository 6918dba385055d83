"""A crew of processes works in step on shared arrays, so that one batch uses several cores.

Python threads share one interpreter, and a threaded BLAS gains little on matrices this small. So a
batch is split over *processes*: this one is rank 0; the others are forked from it and see the same
anonymous memory. They meet at a barrier a few times in each step. The shares are equal, so a wait
is short: a rank spins before it sleeps. The caller decides what each rank does between barriers.

Where processes cannot be forked safely (macOS, Windows), a crew has one member.
"""

from __future__ import annotations

import mmap
import multiprocessing
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from lmsuite.errors import TrainingError
from lmsuite.executors import can_fork
from lmsuite.training.interrupts import SIGNALS

CACHE_LINE = 64  # bytes; each rank's counter has its own, so that ranks do not fight over one line
SPINS = 4000  # reads of another rank's counter before a rank sleeps: about 0.3 ms
NAPS = (0.00005, 0.002)  # seconds of sleep between two reads: at first, and at most
LAST_WORDS = 1000  # bytes kept of a dying worker's message


class Crew:
    """`size` processes in step. Make the shared arrays first, then `start`; `close` at the end."""

    def __init__(self, size: int) -> None:
        if size > 1 and not can_fork():
            raise TrainingError(
                f"a crew of {size} processes needs fork, which {sys.platform} lacks"
            )
        self.size = size
        self._parent = os.getpid()
        self._counters = memoryview(mmap.mmap(-1, size * CACHE_LINE)).cast("q")
        self._last_words = mmap.mmap(-1, LAST_WORDS)
        self._members: list[BaseProcess] = []
        if size > 1:
            self._fork = multiprocessing.get_context("fork")
            self._fences = [self._fork.Semaphore(0) for _ in range(size)]

    def shared(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """An array of zeros that every member sees; only before `start`."""
        count = int(np.prod(shape))
        # mmap refuses a length of zero.
        memory = mmap.mmap(-1, max(1, count * np.dtype(dtype).itemsize))
        return np.frombuffer(memory, dtype=dtype, count=count).reshape(shape)

    def start(self, serve: Callable[[int], None]) -> None:
        """Fork ranks 1 … size-1; each runs serve(rank) and then ends."""
        for rank in range(1, self.size):
            member = self._fork.Process(
                target=self._run, args=(serve, rank), daemon=True, name=f"worker {rank}"
            )
            with warnings.catch_warnings():
                # Python 3.12 warns of a fork while threads run. The only threads are OpenBLAS's,
                # which stops and restarts them around a fork.
                warnings.simplefilter("ignore", DeprecationWarning)
                member.start()
            self._members.append(member)

    def _run(self, serve: Callable[[int], None], rank: int) -> None:
        # Ctrl-C reaches the whole process group, but only rank 0 decides what to do.
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        signal.set_wakeup_fd(-1)
        try:
            serve(rank)
        except Exception as error:
            words = f"{type(error).__name__}: {error}".encode()[:LAST_WORDS]
            self._last_words[: len(words)] = words
            os._exit(1)

    def barrier(self, rank: int) -> None:
        """Return when every member has called this; all that they wrote before is then visible.

        Raises:
            TrainingError: in rank 0, if a worker has died. Other ranks exit when rank 0 has ended.
        """
        if self.size == 1:
            return
        self._fence(rank)
        stride = CACHE_LINE // 8
        counters = self._counters
        generation = counters[rank * stride] + 1
        counters[rank * stride] = generation
        for other in range(self.size):
            looks = 0
            while counters[other * stride] < generation:
                looks += 1
                if looks > SPINS:
                    self._sleep_until(other * stride, generation)
        self._fence(rank)

    def _fence(self, rank: int) -> None:
        # On ARM, plain stores of one process may reach another out of order. A semaphore's release
        # and acquire order memory on every architecture.
        self._fences[rank].release()
        self._fences[rank].acquire()

    def _sleep_until(self, counter: int, generation: int) -> None:
        nap, longest = NAPS
        while True:
            time.sleep(nap)
            nap = min(longest, nap * 1.2)
            if self._counters[counter] >= generation:
                return  # before `_check_members`: a member that has arrived may have ended since
            if os.getpid() == self._parent:
                self._check_members()
            elif os.getppid() != self._parent:
                os._exit(1)

    def _check_members(self) -> None:
        for member in self._members:
            if member.exitcode is not None:
                words = bytes(self._last_words).rstrip(b"\0").decode(errors="replace")
                reason = words or (
                    f"killed by signal {-member.exitcode}; out of memory?"
                    if member.exitcode < 0
                    else f"exit code {member.exitcode}"
                )
                raise TrainingError(
                    f"{member.name} of {self.size} died ({reason}); "
                    "try a smaller model or batch, or 1 for {threads}",
                    "threads",
                )

    def close(self, patience: float = 0.2) -> None:
        """End the members; kill those that have not ended after `patience` seconds."""
        for member in self._members:
            member.join(timeout=patience)
            if member.exitcode is None:
                member.kill()
            member.join()
        self._members.clear()
