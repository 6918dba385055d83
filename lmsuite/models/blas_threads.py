"""How many threads BLAS uses for the products of those who read with a network.

BLAS splits a product over all cores and waits for every part. If a core has other work, its part
waits, and a small product can take a hundred times as long. So a program that reads texts in
threads of its own has one BLAS thread for each of them: its threads fill the cores already. (The
number of BLAS threads can change the last bit of a product.)
"""

from __future__ import annotations

import os
import threading
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

from lmsuite.executors.cores import thread_count

FEW = 8
"""A thread that reads so many texts at once serves many readers. Then BLAS may split its products,
which are large."""


class _OneBlasThread:
    """Within this context, BLAS uses one thread.

    The limit is for the whole process. If several threads are inside, the first sets the limit and
    the last restores the old one. If each restored what it had found, the limit could stay.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before: list[int] = []  # the number of threads of each library

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0 and thread_count() > 1:
                self._before = [library.num_threads for library in _libraries()]
                for library in _libraries():
                    _set_threads(library, 1)
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                for library, threads in zip(_libraries(), self._before, strict=False):
                    _set_threads(library, threads)
                self._before = []

    def leave_parents(self) -> None:
        """In a forked process: none of the parent's threads is inside any more."""
        self._lock = threading.Lock()
        if self._inside:
            self._inside = 1
            self.__exit__()


@cache
def _libraries() -> list[Any]:
    """The BLAS libraries in this process. To find them takes longer than to read a sentence."""
    from threadpoolctl import ThreadpoolController

    libraries: list[Any] = ThreadpoolController().select(user_api="blas").lib_controllers
    return libraries


def _set_threads(library: Any, count: int) -> None:
    """Set the limit of a library. From its version 3.8 on, threadpoolctl keeps a limit for the
    thread that set it first; but here the last thread inside restores what the first one set.
    """
    let_others = getattr(library, "clear_controlling_thread", lambda force: None)
    let_others(force=True)
    library.set_num_threads(count)
    let_others(force=True)


_all_blas_threads = nullcontext()
one_blas_thread = _OneBlasThread()


def blas_threads(texts: int) -> AbstractContextManager[None]:
    """The context of products for so many texts that this thread reads at once.

    All BLAS threads in the main thread of the program, or for many texts; else one.
    """
    is_main = threading.get_ident() == threading.main_thread().ident
    return _all_blas_threads if is_main or texts >= FEW else one_blas_thread


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=one_blas_thread.leave_parents)
