"""New back-off weights for changed probabilities: each distribution sums to one again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lmsuite.files.disk_arrays import DiskArray
from lmsuite.files.tensors import release_pages
from lmsuite.ngram.recursion import context_sums
from lmsuite.ngram.table import BackoffTable
from lmsuite.ngram.table_blocks import TableBlock, blocks, gathered, probs_of
from lmsuite.types import BoolArray, Float64Array, IntArray

# Stored log-probabilities are rounded at the seventh digit, so 1 minus their sum is no more exact.
# If it is smaller than this, the probabilities of the other words are summed instead.
_UNCERTAIN = 1e-2


def left_by(prefix: NDArray[np.int64], mass: Float64Array, contexts: int) -> Float64Array:
    """1 minus the sum of the probabilities `mass` (M,) in each context: (contexts,), at least 0."""
    left: Float64Array = np.maximum(1.0 - context_sums(prefix, mass, contexts), 0.0)
    return left


def refitted(
    table: BackoffTable, suffixes: list[IntArray], n: int, changed: BoolArray | None = None
) -> BackoffTable:
    """The table with new back-off weights for contexts of n - 1 words.

    The weights of shorter contexts must be right already. If only the continuations of a context
    can follow it, its weight stays: it is never used.

    Args:
        table: the table.
        suffixes: its `all_suffixes`.
        n: the order of the n-grams after these contexts.
        changed: (C,) which contexts get one; None for all that have n-grams.
    """
    shorter = table.orders[n - 2]
    weights = DiskArray(shorter.log_backoffs.dtype)
    for block in blocks(table, n):
        lower = probs_of(gathered(table.orders[n - 2].log_probs, suffixes[n - 2][block.ngrams]))
        left = left_by(
            block.prefix, probs_of(table.orders[n - 1].log_probs[block.ngrams]), block.size
        )
        left_lower = left_by(block.prefix, lower, block.size)
        if changed is None:
            contexts = np.unique(block.prefix)
        else:
            (contexts,) = np.nonzero(changed[block.contexts])
        for context in contexts[left_lower[contexts] < _UNCERTAIN].tolist():
            left_lower[context] = _unseen_after(table, suffixes, n, block, context)
        contexts = contexts[left_lower[contexts] > 0]
        of_block = np.array(shorter.log_backoffs[block.contexts])
        with np.errstate(divide="ignore"):
            of_block[contexts] = np.log(left[contexts] / left_lower[contexts])
        weights.append(of_block)
        for suffix in suffixes:
            release_pages(suffix)
    orders = list(table.orders)
    orders[n - 2] = replace(shorter, log_backoffs=weights.mapped())
    return BackoffTable(tuple(orders))


def _unseen_after(
    table: BackoffTable, suffixes: list[IntArray], n: int, block: TableBlock, context: int
) -> float:
    """What the shorter context leaves to the words that do not follow a context of the block."""
    index = block.contexts.start + context
    row = np.exp(table.log_probs(_shortened(table, suffixes, n - 1, index))[0])
    children = slice(*table.orders[n - 2].first_child[index : index + 2].tolist())
    row[table.orders[n - 1].words[children]] = 0.0
    return float(row.sum())


def _shortened(
    table: BackoffTable, suffixes: list[IntArray], length: int, index: int
) -> NDArray[np.int64]:
    """The contexts (1, order - 1) after the last length - 1 words of an n-gram of `length`."""
    contexts = np.full((1, table.order - 1), -1, dtype=np.int64)
    for shorter in range(length - 1, 0, -1):
        index = int(suffixes[shorter - 1][index])
        contexts[0, shorter - 1] = index
    return contexts
