"""The discounts of Kneser-Ney and absolute smoothing, from counts of counts.

n_r is the number of n-grams of an order that were counted r times, and Y = n_1 / (n_1 + 2 n_2):

* one discount D = Y (Ney, Essen & Kneser 1994);
* three discounts D_r = r - (r + 1) Y n_{r+1} / n_r for r = 1, 2 and 3 or more (Chen & Goodman 1999,
  of modified Kneser-Ney).

Small texts give no usable discounts, nor do orders in which nearly all n-grams are frequent
(characters): some n_r is zero, or some D_r is not between 0 and r. Then the order takes the
fallback of ``lmplz --discount_fallback``: 0.5, 1 and 1.5 (or 0.75 as the one discount). A message
says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from lmsuite.types import FloatArray, IntArray

HIGHEST = 6  # the counts whose numbers any smoothing needs


def counts_of_counts(count: IntArray) -> IntArray:
    """The number of n-grams that were counted r times, for r = 0 ... HIGHEST: (HIGHEST + 1,)."""
    return np.bincount(np.minimum(count, HIGHEST + 1), minlength=HIGHEST + 1)[: HIGHEST + 1]


@dataclass(frozen=True)
class Discounts:
    """The amounts subtracted from counts of 1, of 2, and of 3 or more, in one order."""

    one: float
    two: float
    three: float

    def of(self, count: IntArray) -> FloatArray:
        """The discount of each count; a count of 0 has the discount 0."""
        discount = np.array([0.0, self.one, self.two, self.three])[np.minimum(count, 3)]
        return np.asarray(discount, dtype=np.float64)

    def as_tuple(self) -> tuple[float, float, float]:
        """(D_1, D_2, D_3+)."""
        return self.one, self.two, self.three


FALLBACK = Discounts(0.5, 1.0, 1.5)
SINGLE_FALLBACK = Discounts(0.75, 0.75, 0.75)


def modified_discounts(counted: IntArray, n: int) -> tuple[Discounts, list[str]]:
    """Chen & Goodman's three discounts for order n, and messages about them.

    `counted` are the order's `counts_of_counts`.
    """
    of_count = counted.astype(np.float64)
    missing = [r for r in (1, 2, 3) if not of_count[r]]
    if missing:
        return FALLBACK, [
            _message(FALLBACK, n, f"no {n}-gram has an adjusted count of {missing[0]}")
        ]
    y = of_count[1] / (of_count[1] + 2 * of_count[2])
    amounts = [r - (r + 1) * y * of_count[r + 1] / of_count[r] for r in (1, 2, 3)]
    for r, amount in enumerate(amounts, start=1):
        if not 0 <= amount <= r:
            reason = f"the closed form gives {amount:.3g} for a count of {r}"
            return FALLBACK, [_message(FALLBACK, n, reason)]
    return Discounts(*(float(amount) for amount in amounts)), []


def single_discount(counted: IntArray, n: int) -> tuple[Discounts, list[str]]:
    """The one discount n_1 / (n_1 + 2 n_2) for order n, and messages about it.

    `counted` are the order's `counts_of_counts`.
    """
    _, once, twice, *_ = counted.tolist()
    if not once or not twice:
        reason = f"no {n}-gram has a count of {2 if once else 1}"
        return SINGLE_FALLBACK, [_message(SINGLE_FALLBACK, n, reason)]
    amount = once / (once + 2 * twice)
    return Discounts(amount, amount, amount), []


_ADVICE = (
    "discounts fall back if a text is tiny or repetitive, or has few different tokens; "
    "try --smoothing witten-bell, which needs none, or give more text"
)


def advised(messages: Iterable[str]) -> tuple[str, ...]:
    """The messages about all orders, followed by advice if there are any."""
    said = tuple(messages)
    return (*said, _ADVICE) if said else ()


def _message(fallback: Discounts, n: int, reason: str) -> str:
    amounts = ", ".join(f"{amount:g}" for amount in dict.fromkeys(fallback.as_tuple()))
    return f"order {n}: discounts fall back to {amounts}, because {reason}"
