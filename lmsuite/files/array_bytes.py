"""Arrays as bytes, compressed: each array's bytes are sorted by their place in the number first.

The high bytes of the numbers are then side by side. They are nearly all alike, in sorted numbers
and in small ones, and compress well and fast. zstd does it, where it is installed; without, the
arrays take more room. Bytes are those of little-endian machines.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

_LEVEL = -1  # of zstd: higher ones gain a few per cent, and take longer
_FEW = 64  # bytes that are better left as they are


def packed(arrays: Sequence[NDArray[Any]], *, compressed: bool = True) -> bytes:
    """One-dimensional arrays as bytes; the same arrays give the same bytes."""
    compress = _zstd()[0] if compressed else None
    pieces: list[Any] = [bytes([len(arrays)])]
    for array in arrays:
        data: Any = np.ascontiguousarray(array).view(np.uint8).data
        width = 0
        if compress is not None and len(data) > _FEW:
            planes = _planes(array)
            small = compress(planes.tobytes())
            if len(small) < len(data):
                data, width = small, len(planes)
        head = np.array([len(array), len(data), width], "<u8")
        pieces += [array.dtype.str.encode().ljust(4), head.tobytes(), data]
    return b"".join(pieces)


def unpacked(data: bytes | memoryview) -> list[NDArray[Any]]:
    """The arrays that `packed` made these bytes of; they can be written to.

    Raises:
        ValueError: the bytes are not whole, or compressed by a library that is missing here.
    """
    decompress = _zstd()[1]
    view, place, arrays = memoryview(data), 1, []
    for _ in range(data[0] if data else -1):
        dtype = np.dtype(bytes(view[place : place + 4]).decode().strip())
        length, size, width = np.frombuffer(view, "<u8", 3, place + 4).tolist()
        body = view[place + 28 : place + 28 + size]
        place += 28 + size
        if not width:
            arrays.append(np.frombuffer(body, dtype, length).copy())
            continue
        if decompress is None:
            raise ValueError("it is compressed, and the package zstandard is missing")
        planes = np.frombuffer(decompress(body, length * width), np.uint8)
        array = np.zeros(length, dtype)
        by_place = array.view(np.uint8).reshape(length, dtype.itemsize)
        for number, plane in enumerate(planes.reshape(width, length)):  # faster than all at once
            by_place[:, number] = plane
        arrays.append(array)
    if place != len(data):
        raise ValueError("it is not whole")
    return arrays


def _planes(array: NDArray[Any]) -> NDArray[np.uint8]:
    """(W, M) the lowest bytes of all numbers, the next ones, ..., without those that are all 0."""
    values = np.ascontiguousarray(array)
    size = width = values.itemsize
    if values.dtype.kind in "iu":
        largest = int(values.view(f"u{size}").max())
        width = max(1, -(-largest.bit_length() // 8))
    return values.view(np.uint8).reshape(-1, size)[:, :width].T


_Codec: TypeAlias = tuple[Callable[[bytes], bytes] | None, Callable[[Any, int], bytes] | None]
_of_thread = threading.local()  # the library's objects are for one thread each, and dear to make


def _zstd() -> _Codec:
    """What compresses bytes and what unpacks them, to so many; None without the library."""
    codec: _Codec | None = getattr(_of_thread, "codec", None)
    if codec is None:
        codec = _of_thread.codec = _new_zstd()
    return codec


def _new_zstd() -> _Codec:
    try:
        from compression import zstd  # type: ignore[import-not-found, unused-ignore]  # Python 3.14
    except ImportError:
        pass
    else:
        return (
            lambda data: zstd.compress(data, level=_LEVEL),
            lambda data, size: zstd.decompress(data),
        )
    try:
        import zstandard
    except ImportError:
        return None, None
    unpack = zstandard.ZstdDecompressor().decompress
    return (
        zstandard.ZstdCompressor(level=_LEVEL).compress,
        lambda data, size: unpack(data, max_output_size=size),
    )
