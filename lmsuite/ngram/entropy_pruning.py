"""Entropy pruning: leave out the n-grams that a model needs least (Stolcke 1998).

Without the n-gram hw, its word has the backed-off probability alpha'(h) p(w | h'), and the
context's back-off weight alpha(h) becomes alpha'(h). The change of the model's distribution is
measured by the relative entropy

    D = -p(h) { p(w|h) [log p(w|h') + log alpha'(h) - log p(w|h)]
                + [log alpha'(h) - log alpha(h)] (1 - sum of p(v|h) over the v stored after h) },

and e^D - 1 is the relative rise of perplexity on text that the model itself generates. An n-gram is
left out if this is below the threshold. Each is judged as if it were the only one. Then new
back-off weights are computed for the n-grams that remain.

An n-gram stays if a longer n-gram stays that begins or ends with it. So all n-grams that stay keep
their probabilities. p(h) is the product of the model's own probabilities, as in SRILM. The lower
orders of Kneser-Ney models are not marginals, so there p(h) is only a rough guide (Chelba et al.
2010).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lmsuite.ngram.refitting import all_suffixes, left_by, probs_of, refitted
from lmsuite.ngram.table import BackoffTable
from lmsuite.text.vocabulary import BOS, EOS
from lmsuite.types import FloatArray


def entropy_pruned(table: BackoffTable, threshold: float) -> BackoffTable:
    """The table without the n-grams whose loss raises perplexity by a part below `threshold`."""
    suffixes = all_suffixes(table)
    keeps: list[NDArray[np.bool_]] = []
    needed = np.zeros(table.sizes[-1], dtype=bool)
    for n, rises in reversed(list(enumerate(perplexity_rises(table), start=2))):
        keep = needed | ~(rises < threshold)
        needed = np.zeros(table.sizes[n - 2], dtype=bool)
        needed[table.prefixes(n)[keep]] = True
        needed[suffixes[n - 2][keep]] = True
        keeps.insert(0, keep)
    return _without(table, [np.ones(table.vocabulary_size, dtype=bool), *keeps])


def perplexity_rises(table: BackoffTable) -> list[FloatArray]:
    """e^D - 1 of every n-gram (M,), for orders 2, 3, ..."""
    suffixes = all_suffixes(table)
    # <s> has no probability, but occurs as often as </s>, so it gets the same (as in SRILM).
    context_log_probs = table.orders[0].log_probs.astype(np.float64)
    context_log_probs[BOS] = context_log_probs[EOS]
    rises = []
    for n, suffix in enumerate(suffixes, start=2):
        prefix = table.prefixes(n)
        weight = table.orders[n - 2].log_backoffs[prefix].astype(np.float64)
        probs, lower = probs_of(table, n), probs_of(table, n - 1)[suffix]
        unseen, unseen_lower = (
            left_by(prefix, mass, table.sizes[n - 2])[prefix] for mass in (probs, lower)
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            new_weight = np.log((unseen + probs) / (unseen_lower + lower))
            own = probs * (np.log(lower) + new_weight - np.log(probs))
            others = unseen * (new_weight - weight)
        # 0 log 0 = 0: an n-gram of probability zero contributes nothing.
        divergence = -np.where(probs > 0, own, 0.0) - np.where(weight > -np.inf, others, 0.0)
        rises.append(np.expm1(np.exp(context_log_probs)[prefix] * divergence))
        context_log_probs = context_log_probs[prefix] + table.orders[n - 1].log_probs
    return rises


def _without(table: BackoffTable, keeps: list[NDArray[np.bool_]]) -> BackoffTable:
    """The table with only the n-grams to keep; new back-off weights make its sums one."""
    prefixes = [np.empty(0, dtype=np.int64)]
    lost = []
    for n in range(2, table.order + 1):
        kept, prefix = keeps[n - 1], table.prefixes(n)
        prefixes.append((np.cumsum(keeps[n - 2]) - 1)[prefix[kept]])
        is_poorer = np.zeros(table.sizes[n - 2], dtype=bool)
        is_poorer[prefix[~kept]] = True
        lost.append(np.flatnonzero(is_poorer[keeps[n - 2]]))
    orders = list(zip(table.orders, keeps, strict=True))
    pruned = BackoffTable.build(
        prefixes,
        [order.words[kept] for order, kept in orders],
        [order.log_probs[kept] for order, kept in orders],
        [order.log_backoffs[kept] for order, kept in orders[:-1]],
        table.orders[0].log_probs.dtype,
    )
    suffixes = all_suffixes(pruned)
    for n, contexts in enumerate(lost, start=2):
        pruned = refitted(pruned, suffixes, n, contexts)
    return pruned
