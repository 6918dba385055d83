"""Array work on several cores in one process.

Numpy releases the interpreter's lock while it computes on large arrays. So tasks that share nothing
can run in threads side by side. (The steps of training are short; it uses processes instead.)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait

from lmsuite.executors.cores import available_cores, thread_count

_pool: ThreadPoolExecutor | None = None


def side_by_side(tasks: Sequence[Callable[[], None]]) -> None:
    """Run all tasks in several threads, including this one. Each thread takes the next task."""
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
        for _ in left:  # the other threads begin no more tasks
            pass
        raise
    finally:
        wait(others)
    for other in others:
        other.result()


def _begin_anew() -> None:
    """Forget the pool: a forked process has none of its parent's threads."""
    global _pool
    _pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
