"""BLAS has one thread while several tasks share the cores, and its own threads before and after."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from threadpoolctl import ThreadpoolController, threadpool_limits

from lmsuite.nn.threads import sharing_cores

BLAS = ThreadpoolController().select(user_api="blas")


@pytest.fixture(autouse=True)
def two_threads_of_blas() -> Iterator[None]:
    with threadpool_limits(2, user_api="blas"):
        yield


def blas_threads() -> set[int]:
    return {library.num_threads for library in BLAS.lib_controllers}


def test_a_task_alone_has_the_threads_of_blas() -> None:
    with sharing_cores():
        assert blas_threads() == {2}


def test_tasks_that_come_and_go_leave_blas_as_it_was() -> None:
    first, second, third = (sharing_cores() for _ in range(3))
    first.__enter__()
    second.__enter__()
    assert blas_threads() == {1}
    first.__exit__(None, None, None)
    third.__enter__()
    second.__exit__(None, None, None)
    assert blas_threads() == {1}
    third.__exit__(None, None, None)
    assert blas_threads() == {2}


def test_work_of_several_tasks_that_fails_leaves_blas_as_it_was() -> None:
    with pytest.raises(ZeroDivisionError), sharing_cores(3):
        assert blas_threads() == {1}
        raise ZeroDivisionError
    assert blas_threads() == {2}
