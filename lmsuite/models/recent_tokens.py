"""The last tokens of each text in a batch, for the features of n-grams (`nn.ngram_features`).

They are one more array of a recurrent network's state: of its H numbers the first K are the last K
tokens, the newest first, each as its id plus one. Zero is none, as at the beginning of a text. So
whatever divides, joins, keeps or compares states does the same to them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lmsuite.nn.ngram_features import context_rows
from lmsuite.text.vocabulary import BOS
from lmsuite.types import FloatArray, IntArray


class RecentTokens:
    """Reads and writes that array (B, H) of a state."""

    def __init__(self, count: int, rows: int) -> None:
        """The last `count` = K tokens; contexts have one of so many `rows` = R."""
        self.count, self._rows = count, rows

    def read(self, array: FloatArray, ids: IntArray) -> NDArray[np.int64]:
        """The last K tokens (T, B, K) after each of ids (T, B); an ``<s>`` hides all before it."""
        T, K = len(ids), self.count
        before = array[:, :K].T[::-1].astype(np.int64)  # (K, B), the oldest first
        tokens = np.concatenate((before, ids + np.int64(1)))
        recent = np.stack([tokens[K - n : K - n + T] for n in range(K)], axis=-1)
        hidden = np.logical_or.accumulate(recent == BOS + 1, axis=-1)
        recent[..., 1:][hidden[..., :-1]] = 0
        return recent

    def step(self, array: FloatArray, ids: IntArray, after: FloatArray) -> None:
        """As `read` and `write` for one more id (B,) of each text."""
        K = self.count
        after[:, 0] = ids
        after[:, 0] += 1
        after[:, 1:K] = array[:, : K - 1]
        after[:, K:] = 0
        begins = ids == BOS
        if begins.any():
            after[begins, 1:] = 0

    def write(self, recent: NDArray[np.int64], array: FloatArray) -> None:
        """Write the tokens (B, K) into the array of a state."""
        array[:, : self.count] = recent
        array[:, self.count :] = 0

    def rows(self, recent: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rows (..., K) of the contexts of 1 to K tokens."""
        return context_rows(recent, self._rows)

    def rows_of(self, array: FloatArray) -> NDArray[np.int64]:
        """The rows (B, K) of the contexts in a state."""
        return self.rows(array[:, : self.count].astype(np.int64))
