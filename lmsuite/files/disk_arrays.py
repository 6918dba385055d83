"""Long arrays on disk, written and read in pieces, also by processes forked later.

Each array is a temporary file without a name, in the folder for such files (``TMPDIR`` can name
another folder). So the file disappears when its last user ends, even if the program is killed.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from lmsuite.errors import TrainingError

_CHUNK = 1 << 21  # values


class DiskArray:
    """A one-dimensional array on disk."""

    def __init__(self, dtype: DTypeLike, length: int = 0) -> None:
        """An array of this length; its values are undefined, and take no room, until written."""
        self._dtype = np.dtype(dtype)
        self._length = length
        try:
            self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
            os.ftruncate(self._file.fileno(), length * self._dtype.itemsize)
        except OSError as error:
            raise _unwritable(error) from error

    def __del__(self) -> None:
        with suppress(AttributeError):  # it could not be made
            self._file.close()

    def __len__(self) -> int:
        return self._length

    def append(self, values: NDArray[Any]) -> None:
        """Write values (K,) at the end.

        Raises:
            TrainingError: the disk is full.
        """
        self.write(self._length, values)

    def write(self, begin: int, values: NDArray[Any]) -> None:
        """Write values (K,) from a place on; also from a forked process, within the length.

        Raises:
            TrainingError: the disk is full.
        """
        data = np.ascontiguousarray(values, dtype=self._dtype).view(np.uint8).data
        offset = begin * self._dtype.itemsize
        try:
            while len(data):
                written = os.pwrite(self._file.fileno(), data, offset)
                data, offset = data[written:], offset + written
        except OSError as error:
            raise _unwritable(error) from error
        self._length = max(self._length, begin + len(values))

    def read(self, begin: int = 0, end: int | None = None) -> NDArray[Any]:
        """The values from begin to end, in memory."""
        end = self._length if end is None else end
        values = np.empty(end - begin, dtype=self._dtype)
        data = values.view(np.uint8).data
        offset = begin * self._dtype.itemsize
        while len(data):
            read = os.preadv(self._file.fileno(), [data], offset)
            data, offset = data[read:], offset + read
        return values

    def chunks(self) -> Iterator[NDArray[Any]]:
        """All values, about two million at a time."""
        for begin in range(0, self._length, _CHUNK):
            yield self.read(begin, min(begin + _CHUNK, self._length))

    def change(self, function: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
        """Replace all values, a chunk at a time, by what the function makes of them."""
        for begin in range(0, self._length, _CHUNK):
            self.write(begin, function(self.read(begin, min(begin + _CHUNK, self._length))))

    def mapped(self) -> NDArray[Any]:
        """All values, read-only. They stay on disk; the system reads the parts that are used."""
        if not self._length:
            return np.empty(0, dtype=self._dtype)
        memory = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        return np.frombuffer(memory, dtype=self._dtype)


def in_memory(values: NDArray[Any]) -> NDArray[Any]:
    """The values of a part of an array; of a `DiskArray.mapped`, they are a copy.

    What was read of the mapped array no longer takes memory then.
    """
    owner: Any = values
    while isinstance(owner, np.ndarray):
        owner = owner.base
    memory = getattr(owner, "obj", None)
    if not isinstance(memory, mmap.mmap):
        return values
    copy = values.copy()
    if hasattr(mmap, "MADV_DONTNEED"):
        memory.madvise(mmap.MADV_DONTNEED)
    return copy


def _unwritable(error: OSError) -> TrainingError:
    return TrainingError(
        f"cannot write temporary files in {tempfile.gettempdir()}: {error.strerror or error}; "
        "the environment variable TMPDIR names another folder"
    )
