"""A table that is written to disk, range by range."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike, NDArray

from lmsuite.files.disk_arrays import DiskArray
from lmsuite.ngram.table import TableOrder, word_dtype
from lmsuite.types import FloatArray, IntArray


class TableOnDisk:
    """One order of the table, as in `TableOrder`, which grows by one range after the other."""

    def __init__(
        self, vocabulary_size: int, *, is_highest: bool, dtype: DTypeLike = np.float32
    ) -> None:
        self.words = DiskArray(word_dtype(vocabulary_size))
        self.log_probs = DiskArray(dtype)
        self.log_backoffs = DiskArray(dtype)
        self.first_child = DiskArray(np.uint32)
        if not is_highest:
            self.first_child.append(np.zeros(1))

    def add_ngrams(self, words: IntArray, log_probs: FloatArray) -> None:
        """More n-grams (M,)."""
        self.words.append(words)
        self.log_probs.append(log_probs)

    def add_contexts(self, log_backoffs: FloatArray, children: IntArray) -> None:
        """More contexts (C,), and where the continuations of each end."""
        self.log_backoffs.append(log_backoffs)
        self.first_child.append(children)

    def mapped(self) -> TableOrder:
        return TableOrder(
            self.words.mapped(),
            self.log_probs.mapped(),
            self.log_backoffs.mapped(),
            self.first_child.mapped(),
        )


def log_probs_of(probs: FloatArray) -> NDArray[np.float32]:
    """The logarithms (M,) of probabilities."""
    with np.errstate(divide="ignore"):
        # Sums of rounded shares may exceed one by the last bit.
        return np.minimum(np.log(probs), 0.0).astype(np.float32)


def log_backoffs_of(weight: FloatArray) -> NDArray[np.float32]:
    """The logarithms (C,) of the weights of contexts."""
    with np.errstate(divide="ignore"):
        return np.log(weight).astype(np.float32)
