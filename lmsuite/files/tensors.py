"""The safetensors format: write arrays one after the other, and map them into memory to read them.

Layout: eight bytes n (little-endian), n bytes of JSON, then the arrays' bytes to the end of file.
The JSON gives each array's type, shape and offsets. Every reader of safetensors can open the files
of `write`. The arrays of `mapped` are read from disk only when they are used.

The library `safetensors` is not used here, for four reasons. It reads a file by copying it. While
it writes mapped arrays, it keeps their pages in memory. It writes only to a path, not to a stream.
It does not tell a file cut short from a file with bytes added.
"""

from __future__ import annotations

import json
import mmap
import zlib
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lmsuite.errors import ModelFileError
from lmsuite.files.header import Header

_ALIGNMENT = 8
_PIECE = 1 << 24  # bytes

_DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "I64": np.dtype("<i8"),
    "U64": np.dtype("<u8"),
    "F32": np.dtype("<f4"),
    "I32": np.dtype("<i4"),
    "U32": np.dtype("<u4"),
    "F16": np.dtype("<f2"),
    "I16": np.dtype("<i2"),
    "U16": np.dtype("<u2"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


def write(
    stream: BinaryIO, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]
) -> None:
    """Write `arrays` and `metadata`; equal input gives equal bytes.

    The widest types come first, so that every array is aligned; within a type, names are sorted.
    """
    ordered = sorted(arrays.items(), key=lambda item: (-item[1].dtype.itemsize, item[0]))
    document: dict[str, Any] = {"__metadata__": dict(metadata)}
    offset = 0
    for name, array in ordered:
        end = offset + array.nbytes
        kind = _NAMES[array.dtype.newbyteorder("<")]
        document[name] = {"dtype": kind, "shape": array.shape, "data_offsets": [offset, end]}
        offset = end
    header = json.dumps(document, separators=(",", ":")).encode()
    header += b" " * (-len(header) % _ALIGNMENT)
    stream.write(len(header).to_bytes(8, "little") + header)
    for _, array in ordered:
        for piece in _pieces(array):
            stream.write(piece)


def _pieces(array: NDArray[Any]) -> Iterator[memoryview]:
    """The bytes of an array, in order; of a mapped array few are in memory at a time."""
    data = raw_bytes(array)
    for begin in range(0, len(data), _PIECE):
        yield data[begin : begin + _PIECE]
        release_pages(array)


def release_pages(array: NDArray[Any]) -> None:
    """If an array is mapped, tell the system that its pages are not needed for now.

    Otherwise they keep counting as memory of this process.
    """
    memory = _mapping(array)
    if memory is not None and hasattr(mmap, "MADV_DONTNEED"):
        memory.madvise(mmap.MADV_DONTNEED)


def is_mapped(array: NDArray[Any]) -> bool:
    """Whether the values of an array are in a file, and are read when they are used."""
    return _mapping(array) is not None


def _mapping(array: NDArray[Any]) -> mmap.mmap | None:
    owner: Any = array
    while isinstance(owner, np.ndarray):
        owner = owner.base
    if isinstance(owner, memoryview):
        owner = owner.obj
    return owner if isinstance(owner, mmap.mmap) else None


def raw_bytes(array: NDArray[Any]) -> memoryview:
    """The array's bytes in C order, little-endian; a view if they are in that order already."""
    plain = np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
    return plain.reshape(-1).view(np.uint8).data


def checksum(arrays: Mapping[str, NDArray[Any]]) -> int:
    """CRC-32 of the arrays' names and bytes, in the order of their names."""
    total = 0
    for name in sorted(arrays):
        spelled = name.encode("utf-8", "surrogatepass")
        total = zlib.crc32(spelled, total)
        for piece in _pieces(arrays[name]):
            total = zlib.crc32(piece, total)
    return total


def mapped(path: Path, header: Header) -> dict[str, NDArray[Any]]:
    """The arrays of the file by name, read-only; their bytes are read when they are used.

    Raises:
        ModelFileError: the file cannot be mapped, or its header describes arrays that overlap or
            leave gaps.
    """
    layout = _layout(path, header)
    if not any(dtype.itemsize * prod(shape) for dtype, shape, _ in layout.values()):
        return {
            name: _shaped(path, name, np.zeros(0, dtype), shape)
            for name, (dtype, shape, _) in layout.items()
        }
    try:
        with path.open("rb") as stream:
            memory = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise ModelFileError(f"cannot read {path}: {error}") from error
    if len(memory) < header.data_start + header.data_size:
        raise ModelFileError(f"{path} was cut short while it was opened")
    return {
        name: _shaped(
            path,
            name,
            np.frombuffer(memory, dtype, count=prod(shape), offset=header.data_start + offset),
            shape,
        )
        for name, (dtype, shape, offset) in layout.items()
    }


def _shaped(path: Path, name: str, values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    try:
        return values.reshape(shape)
    except (ValueError, OverflowError) as error:  # too many dimensions for numpy, or too long ones
        raise ModelFileError(f"{path} is damaged: array {name!r} has no such shape") from error


def _layout(path: Path, header: Header) -> dict[str, tuple[np.dtype[Any], tuple[int, ...], int]]:
    """Type, shape and offset of every array; the arrays fill the file without gap or overlap."""
    layout: dict[str, tuple[np.dtype[Any], tuple[int, ...], int]] = {}
    expected = 0
    by_offset = sorted(header.arrays.items(), key=lambda item: item[1]["data_offsets"])
    for name, entry in by_offset:
        try:
            begin, end = entry["data_offsets"]
            dtype, shape = _DTYPES[entry["dtype"]], tuple(entry["shape"])
            sizes_are_counts = all(type(size) is int and size >= 0 for size in shape)
        except (KeyError, TypeError, ValueError) as error:
            raise ModelFileError(
                f"{path} is damaged: its header describes array {name!r} badly ({error})"
            ) from error
        if not sizes_are_counts or begin != expected or end - begin != dtype.itemsize * prod(shape):
            raise ModelFileError(f"{path} is damaged: array {name!r} does not lie where it should")
        layout[name] = (dtype, shape, begin)
        expected = end
    return layout
