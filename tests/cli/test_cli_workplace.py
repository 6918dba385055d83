"""`lm train ngram` in a scratch folder of one's own, and on a cluster, as a person runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from lmsuite.store.opening import open_model

TRAIN = ["train", "ngram", "--tokenizer", "whitespace", "--lines", "--valid", "0", "--n", "4"]


def lm(
    folder: Path, *arguments: str, environment: dict[str, str] | None = None
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "lmsuite", *TRAIN, "text.txt", *arguments],
        cwd=folder,
        env=os.environ | (environment or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def folder(tmp_path: Path, play: str) -> Path:
    (tmp_path / "text.txt").write_text(play * 3, encoding="utf-8")
    return tmp_path


def same_model(folder: Path, first: str, second: str) -> bool:
    models = (open_model(folder / "models", name).model.arrays() for name in (first, second))
    ours, theirs = map(dict, models)
    return ours.keys() == theirs.keys() and all(
        np.array_equal(ours[name], theirs[name], equal_nan=True) for name in ours
    )


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_an_interrupted_training_goes_on(folder: Path) -> None:
    assert lm(folder, "--name", "whole").wait() == 0
    begun = lm(folder, "--scratch", "tmp", "--name", "resumed")
    deadline = time.monotonic() + 120
    while not (folder / "tmp" / "lmsuite-scratch" / "done.asked-3.json").exists():
        assert begun.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)
    begun.send_signal(signal.SIGINT)
    _, err = begun.communicate()
    assert begun.returncode == 130
    assert "note: the work so far is in" in err
    assert err.endswith("--name resumed --resume\ninterrupted\n")
    assert not list((folder / "models").glob("resumed*"))
    changed = lm(folder, "--scratch", "tmp", "--name", "resumed", "--resume", "--min-count", "4")
    assert "holds work with another text" in changed.communicate()[1]
    assert changed.returncode == 1
    resumed = lm(folder, "--scratch", "tmp", "--name", "resumed", "--resume")
    err = resumed.communicate()[1]
    assert resumed.returncode == 0, err
    assert same_model(folder, "whole", "resumed")
    assert list((folder / "tmp").iterdir()) == []


@pytest.mark.slow
def test_a_cluster_of_this_machine_makes_the_same_model(folder: Path) -> None:
    pytest.importorskip("distributed")
    assert lm(folder, "--name", "whole").wait() == 0
    process = lm(folder, "--name", "cluster", "--cluster", "local", "--threads", "2")
    err = process.communicate()[1]
    assert process.returncode == 0, err
    assert "distributed" not in err  # Dask's own messages
    assert same_model(folder, "whole", "cluster")


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_cluster_that_still_starts_ends_with_its_user(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, number: int
) -> None:
    pytest.importorskip("distributed")
    temporary = tmp_path_factory.mktemp("temporary")
    (folder / "text.txt").write_text("a long text to read meanwhile\n" * 1_000_000)
    begun = lm(folder, "--cluster", "local", environment={"TMPDIR": str(temporary)})
    deadline = time.monotonic() + 60
    while not list(temporary.glob("lmsuite-cluster-*")):
        assert begun.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)
    begun.send_signal(number)
    began = time.monotonic()
    begun.communicate()
    assert begun.returncode in (130, -number)
    assert time.monotonic() - began < 8
    while any(str(temporary) in said for said in command_lines()):  # the folder is an argument
        assert time.monotonic() < began + 60
        time.sleep(0.1)
    if number == signal.SIGINT:
        assert not list(temporary.glob("lmsuite-cluster-*"))


def command_lines() -> list[str]:
    """Those of all processes."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found.append(process.read_text(errors="replace"))
    return found


def test_what_cannot_be_resumed_is_a_wrong_use(folder: Path) -> None:
    process = lm(folder, "--resume")
    assert process.communicate()[1] == (
        "error: --resume goes on with what a folder holds; name it with --scratch\n"
    )
    assert process.returncode == 2
