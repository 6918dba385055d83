"""A crew keeps step, ends with its parent, and does not wait for the dead."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from lmsuite.errors import TrainingError
from lmsuite.executors.cores import can_fork
from lmsuite.training.workers import Crew

forking = pytest.mark.skipif(not can_fork(), reason="processes cannot be forked here")


@forking
def test_members_see_what_was_written_before_the_barrier() -> None:
    crew = Crew(3)
    numbers = crew.shared((3, 1000), np.int64)
    sums = crew.shared((3,), np.int64)

    def work(rank: int) -> None:
        for turn in range(200):
            numbers[rank] = turn * (rank + 1)
            crew.barrier(rank)
            sums[rank] += numbers.sum()  # of all three
            crew.barrier(rank)

    crew.start(work)
    work(0)
    crew.close()
    # sum over turns of 1000 · turn · (1 + 2 + 3)
    assert sums.tolist() == [6000 * sum(range(200))] * 3


@forking
@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "signal 9"),
        (lambda: np.ones(3).reshape(2, 2), "ValueError: cannot reshape"),
    ],
)
def test_a_dead_worker_is_an_error_that_says_why(end: object, reason: str) -> None:
    crew = Crew(2)

    def work(rank: int) -> None:
        end()  # type: ignore[operator]

    crew.start(work)
    with pytest.raises(TrainingError, match=f"worker 1 of 2 died .*{reason}"):
        crew.barrier(0)
    crew.close()


@forking
def test_close_ends_a_worker_that_waits() -> None:
    crew = Crew(2)
    crew.start(lambda rank: time.sleep(60))
    began = time.monotonic()
    crew.close()
    assert time.monotonic() - began < 5


@forking
def test_workers_end_when_rank_0_is_killed(tmp_path: Path) -> None:
    script = (
        "import os, sys, time\n"
        "from lmsuite.training.workers import Crew\n"
        "crew = Crew(2)\n"
        "def work(rank):\n"
        "    open(sys.argv[1], 'w').write(str(os.getpid()))\n"
        "    crew.barrier(rank)\n"
        "crew.start(work)\n"
        "time.sleep(60)\n"
    )
    note = tmp_path / "worker"
    parent = subprocess.Popen([sys.executable, "-c", script, str(note)])
    wait_until(lambda: note.exists() and note.read_text() != "")
    worker = int(note.read_text())
    parent.kill()
    parent.wait()
    wait_until(lambda: not Path(f"/proc/{worker}").exists() or is_zombie(worker))


def is_zombie(pid: int) -> bool:
    return ") Z " in Path(f"/proc/{pid}/stat").read_text()


def wait_until(condition: object, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)
