"""The fields of a text, which white space separates: their numbers and words, many at a time.

The definition is Python's own: the fields are those of ``bytes.split``, the number of a field is
what ``float`` makes of it, and a word is found as in a ``dict``. But a large file has millions of
fields, and a Python object for each takes most of the time of reading it and ten times its memory.
So the fields stay bytes of their text, and one numpy call reads the heads of thousands: their first
16 bytes, as two 64-bit integers. The definition reads those fields of which a head does not say
enough: a long word, or a number in an unusual form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from lmsuite.ngram.lookup import KeyIndex
from lmsuite.types import Float64Array

_Places = NDArray[np.int64]
_Heads = NDArray[np.uint64]
_Value = TypeVar("_Value", bound=np.generic)

_HEAD = 16  # bytes
_AT_ONCE = 1 << 14  # fields whose heads are read at once: few enough for the cache
_KEPT = (np.tri(_HEAD + 1, _HEAD, -1, np.uint8) * np.uint8(255)).view("<u8")
"""(17, 2): what a head keeps if its field has 0, 1, ... 16 bytes."""
_JOINS = ((10, 8, 0x00FF00FF00FF00FF), (100, 16, 0x0000FFFF0000FFFF), (10**4, 32, 0xFFFFFFFF))
"""From digits side by side to numbers of two, four and eight digits: base, bits, mask."""
_FACTORS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F], np.uint64)  # large and odd


class Fields:
    """The M fields of a text, which are numbered from 0."""

    def __init__(self, text: bytes | memoryview) -> None:
        self._text = b"".join((text, b" " * _HEAD))  # also the last field has a whole head
        self._bytes = np.frombuffer(self._text, np.uint8)
        self._heads = np.ndarray((len(text) + 1,), f"V{_HEAD}", self._text, strides=(1,))
        # White space is the space and, side by side, tab, newline, \v, \f and \r.
        in_field = self._bytes - np.uint8(ord("\t")) > ord("\r") - ord("\t")
        in_field &= self._bytes != ord(" ")
        self._borders = np.flatnonzero(np.diff(in_field, prepend=False))  # (2 M,)
        self._begins, self._ends = self._borders[::2], self._borders[1::2]

    def __len__(self) -> int:
        return len(self._begins)

    def texts(self, at: _Places) -> list[bytes]:
        """The bytes of the fields `at` (K,)."""
        borders = zip(self._begins[at].tolist(), self._ends[at].tolist(), strict=True)
        return [self._text[begin:end] for begin, end in borders]

    def of_lines(self) -> _Places:
        """The number of fields in each line. A line ends with a newline."""
        ends = np.flatnonzero(self._bytes == ord("\n"))
        return np.diff(np.searchsorted(self._borders, ends, "right") // 2, prepend=0)

    def numbers(self, at: _Places) -> Float64Array:
        """What ``float`` makes of the fields `at` (K,); NaN for what is not a number."""
        return _in_pieces(self._numbers, at, np.float64)

    def _numbers(self, at: _Places) -> Float64Array:
        """Read ``-d`` and ``-d.ddd``, with or without the sign and with up to 15 digits.

        The method is that of several JSON parsers: digits side by side in an integer are joined to
        numbers of two digits, these to numbers of four, and these to numbers of eight.
        """
        begins = self._begins[at]
        is_negative = self._bytes[begins] == ord("-")
        begins += is_negative
        lengths = self._ends[at] - begins
        digits = self._head(begins, lengths, "0")  # in each byte the value of its digit
        first, second = digits.view(np.uint8)[:, :2].T
        has_point = second == ord(".") ^ ord("0")
        is_read = (has_point & (lengths <= _HEAD)) | (lengths == 1)
        second[:] = first  # the first digit takes the place of the point
        first[:] = 0
        # Bytes above 9 are no digits. They, or they and 118, have the highest bit.
        above = (digits | (digits + 0x7676767676767676)) & 0x8080808080808080
        is_read &= above[:, 0] | above[:, 1] == 0
        for base, bits, mask in _JOINS:
            digits = (digits * base + (digits >> bits)) & np.uint64(mask)
        # 15 digits and 10^14 are exact in a float64, so that the quotient is rounded as by float.
        values: Float64Array = (digits @ np.array([10**8, 1], np.uint64)).astype(np.float64) / 1e14
        np.negative(values, out=values, where=is_negative)
        others = np.flatnonzero(~is_read)
        values[others] = list(map(_number, self.texts(at[others])))
        return values

    def heads(self, at: _Places) -> tuple[_Heads, NDArray[np.bool_]]:
        """The heads (K, 2) of the fields `at` (K,), and which of them are the whole field.

        Two different fields that are whole have different heads, and none is (0, 0).
        """
        begins = self._begins[at]
        lengths = self._ends[at] - begins
        return self._head(begins, lengths, " "), lengths <= _HEAD

    def _head(self, begins: _Places, lengths: _Places, zero: str) -> _Heads:
        """The heads (K, 2) at `begins` (K,), 0 from `lengths` (K,) on, and XORed with `zero`.

        The first byte is the lowest of the first integer.
        """
        heads: _Heads = self._heads[begins].view("<u8").reshape(-1, 2)
        heads ^= np.uint64(ord(zero) * 0x0101010101010101)
        heads &= _KEPT.take(lengths, axis=0, mode="clip")
        return heads


class WordIndex:
    """The ids of words: a dict that is asked for many words at once."""

    def __init__(self, ids: Mapping[bytes, int]) -> None:
        """Index words without white space."""
        self._ids = ids
        short = [word for word in ids if len(word) <= _HEAD]
        heads, _ = Fields(b" ".join(short)).heads(np.arange(len(short)))
        self._index = KeyIndex(_keys(heads))
        # The last entry is for a key that is not there: the head of no word.
        self._heads = np.append(heads, np.zeros((1, 2), np.uint64), axis=0)
        self._found = np.array([*(ids[word] for word in short), -1], np.int64)

    def find(self, fields: Fields, at: _Places) -> _Places:
        """The ids of the fields `at` (K,), or -1."""
        return _in_pieces(lambda piece: self._find(fields, piece), at, np.int64)

    def _find(self, fields: Fields, at: _Places) -> _Places:
        heads, is_whole = fields.heads(at)
        place = self._index.find(_keys(heads))
        found = self._found[place]
        differs = heads ^ self._heads.take(place, axis=0)
        # Several words may have one key, or one head: only the dict can tell them apart.
        others = np.flatnonzero((differs[:, 0] | differs[:, 1] != 0) | ~is_whole)
        found[others] = [self._ids.get(word, -1) for word in fields.texts(at[others])]
        return found


def _keys(heads: _Heads) -> _Places:
    """A key, not negative, for each head (K, 2). Few heads have the same."""
    return ((heads @ _FACTORS) >> 1).view(np.int64)


def _in_pieces(
    read: Callable[[_Places], NDArray[_Value]], at: _Places, dtype: type[_Value]
) -> NDArray[_Value]:
    """What `read` makes of the fields `at` (K,), a few at a time."""
    values = np.empty(len(at), dtype)
    for begin in range(0, len(at), _AT_ONCE):
        piece = slice(begin, begin + _AT_ONCE)
        values[piece] = read(at[piece])
    return values


def _number(field: bytes) -> float:
    try:
        return float(field)
    except ValueError:
        return float("nan")
