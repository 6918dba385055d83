"""The n-gram model that a network must beat to have been worth its minutes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from lmsuite.types import IntArray
    from lmsuite.text.encoding import TextEncoder

# Orders beyond which modified Kneser-Ney hardly improves, for large and for small vocabularies.
_WORDS, _CHARACTERS = 3, 7


@dataclass(frozen=True)
class Baseline:
    """A modified Kneser-Ney model of the same text, and how it does on the validation text."""

    order: int
    perplexity: float
    perplexity_without_oov: float
    oov: int

    @classmethod
    def train(cls, encoder: TextEncoder, ids: IntArray, valid: str) -> Self:
        """From the ids and the validation text of the network."""
        from lmsuite.analysis.evaluation import evaluate
        from lmsuite.models.ngram import NgramModel, NgramSettings
        from lmsuite.training.recipes import CHARACTERS

        order = _CHARACTERS if len(encoder.vocabulary) <= CHARACTERS else _WORDS
        model = NgramModel.fit(encoder, ids, NgramSettings(order=order))
        result = evaluate(model, valid, name="baseline")
        return cls(order, result.perplexity, result.perplexity_without_oov, result.oov)

    def __str__(self) -> str:
        without = f" ({self.perplexity_without_oov:.2f} without OOV)" if self.oov else ""
        return f"modified Kneser-Ney {self.order}-gram, perplexity {self.perplexity:.2f}{without}"

    def against(self, perplexity: float | None, perplexity_without_oov: float | None) -> str:
        """How a network of this validation perplexity compares; None is an infinite one."""
        verdict = f"{self}; the network's is {_relation(perplexity, self.perplexity)}"
        if not self.oov:
            return verdict
        return f"{verdict} ({_relation(perplexity_without_oov, self.perplexity_without_oov)})"


def _relation(ours: float | None, theirs: float) -> str:
    if ours is None or not math.isfinite(theirs):
        return "infinite" if ours is None else f"{ours:.2f}"
    share = ours / theirs - 1
    return f"{abs(share):.1%} {'lower' if share < 0 else 'higher'}"
