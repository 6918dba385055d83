"""Files and bytes as text: encoding, byte order mark, line ends."""

from __future__ import annotations

import warnings
from pathlib import Path

from lmsuite.errors import DataError, TextWarning, UsageError
from lmsuite.files import AnyPath
from lmsuite.files.compression import packing_of, unpacked

DOCUMENT_END = "\x1e"
"""What ends each document of a text of documents: the record separator of ASCII."""


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


def decode_text(raw: bytes, name: str, encoding: str = "utf-8", errors: str = "strict") -> str:
    """Bytes, perhaps compressed, as text without byte order mark and with LF line ends.

    If carriage returns are the only line ends, they become LF. Carriage returns within lines that
    end in LF stay as they are. In both cases there is a `TextWarning`. Bytes that are not text in
    the encoding are refused; with errors ``replace`` they become U+FFFD.

    Raises:
        DataError: the bytes are not in that encoding, or are damaged; the message begins with
            `name`.
        UsageError: there is no such encoding.
    """
    inside = " of its unpacked contents" if packing_of(raw) else ""
    return with_line_ends(decoded(unpacked(raw, name), name, encoding, errors, inside), name)


def decoded(
    plain: bytes, name: str, encoding: str, errors: str = "strict", inside: str = ""
) -> str:
    """Bytes as characters, every one of them.

    Raises:
        DataError: they are not in that encoding; the message says where, and `inside` of what.
        UsageError: there is no such encoding.
    """
    try:
        return plain.decode(encoding, errors)
    except UnicodeDecodeError as error:
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


def with_line_ends(text: str, name: str) -> str:
    """The text without byte order mark and with LF line ends, as `decode_text` has it."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    count = text.count("\r")
    if not count:
        return text
    if "\n" not in text:
        message = f"{name}: carriage returns are its only line ends, and are read as line ends"
        warnings.warn(message, TextWarning, stacklevel=3)
        return text.replace("\r", "\n")
    message = (
        f"{name}: carriage returns within lines, as a progress bar writes them, stay as they are "
        f"({count:,} of them); if they are meant to end lines, replace them first: tr '\\r' '\\n'"
    )
    warnings.warn(message, TextWarning, stacklevel=3)
    return text
