"""Compressed bytes, known by their beginning: gzip, bzip2, xz and zstd, of one member or several.

Bytes are unpacked in pieces, so that no more than a piece is in memory. A file that unpacks to much
more than any text does is refused: it was made to fill the memory or the disk.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any, Protocol

from lmsuite.errors import DataError

# What a file may unpack to: so many bytes, or so many times its own. Text shrinks to a third or a
# tenth; a thousandth, which is the limit of gzip, takes a file made to fill the memory.
UNPACKED = 64 << 20
RATIO = 100

_PIECE = 1 << 20  # bytes unpacked at a time
_SLICE = 1 << 16  # compressed bytes taken at a time
_MEMORY = 256 << 20  # bytes that xz may take for its dictionary
_FED = 1 << 10  # bytes that `zstandard` is fed at a time: they make 32 MB at most


class _Member(Protocol):
    """What unpacks one member, as `bz2`, `lzma` and Python 3.14's `compression.zstd` have it."""

    @property
    def eof(self) -> bool:
        """Whether its end has been read."""

    @property
    def needs_input(self) -> bool:
        """Whether nothing more comes of what it was given."""

    @property
    def unused_data(self) -> bytes:
        """What follows its end."""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Some bytes, about `max_length` at most, of what `data` continues."""


class _Gzip:
    """A member of a gzip file, by `zlib`."""

    def __init__(self) -> None:
        self._library = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._library.eof

    @property
    def needs_input(self) -> bool:
        return not self._library.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._library.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._library.decompress(self._library.unconsumed_tail + data, max_length)


class _Zstandard:
    """A frame of a zstd file, by the package `zstandard`."""

    def __init__(self, library: Any) -> None:
        self._library = library.ZstdDecompressor().decompressobj()
        self._waiting = b""

    @property
    def eof(self) -> bool:
        return bool(self._library.eof)

    @property
    def needs_input(self) -> bool:
        return not self._waiting

    @property
    def unused_data(self) -> bytes:
        return bytes(self._library.unused_data) + self._waiting

    def decompress(self, data: bytes, max_length: int) -> bytes:
        waiting = memoryview(self._waiting + data)
        made: list[bytes] = []
        size = place = 0
        while place < len(waiting) and size < max_length and not self.eof:
            made.append(self._library.decompress(waiting[place : place + _FED]))
            size += len(made[-1])
            place += _FED
        self._waiting = bytes(waiting[place:])
        return b"".join(made)


def _bzip2(name: str) -> _Member:
    import bz2

    return bz2.BZ2Decompressor()


def _xz(name: str) -> _Member:
    import lzma

    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY)


def _zstd(name: str) -> _Member:
    try:
        from compression import zstd  # type: ignore[import-not-found, unused-ignore]  # Python 3.14
    except ImportError:
        pass
    else:
        made: _Member = zstd.ZstdDecompressor()
        return made
    try:
        import zstandard
    except ImportError:
        raise DataError(
            f"{name}: zstd files need the package zstandard: pip install 'lmsuite[zstd]'"
        ) from None
    return _Zstandard(zstandard)


_KINDS: dict[str, tuple[re.Pattern[bytes], Callable[[str], _Member]]] = {
    "gzip": (re.compile(rb"\x1f\x8b"), lambda name: _Gzip()),
    # The beginning of a block, or of the end where there is none.
    "bzip2": (re.compile(rb"BZh[1-9](1AY&SY|\x17\x72\x45\x38\x50\x90)"), _bzip2),
    "xz": (re.compile(rb"\xfd7zXZ\0"), _xz),
    # A frame, or one that holds no data and is skipped.
    "zstd": (re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"), _zstd),
}
_BEGINNING = 10  # bytes that tell the kinds apart


def packing_of(beginning: bytes) -> str | None:
    """How the bytes that begin so are compressed; None if they are not."""
    return next((kind for kind, (mark, _) in _KINDS.items() if mark.match(beginning)), None)


def unpacked(raw: bytes, name: str, *, always: int = UNPACKED, ratio: int = RATIO) -> bytes:
    """What compressed bytes hold; bytes that are not compressed as they are.

    Raises:
        DataError: as `unpacked_pieces`.
    """
    return b"".join(unpacked_pieces([raw], name, always=always, ratio=ratio))


def unpacked_pieces(
    raw: Iterable[bytes], name: str, *, always: int = UNPACKED, ratio: int = RATIO
) -> Iterator[bytes]:
    """What bytes hold, piece by piece, if they are compressed; else the bytes.

    Args:
        raw: the bytes, in pieces.
        name: what messages call them.
        always: so many bytes may come of them,
        ratio: or so many times as many as they are.

    Raises:
        DataError: they are damaged or cut short, hold more, or need a package that is missing.
    """
    pieces = iter(raw)
    beginning = b""
    for piece in pieces:
        beginning += piece
        if len(beginning) >= _BEGINNING:
            break
    kind = packing_of(beginning)
    if kind is None:
        if beginning:
            yield beginning
        yield from pieces
        return
    yield from _members(_slices(chain([beginning], pieces)), kind, name, always, ratio)


def _slices(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in small pieces: what is left of one is copied at every step."""
    for piece in pieces:
        yield from (piece[begin : begin + _SLICE] for begin in range(0, len(piece), _SLICE))


def _members(
    raw: Iterator[bytes], kind: str, name: str, always: int, ratio: int
) -> Iterator[bytes]:
    """What the members of a compressed file hold, one after the other."""
    _, make = _KINDS[kind]
    member: _Member | None = make(name)
    read = made = 0
    for data in raw:
        read += len(data)
        while True:
            if member is None:  # between two members; zeros fill up a block
                data = data.lstrip(b"\0")
                if not data:
                    break
                member = make(name)
            try:
                piece = member.decompress(data, _PIECE)
            except Exception as error:  # each library has its own
                raise _damaged(name, kind, _reason(error)) from None
            made += len(piece)
            if made > max(always, ratio * read):
                raise DataError(
                    f"{name}: unpacks to more than {ratio} times its size, which no text does; if "
                    "it is meant, unpack it first"
                )
            if piece:
                yield piece
            if member.eof:
                data, member = member.unused_data, None
            elif member.needs_input:
                break
            else:
                data = b""
    if member is not None:
        raise _damaged(
            name,
            kind,
            f"cut short: its {read:,} bytes end before their contents, of which {made:,} bytes "
            "were read",
        )


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _damaged(name: str, kind: str, reason: str) -> DataError:
    return DataError(f"{name}: damaged {kind} file ({reason}); unpack it or make it again")
