"""Running ``lm``: in this process, in a fork of it, and, slowest and most real, in a new one."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cli_outcome import Outcome, Run

from lmsuite.cli.app import main
from tests import forks


@pytest.fixture
def no_input() -> Iterator[io.TextIOWrapper]:
    """Standard input to which nothing is connected."""
    with Path(os.devnull).open(encoding="utf-8") as stream:
        yield stream


@pytest.fixture
def lm(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, no_input: io.TextIOWrapper
) -> Run:
    """``lm`` with these arguments in this process; `stdin` is piped in."""

    def run(*arguments: object, stdin: bytes | None = None) -> Outcome:
        stream = no_input if stdin is None else io.TextIOWrapper(io.BytesIO(stdin))
        monkeypatch.setattr("sys.stdin", stream)
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        code = ended.value.code
        assert code is None or isinstance(code, int)
        return Outcome(code or 0, captured.out, captured.err)

    return run


@pytest.fixture
def lm_process() -> Run:
    """``lm`` with these arguments as a process of its own."""

    def run(
        *arguments: object,
        stdin: bytes | None = None,
        environment: dict[str, str] | None = None,
        limit: Callable[[], None] | None = None,
    ) -> Outcome:
        source = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
        done = subprocess.run(
            [sys.executable, "-m", "lmsuite", *map(str, arguments)],
            capture_output=True,
            env=os.environ | (environment or {}),
            preexec_fn=limit,
            timeout=120,
            check=False,
            **source,  # type: ignore[call-overload]
        )
        return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())

    return run


@pytest.fixture
def lm_fork() -> Run:
    """As `lm_process`, in a fork of this process."""

    def run(
        *arguments: object,
        stdin: bytes | None = None,
        environment: dict[str, str] | None = None,
        limit: Callable[[], None] | None = None,
    ) -> Outcome:
        done = forks.lm(
            list(map(str, arguments)), stdin=stdin, environment=environment, before=limit
        )
        return Outcome(done.code, done.out.decode(), done.err.decode())

    return run


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory, play: str) -> Path:
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
        with pytest.raises(SystemExit) as ended:
            main(["train", "ngram", str(text), *options, *models, "--quiet"])
        assert not ended.value.code
    return folder


@pytest.fixture
def in_workplace(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The workplace as the current folder."""
    monkeypatch.chdir(workplace)
    monkeypatch.delenv("LM_MODELS", raising=False)
    return workplace
