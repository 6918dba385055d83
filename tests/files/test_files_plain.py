"""Bytes become text in pieces as they do at once, wherever the pieces are cut."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmsuite.errors import DataError, TextWarning, UsageError
from lmsuite.files.plain import decode_text, decoded_pieces, with_line_ends

ENCODINGS = [
    "utf-8",
    "utf-8-sig",
    "utf-16",
    "utf-16-le",
    "utf-32",
    "latin-1",
    "cp1252",
    "shift_jis",
]


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[begin : begin + size] for begin in range(0, len(data), size)]


@given(st.text("ab\r\né日\x85", max_size=20), st.sampled_from(ENCODINGS), st.integers(1, 5))
def test_characters_are_whole(text: str, encoding: str, size: int) -> None:
    data = text.encode(encoding, "replace")
    expected = data.decode(encoding)
    assert "".join(decoded_pieces(cut(data, size), "x", encoding)) == expected


@given(st.binary(max_size=12), st.sampled_from(ENCODINGS[:1] + ENCODINGS[4:]), st.integers(1, 5))
def test_what_is_no_text_is_refused_at_its_place(data: bytes, encoding: str, size: int) -> None:
    try:
        expected = data.decode(encoding)
    except UnicodeDecodeError as error:
        with pytest.raises(DataError, match=rf"^x: not {encoding} at byte {error.start} in it \("):
            list(decoded_pieces(cut(data, size), "x", encoding, inside=" in it"))
    else:
        assert "".join(decoded_pieces(cut(data, size), "x", encoding)) == expected
    replaced = "".join(decoded_pieces(cut(data, size), "x", encoding, "replace"))
    assert replaced == data.decode(encoding, "replace")


def test_utf_16_without_a_mark_is_read_in_the_order_of_the_machine() -> None:
    data = "né\n".encode("utf-16")[2:]
    assert "".join(decoded_pieces([data[:3], data[3:]], "x", "utf-16")) == data.decode("utf-16")


@pytest.mark.parametrize("encoding", ["rot13", "hex", "no-such", "", "utf-8\0"])
def test_what_is_no_encoding_is_a_mistake_in_usage(encoding: str) -> None:
    for pieces in ([], [b""], [b"a"]):
        with pytest.raises(UsageError, match="is not known; try utf-8"):
            list(decoded_pieces(pieces, "x", encoding))


def read(pieces: Iterable[str]) -> tuple[str, list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", TextWarning)
        text = "".join(with_line_ends(pieces, "x"))
    return text, [str(warning.message) for warning in caught]


@given(st.text("\ufeffa\r\n", max_size=12), st.integers(1, 4))
def test_line_ends_do_not_depend_on_the_pieces(text: str, size: int) -> None:
    found, messages = read(text[begin : begin + size] for begin in range(0, len(text), size))
    plain = text.removeprefix("\ufeff").replace("\r\n", "\n")
    if "\r" not in plain:
        assert (found, messages) == (plain, [])
    elif "\n" in plain:
        assert found == plain
        assert f"({plain.count(chr(13))} of them)" in messages[0]
    else:
        assert found == plain.replace("\r", "\n")
        assert "are its only line ends" in messages[0]


def test_compressed_bytes_say_where_in_what_they_hold() -> None:
    import gzip

    with pytest.raises(DataError, match="at byte 2 of its unpacked contents"):
        decode_text(gzip.compress(b"ab\xff"), "x")
