"""The n-gram model that a network must beat to have been worth its minutes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from lmsuite.models.interface import IntArray
    from lmsuite.text.encoding import TextEncoder

# Orders beyond which modified Kneser-Ney hardly improves, for large and for small vocabularies.
_WORDS, _CHARACTERS = 3, 7
_SMALL = 512  # tokens in a vocabulary of characters


@dataclass(frozen=True)
class Baseline:
    """A modified Kneser-Ney model of the same text, and how it does on the validation text."""

    order: int
    loss: float  # nats a token

    @classmethod
    def train(cls, text: TextEncoder, ids: IntArray, valid_ids: IntArray) -> Self:
        """From the ids that the network is trained and validated on."""
        from lmsuite.models.ngram import NgramModel, NgramSettings

        order = _CHARACTERS if len(text.vocabulary) <= _SMALL else _WORDS
        model = NgramModel.fit(text, ids, NgramSettings(order=order))
        return cls(order, -float(model.score(valid_ids).mean()))

    @property
    def perplexity(self) -> float:
        return math.exp(self.loss)

    def __str__(self) -> str:
        return f"modified Kneser-Ney {self.order}-gram, perplexity {self.perplexity:.2f}"

    def against(self, loss: float) -> str:
        """How a network of this validation loss compares."""
        share = math.exp(loss - self.loss) - 1
        verdict = "lower" if share < 0 else "higher"
        return f"{self} (the network's is {abs(share):.1%} {verdict})"
