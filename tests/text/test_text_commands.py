"""``lm tokenize`` and ``lm corpus`` through forks: output, exit codes, one-line errors."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from hardening.command import Outcome, Run, lm_fork

TEXT = b"My lord,\n\n'tis done.\n"


@pytest.fixture
def lm(tmp_path: Path) -> Run:
    """Runs ``lm`` in an empty folder; without `stdin`, standard input is no pipe."""

    env = {"LM_CACHE": str(tmp_path / "cache"), "LM_CATALOGUE": str(tmp_path / "own.toml")}
    (tmp_path / "own.toml").write_text("")
    return partial(lm_fork, cwd=tmp_path, env=env)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Serves ``tmp_path/site``, in a process: a thread could hold a lock while commands fork."""
    site = tmp_path / "site"
    site.mkdir()
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"]
    with subprocess.Popen(
        command, cwd=site, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as running:
        assert running.stdout is not None
        try:
            said = running.stdout.readline()  # Serving HTTP on 127.0.0.1 port 37123 (http://…) ...
            yield f"http://127.0.0.1:{said.split(' port ')[1].split()[0]}"
        finally:
            running.terminate()


def assert_error(done: Outcome, message: str, code: int = 1) -> None:
    assert (done.code, done.out) == (code, "")
    assert message in done.only_line


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        ([], ["My lord ,", "", "'tis done ."]),
        (["--tokenizer", "whitespace"], ["My lord,", "", "'tis done."]),
        (["--tokenizer", "treebank"], ["My lord ,", "", "'t is done ."]),
        (["--tokenizer", "char"], ["M y ␣ l o r d ,", "", "' t i s ␣ d o n e ."]),
        # By falling count: newline 3, then , . My 'tis done lord by code point.
        (["--ids"], ["7 9 5 3", "3", "4 8 6 3"]),
    ],
)
def test_tokens_of_piped_text(lm: Run, options: list[str], lines: list[str]) -> None:
    done = lm("tokenize", *options, stdin=TEXT)
    assert (done.out.split("\n"), done.err) == ([*lines, ""], "")


def test_json_has_every_token_as_it_is(lm: Run) -> None:
    done = lm(
        "tokenize", "-", "--json", "--tokenizer", "bpe", "--bpe-size", "256", stdin=b"\xc3\xa9 a\nb"
    )
    lines = [json.loads(line) for line in done.out.splitlines()]
    shown = [[(t["token"], t["start"], t["end"]) for t in line["tokens"]] for line in lines]
    assert shown == [
        [("\\xc3", 0, 1), ("\\xa9", 0, 1), (" ", 1, 2), ("a", 2, 3), ("\n", 3, 4)],
        [("b", 0, 1)],
    ]
    assert [t.get("bytes") for t in lines[0]["tokens"]] == [[0xC3], [0xA9], None, None, None]


