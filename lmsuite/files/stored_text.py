"""Long texts on disk. A `StoredText` is divided and searched as a string is, a part at a time.

So whoever divides, counts or encodes a `Text` is written once: ``len(text)``, ``text[begin:end]``,
``text.find`` and ``text.rfind`` mean the same for both kinds, and ``str(part)`` is the string.
The text lies in UTF-8 in a temporary file without a name (``TMPDIR`` can name another folder), so
it disappears with its last user, even if the program is killed.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from operator import eq
from typing import TypeAlias, overload

from lmsuite.errors import DataError

IN_MEMORY = 1 << 25
"""Characters. A longer text is stored."""

BLOCK = 1 << 18
"""Characters. The index has an entry for each block, and a text is read in blocks."""

Text: TypeAlias = "str | StoredText"


class _File:
    """Blocks of text, one after the other."""

    def __init__(self) -> None:
        self._places, self._starts = [0], [0]  # of each block and of the end: bytes, characters
        try:
            self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
        except OSError as error:
            raise _unwritable(error) from None

    @property
    def length(self) -> int:
        """Characters."""
        return self._starts[-1]

    def append(self, block: str) -> None:
        data = block.encode("utf-8", "surrogatepass")
        left = memoryview(data)
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            raise _unwritable(error) from None
        self._places.append(self._places[-1] + len(data))
        self._starts.append(self._starts[-1] + len(block))

    def read(self, begin: int, end: int) -> str:
        """The characters from begin to end."""
        if begin >= end:
            return ""
        first = bisect_right(self._starts, begin) - 1
        last = min(bisect_right(self._starts, end - 1), len(self._starts) - 1)
        place = self._places[first]
        data = bytearray(self._places[last] - place)
        left = memoryview(data)
        while left:  # pread: forked processes share one position in the file
            size = os.preadv(self._file.fileno(), [left], place)
            left, place = left[size:], place + size
        start = self._starts[first]
        return data.decode("utf-8", "surrogatepass")[begin - start : end - start]


class StoredText:
    """A text on disk, or a part of one; it is never changed."""

    def __init__(self, file: _File, begin: int, end: int) -> None:
        """The characters from begin to end of a file."""
        self._file, self._begin, self._end = file, begin, end

    def __len__(self) -> int:
        return self._end - self._begin

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, str | StoredText):
            return NotImplemented
        return len(self) == len(other) and all(map(eq, blocks(self), blocks(other)))

    def __hash__(self) -> int:
        return hash(sha256_of(self))

    def __str__(self) -> str:
        return self._file.read(self._begin, self._end)

    @overload
    def __getitem__(self, key: int) -> str: ...
    @overload
    def __getitem__(self, key: slice) -> StoredText: ...
    def __getitem__(self, key: int | slice) -> str | StoredText:
        if isinstance(key, slice):
            begin, end, _ = key.indices(len(self))
            return StoredText(self._file, self._begin + begin, self._begin + max(begin, end))
        place = range(self._begin, self._end)[key]
        return self._file.read(place, place + 1)

    def find(self, what: str, begin: int = 0, end: int | None = None) -> int:
        """As `str.find`."""
        end = len(self) if end is None else min(end, len(self))
        for start in range(begin, end, BLOCK):
            stop = min(start + BLOCK + len(what) - 1, end)
            found = str(self[start:stop]).find(what)
            if found >= 0:
                return start + found
        return -1

    def rfind(self, what: str, begin: int = 0, end: int | None = None) -> int:
        """As `str.rfind`."""
        end = len(self) if end is None else min(end, len(self))
        for stop in range(end, begin, -BLOCK):
            start = max(begin, stop - BLOCK)
            found = str(self[start : min(stop + len(what) - 1, end)]).rfind(what)
            if found >= 0:
                return start + found
        return -1

    def endswith(self, what: str) -> bool:
        """As `str.endswith`."""
        return str(self[max(0, len(self) - len(what)) :]).endswith(what)


class TextWriter:
    """Puts a text together from its parts: a string, or a stored text if it is long."""

    def __init__(self, in_memory: int | None = None) -> None:
        """A text of at most `in_memory` characters (`IN_MEMORY`) is to be a string."""
        self._most = IN_MEMORY if in_memory is None else in_memory
        self._held: list[str] = []
        self._size = 0  # characters held
        self._file: _File | None = None

    def write(self, part: str) -> None:
        """Add a part of any length.

        Raises:
            DataError: there is no room on disk.
        """
        self._held.append(part)
        self._size += len(part)
        if self._size > (self._most if self._file is None else BLOCK):
            self._store()

    def _store(self) -> None:
        if self._file is None:
            self._file = _File()
        held = "".join(self._held)
        for begin in range(0, len(held), BLOCK):
            self._file.append(held[begin : begin + BLOCK])
        self._held, self._size = [], 0

    def text(self) -> Text:
        """What was written."""
        if self._file is None:
            return "".join(self._held)
        self._store()
        return StoredText(self._file, 0, self._file.length)


def blocks(text: Text) -> Iterator[str]:
    """The text in parts of at most `BLOCK` characters, cut anywhere."""
    for begin in range(0, len(text), BLOCK):
        yield str(text[begin : begin + BLOCK])


def copied(text: Text) -> Text:
    """A stored text in a file of its own, so that a longer one that holds it can go."""
    if isinstance(text, str):
        return text
    writer = TextWriter(in_memory=0)
    for block in blocks(text):
        writer.write(block)
    return writer.text()


def is_blank(text: Text) -> bool:
    """Whether the text is nothing but white space."""
    return all(not block or block.isspace() for block in blocks(text))


def whole_units(parts: Iterable[str], end: str) -> Iterator[str]:
    """The parts of a text, cut anew: each but the last ends with `end`.

    Small parts are put together, to about `BLOCK` characters; a longer unit is not cut.
    """
    held: list[str] = []
    size, enough = 0, BLOCK
    for part in parts:
        held.append(part)
        size += len(part)
        if size < enough:
            continue
        text = "".join(held)
        cut = text.rfind(end) + len(end)
        if cut >= len(end):
            yield text[:cut]
            text = text[cut:]
        held, size = [text], len(text)
        enough = max(BLOCK, 2 * size)  # a long unit is searched for its end few times
    if size:
        yield "".join(held)


def sha256_of(text: Text) -> str:
    """The SHA-256 of a text's UTF-8 bytes, hexadecimal."""
    digest = hashlib.sha256()
    for block in blocks(text):
        digest.update(block.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _unwritable(error: OSError) -> DataError:
    return DataError(
        f"the text is long, and cannot be stored in {tempfile.gettempdir()}: "
        f"{error.strerror or error}; the environment variable TMPDIR names another folder"
    )
