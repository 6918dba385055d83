"""A finished table, a block of contexts at a time: what works on all of it need not hold it.

All sums of a table are over the n-grams of a context, and these lie side by side. What is looked up
elsewhere, the ends of n-grams, is looked up in the order in which it lies there. So few parts of a
table that is in a file are in memory at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmsuite.files.disk_arrays import DiskArray
from lmsuite.files.tensors import is_mapped, release_pages
from lmsuite.ngram.table import BackoffTable
from lmsuite.types import Float64Array, IntArray

AT_ONCE = 1 << 19  # n-grams of a block
_PIECES = 16  # in which what a block looks up is read


@dataclass(frozen=True)
class TableBlock:
    """Some contexts that lie side by side, and all n-grams that continue them."""

    contexts: slice
    ngrams: slice
    prefix: NDArray[np.int64]
    """(M,) the context of each n-gram, counted from the block's first."""

    @property
    def size(self) -> int:
        """C, the number of contexts."""
        return int(self.contexts.stop - self.contexts.start)


def blocks(table: BackoffTable, n: int) -> Iterator[TableBlock]:
    """The n-grams of order n, and their contexts, in blocks."""
    children = table.orders[n - 2].first_child
    size = len(children) - 1
    begin = 0
    while begin < size:
        first = int(children[begin])
        # A number of another type would make numpy convert the whole array.
        wanted = children.dtype.type(min(first + AT_ONCE, int(children[-1])))
        fits = int(children.searchsorted(wanted, "right")) - 1
        end = min(max(fits, begin + 1), begin + AT_ONCE, size)
        ends = children[begin : end + 1].astype(np.int64)
        prefix = np.repeat(np.arange(end - begin), np.diff(ends))
        yield TableBlock(slice(begin, end), slice(first, int(ends[-1])), prefix)
        table.release()
        begin = end


def all_suffixes(table: BackoffTable) -> list[IntArray]:
    """`BackoffTable.suffixes` of orders 2, 3, ..., on disk if the table is."""
    suffixes: list[IntArray] = []
    for n in range(2, table.order + 1):
        words = table.orders[n - 1].words
        if n == 2:
            suffixes.append(words)
            continue
        if not is_mapped(words):
            suffixes.append(table.suffixes(n, suffixes[-1]))
            continue
        found = DiskArray(np.uint32)
        for block in blocks(table, n):
            shorter = suffixes[-1][block.contexts].astype(np.int64)[block.prefix]
            found.append(_found(table, n - 1, shorter, words[block.ngrams].astype(np.int64)))
            release_pages(suffixes[-1])
        suffixes.append(found.mapped())
    return suffixes


def _found(
    table: BackoffTable, n: int, prefix: NDArray[np.int64], words: NDArray[np.int64]
) -> NDArray[np.int64]:
    """As `BackoffTable.find`, of n-grams that are stored, in the order in which they lie."""
    found = np.empty(len(words), np.int64)
    by_place = np.lexsort((words, prefix))
    for rows in np.array_split(by_place, _PIECES):
        found[rows] = table.search(n, prefix[rows], words[rows])
        table.release()
    return found


def gathered(values: NDArray[Any], at: IntArray) -> NDArray[Any]:
    """The values at places (M,); of a file they are read in the order in which they lie."""
    if not is_mapped(values):
        return values[at]
    found = np.empty(len(at), values.dtype)
    for rows in np.array_split(np.argsort(at, kind="stable"), _PIECES):
        found[rows] = values[at[rows]]
        release_pages(values)
    return found


def probs_of(log_probs: NDArray[Any]) -> Float64Array:
    """The probabilities (M,) that have these logarithms."""
    probs: Float64Array = np.exp(log_probs.astype(np.float64))
    return probs
