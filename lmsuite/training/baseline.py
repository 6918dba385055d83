"""The n-gram model that a network must beat to have been worth its minutes."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Self

from lmsuite.analysis.evaluation import evaluate
from lmsuite.errors import TrainingError
from lmsuite.models.ngram import NgramModel, NgramSettings
from lmsuite.text.encoding import TextEncoder
from lmsuite.training.recipes import CHARACTERS
from lmsuite.types import IntArray

# Orders beyond which modified Kneser-Ney hardly improves, for large and for small vocabularies.
_WORDS, _CHARACTERS = 3, 7

_TIMED_TOKENS = 20_000  # of the text, on which the time is measured


@dataclass(frozen=True)
class Baseline:
    """A modified Kneser-Ney model of the same text, and how it does on the validation text."""

    order: int
    perplexity: float
    perplexity_without_oov: float
    oov: int

    @classmethod
    def train(
        cls, encoder: TextEncoder, ids: IntArray, valid: str, seconds: float = math.inf
    ) -> Self | None:
        """From the ids (N,) and the validation text of the network.

        Of a lower order if that is what fits into so many `seconds`, as measured on a part of the
        text; None if not even single words do.
        """
        highest = _CHARACTERS if len(encoder.vocabulary) <= CHARACTERS else _WORDS
        order = min(highest, _order_within(seconds, encoder, ids, valid))
        if order < 1:
            return None
        model = NgramModel.fit(encoder, ids, NgramSettings(order=order))
        result = evaluate(model, valid, name="baseline")
        return cls(order, result.perplexity, result.perplexity_without_oov, result.oov)

    def __str__(self) -> str:
        without = f" ({self.perplexity_without_oov:.2f} without OOV)" if self.oov else ""
        return f"modified Kneser-Ney {self.order}-gram, perplexity {self.perplexity:.2f}{without}"

    def against(self, perplexity: float, perplexity_without_oov: float) -> str:
        """How a network of this validation perplexity compares."""
        verdict = f"{self}; the network's is {_relation(perplexity, self.perplexity)}"
        if not self.oov:
            return verdict
        return f"{verdict} ({_relation(perplexity_without_oov, self.perplexity_without_oov)})"


def _relation(ours: float, theirs: float) -> str:
    if not math.isfinite(ours):
        return "infinite"
    if not math.isfinite(theirs):
        return f"{ours:.2f}"
    share = ours / theirs - 1
    return f"{abs(share):.1%} {'lower' if share < 0 else 'higher'}"


def _order_within(seconds: float, encoder: TextEncoder, ids: IntArray, valid: str) -> int:
    """The highest order whose estimation and evaluation take at most so long."""
    if math.isinf(seconds):
        return _CHARACTERS
    part = ids[:_TIMED_TOKENS]
    began = time.monotonic()
    try:
        NgramModel.fit(encoder, part, NgramSettings(order=2))
    except TrainingError:  # too short a text to be slow
        return _CHARACTERS
    # Every order takes about as long as the others; evaluating takes less than estimating.
    tokens = len(ids) + len(valid)  # of which a token has one character or more
    a_order = (time.monotonic() - began) / 2 * tokens / max(1, len(part))
    return int(seconds / max(a_order, 1e-9))
