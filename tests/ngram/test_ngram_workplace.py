"""Stages of tasks: the same file to the byte wherever they run, and whoever is killed."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lmsuite
from lmsuite.errors import LmError, TrainingError, UsageError
from lmsuite.executors.cluster import LOCAL
from lmsuite.executors.cores import can_fork
from lmsuite.files.scratch import Scratch, temporary_scratch
from lmsuite.models.ngram import NgramModel, NgramSettings
from lmsuite.ngram import workplace as module
from lmsuite.ngram.planning import Plan
from lmsuite.ngram.workplace import TaskReport, workplace
from lmsuite.store.artefact import save_model
from lmsuite.text.encoding import Boundaries, TextEncoder, TextSettings

ROOT = Path(lmsuite.__file__).resolve().parents[1]
ORDER = 4
STAGES = ["runs", "merged", "asked-3", "answered-3", "asked-4", "answered-4"]
STAGES += ["smoothed-2", "smoothed-3", "smoothed-4"]
forking = pytest.mark.skipif(not can_fork(), reason="processes cannot be forked here")


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks and ranges of a thousand n-grams, and temporary files in memory."""
    monkeypatch.setattr(module, "planned", lambda memory, tokens, packing, n, *_: Plan(n, 1500))
    if Path("/dev/shm").is_dir():
        monkeypatch.setattr(tempfile, "tempdir", "/dev/shm")


@pytest.fixture(scope="module")
def encoded(play: str) -> tuple[TextEncoder, Any]:
    return TextEncoder.train(play[:30_000], TextSettings("word", Boundaries.LINES))


