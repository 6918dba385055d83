"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))  # for benchmarks; at the end, so that the installed package is tested

# How long an example takes is no promise of a test: the machine may have other work.
hypothesis.settings.register_profile("lmsuite", deadline=None)
hypothesis.settings.load_profile("lmsuite")

# Thousands of small files are written and flushed: on a disk, that would take most of some tests'
# time. Workers of xdist inherit the choice.
MEMORY = Path("/dev/shm")
if "TMPDIR" not in os.environ and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 4 << 30:
    os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)

# A shell has what it runs in the background ignore interrupts, and `nohup` hang-ups; and so would
# all that is run here.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference data beside the project; tests that need it skip without it."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"no reference data: {folder} does not exist")
    return folder


@pytest.fixture(scope="session")
def play() -> str:
    """The embedded play, whole."""
    return "".join(
        path.read_text(encoding="utf-8") for path in sorted((ROOT / "corpora").glob("act*.txt"))
    )
