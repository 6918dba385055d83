"""The common form of all smoothings: discounted shares, a leftover weight, and one recursion.

For each order, an estimator answers two questions. Which *share* of its context's probability does
an n-gram keep for itself? And which weight is *left over* in each context? `combine` then uses the
leftover in one of three ways. h' is the context h without its first word:

* interpolated (Chen & Goodman 1999): the leftover is the weight of the distribution after h',
  p(w | h) = share(hw) + leftover(h) p(w | h');
* backing off (Katz 1987): only words not seen after h get the leftover, in proportion to p(w | h'),
  p(w | h) = share(hw) if seen, else alpha(h) p(w | h');
* as scores (Brants et al. 2007): as backing off, but with leftover(h) itself as the factor, so that
  nothing sums to one.

Below the unigrams there is a base distribution, which is interpolated even if the orders back off.
It is uniform, so ``<unk>`` has a probability; or all of it is on ``<unk>``.

A pruned n-gram gives its share back to the leftover weight of its context (except for scores).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto

import numpy as np
from numpy.typing import DTypeLike

from lmsuite.ngram.counting import NgramCounts
from lmsuite.ngram.discounts import Discounts
from lmsuite.ngram.pruning import Survivors
from lmsuite.ngram.table import BackoffTable
from lmsuite.progress import each
from lmsuite.types import FloatArray, IntArray


class Leftover(Enum):
    """How the recursion uses the weight that the n-grams of a context leave over."""

    INTERPOLATED = auto()
    BACKING_OFF = auto()
    SCORES = auto()


@dataclass(frozen=True)
class Shares:
    """An estimator's answer for one order, with M n-grams and C contexts."""

    share: FloatArray
    """(M,) the part of its context's probability that an n-gram keeps for itself."""
    leftover: FloatArray
    """(C,) the weight left over in each context; 1 if the context has no n-grams."""


@dataclass(frozen=True)
class Smoothed:
    """An estimator's answer for all orders, and its messages."""

    shares: Iterable[Shares]
    """One order after the other, so that only one must be in memory."""
    leftover: Leftover = Leftover.INTERPOLATED
    discounts: tuple[Discounts, ...] = ()
    messages: tuple[str, ...] = ()


def context_sums(prefix: IntArray, values: FloatArray | IntArray, contexts: int) -> FloatArray:
    """The sums (contexts,) of values (M,) over the n-grams of each context."""
    sums = np.bincount(prefix, weights=values, minlength=contexts)
    return sums.astype(np.float64, copy=False)


def divide(numerator: FloatArray, denominator: FloatArray, otherwise: float) -> FloatArray:
    """numerator / denominator, and `otherwise` where the denominator is 0."""
    quotient: FloatArray = np.full(np.broadcast(numerator, denominator).shape, otherwise)
    np.divide(numerator, denominator, out=quotient, where=denominator != 0)
    return quotient


def combine(
    counts: NgramCounts,
    smoothed: Smoothed,
    survivors: Sequence[Survivors],
    base: FloatArray,
    dtype: DTypeLike = np.float32,
) -> BackoffTable:
    """The recursion from the base distribution (V,) up to the highest order.

    It runs in float64; the results are kept as `dtype`.
    """
    lower = base
    log_probs, log_backoffs = [], []
    answers = iter(smoothed.shares)
    pairs = list(zip(counts.orders, survivors, strict=True))
    for n, (order, kept) in enumerate(each("smoothing", pairs, "orders"), start=1):
        contexts = survivors[n - 2].index if n > 1 else None
        # Below the unigrams every word gets a part of the leftover.
        backs_off = smoothed.leftover is Leftover.BACKING_OFF and n == 1
        leftover = Leftover.INTERPOLATED if backs_off else smoothed.leftover
        shorter = lower[kept.suffix] if n > 1 else lower
        lower, weight = mixed(next(answers), order.prefix, kept, contexts, shorter, leftover)
        del shorter  # these arrays are long, and those of the next order are longer
        with np.errstate(divide="ignore"):
            log_probs.append(np.log(lower).astype(dtype, copy=False))
            log_backoffs.append(np.log(weight).astype(dtype, copy=False))
        del weight
    return BackoffTable.build(
        [kept.prefix for kept in survivors],
        [kept.word for kept in survivors],
        log_probs,
        log_backoffs[1:],
        dtype,
    )


def mixed(
    shares: Shares,
    prefix: IntArray,
    kept: Survivors,
    contexts: IntArray | None,
    shorter: FloatArray,
    leftover: Leftover,
) -> tuple[FloatArray, FloatArray]:
    """One step of the recursion: probabilities of the kept n-grams, weights of their contexts.

    Args:
        shares: of all M n-grams and C contexts.
        prefix: (M,) the context of each n-gram.
        kept: the n-grams that are kept.
        contexts: the indexes of the contexts that are kept; None for all.
        shorter: p(w | h') for each kept n-gram hw.
        leftover: how to use the leftover weight.
    """
    weight = shares.leftover
    if kept.index is not None:
        pruned = np.ones(len(prefix), dtype=bool)
        pruned[kept.index] = False
        if leftover is not Leftover.SCORES:
            given_back = np.where(pruned, shares.share, 0.0)
            weight = weight + context_sums(prefix, given_back, len(weight))
    if contexts is not None:
        weight = weight[contexts]
    share = shares.share if kept.index is None else shares.share[kept.index]
    if leftover is Leftover.SCORES:
        return np.where(share > 0, share, weight[kept.prefix] * shorter), weight
    if leftover is Leftover.BACKING_OFF:
        return _back_off(share, weight, shorter, kept.prefix)
    probs = weight[kept.prefix]
    probs *= shorter
    probs += share
    return probs, weight


def _back_off(
    share: FloatArray, leftover: FloatArray, shorter: FloatArray, prefix: IntArray
) -> tuple[FloatArray, FloatArray]:
    """Katz's alpha(h) = leftover(h) / (1 - the sum of p(w | h') over the w seen after h).

    If h' allows only words seen after h, no word can get the leftover. Then the shares are scaled
    to sum to one.
    """
    unseen = 1.0 - context_sums(prefix, shorter, len(leftover))
    all_seen = unseen < 1e-9
    alpha = np.where(all_seen, 0.0, leftover / np.where(all_seen, 1.0, unseen))
    scale = np.where(all_seen, 1.0 / np.maximum(1.0 - leftover, 1e-300), 1.0)
    return share * scale[prefix], alpha
