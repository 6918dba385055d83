"""An n-gram model of the same text, as a baseline: a network should do better than it."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Self

from lmsuite.analysis.evaluation import evaluate
from lmsuite.errors import TrainingError
from lmsuite.files.stored_text import Text
from lmsuite.models.ngram import NgramModel, NgramSettings
from lmsuite.text.encoding import TextEncoder
from lmsuite.training.recipes import CHARACTERS
from lmsuite.types import IntArray

# A higher order hardly improves modified Kneser-Ney, for large and for small vocabularies.
_WORDS, _CHARACTERS = 3, 7

_TIMED_TOKENS = 20_000  # the time is measured on so many tokens of the text


@dataclass(frozen=True)
class Baseline:
    """A modified Kneser-Ney model of the same text, and its results on the validation text."""

    order: int
    perplexity: float
    perplexity_without_oov: float
    oov: int

    @classmethod
    def train(
        cls, encoder: TextEncoder, ids: IntArray, valid: Text, seconds: float = math.inf
    ) -> Self | None:
        """Estimate it from the ids (N,), and evaluate it on the validation text, of the network.

        The order is lower if no higher one fits into so many `seconds`, as measured on a part of
        the text. None if not even a unigram model fits.
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
        """A sentence that compares a network of these validation perplexities with this model."""
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


def _order_within(seconds: float, encoder: TextEncoder, ids: IntArray, valid: Text) -> int:
    """The highest order that can be estimated and evaluated in so many seconds."""
    if math.isinf(seconds):
        return _CHARACTERS
    part = ids[:_TIMED_TOKENS]
    began = time.monotonic()
    try:
        NgramModel.fit(encoder, part, NgramSettings(order=2))
    except TrainingError:  # so short a text is never slow
        return _CHARACTERS
    # Every order takes about as long as the others; evaluating takes less than estimating.
    tokens = len(ids) + len(valid)  # at most: a token of `valid` has one character or more
    a_order = (time.monotonic() - began) / 2 * tokens / max(1, len(part))
    return int(seconds / max(a_order, 1e-9))
