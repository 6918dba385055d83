"""Compressed bytes of every kind come back, in pieces of any size, or are refused in one line."""

from __future__ import annotations

import bz2
import gzip
import lzma
import sys
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmsuite.errors import DataError
from lmsuite.files import compression
from lmsuite.files.compression import packing_of, unpacked, unpacked_pieces

zstandard = pytest.importorskip("zstandard")

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "bzip2": bz2.compress,
    "xz": lambda data: lzma.compress(data, preset=0),
    "zstd": zstandard.compress,
}
every_kind = pytest.mark.parametrize("kind", PACKERS)
TEXT = "The cat sat on the mat; é.\n".encode() * 40


def in_pieces(data: bytes, size: int) -> list[bytes]:
    return [data[begin : begin + size] for begin in range(0, len(data), size)]


@every_kind
@given(st.lists(st.binary(max_size=300), min_size=1, max_size=4), st.integers(1, 70))
def test_several_members_are_one_text_whatever_the_pieces(
    kind: str, members: list[bytes], size: int
) -> None:
    packed = b"".join(map(PACKERS[kind], members))
    assert packing_of(packed) == kind
    assert unpacked(packed, "x") == b"".join(members)
    assert b"".join(unpacked_pieces(in_pieces(packed, size), "x")) == b"".join(members)


@given(st.binary(max_size=100), st.integers(1, 20))
def test_what_is_not_compressed_stays(data: bytes, size: int) -> None:
    if packing_of(data) is None:
        assert b"".join(unpacked_pieces(in_pieces(data, size), "x")) == data


def test_a_text_that_begins_like_a_kind_is_a_text() -> None:
    for text in (b"BZh9 was here", b"(\xb5", b"PK", b"BZ", b"\xfd7zXZ"):
        assert unpacked(text, "x") == text


@every_kind
def test_a_long_text_is_unpacked(kind: str) -> None:
    text = b"".join(b"%d %d\n" % (number, number * number) for number in range(200_000))
    assert unpacked(PACKERS[kind](text), "x") == text


@every_kind
@pytest.mark.parametrize("kept", [12, 30, -1])
def test_where_a_file_is_cut_short_is_said(kind: str, kept: int) -> None:
    packed = PACKERS[kind](TEXT) * 2
    cut = packed[:kept]
    with pytest.raises(DataError, match=f"^x: damaged {kind} file .*cut short: its {len(cut)} byt"):
        unpacked(cut, "x")


@every_kind
def test_what_follows_a_member_is_another_one_or_zeros(kind: str) -> None:
    packed = PACKERS[kind](TEXT)
    assert unpacked(packed + bytes(40), "x") == TEXT
    assert unpacked(packed + bytes(8) + packed, "x") == TEXT * 2
    with pytest.raises(DataError, match=f"^x: damaged {kind} file"):
        unpacked(packed + b"and a text that is not compressed", "x")


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz"])
def test_bytes_that_were_changed_are_found(kind: str) -> None:
    packed = bytearray(PACKERS[kind](TEXT))
    packed[len(packed) // 2] ^= 0xFF
    with pytest.raises(DataError, match=f"^x: damaged {kind} file"):
        unpacked(bytes(packed), "x")


@every_kind
def test_what_unpacks_to_too_much_is_refused_early(kind: str) -> None:
    packed = PACKERS[kind](bytes(30_000_000))
    made = 0
    with pytest.raises(DataError, match="x: unpacks to more than 100 times its size"):
        for piece in unpacked_pieces([packed], "x", always=1_000_000):
            made += len(piece)
            assert len(piece) <= 32 << 20
    assert made < 30_000_000 or kind == "zstd"


def test_xz_that_wants_much_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "_MEMORY", 1 << 16)
    with pytest.raises(DataError, match=r"x: damaged xz file \(Memory usage limit exceeded"):
        unpacked(lzma.compress(TEXT), "x")


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = zstandard.compress(TEXT)
    for name in ("compression", "zstandard"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(DataError, match=r"x: zstd files need .* pip install 'lmsuite\[zstd\]'"):
        unpacked(packed, "x")
