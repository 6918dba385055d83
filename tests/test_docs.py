"""The documentation runs: every command of the README, and the tutorial of the package.

The README's blocks marked ``sh`` are for the shell. They run in the order in which they stand, in
one folder, as a reader would type them. Commands with ``--minutes`` take minutes and are marked
slow; what those make is not needed by others. Blocks marked ``python`` run as well. Those of
``docs/python.md`` are one program, and print what the block marked ``text`` after them shows.
"""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import lmsuite

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
FIRST_SCREEN = ["pip install . && lm demo", "pip install '.[test]' && pytest"]
PROGRAMS = re.findall(r"^```python\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
PAGE = re.findall(
    r"^```(python|text)\n(.*?)^```",
    (ROOT / "docs" / "python.md").read_text(encoding="utf-8"),
    flags=re.MULTILINE | re.DOTALL,
)
LONG = re.compile(r"--minutes")
FOREIGN = re.compile(r"pip install|python -m benchmarks")  # CI's and the benchmarks' own affair


def commands(block: str) -> list[str]:
    """The commands of a block, a line each; a line that ends in a backslash goes on."""
    joined = block.replace("\\\n", "")
    return [line for line in joined.splitlines() if line.strip() and not line.startswith("#")]


QUICK = [c for b in BLOCKS for c in commands(b) if not LONG.search(c) and not FOREIGN.search(c)]
SLOW = [c for b in BLOCKS for c in commands(b) if LONG.search(c) and not FOREIGN.search(c)]


def run(command: str, folder: Path) -> None:
    scripts = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": scripts + os.pathsep + os.environ["PATH"]}
    environment.pop("LM_MODELS", None)
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stderr}"
    assert "Traceback" not in done.stderr, f"{command}\n{done.stderr}"


def test_the_first_screen_has_the_two_commands() -> None:
    screen = README.splitlines()[:40]
    for command in FIRST_SCREEN:
        assert any(command in line for line in screen), command


def test_the_readme_runs_as_typed(tmp_path: Path) -> None:
    assert len(QUICK) > 15
    for command in QUICK:
        run(command, tmp_path)


def test_the_python_of_the_readme_runs(tmp_path: Path) -> None:
    assert PROGRAMS
    for program in PROGRAMS:
        done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=False)
        assert done.returncode == 0, program


def test_the_page_for_python_runs_and_prints_what_it_shows(tmp_path: Path) -> None:
    blocks = "".join(f"{text}print('\\f')\n" for kind, text in PAGE if kind == "python")
    done = subprocess.run(
        [sys.executable, "-c", blocks], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    printed = iter(done.stdout.split("\f\n"))
    shown: list[tuple[str, str]] = []
    for kind, text in PAGE:
        if kind == "python":
            shown.append((next(printed), ""))
        else:
            shown[-1] = shown[-1][0], text
    for found, expected in shown:
        assert found == expected


@pytest.mark.parametrize(("what", "lines"), [("class ReluCell", 15), ("Sequential(", 12)])
def test_a_lesson_is_short(what: str, lines: int) -> None:
    [block] = [text for _, text in PAGE if what in text]
    assert len(commands(block)) <= lines


@pytest.mark.slow
def test_the_long_commands_run_as_typed(tmp_path: Path) -> None:
    assert SLOW
    for command in SLOW:
        run(command, tmp_path)


def test_the_tutorial_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    failed, attempted = doctest.testmod(lmsuite)
    assert attempted > 5
    assert failed == 0
