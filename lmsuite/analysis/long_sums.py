"""Sums of many numbers that come in parts, equal to the sum of all at once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lmsuite.types import Float64Array

AT_ONCE = 1 << 16
"""So many numbers are left to numpy."""


class LongSum:
    """The sum of `count` numbers: that of `np.sum`, to the bit, whatever the parts they come in.

    numpy halves a long array, cuts at a multiple of 8, and adds the sums of the halves ("pairwise
    summation", Higham 1993, "The accuracy of floating point summation"). So does this.
    """

    def __init__(self, count: int) -> None:
        """The sum of so many numbers, of which none is there yet."""
        self._count = count
        self._sizes = list(_sizes(count))
        self._sums: list[float] = []
        self._held = np.zeros(0)

    def add(self, values: Float64Array) -> None:
        """Add the next numbers (M,)."""
        self._held = np.concatenate((self._held, values))
        for size in self._sizes[len(self._sums) :]:
            if len(self._held) < size:
                break
            self._sums.append(float(self._held[:size].sum()))
            self._held = self._held[size:]

    def total(self) -> float:
        """The sum, once all numbers are there."""
        return _total(iter(self._sums), self._count)


def _sizes(count: int) -> Iterator[int]:
    """The sizes of the parts that are summed at once."""
    if count <= AT_ONCE:
        yield count
    else:
        yield from _sizes(_half(count))
        yield from _sizes(count - _half(count))


def _total(sums: Iterator[float], count: int) -> float:
    """The sum of the sums of the parts of so many numbers."""
    if count <= AT_ONCE:
        return next(sums)
    return _total(sums, _half(count)) + _total(sums, count - _half(count))


def _half(count: int) -> int:
    return count // 2 - count // 2 % 8
