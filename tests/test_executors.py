"""Tasks run in processes, and their results come in order."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from lmsuite.errors import LmError
from lmsuite.executors.cores import can_fork, limit_threads, thread_count
from lmsuite.executors.tasks import in_order

forking = pytest.mark.skipif(not can_fork(), reason="processes cannot be forked here")


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_results_come_in_the_order_of_the_tasks(workers: int) -> None:
    def slow_if_even(task: int) -> int:
        time.sleep(0.002 * (task % 2 == 0))
        return task * task

    assert list(in_order(slow_if_even, range(20), workers)) == [task * task for task in range(20)]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_comes_at_its_place(workers: int) -> None:
    results = in_order(lambda task: 6 // task, [3, 2, 0, 1], workers)
    assert [next(results), next(results)] == [2, 3]
    with pytest.raises(ZeroDivisionError):
        next(results)


@forking
def test_tasks_run_in_other_processes() -> None:
    assert os.getpid() not in set(in_order(lambda task: os.getpid(), range(8), 2))


def test_few_tasks_are_begun_ahead() -> None:
    asked = []

    def tasks() -> object:
        for task in range(1000):
            asked.append(task)
            yield task

    results = in_order(str, tasks(), 2)  # type: ignore[call-overload]
    assert next(results) == "0"
    assert len(asked) < 10
    results.close()


@forking
def test_a_killed_process_is_one_line() -> None:
    def die(task: int) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(LmError, match="a process that did a part of the work was killed"):
        list(in_order(die, range(4), 2))


@forking
def test_processes_end_with_their_parent(tmp_path: Path) -> None:
    script = (
        "import os, sys, time\nfrom pathlib import Path\n"
        "from lmsuite.executors.tasks import in_order\n"
        f"where = Path({str(tmp_path)!r})\n"
        "def note(task):\n"
        "    (where / str(os.getpid())).touch()\n"
        "    time.sleep(0.2)\n"
        "for _ in in_order(note, range(1000), 2):\n    print('begun', flush=True)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    parent.stdout.readline()
    parent.kill()
    parent.wait()
    parent.stdout.close()
    workers = [int(file.name) for file in tmp_path.iterdir()]
    assert workers
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < deadline, workers
        time.sleep(0.1)


@pytest.fixture
def spawning() -> Iterator[None]:
    multiprocessing.set_start_method("spawn", force=True)
    try:
        yield
    finally:
        multiprocessing.set_start_method(None, force=True)


def process_and_limit(task: int) -> tuple[int, int, int]:
    return task, os.getpid(), thread_count()


def test_spawned_processes_do_the_tasks(spawning: None) -> None:
    limit_threads(3)
    try:
        found = list(in_order(process_and_limit, range(6), 2))
    finally:
        limit_threads(None)
    assert [task for task, _, _ in found] == [*range(6)]
    assert os.getpid() not in {process for _, process, _ in found}
    assert {limit for _, _, limit in found} == {3}


def test_a_closure_is_not_sent_to_spawned_processes(spawning: None) -> None:
    assert {*in_order(lambda task: os.getpid(), range(4), 2)} == {os.getpid()}


@pytest.mark.slow
def test_an_ngram_model_of_spawned_processes_is_that_of_one(
    tmp_path: Path,
) -> None:
    """As `lm train ngram` makes it, to the byte."""
    (tmp_path / "text").write_text("".join(f"w{i % 97} w{i % 89} w{i % 7}\n" for i in range(9000)))
    script = (
        "import multiprocessing, sys\n"
        "from lmsuite.cli.app import main\n"
        "if __name__ == '__main__':\n"
        "    multiprocessing.set_start_method('spawn')\n"
        "    main(sys.argv[1:])\n"
    )
    (tmp_path / "main.py").write_text(script)
    made = []
    for threads in ("1", "2"):
        command = [sys.executable, "main.py", "train", "ngram", "text", "--memory", "100M", "-q"]
        subprocess.run(
            [*command, "--threads", threads, "--models", "m"], cwd=tmp_path, check=True, timeout=300
        )
        made.append(load_file(tmp_path / "m" / "ngram.safetensors"))
    assert made[0].keys() == made[1].keys()
    for name, array in made[0].items():
        np.testing.assert_array_equal(array, made[1][name])
