"""All orders of a back-off table in one sorted row, so that one search serves all orders.

It is for small batches and for texts of some hundred tokens: there the number of numpy calls takes
the time, not the work in each call.

The row holds the n-grams order by order, sorted by their keys. A key is the *place* of the context
in the row, times V, plus the last word. Before each order there is one more place. It stands for an
n-gram that is not stored, index -1: a context without continuations, with log back-off weight 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from lmsuite.types import Float64Array, IntArray

_NEVER = -1  # a key that no search asks for
_BEYOND = np.iinfo(np.int64).max  # the last key: with it, every search ends at a key

_Search = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]
"""The places of contexts, the places where the n-grams belong, and whether they are there."""


class FlatTable:
    """Serves `BackoffTable` for few ids. That class documents the methods of the same names."""

    def __init__(
        self,
        words: Sequence[IntArray],
        prefixes: Sequence[IntArray],
        log_probs: Sequence[NDArray[np.floating]],
        log_backoffs: Sequence[NDArray[np.floating]],
    ) -> None:
        """Put the orders into one row.

        Args:
            words: the last words (M,) of each order.
            prefixes: the index (M,) of all other words, for each order but the first.
            log_probs: (M,) of each order.
            log_backoffs: (M,) of each order but the last.
        """
        self._size = len(words[0])
        sizes = [len(order) + 1 for order in words]
        first = list(accumulate(sizes, initial=1))[:-1]  # the place of each order's index 0
        self._first = np.array(first, np.int64)[:, None]  # (order, 1)
        self._keys = np.full(sum(sizes) + 1, _NEVER, np.int64)
        for n, (prefix, word) in enumerate(zip(prefixes, words[1:], strict=True), start=1):
            keys = self._keys[first[n] : first[n] + len(word)]
            np.multiply(prefix + first[n - 1], self._size, keys)
            keys += word
            # Equal to the key before it: the row stays sorted, and no search ends here.
            self._keys[first[n] - 1] = self._keys[first[n] - 2]
        self._keys[-1] = _BEYOND
        dtype = log_probs[0].dtype
        self._log_probs, self._log_backoffs = np.zeros((2, len(self._keys)), dtype)
        self._unigrams = self._log_probs[1:]
        self._first_context, self._first_found = self._first[:-1], self._first[1:]
        for values, row in ((log_probs, self._log_probs), (log_backoffs, self._log_backoffs)):
            for begin, of_order in zip(first, values, strict=False):
                row[begin : begin + len(of_order)] = of_order

    def extend(self, contexts: NDArray[np.int64], ids: IntArray) -> NDArray[np.int64]:
        """The contexts (B, order - 1) after each is continued by one id (B,)."""
        return self._longer(self._search(contexts.T + self._first_context, ids), ids)

    def score_next(
        self, contexts: NDArray[np.int64], ids: IntArray
    ) -> tuple[Float64Array, NDArray[np.int64]]:
        """The log-probability (B,) of one id after each context, and the contexts after it."""
        search = self._search(contexts.T + self._first_context, ids)
        return self._scores(search, ids), self._longer(search, ids)

    def find(self, n: int, prefix: IntArray, words: IntArray) -> NDArray[np.int64]:
        """The index (K,) of n-grams of order n >= 2, or -1, from their prefixes and last words."""
        _, at, found = self._search(prefix + self._first[n - 2], words)
        return np.where(found, at - self._first[n - 1], -1)

    def _search(self, contexts: NDArray[np.int64], ids: IntArray) -> _Search:
        """Search n-grams by the places (..., N) of their contexts and their last words (N,)."""
        wanted = contexts * self._size
        wanted += ids
        at = self._keys.searchsorted(wanted)
        return contexts, at, self._keys[at] == wanted

    def _scores(self, search: _Search, ids: IntArray) -> Float64Array:
        """The log-probability of the longest n-gram found, plus the weights of longer contexts."""
        contexts, at, found = search
        terms = np.empty((len(found) + 1, len(ids)))
        terms[0] = self._unigrams[ids]
        terms[1:] = np.where(found, self._log_probs[at], self._log_backoffs[contexts])
        terms[:-1][found] = 0.0  # a longer n-gram is found
        scores: Float64Array = np.add.accumulate(terms)[-1]
        return scores

    def _longer(self, search: _Search, ids: IntArray) -> NDArray[np.int64]:
        """The contexts (B, order - 1) after the ids, from the n-grams that were found."""
        _, at, found = search
        longer = np.empty_like(at)
        longer[:1] = ids
        longer[1:] = np.where(found, at - self._first_found, -1)[:-1]
        return longer.T
