"""Absolute discounting and its descendants: a fixed amount is subtracted from every count.

    share(hw) = (c(hw) - D(c(hw))) / c(h.)        leftover(h) = the sum of D(c(hw)) / c(h.)

where c(h.) is the sum of c(hw) over w. The three differ only in c and D:

* absolute discounting (Ney, Essen & Kneser 1994): occurrences, one D an order;
* Kneser-Ney (Kneser & Ney 1995): adjusted counts, one D an order;
* modified Kneser-Ney (Chen & Goodman 1999): adjusted counts, one D each for 1, 2, and 3 or more.

Below the highest order, an n-gram is counted not by its occurrences but by its *continuations*: the
number of different words that precede it (Kneser & Ney 1995; Chen & Goodman 1999).
N-grams that begin with ``<s>`` have nothing before them and keep their occurrences, as in lmplz
(Heafield et al. 2013, section 3.2). If a text begins without ``<s>``, its beginning counts as one
more preceding word. So every n-gram that was seen has a count of at least one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lmsuite.ngram.counting import NgramCounts
from lmsuite.ngram.discounts import Discounts, advised, modified_discounts, single_discount
from lmsuite.ngram.recursion import Shares, Smoothed, context_sums, divide
from lmsuite.types import FloatArray, IntArray


def adjusted_counts(counts: NgramCounts) -> tuple[IntArray, ...]:
    """The adjusted counts (M,) of every order; in the highest order they are the occurrences."""
    adjusted = []
    for order, longer in zip(counts.orders, counts.orders[1:], strict=False):
        continuations = np.bincount(longer.suffix, minlength=len(order))
        continuations = continuations.astype(order.count.dtype)
        continuations[order.openings] += 1
        continuations[order.sentence_starts] = order.count[order.sentence_starts]
        adjusted.append(continuations)
    return (*adjusted, counts.orders[-1].count)


def modified_kneser_ney(counts: NgramCounts) -> Smoothed:
    """Chen & Goodman's modified Kneser-Ney, with the conventions of lmplz."""
    adjusted = adjusted_counts(counts)
    return _discounted(
        counts, adjusted, [modified_discounts(count, n) for n, count in enumerate(adjusted, 1)]
    )


def kneser_ney(counts: NgramCounts, discount: float | None = None) -> Smoothed:
    """Interpolated Kneser-Ney with one discount an order, or the one given."""
    adjusted = adjusted_counts(counts)
    return _discounted(counts, adjusted, _single(adjusted, discount))


def absolute(counts: NgramCounts, discount: float | None = None) -> Smoothed:
    """Interpolated absolute discounting with one discount an order, or the one given."""
    occurrences = [order.count for order in counts.orders]
    return _discounted(counts, occurrences, _single(occurrences, discount))


def _single(
    adjusted: Sequence[IntArray], discount: float | None
) -> list[tuple[Discounts, list[str]]]:
    if discount is not None:
        return [(Discounts(discount, discount, discount), [])] * len(adjusted)
    return [single_discount(count, n) for n, count in enumerate(adjusted, 1)]


def _discounted(
    counts: NgramCounts,
    adjusted: Sequence[IntArray],
    discounts: Sequence[tuple[Discounts, list[str]]],
) -> Smoothed:
    shares = (
        discounted_shares(order.prefix, count, of_order, counts.contexts(n))
        for n, (order, count, (of_order, _)) in enumerate(
            zip(counts.orders, adjusted, discounts, strict=True), start=1
        )
    )
    return Smoothed(
        shares,
        discounts=tuple(of_order for of_order, _ in discounts),
        messages=advised(message for _, messages in discounts for message in messages),
    )


def discounted_shares(
    prefix: IntArray, count: IntArray, discounts: Discounts, contexts: int
) -> Shares:
    """The shares of one order, after its discount is subtracted from each count (M,)."""
    discount = discounts.of(count)
    total = context_sums(prefix, count, contexts)
    lost = context_sums(prefix, discount, contexts)
    return shares_with_sums(prefix, count, discount, total, lost)


def shares_with_sums(
    prefix: IntArray, count: IntArray, discount: FloatArray, total: FloatArray, lost: FloatArray
) -> Shares:
    """As `discounted_shares`, from the sums of counts and discounts over each context (C,).

    The shares overwrite the discounts (M,).
    """
    leftover = divide(lost, total, otherwise=1.0)
    np.subtract(count, discount, out=discount)
    discount /= np.maximum(total, 1.0)[prefix]
    return Shares(discount, leftover)
