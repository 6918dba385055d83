"""Commands that read with a model: a longer text takes no more memory, and no pipe is too long."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import repeat
from pathlib import Path

import pytest

from hardening.command import Run
from lmsuite.files import stored_text
from lmsuite.text import encoding

pytestmark = pytest.mark.usefixtures("in_workplace")

LM = (sys.executable, "-m", "lmsuite")
MORE = 60  # megabytes that a long text may take beyond a short one


@pytest.mark.parametrize(
    "arguments",
    [("score", "words"), ("score", "words", "--in-context"), ("tokenize", "--like", "words")],
    ids=" ".join,
)
def test_a_pipe_without_end_is_read_as_far_as_asked(arguments: tuple[str, ...]) -> None:
    command, *others = arguments
    shell = "set -o pipefail; yes 'My lord, the king' | \"$@\" - | head -3; echo ${PIPESTATUS[1]}"
    if command == "tokenize":
        others.append("-")
        shell = shell.replace(" - |", " |")
    done = subprocess.run(
        ["bash", "-c", shell, "lm", *LM, command, *others],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    *lines, code = done.stdout.splitlines()
    assert (len(lines), code, done.stderr) == (3, "0", "")


@pytest.mark.parametrize("model", ["words", "lines", "chars"])
def test_the_parts_of_a_text_do_not_show(
    model: str, lm: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = tmp_path / "text.txt"
    lines = ["", "My lord, the zebra is here.", "Who \U0001f40e calls?", "O what a König"] * 40
    text.write_text("\n".join(lines), encoding="utf-8")
    commands = [
        *(["score", model, text, *more] for more in ([], ["--tokens"], ["--in-context", "--json"])),
        *(["tokenize", text, "--like", model, *more] for more in ([], ["--ids"], ["--json"])),
        ["tokenize", text, "--ids"],
        ["corpus", "show", text],
        ["corpus", "show", text, "--json"],
        ["eval", model, "--text", text],
    ]
    whole = [lm(*command).done.out for command in commands]
    monkeypatch.setattr(stored_text, "BLOCK", 50)
    monkeypatch.setattr(stored_text, "IN_MEMORY", 100)
    monkeypatch.setattr(encoding, "LONG", 100)
    for command, expected in zip(commands, whole, strict=True):
        found = lm(*command).done.out
        if command[0] == "eval":
            found, expected = (_without_speed(out) for out in (found, expected))
        assert found == expected


def _without_speed(table: str) -> str:
    """The table of an evaluation without its last column."""
    head, row, *notes = table.splitlines()
    return "\n".join([*(line.rsplit(maxsplit=1)[0] for line in (head, row)), *notes])


def test_the_line_of_an_error_is_that_of_the_text(
    lm: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(stored_text, "BLOCK", 50)
    text = tmp_path / "text.txt"
    text.write_text("my lord\n" * 99 + "my <s> lord\n", encoding="utf-8")
    models = tmp_path / "models"
    options = ("--tokenizer", "whitespace", "--models", models, "--valid", "0", "--quiet")
    assert lm("train", "ngram", *options, stdin=b"my lord\n" * 50).done
    for command in ("score", "ngram", text), ("tokenize", text, "--like", "ngram"):
        failed = lm(*command, "--models", models)
        assert failed.error.startswith(f"{text}, line 100: the token <s> is reserved")
        assert failed.out.count("\n") >= 50


def peak(*arguments: object) -> float:
    """The megabytes that the largest process of a command took at most."""
    with Path(os.devnull).open("wb") as nothing:
        process = subprocess.Popen([*LM, *map(str, arguments)], stdout=nothing)
        _, status, used = os.wait4(process.pid, 0)
    assert status == 0
    return used.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there is no wait4")
def test_a_long_text_takes_no_more_memory(tmp_path: Path, play: str) -> None:
    short, long, longer = (tmp_path / name for name in ("short", "long", "longer"))
    short.write_text(play, encoding="utf-8")
    for path, size in (long, 12_000_000), (longer, 40_000_000):
        with path.open("w", encoding="utf-8") as stream:
            stream.writelines(repeat(play, size // len(play)))
    for arguments, text in (
        (["eval", "words", "--text"], longer),
        (["eval", "lines", "--block", "100", "--text"], long),
        (["compare", "words", "lines", "--text"], long),
        (["score", "words"], long),
        (["score", "lines", "--in-context"], long),
        (["tokenize", "--like", "words"], long),
        (["corpus", "show"], longer),
    ):
        assert peak(*arguments, text) < peak(*arguments, short) + MORE, arguments
