"""What holds no text, known by its first bytes: refused by what it is, never read as text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from lmsuite.errors import DataError

BEGINNING = 512
"""Bytes that tell what a file is."""

_UNPACK = "unpack it, and name the files in it"
_SAVE = "save its text as a .txt file"
_FORMAT = "say so: {format} parquet"

_KINDS: tuple[tuple[bytes, str, str], ...] = (
    (rb"PK(\x03\x04|\x05\x06|\x07\x08)", "a zip archive (as .docx, .xlsx and .epub are)", _UNPACK),
    (rb"(?s:.{257})ustar", "a tar archive", _UNPACK),
    (rb"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (rb"Rar!\x1a\x07", "a rar archive", _UNPACK),
    (rb"\x04\x22\x4d\x18", "a file compressed by lz4", "unpack it"),
    (rb"\x1f[\x9d\xa0]", "a file compressed by compress", "unpack it"),
    (rb"LZIP[\0\1]", "a file compressed by lzip", "unpack it"),
    (rb"\x89LZO\0\r\n", "a file compressed by lzop", "unpack it"),
    (rb"%PDF-", "a PDF document", _SAVE),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old document of Microsoft Office", _SAVE),
    (rb"PAR1", "a table of Apache Parquet", _FORMAT),
    (rb"ARROW1\0\0", "a table of Apache Arrow", "write it as Parquet"),
    (rb"Obj\x01", "a file of Apache Avro", "write it as JSON lines"),
    (rb"SQLite format 3\0", "a database of SQLite", "write its texts as JSON lines"),
    (rb"\x89HDF\r\n\x1a\n|\x93NUMPY", "a file of arrays", "write its texts as JSON lines"),
    (rb"(?s:.{4})\0\0\0\0\{\"", "a safetensors file: a model, perhaps", "name a text"),
    (rb"\x80[\2-\5][\x95c(}\]]", "a pickle of Python", "write its texts as JSON lines"),
    (rb"\x89PNG\r\n|\xff\xd8\xff|GIF8[79]a|RIFF(?s:.{4})WEBP", "a picture", "name a text"),
    (rb"ID3[\2-\4]\0|OggS\0|fLaC\0|RIFF(?s:.{4})WAVE", "a sound", "name a text"),
    (rb"(?s:.{4})ftyp|\x1a\x45\xdf\xa3", "a film", "name a text"),
    (rb"\x7fELF|\xca\xfe\xba\xbe|\xcf\xfa\xed\xfe", "a program", "name a text"),
)
_PATTERNS = [(re.compile(mark), what, advice) for mark, what, advice in _KINDS]


def without_foreign(pieces: Iterable[bytes], name: str) -> Iterator[bytes]:
    """The same pieces of bytes, if they do not begin like something that is no text.

    Raises:
        DataError: they do; the message says like what.
    """
    beginning = b""
    remaining = iter(pieces)
    for piece in remaining:
        beginning += piece
        if len(beginning) >= BEGINNING:
            break
    for pattern, what, advice in _PATTERNS:
        if pattern.match(beginning):
            raise DataError(f"{name}: {what}, no text; {advice}", "format")
    if beginning:
        yield beginning
    yield from remaining
