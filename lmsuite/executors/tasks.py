"""Tasks side by side, and their results in order.

Tasks that a killed process has not done are done again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import TYPE_CHECKING, Any, TypeVar

from lmsuite.executors.cores import start_method
from lmsuite.executors.engine import Engine, killed, perform
from lmsuite.executors.processes import Processes

if TYPE_CHECKING:
    from concurrent.futures import Future

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")

_AHEAD = 2  # tasks that wait for each process, so that no process waits for a task
_TRIES = 4  # of a task whose process is killed


def in_order(
    function: Callable[[_Task], _Result], tasks: Iterable[_Task], engine: Engine | int
) -> Iterator[_Result]:
    """The results of all tasks, in order; some tasks are begun ahead of the result asked for.

    Args:
        function: what does a task. It may be a closure where processes are forked, and is pickled
            on a cluster. What cannot be pickled is not sent to spawned processes: this one does
            all. A task may be done twice.
        tasks: they, and the results, are pickled.
        engine: where they run; a number means so many `Processes`, though no more than tasks, if it
            is known how many these are.

    Raises:
        LmError: processes were killed again and again.
    """
    if isinstance(engine, int):
        engine = Processes(min(engine, len(tasks)) if isinstance(tasks, Sized) else engine)
        if engine.workers > 1 and not _can_have(function):
            engine = Processes(1)
    if engine.workers < 2:
        yield from map(function, tasks)
        return
    crew = _Crew(engine, function)
    try:
        for task in tasks:
            crew.begin(task)
            if len(crew) > engine.workers * _AHEAD:
                yield crew.next_result()
        while len(crew):
            yield crew.next_result()
        crew.end()
    except BaseException:
        crew.give_up()
        raise


def _can_have(function: Callable[[Any], Any]) -> bool:
    """Whether another process can have this function."""
    if start_method() == "fork":
        return True
    from multiprocessing.reduction import ForkingPickler

    try:
        ForkingPickler.dumps(function)
    except Exception:  # each type refuses in its own way
        return False
    return True


class _Crew:
    """Those who work on the tasks of one function."""

    def __init__(self, engine: Engine, function: Callable[[Any], Any]) -> None:
        self._engine, self._function = engine, function
        self._executor = engine.executor(function)
        self._begun: deque[tuple[Any, Future[Any]]] = deque()
        self._done = self._done_before = self._tries = 0

    def __len__(self) -> int:
        return len(self._begun)

    def begin(self, task: Any) -> None:
        from concurrent.futures import BrokenExecutor, Future

        try:
            future = self._executor.submit(perform, self._function, task)
        except BrokenExecutor as error:
            future = Future()
            future.set_exception(error)
        self._begun.append((task, future))

    def next_result(self) -> Any:
        from concurrent.futures import BrokenExecutor

        while True:
            try:
                result = self._engine.result(self._begun[0][1])
            except BrokenExecutor:
                self._begin_again()
            else:
                self._begun.popleft()
                self._done += 1
                return result

    def end(self) -> None:
        self._executor.shutdown()

    def give_up(self) -> None:
        for _, future in self._begun:
            future.cancel()
        self._engine.give_up(self._executor)

    def _begin_again(self) -> None:
        """Do the tasks that are not done with another executor.

        Raises:
            LmError: nothing has been done since the last few times.
        """
        begun, self._begun = self._begun, deque()
        is_done = [future.done() and not future.exception() for _, future in begun]
        done = self._done + sum(is_done)
        self._tries = self._tries + 1 if done == self._done_before else 1
        self._done_before = done
        if self._tries == _TRIES:
            raise killed()
        self._executor.shutdown(wait=True)
        self._executor = self._engine.executor(self._function)
        for (task, future), finished in zip(begun, is_done, strict=True):
            if finished:
                self._begun.append((task, future))
            else:
                self.begin(task)
