"""What every smoothing has in common: discounted shares, a leftover weight, and one recursion.

An estimator answers, for each order, two questions: which *share* of its context's probability an
n-gram keeps for itself, and which weight is *left over* in each context. What becomes of the
leftover is written once, in `combine`:

* interpolated (Chen & Goodman 1999): the distribution of the context without its first
  word is mixed in with that weight, p(w | h) = share(hw) + leftover(h) p(w | h');
* backing off (Katz 1987): words not seen in the context divide it in the proportions of that
  distribution, p(w | h) = share(hw) if seen, else alpha(h) p(w | h');
* as scores (Brants et al. 2007): the leftover multiplies as it is, and nothing sums to one.

The recursion ends in a base distribution below the unigrams, into which these are always mixed: the
uniform one, so that ``<unk>`` has a probability, or all of it on ``<unk>``.

Pruned n-grams give their share back to their context's leftover weight, whatever the smoothing.
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
from lmsuite.types import FloatArray, IntArray


class Leftover(Enum):
    """What becomes of the weight that the n-grams of a context leave over."""

    INTERPOLATED = auto()
    BACKING_OFF = auto()
    SCORES = auto()


@dataclass(frozen=True)
class Shares:
    """One order's answer: M n-grams, C contexts. A context without n-grams leaves over 1."""

    share: FloatArray
    """(M,) the part of its context's probability that an n-gram keeps for itself."""
    leftover: FloatArray
    """(C,) the weight left over in each context."""


@dataclass(frozen=True)
class Smoothed:
    """An estimator's answer for all orders, and what it has to say."""

    shares: Iterable[Shares]
    """One order after the other; only one need be there at a time."""
    leftover: Leftover = Leftover.INTERPOLATED
    discounts: tuple[Discounts, ...] = ()
    messages: tuple[str, ...] = ()


def context_sums(prefix: IntArray, values: FloatArray | IntArray, contexts: int) -> FloatArray:
    """The sum of values (M,) over the n-grams of each context, (contexts,)."""
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
    for n, (order, kept) in enumerate(zip(counts.orders, survivors, strict=True), start=1):
        contexts = survivors[n - 2].index if n > 1 else None
        # Below the unigrams nobody is left out.
        backs_off = smoothed.leftover is Leftover.BACKING_OFF and n == 1
        leftover = Leftover.INTERPOLATED if backs_off else smoothed.leftover
        shorter = lower[kept.suffix] if n > 1 else lower
        lower, weight = mixed(next(answers), order.prefix, kept, contexts, shorter, leftover)
        del shorter  # long arrays all; the next order's are longer
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
    """One step of the recursion: probabilities of the n-grams kept, weights of their contexts.

    Args:
        shares: of all M n-grams and C contexts.
        prefix: (M,) the context of each.
        kept: those that are kept.
        contexts: the contexts that are kept, their indexes; None for all.
        shorter: the probability of the words of those kept without the first word of the context.
        leftover: what becomes of it.
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

    Where the words seen are all that h' allows, there is nobody to leave a weight to, and the
    shares are scaled to sum to one.
    """
    unseen = 1.0 - context_sums(prefix, shorter, len(leftover))
    nobody = unseen < 1e-9
    alpha = np.where(nobody, 0.0, leftover / np.where(nobody, 1.0, unseen))
    scale = np.where(nobody, 1.0 / np.maximum(1.0 - leftover, 1e-300), 1.0)
    return share * scale[prefix], alpha
