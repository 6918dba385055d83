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

from lmsuite.files.disk_arrays import DiskArray
from lmsuite.files.tensors import release_pages
from lmsuite.ngram.disk_table import TableOnDisk
from lmsuite.ngram.refitting import left_by, refitted
from lmsuite.ngram.table import BackoffTable
from lmsuite.ngram.table_blocks import all_suffixes, blocks, gathered, probs_of
from lmsuite.text.vocabulary import BOS, EOS
from lmsuite.types import BoolArray, FloatArray, IntArray


def entropy_pruned(table: BackoffTable, threshold: float) -> BackoffTable:
    """The table without the n-grams whose loss raises perplexity by a part below `threshold`.

    It is worked on, and comes, on disk.
    """
    suffixes = all_suffixes(table)
    keeps: list[BoolArray] = []
    needed = np.zeros(table.sizes[-1], dtype=bool)
    for n, rises in reversed(list(enumerate(_rises(table, suffixes), start=2))):
        kept = DiskArray(np.bool_)
        shorter = np.zeros(table.sizes[n - 2], dtype=bool)
        for block in blocks(table, n):
            keep = needed[block.ngrams] | ~(rises[block.ngrams] < threshold)
            shorter[block.contexts][block.prefix[keep]] = True
            shorter[suffixes[n - 2][block.ngrams][keep]] = True
            kept.append(keep)
            release_pages(rises)
            release_pages(suffixes[n - 2])
        needed = shorter
        keeps.insert(0, kept.mapped())
    return _without(table, keeps)


def perplexity_rises(table: BackoffTable) -> list[FloatArray]:
    """e^D - 1 of every n-gram (M,), for orders 2, 3, ..."""
    return _rises(table, all_suffixes(table))


def _rises(table: BackoffTable, suffixes: list[IntArray]) -> list[FloatArray]:
    # <s> has no probability, but occurs as often as </s>, so it gets the same (as in SRILM).
    context_log_probs: FloatArray = table.orders[0].log_probs.astype(np.float64)
    context_log_probs[BOS] = context_log_probs[EOS]
    rises: list[FloatArray] = []
    for n, suffix in enumerate(suffixes, start=2):
        shorter, order = table.orders[n - 2], table.orders[n - 1]
        of_order, longer = DiskArray(np.float64), DiskArray(np.float64)
        for block in blocks(table, n):
            prefix, log_probs = block.prefix, order.log_probs[block.ngrams]
            weight = shorter.log_backoffs[block.contexts].astype(np.float64)[prefix]
            log_prob_of_context = context_log_probs[block.contexts][prefix]
            probs = probs_of(log_probs)
            lower = probs_of(gathered(shorter.log_probs, suffix[block.ngrams]))
            unseen, unseen_lower = (
                left_by(prefix, mass, block.size)[prefix] for mass in (probs, lower)
            )
            with np.errstate(divide="ignore", invalid="ignore"):
                new_weight = np.log((unseen + probs) / (unseen_lower + lower))
                own = probs * (np.log(lower) + new_weight - np.log(probs))
                others = unseen * (new_weight - weight)
            # 0 log 0 = 0: an n-gram of probability zero contributes nothing.
            divergence = -np.where(probs > 0, own, 0.0) - np.where(weight > -np.inf, others, 0.0)
            of_order.append(np.expm1(np.exp(log_prob_of_context) * divergence))
            longer.append(log_prob_of_context + log_probs)
            release_pages(context_log_probs)
            release_pages(suffix)
        rises.append(of_order.mapped())
        context_log_probs = longer.mapped()
    return rises


def _without(table: BackoffTable, keeps: list[NDArray[np.bool_]]) -> BackoffTable:
    """The table with only the n-grams to keep, those of orders 2, 3, ...; new back-off weights make
    its sums one."""
    dtype, size = table.orders[0].log_probs.dtype, table.vocabulary_size
    made = [
        TableOnDisk(size, is_highest=n == table.order, dtype=dtype)
        for n in range(1, table.order + 1)
    ]
    made[0].add_ngrams(table.orders[0].words, table.orders[0].log_probs)
    kept_contexts = np.ones(size, dtype=bool)
    lost: list[BoolArray] = []
    for n, kept in enumerate(keeps, start=2):
        shorter, order = table.orders[n - 2], table.orders[n - 1]
        is_poorer, total = DiskArray(np.bool_), 0
        for block in blocks(table, n):
            keep, stays = kept[block.ngrams], kept_contexts[block.contexts]
            made[n - 1].add_ngrams(
                order.words[block.ngrams][keep], order.log_probs[block.ngrams][keep]
            )
            children = np.bincount(block.prefix[keep], minlength=block.size)[stays]
            ends = total + np.cumsum(children)
            made[n - 2].add_contexts(shorter.log_backoffs[block.contexts][stays], ends)
            total += int(children.sum())
            poorer = np.zeros(block.size, dtype=bool)
            poorer[block.prefix[~keep]] = True
            is_poorer.append(poorer[stays])
            release_pages(kept)
            release_pages(kept_contexts)
        lost.append(is_poorer.mapped())
        kept_contexts = kept
    pruned = BackoffTable(tuple(of_order.mapped() for of_order in made))
    suffixes = all_suffixes(pruned)
    for n, changed in enumerate(lost, start=2):
        pruned = refitted(pruned, suffixes, n, changed)
    return pruned