def test_as_a_model_reads_it(lm: Run, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("my lord is my lord\nmy lord\n" * 20)
    assert lm("train", "ngram", "a.txt", "--lines", "-q").code == 0
    done = lm("tokenize", "--like", "ngram", stdin=b"my liege\nlord")
    assert done.out == "my <unk>\nlord\n"
    done = lm("tokenize", "--like", "ngram", "--ids", stdin=b"my liege\nlord")
    first, second = (line.split() for line in done.out.splitlines())
    assert (first[0], first[2:], second[0], second[2:]) == ("1", ["0", "2"], "1", ["2"])
    assert_error(lm("tokenize", "--like", "ngram", "--tokenizer", "char", stdin=TEXT), "--like", 2)


def test_a_reader_that_has_enough_ends_it_quietly(lm: Run) -> None:
    command = f"{sys.executable} -m lmsuite tokenize play | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("First Citizen :\n0\n", "")


def test_without_a_pipe_it_is_the_play(lm: Run) -> None:
    assert lm("tokenize").out.startswith("First Citizen :\nStand off my heel , neighbour")


@pytest.mark.parametrize(
    ("arguments", "stdin", "message"),
    [
        (["nowhere.txt"], None, "nowhere.txt: no such file or corpus"),
        (["tinyshakespear"], None, "did you mean tinyshakespeare"),
        (["."], None, ".: nothing to read"),
        ([], b"", "standard input is empty"),
        (["-"], b"\xff", "standard input: not utf-8 at byte 0"),
        ([], b"\x1f\x8b123", "standard input: damaged gzip file"),
        (["--tokenizer", "whitespace"], b"a\nb <s>", "standard input, line 2: the token <s>"),
        (["--tokenizer", "whitespace"], b" ", "standard input has no tokens"),
    ],
)
def test_bad_input_is_one_line(
    lm: Run, arguments: list[str], stdin: bytes | None, message: str
) -> None:
    assert_error(lm("tokenize", *arguments, stdin=stdin), message)


@pytest.mark.parametrize(
    "arguments", [["--encoding", "klingon"], ["--bpe-size", "9", "--tokenizer", "bpe"]]
)
def test_bad_usage_is_one_line(lm: Run, arguments: list[str]) -> None:
    assert_error(lm("tokenize", *arguments, stdin=TEXT), arguments[0], 2)


def test_corpora_are_listed(lm: Run) -> None:
    lines = [line.split() for line in lm("corpus", "list").out.splitlines()]
    assert lines[0] == ["name", "here", "checksum", "title"]
    assert ["tinyshakespeare", "no", "pinned"] in [line[:3] for line in lines]
    assert ["play", "yes", "local"] in [line[:3] for line in lines]
    listed = json.loads(lm("corpus", "list", "--json").out)
    assert [entry["name"] for entry in listed] == [line[0] for line in lines[1:]]


def test_a_corpus_is_shown(lm: Run, play: str) -> None:
    assert lm("corpus", "show", "play", "--text").out == play
    assert "unpinned" in lm("corpus", "show", "shakespeare").out
    shown = json.loads(lm("corpus", "show", "tinyshakespeare", "--json").out)
    assert (shown["checksum"], shown["here"]) == ("pinned", False)
    assert_error(lm("corpus", "show", "plya"), "did you mean play")
    assert_error(lm("corpus", "show", "play", "--text", "--json"), "--json", 2)


def test_a_corpus_is_fetched_used_and_fetched_again(lm: Run, server: str, tmp_path: Path) -> None:
    (tmp_path / "site" / "mine.txt").write_bytes(TEXT)
    sha256 = hashlib.sha256(TEXT).hexdigest()
    (tmp_path / "own.toml").write_text(
        f'[mine]\ntitle = "Mine"\nurl = "{server}/mine.txt"\nsha256 = "{sha256}"\n'
        f'[wrong]\ntitle = "Wrong"\nurl = "{server}/mine.txt"\nsha256 = "{"0" * 64}"\n'
        f'[gone]\ntitle = "Gone"\nurl = "{server}/gone.txt"\n'
    )
    file = tmp_path / "cache" / "mine.txt"
    fetched = lm("corpus", "fetch", "mine")
    assert (fetched.code, fetched.out, fetched.err) == (0, f"{file}\n", "")
    assert file.read_bytes() == TEXT
    assert lm("tokenize", "mine").out == "My lord ,\n\n'tis done .\n"
    assert "is here already" in lm("corpus", "fetch", "mine").err
    assert lm("corpus", "fetch", "mine", "--force", "-q").err == ""
    assert "needs no download" in lm("corpus", "fetch", "play").err
    assert_error(lm("corpus", "fetch", "wrong"), "instead of 000000000000…")
    assert_error(lm("tokenize", "gone"), "answered 404")
    file.write_bytes(TEXT[:5])
    assert_error(lm("tokenize", "mine"), "lm corpus fetch mine --force")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["mine.txt"]
