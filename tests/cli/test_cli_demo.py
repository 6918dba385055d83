"""``lm demo``: the whole suite in one command."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from hardening.command import Run
from lmsuite.cli.commands.demo import COURSE, TRY_NEXT
from lmsuite.cli.registry import COMMANDS


def test_what_to_try_next_exists() -> None:
    for _, command in TRY_NEXT:
        words = shlex.split(command)
        assert words[0] == "lm"
        assert words[1] in COMMANDS or " ".join(words[1:3]) in COMMANDS


def test_the_course_that_it_names_exists() -> None:
    [page] = [word.strip(",") for word in COURSE.split() if word.startswith("docs/")]
    assert (Path(__file__).resolve().parents[2] / page).is_file()


@pytest.mark.slow
def test_demo(lm: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = lm("demo", "--minutes", "1.2", stdin=b"this is not meant for the demo")
    assert outcome.code == 0
    assert outcome.out.count("$ lm ") == 12
    assert len(re.findall(r"^My lord,", outcome.out, flags=re.M)) >= 5
    assert "Open demo/report.html" in outcome.out
    assert outcome.out.rstrip().endswith(COURSE)
    page = (tmp_path / "demo" / "report.html").read_text(encoding="utf-8")
    for name in ("words", "chars", "ffnn", "rnn", "mix"):
        assert (tmp_path / "demo" / f"{name}.safetensors").is_file()
        assert f"<bdi>{name}</bdi>" in page
    assert not (tmp_path / "models").exists()
