"""Files and bytes as text: compression, encoding, byte order mark, line ends."""

from __future__ import annotations

import gzip
import io
import warnings
import zlib
from pathlib import Path

from lmsuite.errors import DataError, TextWarning, UsageError
from lmsuite.files import AnyPath

_GZIP = b"\x1f\x8b"

# A gzip file may unpack to this many bytes, or to this many times its size. gzip makes text three
# to ten times smaller; a file that shrinks a thousandfold, the format's limit, is made to fill the
# memory.
_UNPACKED = 64 << 20
_RATIO = 100


def read_bytes(path: AnyPath) -> bytes:
    """The file's bytes, as they are.

    Raises:
        DataError: the file cannot be read; the message says why.
    """
    try:
        return Path(path).read_bytes()
    except IsADirectoryError:
        raise DataError(f"{path}: a directory, not a file; name the files in it") from None
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:  # a NUL, which a configuration may hold
        raise DataError(f"{str(path)!r}: no name of a file ({error})") from None


def read_text(path: AnyPath, encoding: str = "utf-8") -> str:
    """The file's text, as `decode_text` reads it.

    Raises:
        DataError: as `read_bytes` and `decode_text`.
    """
    return decode_text(read_bytes(path), str(path), encoding)


def decode_text(raw: bytes, name: str, encoding: str = "utf-8") -> str:
    """Bytes, perhaps compressed by gzip, as text without byte order mark and with LF line ends.

    If carriage returns are the only line ends, they become LF. Carriage returns within lines that
    end in LF stay as they are. In both cases there is a `TextWarning`.

    Raises:
        DataError: the bytes are not in that encoding, or are damaged; the message begins with
            `name`.
        UsageError: there is no such encoding.
    """
    plain = unpacked(raw, name) if is_packed(raw) else raw
    try:
        text = plain.decode(encoding)
    except UnicodeDecodeError as error:
        inside = " of its unpacked contents" if plain is not raw else ""
        raise DataError(
            f"{name}: not {encoding} at byte {error.start}{inside} ({error.reason}); "
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
    except (LookupError, ValueError):
        raise UsageError(
            f"{{encoding}} {encoding!r} is not known; try utf-8, latin-1, cp1252 or utf-16",
            "encoding",
            value=encoding,
        ) from None
    return _with_line_ends(text.removeprefix("\ufeff").replace("\r\n", "\n"), name)


def _with_line_ends(text: str, name: str) -> str:
    count = text.count("\r")
    if not count:
        return text
    if "\n" not in text:
        message = f"{name}: carriage returns are its only line ends, and are read as line ends"
        warnings.warn(message, TextWarning, stacklevel=4)
        return text.replace("\r", "\n")
    message = (
        f"{name}: carriage returns within lines, as a progress bar writes them, stay as they are "
        f"({count:,} of them); if they are meant to end lines, replace them first: tr '\\r' '\\n'"
    )
    warnings.warn(message, TextWarning, stacklevel=4)
    return text


def is_packed(raw: bytes) -> bool:
    """Whether these are the bytes of a gzip file."""
    return raw.startswith(_GZIP)


def unpacked(raw: bytes, name: str, *, always: int = _UNPACKED, ratio: int = _RATIO) -> bytes:
    """The contents of a gzip file: at most `always` bytes, or `ratio` times the file's size.

    Raises:
        DataError: the file is damaged, or holds more; the message begins with `name`.
    """
    limit = max(always, ratio * len(raw))
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(raw)) as file:
            plain = file.read(limit + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"{name}: damaged gzip file ({error}); unpack it or make it again"
        ) from None
    if len(plain) > limit:
        raise DataError(
            f"{name}: unpacks to more than {ratio} times its size, which no text does; if it is "
            "meant, unpack it first"
        )
    return plain
