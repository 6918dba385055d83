"""Reading what a user names: files, standard input, bad input; and dividing it."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import socket
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from lmsuite.errors import DataError, TextWarning, UsageError
from lmsuite.sources.corpus import is_piped, read_corpus
from lmsuite.sources.splitting import split_text


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LM_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_files_are_one_text_in_order(folder: Path) -> None:
    Path("b.txt").write_bytes(b"second")
    Path("a.txt").write_bytes(b"first\n")
    corpus = read_corpus(["b.txt", "a.txt", str(folder / "b.txt")])
    assert corpus.text == "second\nfirst\nsecond"
    assert corpus.name == f"b.txt, a.txt, {folder}/b.txt"
    assert corpus.sha256 == hashlib.sha256(b"second\nfirst\nsecond").hexdigest()


@pytest.mark.parametrize(
    ("raw", "encoding", "text"),
    [
        ("\ufeffa\r\nb\rc\n".encode(), "utf-8", "a\nb\rc\n"),
        (gzip.compress("\ufeffé\r\n".encode(), mtime=0), "utf-8", "é\n"),
        ("é\r\n".encode("latin-1"), "latin-1", "é\n"),
        ("é\r\n".encode("utf-16"), "utf-16", "é\n"),
        ("a\ufeffb".encode(), "utf-8", "a\ufeffb"),
    ],
)
def test_marks_line_ends_and_compression_are_dealt_with(
    folder: Path, raw: bytes, encoding: str, text: str
) -> None:
    Path("x").write_bytes(raw)
    assert read_corpus(["x"], encoding=encoding).text == text
    assert read_corpus(["-"], encoding=encoding, stdin=io.BytesIO(raw)).text == text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"^x is empty"),
        (b"\xef\xbb\xbf", r"^x is empty"),
        (gzip.compress(b"", mtime=0), r"^x is empty"),
        (b"abc\xff", r"^x: not utf-8 at byte 3 \(.*encoding latin-1"),
        (gzip.compress(b"abcd\xff", mtime=0), r"^x: not utf-8 at byte 4 of its unpacked contents"),
        (gzip.compress(b"abcdefgh" * 9, mtime=0)[:-9], r"^x: damaged gzip file"),
        (gzip.compress(b"abcdefgh" * 9, mtime=0)[:-6] + b"xxxxxx", r"^x: damaged gzip file"),
        (b"\x1f\x8bnonsense", r"^x: damaged gzip file"),
    ],
)
def test_unusable_contents_are_refused(folder: Path, content: bytes, message: str) -> None:
    Path("x").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_corpus(["x"])


def test_a_text_in_several_parts_may_not_have_an_empty_one(folder: Path) -> None:
    Path("a").write_text("text")
    Path("x").write_text("")
    with pytest.raises(DataError, match="x is empty"):
        read_corpus(["a", "x"])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere.txt", r"^nowhere\.txt: no such file or corpus; `lm corpus list` shows .*play"),
        ("tinyshakespear", r"did you mean tinyshakespeare"),
        ("nltk:browm", r"did you mean nltk:brown\?"),
        ("no/where.txt", r"^no/where\.txt: no such file$"),
        (".", r"^\.: nothing to read there; the endings of texts are \.txt, "),
    ],
)
def test_what_is_not_there_is_refused(folder: Path, source: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_corpus([source])


def test_an_unknown_encoding_is_a_mistake_in_usage(folder: Path) -> None:
    Path("x").write_text("a")
    for encoding in ("klingon", "a\0b"):
        with pytest.raises(UsageError, match="is not known; try utf-8"):
            read_corpus(["x"], encoding=encoding)


def test_utf_16_that_ends_in_half_a_unit_is_refused(folder: Path) -> None:
    Path("x").write_bytes("ab".encode("utf-16") + b"c")
    with pytest.raises(DataError, match="x: not utf-16 at byte 6"):
        read_corpus(["x"], encoding="utf-16")


def test_standard_input_is_read_once(folder: Path) -> None:
    assert read_corpus(["-"], stdin=io.BytesIO(b"piped")).name == "standard input"
    assert read_corpus([], stdin=io.BytesIO(b"piped")).text == "piped"
    with pytest.raises(UsageError, match="only once"):
        read_corpus(["-", "-"], stdin=io.BytesIO(b"piped"))
    with pytest.raises(DataError, match="standard input is empty"):
        read_corpus([], stdin=io.BytesIO(b""))


def test_a_closed_standard_input_is_refused_if_asked_for(
    monkeypatch: pytest.MonkeyPatch, play: str
) -> None:
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(DataError, match="closed"):
        read_corpus(["-"])
    assert read_corpus([]).text == play


def test_the_play_is_the_default_and_has_a_name(play: str, folder: Path) -> None:
    with Path(os.devnull).open("rb") as nothing:
        assert read_corpus([], stdin=nothing).text == play
    corpus = read_corpus(["play"])
    assert (corpus.text, corpus.name) == (play, "play")
    Path("play").mkdir()  # a folder of that name is not in the way
    assert read_corpus(["play"]).text == play


def test_a_file_goes_before_a_named_corpus(folder: Path) -> None:
    Path("play").write_text("my own")
    assert read_corpus(["play"]).text == "my own"


def _pipe() -> int:
    return os.pipe()[0]


def _file() -> int:
    return os.open(__file__, os.O_RDONLY)


def _terminal() -> int:
    return os.openpty()[1]


def _device() -> int:
    return os.open(os.devnull, os.O_RDONLY)


@pytest.mark.parametrize(
    ("make", "piped"),
    [
        (_pipe, True),
        (_file, True),
        (lambda: socket.socketpair()[0].detach(), True),
        (_terminal, False),
        (_device, False),
    ],
)
def test_what_counts_as_piped(make: Callable[[], int], piped: bool) -> None:
    with os.fdopen(make(), "rb") as stream:
        assert is_piped(stream) is piped


def test_a_closed_stream_is_not_piped() -> None:
    stream = os.fdopen(_file(), "rb")
    stream.close()
    assert not is_piped(stream)


@pytest.mark.parametrize(
    ("text", "fraction", "whole_lines", "parts"),
    [
        ("0123456789", 0.1, False, ("012345678", "9")),
        ("0123456789", 0.25, False, ("0123456", "789")),  # 7.5 characters: nanoGPT rounds down
        ("ab\ncd\nef\n", 0.5, True, ("ab\ncd\n", "ef\n")),
        ("ab\ncd\nef\n", 1 / 3, True, ("ab\ncd\n", "ef\n")),  # the cut is at a line's start
        ("ab\ncd", 0.1, True, ("ab\ncd", "")),
        ("a", 0.1, False, ("", "a")),
        ("", 0.5, True, ("", "")),
    ],
)
def test_the_last_part_is_cut_off(
    text: str, fraction: float, whole_lines: bool, parts: tuple[str, str]
) -> None:
    assert split_text(text, fraction, whole_lines=whole_lines) == parts


def test_tiny_shakespeare_is_cut_as_nanogpt_cuts_it(shared: Path) -> None:
    folder = shared / "corpora" / "tinyshakespeare"
    train, valid = ((folder / f"{part}.txt").read_text() for part in ("train", "valid"))
    assert split_text(train + valid, 0.1, whole_lines=False) == (train, valid)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5, float("nan")])
def test_a_share_is_between_nothing_and_all(fraction: float) -> None:
    with pytest.raises(UsageError, match="above 0 and below 1"):
        split_text("text", fraction, whole_lines=False)


def test_carriage_returns_end_lines_where_nothing_else_does(tmp_path: Path) -> None:
    path = tmp_path / "mac.txt"
    path.write_bytes(b"one\rtwo\r\rthree\r")
    with pytest.warns(TextWarning, match=r"mac\.txt: carriage returns are its only line ends"):
        assert read_corpus([str(path)]).text == "one\ntwo\n\nthree\n"


def test_carriage_returns_within_lines_stay_and_are_named(tmp_path: Path) -> None:
    path = tmp_path / "bar.txt"
    path.write_bytes(b"start\r\n10%\r20%\r100%\r\nend\r\n")
    with pytest.warns(TextWarning, match=r"bar\.txt: carriage returns within lines.*2 of them"):
        assert read_corpus([str(path)]).text == "start\n10%\r20%\r100%\nend\n"


def test_line_ends_of_either_kind_are_not_worth_a_word(tmp_path: Path) -> None:
    path = tmp_path / "plain.txt"
    for raw in (b"a\r\nb\r\n", b"a\nb\n", b"a"):
        path.write_bytes(raw)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            read_corpus([str(path)])
