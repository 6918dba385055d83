"""The documentation runs: every command of the README, and the tutorial of the package.

The README's blocks marked ``sh`` are for the shell. They run in the order in which they stand, in
one folder, as a reader would type them. Commands with ``--minutes`` are marked slow, and are given
a fifth of their time; what those make is not needed by others. Blocks marked ``python`` run as
well. ``docs.pages`` runs ``docs/python.md`` and the pages of the course, and compares what they
print.
"""

from __future__ import annotations

import doctest
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import lmsuite
from docs.pages import blocks, commands, shell
from hardening.command import lm_fork
from hardening.workplace import import_all

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = [block.text for block in blocks(README) if block.kind == "sh"]
FIRST_SCREEN = ["pip install . && lm demo", "pip install '.[test]' && pytest"]
PROGRAMS = [block.text for block in blocks(README) if block.kind == "python"]
PAGE = blocks((ROOT / "docs" / "python.md").read_text(encoding="utf-8"))
LONG = re.compile(r"--minutes (\d+)")
NEEDS_SHELL = re.compile(r"[|<>&*?$`]|--cluster")
FOREIGN = re.compile(r"pip install|python -m benchmarks")  # CI's and the benchmarks' own affair

QUICK = [c for b in BLOCKS for c in commands(b) if not LONG.search(c) and not FOREIGN.search(c)]
SLOW = [c for b in BLOCKS for c in commands(b) if LONG.search(c) and not FOREIGN.search(c)]


def test_the_first_screen_has_the_two_commands() -> None:
    screen = README.splitlines()[:40]
    for command in FIRST_SCREEN:
        assert any(command in line for line in screen), command


def typed(command: str, folder: Path) -> None:
    """Run what somebody types: in a shell, or, if it needs none, in a fork, which starts sooner."""
    line = re.sub(r"\s+#.*", "", command)
    if not line.startswith("lm ") or NEEDS_SHELL.search(line):
        shell(command, folder)
        return
    ended = lm_fork(*shlex.split(line)[1:], cwd=folder).done
    assert "Traceback" not in ended.err, command


def test_the_readme_runs_as_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LM_MODELS", raising=False)
    import_all()
    assert len(QUICK) > 15
    for command in QUICK:
        typed(command, tmp_path)


def test_the_python_of_the_readme_runs(tmp_path: Path) -> None:
    assert PROGRAMS
    for program in PROGRAMS:
        done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=False)
        assert done.returncode == 0, program


@pytest.mark.parametrize(("what", "lines"), [("class ReluCell", 15), ("Sequential(", 12)])
def test_a_lesson_is_short(what: str, lines: int) -> None:
    [block] = [each.text for each in PAGE if what in each.text]
    assert len(commands(block)) <= lines


@pytest.mark.slow
def test_the_long_commands_run_as_typed_but_shorter(tmp_path: Path) -> None:
    assert SLOW
    for command in SLOW:
        shell(LONG.sub(lambda found: f"--minutes {int(found[1]) / 5}", command), tmp_path)


def test_the_tutorial_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    failed, attempted = doctest.testmod(lmsuite)
    assert attempted > 5
    assert failed == 0
