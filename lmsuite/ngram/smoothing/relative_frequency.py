"""Smoothings that start from c(hw) / c(h.) and change little.

Here c(h.) is the sum of c(hw) over all w:

* maximum likelihood, c(hw) / c(h.), as it is;
* add-k, (c(hw) + k) / (c(h.) + k V): Laplace with k = 1, Lidstone with any other;
* stupid backoff (Brants et al. 2007): c(hw) / c(h.) if hw was seen, else 0.4 times the
  score with the shorter history. Scores, not probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lmsuite.ngram.recursion import Shares, Terms
from lmsuite.types import FloatArray, IntArray

STUPID_BACKOFF_WEIGHT = 0.4


class RelativeFrequency:
    """c(hw) / c(h.), maximum likelihood; nothing is left over if h was seen.

    An unseen context backs off to its longest end that was seen.
    """

    def terms(self, count: IntArray) -> Terms:
        """The counts."""
        return (count,)

    def shares(
        self, prefix: IntArray, terms: Terms, sums: Sequence[FloatArray], starts: slice
    ) -> Shares:
        """The frequencies."""
        (count,), (total,) = terms, sums
        leftover = (total == 0).astype(np.float64)
        return Shares(count / np.maximum(total, 1.0)[prefix], leftover)


@dataclass(frozen=True)
class AddK:
    """Lidstone's law over V words; its part k V / (c(h.) + k V) is uniform.

    Only complete contexts have counts of their own: they have the full length, or they reach back
    to ``<s>``. If a complete context was never seen, the distribution is uniform.
    """

    added: float
    """k V"""
    is_highest: bool
    """Whether the contexts have the full length."""

    def terms(self, count: IntArray) -> Terms:
        """The counts."""
        return (count,)

    def shares(
        self, prefix: IntArray, terms: Terms, sums: Sequence[FloatArray], starts: slice
    ) -> Shares:
        """The shares; none in contexts that are not complete."""
        (count,), (total,) = terms, sums
        complete = np.full(len(total), self.is_highest)
        complete[starts] = True
        denominator = np.where(complete, total + self.added, 1.0)
        share = np.where(complete[prefix], count / denominator[prefix], 0.0)
        return Shares(share, np.where(complete, self.added / denominator, 1.0))


class StupidBackoff(RelativeFrequency):
    """Brants et al.'s scores. An unseen word has 0.4 times the uniform probability.

    In the paper, an unseen context also costs a factor 0.4. Here it costs nothing: the factor is
    the same for all words, and no back-off table or ARPA file can hold it.
    """

    def shares(
        self, prefix: IntArray, terms: Terms, sums: Sequence[FloatArray], starts: slice
    ) -> Shares:
        """The frequencies, and 0.4 for what was not seen."""
        frequencies = super().shares(prefix, terms, sums, starts)
        weight = np.where(frequencies.leftover > 0, 1.0, STUPID_BACKOFF_WEIGHT)
        return Shares(frequencies.share, weight)
