"""A crew of processes works in step on shared arrays, so that one batch uses several cores.

Python threads share one interpreter, and a threaded BLAS gains little on matrices this small. So a
batch is split over *processes*: this one is rank 0; the others are forked from it and see the same
anonymous memory. They meet at a barrier a few times in each step. The shares are equal, so a wait
is short: a rank spins before it sleeps. The caller decides what each rank does between barriers.

Where processes cannot be forked safely (macOS, Windows), each is spawned: it starts empty, and is
sent the crew and what to serve. Then an array is a named segment of shared memory. A spawned member
makes its arrays by the same calls in the same order as rank 0, and gets the same segments.
"""

from __future__ import annotations

import mmap
import multiprocessing
import os
import secrets
import signal
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.process import BaseProcess
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from lmsuite.errors import TrainingError
from lmsuite.executors.cores import SIGNALS, signals_blocked, start_method

CACHE_LINE = 64  # bytes; each rank's counter has its own, so that ranks do not fight over one line
SPINS = 4000  # reads of another rank's counter before a rank sleeps: about 0.3 ms
NAPS = (0.00005, 0.002)  # seconds of sleep between two reads: at first, and at most
LAST_WORDS = 1000  # bytes kept of a dying worker's message


class Crew:
    """`size` processes in step. Make the shared arrays first, then `start`; `close` at the end."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.leads = True
        """Whether this is the process of rank 0."""
        self._parent = os.getpid()
        self._members: list[BaseProcess] = []
        self._segments: list[_Segment] = []
        self._names: list[str] = []  # of the segments that a spawned member has still to open
        self.is_spawned = False
        """Whether the members start empty, and have only what is sent to them."""
        if size > 1:
            self._context = multiprocessing.get_context(start_method())
            self.is_spawned = self._context.get_start_method() != "fork"
            self._fences = [self._context.Semaphore(0) for _ in range(size)]
        self._make_arrays()

    def _make_arrays(self) -> None:
        self._counters = self.shared((self.size * CACHE_LINE // 8,), np.int64).data
        self._last_words = self.shared((LAST_WORDS,), np.uint8)

    def __getstate__(self) -> dict[str, Any]:
        """What a spawned member gets."""
        own = ("_members", "_segments", "_counters", "_last_words", "_context")
        state = {name: value for name, value in self.__dict__.items() if name not in own}
        return state | {"leads": False, "_names": [segment.name for segment in self._segments]}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _members=[], _segments=[])
        self._make_arrays()

    def shared(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """An array of zeros that every member sees; only before `start`.

        Raises:
            TrainingError: there is too little shared memory.
        """
        count = int(np.prod(shape))
        size = max(1, count * np.dtype(dtype).itemsize)  # a length of zero is refused
        memory: Any = self._segment(size) if self.is_spawned else mmap.mmap(-1, size)
        return np.frombuffer(memory, dtype=dtype, count=count).reshape(shape)

    def _segment(self, size: int) -> memoryview | None:
        if not self.leads:
            self._segments.append(_Segment(self._names.pop(0)))
            return self._segments[-1].buf
        try:
            name = f"lm{os.getpid()}_{secrets.token_hex(6)}"
            self._segments.append(_Segment(name, create=True, size=size))
            self._segments[-1].require(size)
        except OSError as error:
            self.close()
            raise TrainingError(
                f"there are no {size:,} bytes of shared memory ({error.strerror}); "
                "try 1 for {threads}",
                "threads",
            ) from error
        return self._segments[-1].buf

    def start(self, serve: Callable[[int], None]) -> None:
        """Start ranks 1 … size-1; each runs serve(rank) and then ends.

        To a spawned rank `serve` is sent: it must be what `pickle` can copy.
        """
        for rank in range(1, self.size):
            member = self._context.Process(  # type: ignore[attr-defined]
                target=_run, args=(self, serve, rank), daemon=True, name=f"worker {rank}"
            )
            with warnings.catch_warnings(), signals_blocked():
                # Python 3.12 warns of a fork while threads run. The only threads are OpenBLAS's,
                # which stops and restarts them around a fork.
                warnings.simplefilter("ignore", DeprecationWarning)
                member.start()
            self._members.append(member)

    def note_last_words(self, error: Exception) -> None:
        """Leave word to rank 0 of what this member dies of."""
        words = f"{type(error).__name__}: {error}".encode()[:LAST_WORDS]
        self._last_words[: len(words)] = np.frombuffer(words, np.uint8)

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
            elif not _parent_lives():
                os._exit(1)

    def _check_members(self) -> None:
        for member in self._members:
            if member.exitcode is not None:
                words = self._last_words.tobytes().rstrip(b"\0").decode(errors="replace")
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
        while self._segments:
            segment = self._segments.pop()
            if self.leads:
                segment.unlink()


class _Segment(SharedMemory):
    """Shared memory that is unmapped when the last array in it has gone."""

    def require(self, size: int) -> None:
        """Take the memory now: later, a lack of it would kill the process.

        Raises:
            OSError: there is not so much.
        """
        if hasattr(os, "posix_fallocate") and hasattr(self, "_fd"):
            os.posix_fallocate(self._fd, 0, size)

    def __del__(self) -> None:
        with suppress(BufferError, OSError):  # an array may be left that is freed with this
            self.close()


def _run(crew: Crew, serve: Callable[[int], None], rank: int) -> None:
    """The life of a member."""
    # Ctrl-C reaches the whole process group, but only rank 0 decides what to do.
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.set_wakeup_fd(-1)
    try:
        serve(rank)
    except Exception as error:
        crew.note_last_words(error)
        os._exit(1)


def _parent_lives() -> bool:
    parent = multiprocessing.parent_process()
    return parent is not None and parent.is_alive()
