"""Files and bytes as text: encoding, byte order mark, line ends."""

from __future__ import annotations

import codecs
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, repeat
from pathlib import Path
from typing import BinaryIO

from lmsuite.errors import DataError, TextWarning, UsageError
from lmsuite.files import AnyPath
from lmsuite.files.compression import packing_of, unpacked
from lmsuite.files.stored_text import TextWriter, blocks

DOCUMENT_END = "\x1e"
"""What ends each document of a text of documents: the record separator of ASCII."""


def read_bytes(path: AnyPath) -> bytes:
    """The file's bytes, as they are.

    Raises:
        DataError: the file cannot be read; the message says why.
    """
    with opened(path) as stream:
        return stream.read()


@contextmanager
def opened(path: AnyPath) -> Iterator[BinaryIO]:
    """The file, open to be read.

    Raises:
        DataError: as `read_bytes`.
    """
    try:
        stream = Path(path).open("rb")  # noqa: SIM115
    except IsADirectoryError:
        raise DataError(f"{path}: a directory, not a file; name the files in it") from None
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:  # a NUL, which a configuration may hold
        raise DataError(f"{str(path)!r}: no name of a file ({error})") from None
    with stream:
        try:
            yield stream
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror})") from None


def read_text(path: AnyPath, encoding: str = "utf-8") -> str:
    """The file's text, as `decode_text` reads it.

    Raises:
        DataError: as `read_bytes` and `decode_text`.
    """
    return decode_text(read_bytes(path), str(path), encoding)


def decode_text(raw: bytes, name: str, encoding: str = "utf-8", errors: str = "strict") -> str:
    """Bytes, perhaps compressed, as text; see `decoded_pieces` and `with_line_ends`.

    Raises:
        DataError: the bytes are not in that encoding, or are damaged; the message begins with
            `name`.
        UsageError: there is no such encoding.
    """
    inside = " of its unpacked contents" if packing_of(raw) else ""
    pieces = decoded_pieces([unpacked(raw, name)], name, encoding, errors, inside)
    return "".join(with_line_ends(pieces, name))


def decoded_pieces(
    pieces: Iterable[bytes], name: str, encoding: str, errors: str = "strict", inside: str = ""
) -> Iterator[str]:
    """The pieces of a file as characters, every one of them. A piece may end within a character.

    Bytes that are not text in the encoding are refused; with errors ``replace`` they become U+FFFD.

    Raises:
        DataError: they are not in that encoding; the message says where, and `inside` of what.
        UsageError: there is no such encoding.
    """
    check_encoding(encoding)
    waiting = iter(pieces)
    first = b""
    for piece in waiting:
        first += piece
        if len(first) >= len(codecs.BOM_UTF32):
            break
    decoder = _decoder(encoding, first)
    if decoder is None:
        yield decoded(b"".join((first, *waiting)), name, encoding, errors, inside)
        return
    reader = decoder(errors)
    taken = 0
    for piece, is_last in _with_last(chain((first,), waiting)):
        begin = taken - len(reader.getstate()[0])
        with _decoding(name, encoding, inside, begin):
            part = reader.decode(piece, final=is_last)
        yield part
        taken += len(piece)


def _decoder(encoding: str, first: bytes) -> _DecoderOf | None:
    """What decodes a file that begins so, piece by piece; None if there is nothing for that."""
    kind = codecs.lookup(encoding).name
    if kind in _MARKS and not first.startswith(_MARKS[kind]):
        kind = f"{kind}-{sys.byteorder[0]}e"  # as `bytes.decode` takes what has no mark
    return codecs.lookup(kind).incrementaldecoder


_DecoderOf = Callable[[str], codecs.IncrementalDecoder]

_MARKS = {
    "utf-16": (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE),
    "utf-32": (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE),
}


def _with_last(pieces: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Each piece, and whether it is the last; that is empty."""
    yield from zip(pieces, repeat(False))
    yield b"", True


def decoded(
    plain: bytes, name: str, encoding: str, errors: str = "strict", inside: str = ""
) -> str:
    """Bytes as characters, every one of them.

    Raises:
        DataError: they are not in that encoding; the message says where, and `inside` of what.
        UsageError: there is no such encoding.
    """
    check_encoding(encoding)
    with _decoding(name, encoding, inside):
        return plain.decode(encoding, errors)


def check_encoding(encoding: str) -> None:
    """Refuse what is no encoding of text.

    Raises:
        UsageError: it is not.
    """
    try:
        is_text = codecs.lookup(encoding)._is_text_encoding
    except (LookupError, ValueError):
        is_text = False
    if not is_text:
        raise UsageError(
            f"{{encoding}} {encoding!r} is not known; try utf-8, latin-1, cp1252 or utf-16",
            "encoding",
            value=encoding,
        )


@contextmanager
def _decoding(name: str, encoding: str, inside: str, begin: int = 0) -> Iterator[None]:
    """Turns the errors of a decoder, which was given the bytes from `begin` on."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise DataError(
            f"{name}: not {encoding} at byte {begin + error.start}{inside} ({error.reason}); "
            "if it is in another encoding, name it: {encoding} latin-1 (or cp1252, utf-16, ...)",
            "encoding",
            value=encoding,
        ) from None
    except UnicodeError as error:  # utf-16 without byte order mark
        raise DataError(
            f"{name}: not {encoding} ({error}); name its right {{encoding}}",
            "encoding",
            value=encoding,
        ) from None


def with_line_ends(pieces: Iterable[str], name: str) -> Iterator[str]:
    """The pieces of a text, without byte order mark and with LF line ends.

    If carriage returns are the only line ends, they become LF. Carriage returns within lines that
    end in LF stay as they are. In both cases there is a `TextWarning`.
    """
    returns, has_line_ends = 0, False
    held: TextWriter | None = None  # from the first carriage return on, until there is a line end
    for piece in _in_whole_ends(pieces):
        text = piece.replace("\r\n", "\n")
        returns += text.count("\r")
        has_line_ends = has_line_ends or "\n" in text
        if returns and not has_line_ends:
            held = held or TextWriter()
            held.write(text)
            continue
        if held is not None:
            yield from blocks(held.text())
            held = None
        yield text
    if held is not None:
        message = f"{name}: carriage returns are its only line ends, and are read as line ends"
        warnings.warn(message, TextWarning, stacklevel=3)
        yield from (block.replace("\r", "\n") for block in blocks(held.text()))
    elif returns:
        message = (
            f"{name}: carriage returns within lines, as a progress bar writes them, stay as they "
            f"are ({returns:,} of them); if they are meant to end lines, replace them first: "
            "tr '\\r' '\\n'"
        )
        warnings.warn(message, TextWarning, stacklevel=3)


def _in_whole_ends(pieces: Iterable[str]) -> Iterator[str]:
    """The pieces without byte order mark, none cut between a carriage return and its line feed."""
    begins, held = True, ""
    for piece in pieces:
        text = held + piece
        if begins and text:
            text, begins = text.removeprefix("\ufeff"), False
        held = "\r" if text.endswith("\r") else ""
        yield text.removesuffix(held)
    yield held
