"""Witten-Bell smoothing: the more different words follow a context, the more it leaves over.

    share(hw) = c(hw) / (c(h.) + T(h))        leftover(h) = T(h) / (c(h.) + T(h))

where T(h) is the number of different words seen after h (Witten & Bell 1991, method C, interpolated
as in Chen & Goodman 1999).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lmsuite.ngram.recursion import Shares, Terms, divide
from lmsuite.types import FloatArray, IntArray


class WittenBell:
    """The estimator of Witten & Bell."""

    def terms(self, count: IntArray) -> Terms:
        """The counts, and 1 for each n-gram that was seen."""
        return count, np.minimum(count, 1)

    def shares(
        self, prefix: IntArray, terms: Terms, sums: Sequence[FloatArray], starts: slice
    ) -> Shares:
        """The shares and T(h) / (c(h.) + T(h))."""
        (count, _), (total, types) = terms, sums
        denominator = total + types
        leftover = divide(types, denominator, otherwise=1.0)
        return Shares(count / np.maximum(denominator, 1.0)[prefix], leftover)
