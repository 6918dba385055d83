"""How many threads BLAS has while networks are read, and afterwards."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from lmsuite.models import blas_threads as module
from lmsuite.models.blas_threads import FEW, blas_threads, one_blas_thread


@pytest.fixture(autouse=True)
def two(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """BLAS has two threads, whatever the machine and the worker of pytest have."""
    monkeypatch.setattr(module, "thread_count", lambda: 2)
    module._libraries.cache_clear()  # other tests may have loaded one more
    with threadpool_limits(2, user_api="blas"):
        yield


def threads() -> set[int]:
    return {each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"}


def threads_within(context: Callable[[], AbstractContextManager[None]]) -> set[int]:
    with context():
        return threads()


def test_the_main_thread_has_all_threads_of_blas_and_others_have_one() -> None:
    assert threads_within(lambda: blas_threads(1)) == {2}
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(threads_within, lambda: blas_threads(FEW - 1)).result() == {1}
        assert pool.submit(threads_within, lambda: blas_threads(FEW)).result() == {2}
    assert threads() == {2}


def test_the_last_of_several_threads_restores_the_limit() -> None:
    both_inside, first_has_left = threading.Barrier(2, timeout=30), threading.Event()

    def first() -> None:
        with one_blas_thread:
            both_inside.wait()
        first_has_left.set()

    def last() -> set[int]:
        with one_blas_thread:
            both_inside.wait()
            assert first_has_left.wait(30)
            return threads()

    with ThreadPoolExecutor(2) as pool:
        leaving, staying = pool.submit(first), pool.submit(last)
        leaving.result()
        assert staying.result() == {1}
    assert threads() == {2}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes to fork here")
def test_a_process_forked_from_within_has_the_old_limit_and_can_enter() -> None:
    with one_blas_thread:
        child = os.fork()
        if not child:
            found = threads() == {2} and threads_within(lambda: one_blas_thread) == {1}
            os._exit(0 if found and threads() == {2} else 1)
        _, status = os.waitpid(child, 0)
    assert status == 0
