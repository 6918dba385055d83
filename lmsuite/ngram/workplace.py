"""Where an estimation works: what runs its tasks, the folder of their files, and what is done.

A *stage* is a list of tasks, which read the files of earlier stages and write files: ``what.part``.
A task that is done twice writes the same bytes, so that a lost worker costs a task and no more. A
stage that is complete leaves a record of the facts that its tasks returned. Where the folder
outlives the program, another run can therefore go on after the last complete stage.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, NamedTuple, TypeVar

from numpy.typing import NDArray

from lmsuite import __version__
from lmsuite.errors import LmError, TrainingError, UsageError
from lmsuite.executors.cluster import Cluster, cluster
from lmsuite.executors.cores import thread_count
from lmsuite.executors.processes import StandingProcesses
from lmsuite.executors.tasks import in_order
from lmsuite.files.disk_arrays import in_memory
from lmsuite.files.scratch import TRAFFIC, Scratch, locked_scratch, temporary_scratch
from lmsuite.ngram.memory import machine_bytes
from lmsuite.ngram.packing import Packing
from lmsuite.ngram.planning import planned
from lmsuite.progress import working

_Task = TypeVar("_Task")

_AT_ONCE = 1 << 20
_FOLDER = "lmsuite-scratch"  # in the folder that the user names
_RECORD, _DONE = "work.json", "done"


class TaskReport(NamedTuple):
    """What one task took."""

    stage: str
    number: int
    seconds: float
    """Of a processor."""
    wall: float
    """Seconds from its beginning to its end."""
    read: int
    """Bytes, from the scratch folder."""
    written: int


class Workplace:
    """Runs the stages of one estimation; made by `workplace`."""

    def __init__(
        self,
        engine: StandingProcesses | Cluster,
        scratch: Scratch,
        *,
        keeps: bool = False,
        resume: bool = False,
        report: Callable[[TaskReport], None] | None = None,
    ) -> None:
        self.engine, self.scratch = engine, scratch
        self._keeps, self._resume, self._report = keeps, resume, report
        self._stages = 0

    @property
    def is_left(self) -> bool:
        """Whether the files outlive a failure: the folder was named, and a stage is complete."""
        return self._keeps and (self._resume or self._stages > 0)

    def planned(self, memory: int | None, tokens: int, packing: Packing) -> int:
        """The positions of a block, and n-grams of a range, for so many bytes of memory.

        Of this machine's processes, there may be fewer from now on.

        Args:
            memory: for all processes of this machine, or for each worker of a cluster elsewhere;
                None for half of what there is.
            tokens: of the text.
            packing: of its n-grams.

        Raises:
            UsageError: the memory is too little for this text.
        """
        if isinstance(self.engine, Cluster):
            if not self.engine.is_local and (of_task := self.engine.memory(memory)) is not None:
                return planned(of_task, tokens, packing, 1).part
            workers = self.engine.workers
            return planned(memory or machine_bytes() // 2, tokens, packing, workers, workers).part
        plan = planned(memory or machine_bytes() // 2, tokens, packing, self.engine.workers)
        self.engine.limit(plan.workers)
        return plan.part

    def fingerprint(self, *arrays: NDArray[Any]) -> str:
        """What is different if an array is; empty where nobody asks, for it takes time."""
        if not self._keeps:
            return ""
        total = hashlib.sha256()
        for array in arrays:
            for begin in range(0, len(array), _AT_ONCE):
                total.update(in_memory(array[begin : begin + _AT_ONCE]).tobytes())
        return total.hexdigest()

    def begin(self, identity: Mapping[str, Any], plan: int) -> int:
        """Begin the work of this identity; or go on with it, if that was asked for.

        Args:
            identity: what the files depend on, by name: text and settings.
            plan: how the work is to be cut.

        Returns:
            How the work is cut: as it was, if it goes on.

        Raises:
            TrainingError: the folder holds no work to go on with, or of another identity.
        """
        facts = {"version": __version__, **identity}
        if self._resume:
            return self._plan_of(facts)
        self.scratch.remove_all()
        self.scratch.write_bytes(_RECORD, json.dumps({"facts": facts, "plan": plan}).encode())
        return plan

    def _plan_of(self, facts: Mapping[str, Any]) -> int:
        record = self.scratch.read_bytes(_RECORD)
        where = f"the scratch folder {self.scratch.place}"
        if record is None:
            self._resume = False
            raise TrainingError(
                f"{where} holds no unfinished work; leave out {{resume}}", "resume", "scratch"
            )
        try:
            found = json.loads(record)
            plan, known = int(found["plan"]), dict(found["facts"])
        except (ValueError, KeyError, TypeError):
            raise TrainingError(
                f"{where} has a damaged {_RECORD}; leave out {{resume}}", "resume"
            ) from None
        for name, value in facts.items():
            if known.get(name) != value:
                reason = f"another {name}"
                if name != "text":
                    reason = f"{name} {known.get(name)}, not {value}"
                raise TrainingError(
                    f"{where} holds work with {reason}; leave out {{resume}} to begin anew",
                    "resume",
                )
        return plan

    def stage(
        self,
        name: str,
        function: Callable[[Scratch, _Task], Any],
        tasks: Iterable[_Task],
        said: str,
        *,
        total: int | None = None,
        unit: str = "parts",
        amount: int = 1,
    ) -> Iterator[Any]:
        """Do the tasks of a stage, unless they are done.

        Args:
            name: of the stage.
            function: does a task; it is pickled. It returns facts that JSON can hold.
            tasks: what the function is given, one by one.
            said: what is done, for those who watch.
            total: how much work the tasks are, in `unit`; None for their number.
            unit: of the work.
            amount: how much of the work a task is.

        Yields:
            The facts of each task, in order.
        """
        done = f"{_DONE}.{name}.json"
        record = self.scratch.read_bytes(done) if self._resume else None
        if record is not None:
            self._stages += 1
            yield from json.loads(record)
            return
        facts = []
        whole = len(tasks) if total is None and isinstance(tasks, Sized) else total or 0
        with working(said, whole, unit) as work:
            results = in_order(partial(_measured, function, self.scratch), tasks, self.engine)
            for number, (result, cost) in enumerate(results):
                if self._report is not None:
                    self._report(TaskReport(name, number, *cost))
                facts.append(result)
                yield result
                work.advance(min(amount, whole - work.done))
        if self._keeps:
            self.scratch.write_bytes(done, json.dumps(facts).encode())
        self._stages += 1

    def once(
        self, name: str, function: Callable[[], Sequence[NDArray[Any]]]
    ) -> Sequence[NDArray[Any]]:
        """The arrays that a function gives here, or gave before the work was interrupted."""
        file = f"{_DONE}.{name}"
        if self._resume and self.scratch.read_bytes(file) is not None:
            return self.scratch.read(file)
        with self.here(name):
            arrays = function()
        if self._keeps:
            self.scratch.write(file, arrays)
        return arrays

    @contextmanager
    def here(self, name: str, number: int = 0) -> Iterator[None]:
        """Work of a stage that this process does itself."""
        cost = _Cost()
        yield
        if self._report is not None:
            self._report(TaskReport(name, number, *cost.so_far()))

    def spent(self, *names: str) -> None:
        """Remove the files of these names, which no later stage reads."""
        self.scratch.remove_all(*names)

    def used_up(self, name: str) -> None:
        """Remove a file that only a run that goes on would read once more."""
        if not self._keeps:
            self.scratch.remove(name)


class _Cost:
    """What is spent from now on."""

    def __init__(self) -> None:
        self._began = time.thread_time(), time.perf_counter(), TRAFFIC.read, TRAFFIC.written

    def so_far(self) -> tuple[float, float, int, int]:
        """As in `TaskReport`: seconds, wall, read, written."""
        processor, wall, read, written = self._began
        return (
            time.thread_time() - processor,
            time.perf_counter() - wall,
            TRAFFIC.read - read,
            TRAFFIC.written - written,
        )


def _measured(
    function: Callable[[Scratch, _Task], Any], scratch: Scratch, task: _Task
) -> tuple[Any, tuple[float, float, int, int]]:
    cost = _Cost()
    result = function(scratch, task)
    return result, cost.so_far()


@contextmanager
def workplace(
    *,
    cluster_at: str | None = None,
    threads: int | None = None,
    scratch: str | None = None,
    resume: bool = False,
    report: Callable[[TaskReport], None] | None = None,
) -> Iterator[Workplace]:
    """A place to work, which is left as it was found.

    After an error, a scratch folder that was named is left for `resume`, if a stage is complete.

    Args:
        cluster_at: the address of a Dask scheduler, or `LOCAL`; None for forked processes.
        threads: processes on this machine; None for all cores.
        scratch: a folder or URL for temporary files; None for one in TMPDIR.
        resume: whether to go on with the work that the scratch folder holds.
        report: is told what each task took.

    Raises:
        UsageError: `resume` without `scratch`; or as `executors.cluster`.
        LmError: as `executors.cluster`; or a worker has another version of lmsuite, or not the
            same scratch folder.
        TrainingError: the scratch folder cannot be written, or another process works there.
    """
    if resume and scratch is None:
        raise UsageError(
            "{resume} goes on with what a folder holds; name it with {scratch}", "resume", "scratch"
        )
    place: Workplace | None = None
    with ExitStack() as stack:
        if scratch is None:
            folder = stack.enter_context(temporary_scratch())
        else:
            folder = stack.enter_context(locked_scratch(f"{scratch.rstrip('/')}/{_FOLDER}"))

        def end(failure: type[BaseException] | None, *_: object) -> None:
            if place is not None and not (failure and place.is_left):
                folder.end()

        stack.push(end)  # when nobody works, and writes, there any more
        engine: StandingProcesses | Cluster
        if cluster_at is None:
            processes = engine = StandingProcesses(threads or thread_count())
            stack.push(lambda failure, *_: processes.close(wait=failure is None))
        else:
            engine = stack.enter_context(cluster(cluster_at, threads or thread_count()))
        if isinstance(engine, Cluster) and not (engine.is_local and folder.is_local):
            _require_alike(engine, folder)
        place = Workplace(engine, folder, keeps=scratch is not None, resume=resume, report=report)
        yield place


def _require_alike(engine: Cluster, scratch: Scratch) -> None:
    """Refuse workers that are of another version or see another folder."""
    probe = f"probe-{secrets.token_hex(8)}"
    scratch.write_bytes(probe, probe.encode())
    try:
        for address, answer in engine.on_each(_introduced, scratch, probe).items():
            if isinstance(answer, BaseException) and not isinstance(answer, LmError):
                raise LmError(
                    f"the worker {address} has no lmsuite, or another version than {__version__} "
                    f"({type(answer).__name__}: {answer}); install the same on all machines"
                )
            if isinstance(answer, LmError) or scratch.read_bytes(answer.wrote) is None:
                raise LmError(
                    f"the worker {address} does not share the scratch folder {scratch.place}; "
                    "{scratch} names one that all machines can write, such as s3://bucket/tmp",
                    "scratch",
                )
            scratch.remove(answer.wrote)
            if answer.version != __version__:
                raise LmError(
                    f"the worker {address} has lmsuite {answer.version}, not {__version__}; "
                    "install the same on all machines"
                )
    finally:
        scratch.remove(probe)


class _Introduction(NamedTuple):
    version: str
    wrote: str


def _introduced(scratch: Scratch, probe: str) -> _Introduction:
    """On a worker: read and write in the scratch folder."""
    if scratch.read_bytes(probe) != probe.encode():
        raise LmError("it does not see the folder")
    answer = f"{probe}-{secrets.token_hex(8)}"
    scratch.write_bytes(answer, b"")
    return _Introduction(__version__, answer)
