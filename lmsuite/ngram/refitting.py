"""New back-off weights for changed probabilities: each distribution sums to one again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lmsuite.ngram.recursion import context_sums
from lmsuite.ngram.table import BackoffTable
from lmsuite.types import Float64Array

# Stored log-probabilities are rounded at the seventh digit, so 1 minus their sum is no more exact.
# If it is smaller than this, the probabilities of the other words are summed instead.
_UNCERTAIN = 1e-2


def all_suffixes(table: BackoffTable) -> list[NDArray[np.int64]]:
    """`BackoffTable.suffixes` of orders 2, 3, ..."""
    suffixes: list[NDArray[np.int64]] = []
    for n in range(2, table.order + 1):
        suffixes.append(table.suffixes(n, suffixes[-1] if suffixes else None))
    return suffixes


def probs_of(table: BackoffTable, n: int) -> Float64Array:
    """The probabilities (M,) of the n-grams of order n."""
    probs: Float64Array = np.exp(table.orders[n - 1].log_probs.astype(np.float64))
    return probs


def left_by(prefix: NDArray[np.int64], mass: Float64Array, contexts: int) -> Float64Array:
    """1 minus the sum of the probabilities `mass` (M,) in each context: (contexts,), at least 0."""
    left: Float64Array = np.maximum(1.0 - context_sums(prefix, mass, contexts), 0.0)
    return left


def refitted(
    table: BackoffTable, suffixes: list[NDArray[np.int64]], n: int, contexts: NDArray[np.int64]
) -> BackoffTable:
    """The table with new back-off weights for contexts (K,) of n - 1 words.

    The weights of shorter contexts must be right already. If only the continuations of a context
    can follow it, its weight stays: it is never used.
    """
    prefix, shorter = table.prefixes(n), table.orders[n - 2]
    lower = probs_of(table, n - 1)[suffixes[n - 2]]
    left = left_by(prefix, probs_of(table, n), len(shorter))
    left_lower = left_by(prefix, lower, len(shorter))
    for context in contexts[left_lower[contexts] < _UNCERTAIN].tolist():
        row = np.exp(table.log_probs(_shortened(table, suffixes, n - 1, context))[0])
        children = slice(*shorter.first_child[context : context + 2].tolist())
        row[table.orders[n - 1].words[children]] = 0.0
        left_lower[context] = row.sum()
    contexts = contexts[left_lower[contexts] > 0]
    weights = shorter.log_backoffs.copy()
    with np.errstate(divide="ignore"):
        weights[contexts] = np.log(left[contexts] / left_lower[contexts])
    orders = list(table.orders)
    orders[n - 2] = replace(shorter, log_backoffs=weights)
    return BackoffTable(tuple(orders))


def _shortened(
    table: BackoffTable, suffixes: list[NDArray[np.int64]], length: int, index: int
) -> NDArray[np.int64]:
    """The contexts (1, order - 1) after the last length - 1 words of an n-gram of `length`."""
    contexts = np.full((1, table.order - 1), -1, dtype=np.int64)
    for shorter in range(length - 1, 0, -1):
        index = int(suffixes[shorter - 1][index])
        contexts[0, shorter - 1] = index
    return contexts
