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

from lmsuite.text.encoding import TextEncoder
from lmsuite.text.vocabulary import BOS, EOS, UNK
from lmsuite.types import IntArray


def unknown_share(ids: IntArray, encoder: TextEncoder) -> float:
    """How often the rarest tokens of a training text are to be read as ``<unk>``.

    By the module's rule; never, if ``<unk>`` occurs anyway or cannot occur in any text. Where no
    token is seen exactly once, the rarest stand in: one occurrence of them an epoch.
    """
    counts = _word_counts(ids, encoder)
    if np.any(ids == UNK) or encoder.tokenizer.name == "bpe" or not counts.any():
        return 0.0
    rarest = counts[counts > 0].min()
    tokens = int(rarest * np.sum(counts == rarest))
    if rarest > 1:
        return 1 / tokens
    return tokens / (tokens + 2 * max(1, int(np.sum(counts == 2))))


def expected_counts(ids: IntArray, encoder: TextEncoder, share: float) -> NDArray[np.float64]:
    """How often an epoch reads each id (V,), when this share of the rarest is read as ``<unk>``."""
    counts = np.bincount(ids, minlength=len(encoder.vocabulary)).astype(np.float64)
    masked = MaskedWords.of(ids, encoder, share).positions
    np.subtract.at(counts, ids[masked], share)
    counts[UNK] += share * masked.size
    return counts


def _word_counts(ids: IntArray, encoder: TextEncoder) -> NDArray[np.int64]:
    """How often each id (V,) occurs; zero for the marks of beginning and end."""
    counts = np.bincount(ids, minlength=len(encoder.vocabulary))
    counts[[BOS, EOS]] = 0
    return counts


@dataclass(frozen=True)
class MaskedWords:
    """Which positions of a text may be read as ``<unk>``, and how often each is."""

    positions: NDArray[np.int64]
    share: float

    @classmethod
    def of(cls, ids: IntArray, encoder: TextEncoder, share: float) -> Self:
        """The rarest tokens of a training text (N,), each masked at this share of the epochs."""
        counts = _word_counts(ids, encoder)
        if share == 0 or not counts.any():
            return cls(np.empty(0, np.int64), 0.0)
        rarest = np.flatnonzero(counts == counts[counts > 0].min())
        return cls(np.flatnonzero(np.isin(ids, rarest)), share)

    def mask(self, ids: IntArray, rng: np.random.Generator) -> IntArray:
        """The text (N,) of one epoch: a copy with some of the positions at ``<unk>``."""
        if self.share == 0:
            return ids
        masked = ids.copy()
        masked[self.positions[rng.random(self.positions.size) < self.share]] = UNK
        return masked
