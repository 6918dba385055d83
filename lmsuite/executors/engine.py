"""What runs tasks side by side: a `concurrent.futures.Executor`, and what else is asked of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from lmsuite.errors import LmError

if TYPE_CHECKING:
    from concurrent.futures import Future

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")


class Executor(Protocol):
    """What is needed of a `concurrent.futures.Executor`."""

    def submit(self, function: Callable[..., Any], /, *args: Any) -> Future[Any]:
        """Begin to call a function."""

    def shutdown(self, wait: bool = True) -> None:
        """End it."""


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


def perform(function: Callable[[_Task], _Result], task: _Task) -> _Result:
    """Do a task."""
    return function(task)


def killed() -> LmError:
    """The error of a task whose process is killed whenever it does it."""
    return LmError(
        "a process that did a part of the work was killed again and again; is there too little "
        "memory?"
    )
