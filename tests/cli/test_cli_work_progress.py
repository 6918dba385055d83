"""Long work shows how far it has come; short work, and work asked to be quiet, shows nothing."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import termios
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lmsuite.cli import work_progress
from lmsuite.cli.work_progress import Lines, line
from lmsuite.progress import Work, each, listen, working


@pytest.mark.parametrize(
    ("work", "shown"),
    [
        (
            Work("reading", 200_000_000, "B", 50_000_000),
            "reading: 50.0 MB of 200.0 MB (25%), 0:00:30 left",
        ),
        (Work("reading", None, "B", 1_500_000), "reading: 1.5 MB"),
        (
            Work("encoding", 4000, "characters", 1000, 5000),
            "encoding: 1,000 characters of 4,000 characters (25%), 0:00:30 left, 500 tokens/s",
        ),
        (Work("counting", 3, "orders"), "counting: 0 orders of 3 orders (0%)"),
    ],
)
def test_a_line_says_how_much_of_how_much_and_what_is_left(work: Work, shown: str) -> None:
    assert line(work, seconds=10) == shown


def test_a_log_has_a_line_a_minute(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr(work_progress.time, "monotonic", lambda: now)
    listen(Lines())
    try:
        with working("reading", 200, "B") as work:
            for _ in range(200):
                now += 1.0
                work.advance(1)
        assert list(each("counting", range(2, 4), "orders")) == [2, 3]
    finally:
        listen(None)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("reading: 0.0 MB of 0.0 MB (30%), 0:02:20 left")


SLOW = """
import sys, time
sys.stdout.write("to be or not to be\\n" * 10_000)  # a pipe holds less: this waits for the reader
sys.stdout.flush()
time.sleep({seconds})
for _ in range(3):
    sys.stdout.write("that is the question\\n")
    sys.stdout.flush()
    time.sleep(0.2)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_a_terminal_has_a_bar_for_a_slow_pipe(tmp_path: Path) -> None:
    """Three readers at once, for most of the time they wait."""

    def shows(case: tuple[float, list[str]]) -> bool:
        return b"reading" in written_on_terminal(*case, tmp_path)

    cases: list[tuple[float, list[str]]] = [(2.3, []), (2.3, ["-q"]), (0, [])]
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(shows, cases)) == [True, False, False]


def written_on_terminal(seconds: float, options: list[str], folder: Path) -> bytes:
    """What a terminal is sent while a pipe is read that says nothing for so long."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    writer = subprocess.Popen(
        [sys.executable, "-c", SLOW.format(seconds=seconds)], stdout=subprocess.PIPE
    )
    command = [sys.executable, "-m", "lmsuite", "corpus", "show", "-", *options]
    reader = subprocess.Popen(
        command, stdin=writer.stdout, stdout=subprocess.DEVNULL, stderr=theirs, cwd=folder
    )
    assert writer.stdout is not None
    writer.stdout.close()
    assert reader.wait(60) == 0
    writer.wait(60)
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 1 << 16)
        except OSError:
            break
        if not part:
            break
        shown += part
    os.close(ours)
    return shown
