"""Contexts in buckets: those that tell an n-gram model equally much are treated alike.

A context is as long as the longest end of the history that the table has continuations of. With the
number of these it falls into a bucket: the more different words were seen after a context, the more
often it was seen. Jelinek and Mercer (1980) tie the weights of an interpolation by such buckets.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lmsuite.ngram.table import BackoffTable
from lmsuite.text.vocabulary import BOS
from lmsuite.types import IntArray

BORDERS = (1, 2, 4, 16, 64)
"""The least number of continuations of each bucket of contexts of one length."""


class ContextBuckets:
    """The buckets of a table's contexts. Bucket 0 is of histories without a known context."""

    def __init__(self, table: BackoffTable, own_ids: IntArray | None = None) -> None:
        """The buckets of a table; `own_ids` has its id of each word, if texts have other ids."""
        self._table = table
        self._own_ids = own_ids
        self._borders = np.array(BORDERS)
        self.count = 1 + (table.order - 1) * len(BORDERS)
        self.reach = table.order - 1
        """The bucket depends on this number of the last ids."""

    def for_ids(self, own_ids: IntArray) -> ContextBuckets:
        """The same of texts with other ids, each of which (U,) has this id in the table."""
        return ContextBuckets(self._table, own_ids)

    def of_contexts(self, contexts: NDArray[np.int64]) -> NDArray[np.int64]:
        """The bucket (B,) of each row of contexts (B, order - 1), a state of the table."""
        buckets = np.zeros(len(contexts), np.int64)
        for length in range(1, self._table.order):
            known = np.flatnonzero(contexts[:, length - 1] >= 0)
            self._put(buckets, known, length, contexts[known, length - 1])
        return buckets

    def of_text(self, ids: IntArray) -> NDArray[np.int64]:
        """The bucket (M,) of the history of each of the ids (N,) that is not ``<s>``."""
        if self._table.order == 1:
            return np.zeros(np.count_nonzero(ids != BOS), np.int64)
        ids = ids if self._own_ids is None else self._own_ids[ids]
        history = np.concatenate(([BOS], ids), dtype=np.int64)
        buckets = np.zeros(len(history), np.int64)
        self._put(buckets, np.arange(1, len(history)), 1, history[:-1])
        for n, _, _, ends, ngrams in self._table.walk(history):
            if n < self._table.order:
                is_context = ends + 1 < len(history)
                self._put(buckets, ends[is_context] + 1, n, ngrams[is_context])
        predicted: NDArray[np.int64] = buckets[1:][ids != BOS]
        return predicted

    def _put(
        self,
        buckets: NDArray[np.int64],
        places: NDArray[np.int64],
        length: int,
        contexts: NDArray[np.int64],
    ) -> None:
        """Set the bucket at each place whose context of this length has continuations."""
        first = self._table.orders[length - 1].first_child
        continuations = first[contexts + 1].astype(np.int64) - first[contexts]
        level = self._borders.searchsorted(continuations, side="right")  # 0: there are none
        found = level > 0
        buckets[places[found]] = (length - 1) * len(BORDERS) + level[found]
