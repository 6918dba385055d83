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
from dataclasses import dataclass

import numpy as np

from lmsuite.ngram.counting import NgramCounts
from lmsuite.ngram.discounts import Discounts, advised, modified_discounts, single_discount
from lmsuite.ngram.recursion import Shares, Smoothing, Terms, divide
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


def modified_kneser_ney(of_count: Sequence[IntArray]) -> Smoothing:
    """Chen & Goodman's modified Kneser-Ney, with the conventions of lmplz.

    `of_count` are the `counts_of_counts` of each order's adjusted counts.
    """
    return _discounted([modified_discounts(counted, n) for n, counted in enumerate(of_count, 1)])


def one_discount(of_count: Sequence[IntArray], discount: float | None = None) -> Smoothing:
    """One discount an order, or the one given: interpolated Kneser-Ney, if the counts are adjusted;
    absolute discounting, if they are occurrences."""
    if discount is not None:
        return _discounted([(Discounts(discount, discount, discount), [])] * len(of_count))
    return _discounted([single_discount(counted, n) for n, counted in enumerate(of_count, 1)])


def _discounted(discounts: Sequence[tuple[Discounts, list[str]]]) -> Smoothing:
    return Smoothing(
        tuple(Discounting(of_order) for of_order, _ in discounts),
        discounts=tuple(of_order for of_order, _ in discounts),
        messages=advised(message for _, messages in discounts for message in messages),
    )


@dataclass(frozen=True)
class Discounting:
    """The estimator of one order, which subtracts its discount from each count."""

    discounts: Discounts

    def terms(self, count: IntArray) -> Terms:
        """The counts and the discounts."""
        return count, self.discounts.of(count)

    def shares(
        self, prefix: IntArray, terms: Terms, sums: Sequence[FloatArray], starts: slice
    ) -> Shares:
        """The shares; they overwrite the discounts."""
        (count, share), (total, lost) = terms, sums
        np.subtract(count, share, out=share)
        share /= np.maximum(total, 1.0)[prefix]
        return Shares(share, divide(lost, total, otherwise=1.0))
