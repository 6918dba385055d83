"""What `hardening.command` says of a command is the same in whatever process it runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from hardening.command import Outcome, Run, exit_code, forked, lm, lm_fork, lm_process, on_terminal


@pytest.mark.parametrize("run", [lm, lm_fork, lm_process])
def test_three_ways_to_run_a_command_are_one(run: Run, tmp_path: Path) -> None:
    assert run("tokenize", stdin=b"a b\n") == Outcome(0, "a b\n", "")
    assert "standard input is empty" in run("tokenize", stdin=b"").error
    assert run("tokenize", "x", cwd=tmp_path).error.startswith("x: no such file or corpus")
    assert run("tokenize", "--no").code == 2
    assert str(tmp_path) in run("sample", "x", env={"LM_MODELS": str(tmp_path)}).error
    assert on_terminal(run, "tokenize", stdin="a\x1b é".encode()).done.out == "a \\x1b é\n"
    with (tmp_path / "out").open("wb") as out:
        assert run("tokenize", stdin=b"a b", out=out.fileno()) == Outcome(0, "", "")
    assert (tmp_path / "out").read_text() == "a b\n"


def test_a_long_text_goes_through_a_pipe(tmp_path: Path) -> None:
    text = b"word " * 400_000 + b"\n"
    assert {len(run("tokenize", stdin=text).done.out) for run in (lm, lm_fork)} == {2_000_000}


def test_a_mistake_in_a_fork_is_told() -> None:
    assert lm_fork("models", before=lambda: 1 / 0).code == 99
    assert exit_code(forked(lambda: 3)) == 3
