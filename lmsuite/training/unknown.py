"""In training, some words are read as ``<unk>``: the model learns a probability for unknown words.

A vocabulary without a cut-off holds every training token. A network that never meets ``<unk>``
would give it almost no probability, and one unseen word would then ruin a perplexity. So in each
epoch a random share of the tokens seen once is read as ``<unk>``. This share is what absolute
discounting takes from a count of one (Ney, Essen and Kneser 1994), with the Good-Turing estimate
from the numbers n1, n2 of tokens seen once and twice: D = n1 / (n1 + 2 n2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from lmsuite.text.encoding import TextEncoder
from lmsuite.text.vocabulary import BOS, EOS, UNK
from lmsuite.types import BoolArray, IntArray


def unknown_share(ids: IntArray, encoder: TextEncoder) -> float:
    """The share of the rarest tokens of a training text to read as ``<unk>``, by the module's rule.

    It is 0 if the text has ``<unk>`` anyway, or if no text can have it. If no token is seen exactly
    once, the rarest tokens take their place, with a share of one occurrence per epoch.
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
    """How often an epoch reads each id (V,), if this share of the rarest is read as ``<unk>``."""
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
    """The positions of a text that may be read as ``<unk>``, and the probability of each."""

    positions: NDArray[np.int64]
    share: float

    @classmethod
    def of(cls, ids: IntArray, encoder: TextEncoder, share: float) -> Self:
        """The rarest tokens of a training text (N,), each masked with probability `share`."""
        counts = _word_counts(ids, encoder)
        if share == 0 or not counts.any():
            return cls(np.empty(0, np.int64), 0.0)
        rarest = np.flatnonzero(counts == counts[counts > 0].min())
        return cls(np.flatnonzero(np.isin(ids, rarest)), share)

    def drawn(self, size: int, rng: np.random.Generator) -> BoolArray | None:
        """Whether each position of a text of this size is masked in an epoch; None: none is."""
        if self.share == 0:
            return None
        is_masked = np.zeros(size, bool)
        is_masked[self.positions[rng.random(self.positions.size) < self.share]] = True
        return is_masked
