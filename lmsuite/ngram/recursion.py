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

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol, TypeAlias

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


Terms: TypeAlias = Sequence[FloatArray | IntArray]


class Estimator(Protocol):
    """The answer of a smoothing for one order: a function of counts, and of sums over contexts.

    So whoever has the counts in parts needs to know nothing of a smoothing but what to add up.
    """

    def terms(self, count: IntArray) -> Terms:
        """What `shares` needs the sums of: values (M,) of the n-grams, the first their counts."""
        ...

    def shares(
        self, prefix: IntArray, terms: Terms, sums: Sequence[FloatArray], starts: slice
    ) -> Shares:
        """The shares of n-grams (M,).

        Args:
            prefix: (M,) the context of each n-gram.
            terms: of these n-grams; they may be overwritten.
            sums: for each term, the sums (C,) over all n-grams of each context.
            starts: the contexts that begin with ``<s>``.
        """
        ...


@dataclass(frozen=True)
class Smoothing:
    """A smoothing that is fitted to a text: its estimators, and messages about them."""

    estimators: tuple[Estimator, ...]
    """One an order."""
    leftover: Leftover = Leftover.INTERPOLATED
    discounts: tuple[Discounts, ...] = ()
    messages: tuple[str, ...] = ()

    def leftover_of(self, n: int) -> Leftover:
        """How order n uses the leftover; below the unigrams every word gets a part of it."""
        backs_off = self.leftover is Leftover.BACKING_OFF and n == 1
        return Leftover.INTERPOLATED if backs_off else self.leftover


def context_sums(prefix: IntArray, values: FloatArray | IntArray, contexts: int) -> FloatArray:
    """The sums (contexts,) of values (M,) over the n-grams of each context."""
    sums = np.bincount(prefix, weights=values, minlength=contexts)
    return sums.astype(np.float64, copy=False)


def divide(numerator: FloatArray, denominator: FloatArray, otherwise: float) -> FloatArray:
    """numerator / denominator, and `otherwise` where the denominator is 0."""
    quotient: FloatArray = np.full(np.broadcast(numerator, denominator).shape, otherwise)
    np.divide(numerator, denominator, out=quotient, where=denominator != 0)
    return quotient


def shares_of(
    estimator: Estimator, prefix: IntArray, count: IntArray, contexts: int, starts: slice
) -> Shares:
    """The shares of all n-grams (M,) of an order, or of some contexts (C,)."""
    terms = estimator.terms(count)
    sums = [context_sums(prefix, term, contexts) for term in terms]
    return estimator.shares(prefix, terms, sums, starts)


def combine(
    counts: NgramCounts,
    counted: Sequence[IntArray],
    smoothing: Smoothing,
    survivors: Sequence[Survivors],
    base: FloatArray,
    dtype: DTypeLike = np.float32,
) -> BackoffTable:
    """The recursion from the base distribution (V,) up to the highest order.

    It runs in float64; the results are kept as `dtype`. `counted` has the counts (M,) of each order
    that the smoothing works with.
    """
    lower = base
    log_probs, log_backoffs = [], []
    for n, kept in enumerate(each("smoothing", survivors, "orders"), start=1):
        prefix, estimator = counts.orders[n - 1].prefix, smoothing.estimators[n - 1]
        shares = shares_of(
            estimator, prefix, counted[n - 1], counts.contexts(n), counts.starting_contexts(n)
        )
        contexts = survivors[n - 2].index if n > 1 else None
        shorter = lower[kept.suffix] if n > 1 else lower
        lower, weight = mixed(shares, prefix, kept, contexts, shorter, smoothing.leftover_of(n))
        del shares, shorter  # these arrays are long, and those of the next order are longer
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
    share, weight = shares.share, shares.leftover
    if kept.index is not None:
        if leftover is not Leftover.SCORES:
            weight = weight + context_sums(prefix, given_back(share, kept.index), len(weight))
        share = share[kept.index]
    if contexts is not None:
        weight = weight[contexts]
    scale = None
    if leftover is Leftover.BACKING_OFF:
        weight, scale = backed_off(weight, context_sums(kept.prefix, shorter, len(weight)))
    return joined(share, kept.prefix, weight, scale, shorter, leftover), weight


def given_back(share: FloatArray, kept: IntArray) -> FloatArray:
    """What each n-gram (M,) gives back to the leftover weight: its share, unless it is kept."""
    pruned = share.copy()
    pruned[kept] = 0.0
    return pruned


def backed_off(leftover: FloatArray, seen: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Katz's alpha(h) = leftover(h) / (1 - the sum of p(w | h') over the w seen after h).

    If h' allows only words seen after h, no word can get the leftover. Then the shares are scaled
    to sum to one.

    Args:
        leftover: (C,) the weight left over in each context.
        seen: (C,) the sum of p(w | h').

    Returns:
        alpha (C,), and the factor (C,) of the shares.
    """
    unseen = 1.0 - seen
    all_seen = unseen < 1e-9
    alpha = np.where(all_seen, 0.0, leftover / np.where(all_seen, 1.0, unseen))
    return alpha, np.where(all_seen, 1.0 / np.maximum(1.0 - leftover, 1e-300), 1.0)


def joined(
    share: FloatArray,
    prefix: IntArray,
    weight: FloatArray,
    scale: FloatArray | None,
    shorter: FloatArray,
    leftover: Leftover,
) -> FloatArray:
    """The probabilities (M,) of n-grams, from the weights (C,) of their contexts.

    `scale` is that of `backed_off`, if the order backs off.
    """
    if scale is not None:
        return share * scale[prefix]
    if leftover is Leftover.SCORES:
        return np.where(share > 0, share, weight[prefix] * shorter)
    probs: FloatArray = weight[prefix]
    probs *= shorter
    probs += share
    return probs
