"""Running ``lm``, and a folder of models to run it on."""

from __future__ import annotations

from pathlib import Path

import pytest

from hardening import command
from hardening.command import Run


@pytest.fixture(scope="session")
def lm() -> Run:
    """``lm`` in this process."""
    return command.lm


@pytest.fixture(scope="session")
def lm_process() -> Run:
    """``lm`` as a process of its own."""
    return command.lm_process


@pytest.fixture(scope="session")
def lm_fork() -> Run:
    """``lm`` as a fork of this process."""
    return command.lm_fork


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory, play: str, lm: Run) -> Path:
    """A folder with play.txt, and models of it in models/; not to be changed."""
    folder = tmp_path_factory.mktemp("workplace")
    text = folder / "play.txt"
    text.write_text(play[:20_000], encoding="utf-8")
    for options in (
        ("--n", "3", "--name", "words"),
        ("--n", "4", "--name", "chars", "--tokenizer", "char"),
        ("--n", "2", "--name", "lines", "--lines"),
        ("--n", "2", "--name", "counts", "--smoothing", "mle"),
    ):
        models = ("--models", str(folder / "models"))
        assert lm("train", "ngram", text, *options, *models, "--quiet").done
    return folder


@pytest.fixture
def in_workplace(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The workplace as the current folder."""
    monkeypatch.chdir(workplace)
    monkeypatch.delenv("LM_MODELS", raising=False)
    return workplace
