"""The same table with other ids for its words: no probability changes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lmsuite.ngram.table import BackoffTable
from lmsuite.types import IntArray


def renumbered(table: BackoffTable, ids: IntArray) -> BackoffTable:
    """The table in which word v has the id ``ids[v]``; `ids` (V,) is a permutation."""
    first = table.orders[0]
    dtype = first.log_probs.dtype
    sorting = np.argsort(ids)
    prefixes = [np.empty(0, np.int64)]
    words: list[NDArray[np.int64]] = [np.arange(len(ids))]
    log_probs = [first.log_probs[sorting]]
    log_backoffs = [first.log_backoffs[sorting]] if table.order > 1 else []
    old_to_new = index = np.asarray(ids, np.int64)  # index: of each n-gram of the order before
    for n in range(2, table.order + 1):
        order = table.orders[n - 1]
        prefix, word = index[table.prefixes(n)], old_to_new[order.words]
        sorting = np.lexsort((word, prefix))
        prefixes.append(prefix[sorting])
        words.append(word[sorting])
        log_probs.append(order.log_probs[sorting])
        if n < table.order:
            log_backoffs.append(order.log_backoffs[sorting])
        index = np.empty(len(order), np.int64)
        index[sorting] = np.arange(len(order))
    return BackoffTable.build(prefixes, words, log_probs, log_backoffs, dtype)
