"""A table that is written to disk, range by range."""

from __future__ import annotations

import numpy as np

from lmsuite.files.disk_arrays import DiskArray
from lmsuite.ngram.table import TableOrder, word_dtype
from lmsuite.types import FloatArray, IntArray


class TableOnDisk:
    """One order of the table, as in `TableOrder`; all of it is written once, in any order."""

    def __init__(self, size: int, vocabulary_size: int, *, is_highest: bool) -> None:
        self.words = DiskArray(word_dtype(vocabulary_size), size)
        self.log_probs = DiskArray(np.float32, size)
        self.log_backoffs = DiskArray(np.float32, 0 if is_highest else size)
        self.first_child = DiskArray(np.uint32, 0 if is_highest else size + 1)
        if not is_highest:
            self.first_child.write(0, np.zeros(1))

    def write_ngrams(self, begin: int, words: IntArray, probs: FloatArray) -> None:
        """Write n-grams (M,) from this index on."""
        self.words.write(begin, words)
        with np.errstate(divide="ignore"):
            # Sums of rounded shares may exceed one by the last bit.
            self.log_probs.write(begin, np.minimum(np.log(probs), 0.0))

    def write_contexts(self, begin: int, weight: FloatArray, children: IntArray) -> None:
        """Write contexts (C,) from this index on, and where the continuations of each end."""
        with np.errstate(divide="ignore"):
            self.log_backoffs.write(begin, np.log(weight))
        self.first_child.write(begin + 1, children)

    def mapped(self) -> TableOrder:
        return TableOrder(
            self.words.mapped(),
            self.log_probs.mapped(),
            self.log_backoffs.mapped(),
            self.first_child.mapped(),
        )
