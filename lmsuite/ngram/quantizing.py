"""A smaller model: nearly every probability is one of 255 of its order, and kept in a byte.

KenLM's ``-q`` rounds every probability and every back-off weight for itself, after which the
probabilities of a context no longer sum to one. Here they do:

* The 255 values of an order are evenly spaced in the logarithm, from its least probability to its
  greatest: a few per cent apart.
* Within a context, going from the most probable word to the least, each is rounded up or down to
  whichever brings the sum so far nearer to what it was (error diffusion, Floyd & Steinberg 1976).
* The back-off weights, kept in 32 bits, are fitted to what is left then. Contexts that leave too
  little to others to make up for the rounding stay as they are.

Unigrams stay as they are, too. `compact` is how such a table is stored.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lmsuite.ngram.compact import VALUES
from lmsuite.types import BoolArray, FloatArray, IntArray
from lmsuite.ngram.refitting import all_suffixes, left_by, probs_of, refitted
from lmsuite.ngram.table import BackoffTable, Logs

_TOO_LITTLE = 1e-4  # of the shorter context's probability, left to words not seen


def quantized(table: BackoffTable) -> BackoffTable:
    """The table with rounded probabilities in every order above the first."""
    suffixes = all_suffixes(table)
    orders = list(table.orders)
    for n, suffix in enumerate(suffixes, start=2):
        lower = probs_of(table, n - 1)[suffix]
        left_lower = left_by(table.prefixes(n), lower, table.sizes[n - 2])
        log_probs = _rounded(table, n, left_lower < _TOO_LITTLE)
        orders[n - 1] = replace(orders[n - 1], log_probs=log_probs)
    rounded = BackoffTable(tuple(orders))
    for n in range(2, table.order + 1):
        contexts = np.flatnonzero(np.diff(orders[n - 2].first_child))
        rounded = refitted(rounded, suffixes, n, contexts)
    return rounded


def _rounded(table: BackoffTable, n: int, is_fixed: BoolArray) -> Logs:
    """The log-probabilities (M,) of order n, rounded but for contexts (C,) that are fixed."""
    log_probs, prefix = table.orders[n - 1].log_probs, table.prefixes(n)
    finite = log_probs[log_probs > -np.inf]
    if len(np.unique(log_probs)) <= VALUES:
        return log_probs
    scale = np.linspace(finite.min(), finite.max(), VALUES - 1).astype(np.float32)
    scale = np.concatenate((np.array([-np.inf], dtype=np.float32), scale))
    code, owed = _diffused(np.exp(log_probs.astype(np.float64)), prefix, scale, len(is_fixed))
    left = left_by(prefix, probs_of(table, n), len(is_fixed))
    is_fixed = is_fixed | (np.abs(owed) > left / 2)
    return np.where(is_fixed[prefix], log_probs, scale[code])


def _diffused(
    probs: FloatArray, prefix: IntArray, scale: NDArray[np.float32], contexts: int
) -> tuple[IntArray, FloatArray]:
    """Which value of the scale each of probs (M,) becomes, and what each context lost by it."""
    values = np.exp(scale.astype(np.float64))
    above = np.searchsorted(values, probs).clip(1, len(values) - 1)
    by_falling = np.lexsort((-probs, prefix))
    first = np.searchsorted(prefix, np.arange(contexts))
    children = np.bincount(prefix, minlength=contexts)
    open_ = np.argsort(-children, kind="stable")  # contexts, those with most words first
    code = np.empty(len(probs), dtype=np.int64)
    owed = np.zeros(contexts)
    for place in range(int(children.max(initial=0))):
        open_ = open_[: np.searchsorted(-children[open_], -place)]
        at = by_falling[first[open_] + place]
        wanted = probs[at] + owed[open_]
        low, high = values[above[at] - 1], values[above[at]]
        code[at] = above[at] - (wanted - low < high - wanted)
        owed[open_] = wanted - values[code[at]]
    return code, owed