@pytest.fixture(scope="module")
def expected(encoded: tuple[TextEncoder, Any], tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The model file, estimated in memory."""
    model = NgramModel.fit(*encoded, NgramSettings(order=ORDER))
    path = tmp_path_factory.mktemp("expected") / "model.safetensors"
    save_model(path, model)
    return path.read_bytes()


def estimated(encoded: tuple[TextEncoder, Any], folder: Path, **given: Any) -> bytes:
    """The model file, estimated at such a workplace."""
    with workplace(**given) as place:
        model = NgramModel.fit(*encoded, NgramSettings(order=ORDER), place=place)
    save_model(folder / "model.safetensors", model)
    return (folder / "model.safetensors").read_bytes()


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_any_number_of_processes_gives_the_same_file(
    encoded: tuple[TextEncoder, Any], expected: bytes, tmp_path: Path, threads: int
) -> None:
    reports: list[TaskReport] = []
    assert estimated(encoded, tmp_path, threads=threads, report=reports.append) == expected
    assert {*STAGES} < {report.stage for report in reports}
    assert all(report.read + report.written for report in reports)


MEASURED = module._measured


@dataclass(frozen=True)
class Dying:
    """Does a task; the first two of a stage are the last that their processes do."""

    stage: str
    notes: str
    """The folder where the dead are counted."""
    parent: int = field(default_factory=os.getpid)

    def __call__(self, function: Any, scratch: Scratch, task: Any) -> Any:
        result = MEASURED(function, scratch, task)
        stages_done = len(list(Path(scratch.place).glob("done.*.json")))
        for number in range(2):
            if stages_done == STAGES.index(self.stage) and os.getpid() != self.parent:
                try:
                    (Path(self.notes) / f"{number}").touch(exist_ok=False)
                except FileExistsError:
                    continue
                os.kill(os.getpid(), signal.SIGKILL)
        return result


def dying(function: Any, scratch: Scratch, task: Any) -> None:
    """Kills its process."""
    os.kill(os.getpid(), signal.SIGKILL)


@forking
@pytest.mark.parametrize("stage", STAGES)
def test_processes_that_are_killed_in_a_stage_change_nothing(
    encoded: tuple[TextEncoder, Any],
    expected: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
) -> None:
    """Two die with their task half done, each when it has written its files."""
    monkeypatch.setattr(module, "_measured", Dying(stage, str(tmp_path)))
    (tmp_path / "scratch").mkdir()
    given = {"threads": 2, "scratch": str(tmp_path / "scratch")}
    assert estimated(encoded, tmp_path, **given) == expected
    assert (tmp_path / "1").exists()
    assert list((tmp_path / "scratch").iterdir()) == []


@forking
def test_a_task_that_kills_every_process_ends_with_one_line(
    encoded: tuple[TextEncoder, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_measured", dying)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(LmError, match="killed again and again; is there too little memory"):
        estimated(encoded, tmp_path, threads=2)
    assert list(tmp_path.iterdir()) == []


def interrupted(encoded: tuple[TextEncoder, Any], folder: Path, after: str) -> None:
    """Leave work that was interrupted in a stage."""

    def stop(task: TaskReport) -> None:
        if task.stage == after and task.number:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        estimated(encoded, folder, threads=2, scratch=str(folder / "scratch"), report=stop)


@pytest.mark.parametrize("stage", STAGES[1:])
def test_work_goes_on_after_the_stages_that_were_complete(
    encoded: tuple[TextEncoder, Any],
    expected: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
) -> None:
    interrupted(encoded, tmp_path, stage)
    reports: list[TaskReport] = []
    # It is cut as it was, even if there is less memory now.
    monkeypatch.setattr(module, "planned", lambda *_: Plan(1, 1000))
    given = {"scratch": str(tmp_path / "scratch"), "resume": True, "report": reports.append}
    assert estimated(encoded, tmp_path, **given) == expected
    stages = list(dict.fromkeys(report.stage for report in reports if report.stage in STAGES))
    assert stages == STAGES[STAGES.index(stage) :]
    assert list((tmp_path / "scratch").iterdir()) == []


def test_what_is_interrupted_in_the_first_stage_leaves_nothing(
    encoded: tuple[TextEncoder, Any], tmp_path: Path
) -> None:
    interrupted(encoded, tmp_path, "runs")
    assert list((tmp_path / "scratch").iterdir()) == []


def test_other_work_is_not_gone_on_with(encoded: tuple[TextEncoder, Any], tmp_path: Path) -> None:
    scratch = str(tmp_path / "scratch")
    with pytest.raises(UsageError, match="name it with scratch"):
        estimated(encoded, tmp_path, resume=True)
    with pytest.raises(TrainingError, match="holds no unfinished work; leave out resume"):
        estimated(encoded, tmp_path, resume=True, scratch=scratch)
    interrupted(encoded, tmp_path, "merged")
    text, ids = encoded
    other = ids.copy()
    other[1], other[2] = ids[2], ids[1]
    for given, order, reason in (
        (other, ORDER, "another text"),
        (ids, 3, f"order {ORDER}, not 3; leave out resume"),
    ):
        with (
            pytest.raises(TrainingError, match=reason),
            workplace(scratch=scratch, resume=True) as place,
        ):
            NgramModel.fit(text, given, NgramSettings(order=order), place=place)
        assert place.scratch.read_bytes("done.runs.json") is not None  # it is still there


def test_one_process_at_a_time_works_in_a_scratch_folder(
    encoded: tuple[TextEncoder, Any], tmp_path: Path
) -> None:
    with (
        workplace(scratch=str(tmp_path)),
        pytest.raises(TrainingError, match=f"another process works in .*{os.getpid()}"),
    ):
        estimated(encoded, tmp_path, scratch=str(tmp_path))


def test_a_scratch_folder_at_a_url(
    encoded: tuple[TextEncoder, Any], expected: bytes, tmp_path: Path
) -> None:
    import fsspec

    assert estimated(encoded, tmp_path, threads=1, scratch="memory://here") == expected
    assert fsspec.filesystem("memory").find("/here") == []
    url = f"local://{tmp_path}/there"  # by fsspec, from several processes
    assert estimated(encoded, tmp_path, threads=2, scratch=url) == expected
    assert list((tmp_path / "there").rglob("*.*")) == []


def test_files_that_a_killed_program_left_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left = tmp_path / "lmsuite-0123456789abcdef.scratch"
    left.mkdir()
    (left / "runs.0").touch()
    with temporary_scratch() as scratch:
        assert not left.exists()
        with temporary_scratch() as other:  # nobody removes those that are in use
            assert other.place != scratch.place
        assert Path(scratch.place).is_dir()
    assert list(tmp_path.iterdir()) == []


def test_a_scratch_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    scratch = Scratch(str(tmp_path))
    numbers = np.arange(1000)
    scratch.write("a.0", [numbers, numbers[:0]], [numbers * 0.5], [])
    np.testing.assert_array_equal(scratch.read("a.0")[0], numbers)
    np.testing.assert_array_equal(scratch.read("a.0", 1)[0], numbers * 0.5)
    assert [len(section) for section in scratch.sections("a.0")] == [2, 1, 0]
    before = (tmp_path / "a.0").read_bytes()
    scratch.write("a.0", [numbers, numbers[:0]], [numbers * 0.5], [])
    assert (tmp_path / "a.0").read_bytes() == before
    (tmp_path / "a.0").write_bytes(before[:-20])
    for read in (scratch.sections, lambda name: scratch.read(name, 1)):
        with pytest.raises(TrainingError, match=r"cannot be read \(a.0\): "):
            read("a.0")
    with pytest.raises(TrainingError, match=r"cannot be read \(b.0\): No such file"):
        scratch.read("b.0")
    with pytest.raises(TrainingError, match=r"cannot be written: No such file.*scratch names"):
        Scratch(str(tmp_path / "none")).write("a.0", [numbers])
    assert [path.name for path in tmp_path.iterdir()] == ["a.0"]


class Dask:
    """A cluster of real processes on this machine."""

    def __init__(self, folder: Path) -> None:
        self.file, self.processes = folder / "scheduler.json", []
        self.start("dask_scheduler", "--port", "0", "--host", "127.0.0.1")
        deadline = time.monotonic() + 60
        while not self.file.exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        self.address = json.loads(self.file.read_text())["address"]

    def start(self, program: str, *options: str, path: Path = ROOT) -> None:
        command = [sys.executable, "-m", f"distributed.cli.{program}", "--no-dashboard", *options]
        command += ["--scheduler-file", str(self.file)]
        environment = os.environ | {"PYTHONPATH": str(path)}
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.processes.append(
            subprocess.Popen(command, env=environment, cwd=self.file.parent, **quiet)
        )

    def workers(self, count: int, *, path: Path = ROOT) -> None:
        """Start so many more workers, and wait for them."""
        from distributed import Client

        with Client(self.address) as client:
            wanted = len(client.nthreads()) + count
            options = ("--nworkers", str(count), "--nthreads", "1", "--host", "127.0.0.1")
            self.start("dask_worker", *options, path=path)
            client.wait_for_workers(wanted, timeout=60)

    def kill_a_worker(self) -> None:
        """Kill a worker; its nanny starts another."""
        from distributed import Client

        deadline = time.monotonic() + 120
        with Client(self.address) as client:
            # The scheduler also names workers that are dead already, and those do not answer.
            while not (pids := list(client.run(os.getpid, on_error="ignore").values())):
                assert time.monotonic() < deadline
                time.sleep(0.1)
            os.kill(pids[0], signal.SIGKILL)


@contextmanager
def dask_cluster(folder: Path) -> Iterator[Dask]:
    pytest.importorskip("distributed")
    cluster = Dask(folder)
    try:
        yield cluster
    finally:
        for process in reversed(cluster.processes):
            process.kill()  # a worker ends with its nanny
        for process in cluster.processes:
            process.wait(timeout=30)


@pytest.mark.slow
def test_a_cluster_gives_the_same_file_even_if_workers_are_killed(
    encoded: tuple[TextEncoder, Any], expected: bytes, tmp_path: Path
) -> None:
    with dask_cluster(tmp_path) as dask:
        dask.workers(2)
        assert estimated(encoded, tmp_path, cluster_at=dask.address) == expected
        left = dict.fromkeys(["runs", "asked-3", "smoothed-3"], 2)

        def report(task: TaskReport) -> None:
            """Kill a worker after each of the first two tasks of these stages."""
            if left.get(task.stage):
                left[task.stage] -= 1
                dask.kill_a_worker()

        assert estimated(encoded, tmp_path, cluster_at=dask.address, report=report) == expected
        assert not any(left.values())


@pytest.mark.slow
def test_a_cluster_that_would_not_do_is_refused_before_any_work(
    encoded: tuple[TextEncoder, Any], tmp_path: Path
) -> None:
    older = tmp_path / "older"
    shutil.copytree(ROOT / "lmsuite", older / "lmsuite", ignore=shutil.ignore_patterns("*.pyc"))
    top = older / "lmsuite" / "__init__.py"
    top.write_text(top.read_text().replace(f'"{lmsuite.__version__}"', '"0.0.9"'))
    none = tmp_path / "none" / "lmsuite"
    none.mkdir(parents=True)
    (none / "__init__.py").touch()
    with dask_cluster(tmp_path) as dask:
        with pytest.raises(LmError, match=f"scheduler at {dask.address} has no workers"):
            estimated(encoded, tmp_path, cluster_at=dask.address)
        dask.workers(1)
        with pytest.raises(LmError, match="does not share the scratch folder memory://here"):
            estimated(encoded, tmp_path, cluster_at=dask.address, scratch="memory://here")
        dask.workers(1, path=older)
        with pytest.raises(LmError, match=r"worker tcp://\S+ has lmsuite 0.0.9, not"):
            estimated(encoded, tmp_path, cluster_at=dask.address)
    with dask_cluster(tmp_path / "none") as dask:
        dask.workers(1, path=tmp_path / "none")
        with pytest.raises(LmError, match=r"worker tcp://\S+ has no lmsuite, or another version"):
            estimated(encoded, tmp_path, cluster_at=dask.address)
    with pytest.raises(LmError, match=f"no scheduler answers at {dask.address}; start one"):
        estimated(encoded, tmp_path, cluster_at=dask.address)


@pytest.mark.slow
def test_a_cluster_of_this_machine_is_started_and_ended(
    encoded: tuple[TextEncoder, Any], expected: bytes, tmp_path: Path
) -> None:
    before = {child.pid for child in multiprocessing.active_children()}
    assert estimated(encoded, tmp_path, cluster_at=LOCAL, threads=2) == expected
    assert {child.pid for child in multiprocessing.active_children()} <= before


def test_what_is_no_address_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    with (
        pytest.raises(UsageError, match=r"cluster must be local or an address.*not 'nonsense'"),
        workplace(cluster_at="nonsense"),
    ):
        pass
