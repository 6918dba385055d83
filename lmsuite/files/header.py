"""The header of a safetensors file, checked against the file's length before arrays are read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from lmsuite.errors import ModelFileError

_LENGTH_BYTES = 8
_LONGEST_HEADER = 100_000_000  # the limit of the safetensors library itself
_LONGEST_FILE = 1 << 62


@dataclass(frozen=True)
class Header:
    """The contents of a safetensors file, as its header describes them."""

    metadata: dict[str, str]
    arrays: dict[str, dict[str, Any]]  # name -> dtype, shape, data_offsets
    data_start: int  # position of the arrays' first byte
    data_size: int  # bytes of all arrays


def read_header(path: Path, kind: str = "model file") -> Header:
    """The header of the file `path`, which is to be of this kind.

    Raises:
        ModelFileError: the file is missing, cut short, too long, or not a safetensors file.
    """
    try:
        with path.open("rb") as stream:
            return _parsed(path, stream, path.stat().st_size, kind)
    except OSError as error:
        raise ModelFileError(f"cannot read {path}: {error.strerror or error}") from error


def _parsed(path: Path, stream: BinaryIO, file_size: int, kind: str) -> Header:
    start = stream.read(_LENGTH_BYTES)
    if not start:
        raise ModelFileError(f"{path} is empty, no {kind}")
    length = int.from_bytes(start, "little")
    if len(start) < _LENGTH_BYTES or length > _LONGEST_HEADER:
        raise _no(kind, path, start, "it does not begin like one")
    if _LENGTH_BYTES + length > file_size:
        raise _no(kind, path, start, "it has no header, or the header was cut short")
    try:
        document = json.loads(stream.read(length).decode("utf-8"))
        metadata = document.pop("__metadata__", {})
        spans = [entry["data_offsets"] for entry in document.values()]
        if not all(isinstance(span, list) for span in spans):
            raise TypeError("an array has no beginning and end")
        offsets = [offset for span in spans for offset in span]
        is_offset = [type(offset) is int and 0 <= offset < _LONGEST_FILE for offset in offsets]
        if not all(is_offset) or not isinstance(metadata, dict):
            raise TypeError("an offset lies outside every file")
        data_size = max(offsets, default=0)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise _no(kind, path, start, f"its header is damaged ({error})") from error
    expected = _LENGTH_BYTES + length + data_size
    if expected != file_size:
        fault = "was cut short" if file_size < expected else "has bytes that belong to no array"
        raise ModelFileError(f"{path} {fault}: {file_size:,} bytes, its header says {expected:,}")
    return Header(metadata, document, _LENGTH_BYTES + length, data_size)


def _no(kind: str, path: Path, start: bytes, reason: str) -> ModelFileError:
    if start.startswith(b"\x1f\x8b"):
        reason = "it is gzip data (lm convert reads ARPA files named .arpa.gz)"
    elif start.lstrip().startswith((b"\\data", b"ngram")):
        reason = "it looks like an ARPA file (lm convert makes a model of it)"
    return ModelFileError(f"{path} is no {kind}: {reason}")
