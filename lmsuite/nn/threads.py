"""Array work on several cores in one process.

Numpy lets go of the interpreter while it computes on large arrays, so pieces of work that share
nothing run in threads side by side. (Training, whose steps are short, splits over processes.)
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait

taking_turns = threading.Lock()
"""Held for a step of a decoder. BLAS splits its products over all cores: those of several readers'
threads at once would wait for each other's parts, and together take many times as long as in turn.
"""

_limit: int | None = None
_pool: ThreadPoolExecutor | None = None


def available_cores() -> int:
    """The number of cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def limit_threads(count: int | None) -> None:
    """From now on use at most `count` threads here and in processes forked from this; None: all."""
    global _limit
    _limit = count


def thread_count() -> int:
    """How many tasks run side by side."""
    return available_cores() if _limit is None else _limit


def side_by_side(tasks: Sequence[Callable[[], None]]) -> None:
    """Runs all tasks, in threads, this one among them; each takes the next that is left."""
    threads = min(thread_count(), len(tasks))
    if threads < 2:
        for task in tasks:
            task()
        return
    global _pool
    if _pool is None:
        _pool = ThreadPoolExecutor(available_cores(), "lmsuite")
    left = iter(tasks)

    def work() -> None:
        for task in left:
            task()

    others = [_pool.submit(work) for _ in range(threads - 1)]
    try:
        work()
    except BaseException:
        for _ in left:  # the others begin no more
            pass
        raise
    finally:
        wait(others)
    for other in others:
        other.result()


def _begin_anew() -> None:
    """A forked process has none of its parent's threads, and waits for none."""
    global _pool, taking_turns
    _pool, taking_turns = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
