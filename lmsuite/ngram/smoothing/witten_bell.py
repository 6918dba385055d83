"""Witten-Bell smoothing: the more different words follow a context, the more it leaves over.

    share(hw) = c(hw) / (c(h.) + T(h))        leftover(h) = T(h) / (c(h.) + T(h))

where T(h) is the number of different words seen after h (Witten & Bell 1991, method C, interpolated
as in Chen & Goodman 1999).
"""

from __future__ import annotations

import numpy as np

from lmsuite.ngram.counting import NgramCounts
from lmsuite.ngram.recursion import Shares, Smoothed, context_sums, divide


def witten_bell(counts: NgramCounts) -> Smoothed:
    """The shares of Witten & Bell."""
    shares = []
    for n, order in enumerate(counts.orders, start=1):
        total = context_sums(order.prefix, order.count, counts.contexts(n))
        types = context_sums(order.prefix, np.minimum(order.count, 1), counts.contexts(n))
        denominator = total + types
        leftover = divide(types, denominator, otherwise=1.0)
        shares.append(Shares(order.count / np.maximum(denominator, 1.0)[order.prefix], leftover))
    return Smoothed(tuple(shares))
