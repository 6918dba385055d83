"""Words read as ``<unk>`` in training, so that the model learns what an unknown word is worth.

A vocabulary without a cut-off holds every training token, and a network that never meets ``<unk>``
would give it no probability at all; one unseen word then ruins a perplexity. So tokens seen once
are read as ``<unk>`` some of the time, another choice of them each epoch. How often is the share
that absolute discounting takes from a count of one (Ney, Essen and Kneser 1994), estimated from
the numbers n1, n2 of tokens seen once and twice as Good-Turing does: D = n1 / (n1 + 2 n2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from lmsuite.models.interface import IntArray
from lmsuite.text.encoding import TextEncoder
from lmsuite.text.vocabulary import UNK


@dataclass(frozen=True)
class HiddenWords:
    """Which positions of a text may be read as ``<unk>``, and how often each is."""

    positions: NDArray[np.int64]
    share: float

    @classmethod
    def of(cls, ids: IntArray, text: TextEncoder) -> Self:
        """By the module's rule; nothing is hidden if ``<unk>`` occurs anyway, or never can.

        Where no token is seen exactly once, the rarest stand in, one occurrence an epoch.
        """
        counts = np.bincount(ids, minlength=len(text.vocabulary))
        words = counts.copy()
        words[text.impossible] = 0
        words[2] = 0  # </s> is no word
        if counts[UNK] or text.tokenizer.name == "bpe" or not words.any():
            return cls(np.empty(0, np.int64), 0.0)
        rarest = int(words[words > 0].min())
        positions = np.flatnonzero(np.isin(ids, np.flatnonzero(words == rarest)))
        if rarest > 1:
            return cls(positions, 1 / positions.size)
        twice = max(1, int(np.sum(words == 2)))
        return cls(positions, positions.size / (positions.size + 2 * twice))

    def hide(self, ids: IntArray, rng: np.random.Generator) -> IntArray:
        """The text (N,) of one epoch: a copy with some of the positions at ``<unk>``."""
        if self.share == 0:
            return ids
        hidden = ids.copy()
        hidden[self.positions[rng.random(self.positions.size) < self.share]] = UNK
        return hidden
