"""Smoothings that start from c(hw) / c(h.) and change little.

Here c(h.) is the sum of c(hw) over all w:

* maximum likelihood, c(hw) / c(h.), as it is;
* add-k, (c(hw) + k) / (c(h.) + k V): Laplace with k = 1, Lidstone with any other;
* stupid backoff (Brants et al. 2007): c(hw) / c(h.) if hw was seen, else 0.4 times the
  score with the shorter history. Scores, not probabilities.
"""

from __future__ import annotations

import numpy as np

from lmsuite.ngram.counting import NgramCounts
from lmsuite.ngram.recursion import Leftover, Shares, Smoothed, context_sums

STUPID_BACKOFF_WEIGHT = 0.4


def relative_frequencies(counts: NgramCounts, n: int) -> Shares:
    """c(hw) / c(h.) for order n; nothing is left over if h was seen."""
    order = counts.orders[n - 1]
    total = context_sums(order.prefix, order.count, counts.contexts(n))
    leftover = (total == 0).astype(np.float64)
    return Shares(order.count / np.maximum(total, 1.0)[order.prefix], leftover)


def maximum_likelihood(counts: NgramCounts) -> Smoothed:
    """Relative frequencies; an unseen context backs off to its longest end that was seen."""
    return Smoothed(tuple(relative_frequencies(counts, n) for n in range(1, counts.order + 1)))


def add_k(counts: NgramCounts, k: float, possible: int) -> Smoothed:
    """Lidstone's law over V = `possible` words; its part k V / (c(h.) + k V) is uniform.

    Only complete contexts have counts of their own: they have the full length, or they reach back
    to ``<s>``. If a complete context was never seen, the distribution is uniform.
    """
    added = k * possible
    shares = []
    for n, order in enumerate(counts.orders, start=1):
        total = context_sums(order.prefix, order.count, counts.contexts(n))
        complete = np.full(counts.contexts(n), n == counts.order)
        if n > 1:
            complete[counts.orders[n - 2].sentence_starts] = True
        denominator = np.where(complete, total + added, 1.0)
        share = np.where(complete[order.prefix], order.count / denominator[order.prefix], 0.0)
        shares.append(Shares(share, np.where(complete, added / denominator, 1.0)))
    return Smoothed(tuple(shares))


def stupid_backoff(counts: NgramCounts) -> Smoothed:
    """Brants et al.'s scores. An unseen word has 0.4 times the uniform probability.

    In the paper, an unseen context also costs a factor 0.4. Here it costs nothing: the factor is
    the same for all words, and no back-off table or ARPA file can hold it.
    """
    shares = []
    for n in range(1, counts.order + 1):
        frequencies = relative_frequencies(counts, n)
        weight = np.where(frequencies.leftover > 0, 1.0, STUPID_BACKOFF_WEIGHT)
        shares.append(Shares(frequencies.share, weight))
    return Smoothed(tuple(shares), Leftover.SCORES)
