"""Texts out of an archive that somebody else made: read in bounds, and never written as files.

The names in an archive only say which members are wanted; no name becomes a path. All the same, an
archive with a name that would lead out of a folder, or with anything but plain files and folders
(a link, a device), was made to do harm, and is refused whole, as is one that unpacks to more than
it may or whose parts are packed in a way that the usual programs do not write.
"""

from __future__ import annotations

import re
import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NoReturn

from lmsuite.errors import DataError

UNPACKED = 1 << 30
"""The bytes that the texts of one archive may have."""

_MEMBERS = 100_000
_CHUNK = 1 << 16
_PACKING = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1
# What zipfile raises for bytes that are not as they should be (RuntimeError: NotImplementedError).
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    OSError,
    EOFError,
    ValueError,
    OverflowError,
    RuntimeError,
)
_SPACE = b" \t\n\r\x0b\x0c"


def texts_in(path: Path | IO[bytes], members: re.Pattern[str], *, name: str) -> Iterator[bytes]:
    """The texts of a zip file, joined in order of their names, piece by piece.

    What is white at the end of a member is replaced by an empty line.

    Args:
        path: the archive, or an open one.
        members: which of its files are wanted (the whole name matches).
        name: what messages call the archive.

    Raises:
        DataError: it is damaged, hostile, too large, or has no such member; what came before is
            not to be kept.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            chosen = _chosen(archive, members, name)
            for member in chosen:
                white = b""  # held back until something follows it
                with archive.open(member) as stream:
                    while chunk := stream.read(_CHUNK):
                        chunk = white + chunk
                        kept = chunk.rstrip(_SPACE)
                        white = chunk[len(kept) :]
                        yield kept
                yield b"\n\n"
    except _DAMAGE as error:
        raise DataError(f"{name}: no usable archive ({error})") from None


def _chosen(archive: zipfile.ZipFile, members: re.Pattern[str], name: str) -> list[zipfile.ZipInfo]:
    """The members that are wanted, sorted, of an archive in which nothing is out of order."""
    entries = archive.infolist()
    if len(entries) > _MEMBERS:
        _refuse(name, f"{len(entries)} members")
    if len({entry.filename for entry in entries}) < len(entries):
        _refuse(name, "two members of one name")
    for entry in entries:
        _check(entry, name)
    chosen = [e for e in entries if not e.is_dir() and members.fullmatch(e.filename)]
    if not chosen:
        raise DataError(f"{name}: no file in it matches {members.pattern}")
    if sum(entry.file_size for entry in chosen) > UNPACKED:  # zipfile reads no byte more than that
        _refuse(name, f"unpacks to more than {UNPACKED} bytes")
    return sorted(chosen, key=lambda entry: entry.filename)


def _check(entry: zipfile.ZipInfo, name: str) -> None:
    # `orig_filename` is what stands in the file: zipfile cuts names at a zero byte.
    parts = entry.orig_filename.replace("\\", "/").split("/")
    if ".." in parts or not parts[0] or ":" in parts[0] or "\0" in entry.orig_filename:
        _refuse(name, f"the name {entry.orig_filename!r} leads out of its folder")
    kind = stat.S_IFMT(entry.external_attr >> 16)  # 0 where the archive was not made under Unix
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        _refuse(name, f"{entry.filename!r} is a link or a device, not a file")
    if entry.flag_bits & _ENCRYPTED or entry.compress_type not in _PACKING:
        _refuse(name, f"{entry.filename!r} is encrypted or packed in an unusual way")


def _refuse(name: str, reason: str) -> NoReturn:
    raise DataError(f"{name}: the archive is refused: {reason}; nothing was kept")
