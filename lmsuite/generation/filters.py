"""From the model's distribution to one token of it.

These steps change the model's next-token distribution before a token is drawn from it. They come in
this order, and each works on the renormalised result of the step before:

1. ``<unk>`` and the encoder's impossible ids are excluded, because a text cannot show an unknown
   token. (If nothing else has any probability, ``<unk>`` is allowed.)
2. *temperature* t: p becomes proportional to p^(1/t) (Ackley, Hinton and Sejnowski 1985). At 0 the
   most probable token is taken; among equals, the first.
3. *top-k* (Fan, Lewis and Dauphin 2018): the k most probable tokens are kept.
4. *top-p*, the nucleus (Holtzman et al. 2020): the most probable tokens are kept, as few as are
   needed for a sum of at least p.
5. *min-p* (Nguyen et al. 2024): a token is kept if its probability is at least m times the
   greatest.

If tokens at the edge of a set have equal probability, those with smaller ids are kept. A filter at
its neutral value (t = 1, k = 0, p = 1, m = 0) is not computed at all.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmsuite.errors import LmError
from lmsuite.sampling import NEUTRAL
from lmsuite.sampling import SamplingSettings as SamplingSettings
from lmsuite.types import Float64Array, FloatArray, IntArray

ENOUGH = 1e-100
"""If the probabilities of a row sum to at least this, tokens are drawn from them as they are.
Probabilities that are too small for a float64 are then too small to matter."""

_COLD, _HOT = 1e-20, 1e20
"""Below the first temperature only the best token is left; above the second all are alike."""


def filtered_probs(
    log_probs: FloatArray, settings: SamplingSettings, excluded: IntArray | None = None
) -> Float64Array:
    """The probabilities (B, V) from which tokens are drawn, given the model's log-probabilities.

    `excluded` are the ids of step 1 of the module's docstring.

    Raises:
        LmError: a row gives no token any probability.
    """
    weights = Filter(settings, log_probs.shape[1], excluded).weights(log_probs)
    weights /= weights.sum(axis=1, keepdims=True)
    return weights


class Filter:
    """The steps of the module's docstring, prepared for some settings."""

    def __init__(
        self, settings: SamplingSettings, vocabulary: int, excluded: IntArray | None = None
    ) -> None:
        """For rows of `vocabulary` log-probabilities; `excluded` are the ids of step 1."""
        self.settings = settings
        self.excluded: IntArray = np.empty(0, np.int32) if excluded is None else excluded
        self._penalty = np.zeros(vocabulary)  # it is added to log-probabilities: -inf excludes
        self._penalty[self.excluded] = -np.inf
        self.is_neutral = settings.filters == NEUTRAL
        self.temperature = settings.temperature and min(max(settings.temperature, _COLD), _HOT)

    def weights(self, log_probs: FloatArray) -> Float64Array:
        """`filtered_probs` up to a factor for each row.

        Raises:
            LmError: a row gives no token any probability.
        """
        weights = self.tempered(self.relative(log_probs))
        if self.settings.top_k or self.settings.top_p < 1:
            weights = _most_probable(weights, self.settings)
        weights[weights < self.settings.min_p] = 0.0  # the greatest is 1
        return weights

    def cumulative_weights(self, log_probs: FloatArray) -> Float64Array:
        """The cumulative sums (B, V) of `weights`, up to a factor for each row.

        Raises:
            LmError: as `weights`.
        """
        if self.is_neutral:
            sums: Float64Array = np.add.accumulate(self.unfiltered(log_probs), axis=1)
            if sums[:, -1].min() > ENOUGH:
                return sums
        return np.add.accumulate(self.weights(log_probs), axis=1)

    def unfiltered(self, log_probs: FloatArray) -> Float64Array:
        """The probabilities (..., V) after step 1, not renormalised."""
        probs: Float64Array = np.exp(log_probs + self._penalty)
        return probs

    def relative(self, log_probs: FloatArray) -> Float64Array:
        """The logits (..., V) after step 1, shifted so that the greatest in each row is 0.

        Raises:
            LmError: as `weights`.
        """
        logits = log_probs + self._penalty
        best = logits.max(axis=-1, keepdims=True)  # (..., 1)
        if best.min() == -np.inf:
            logits = np.where(best == -np.inf, log_probs, logits)
            best = logits.max(axis=-1, keepdims=True)
            if best.min() == -np.inf:
                raise LmError("the model gives no token any probability here, so no text can go on")
        logits -= best
        return logits

    def tempered(self, logits: NDArray[Any]) -> NDArray[Any]:
        """Step 2: weights with the dtype of the logits (..., C); the greatest of a row is 1."""
        weights: NDArray[Any]
        if self.temperature == 0:
            is_best = np.arange(logits.shape[-1]) == logits.argmax(axis=-1, keepdims=True)
            weights = is_best.astype(logits.dtype)
        else:
            weights = np.exp(logits if self.temperature == 1 else logits / self.temperature)
        return weights


def _most_probable(weights: NDArray[np.float64], settings: SamplingSettings) -> Float64Array:
    """Top-k, then top-p; each row is sorted once for both."""
    rows = np.arange(len(weights))[:, None]
    sorting = (-weights).argsort(axis=1, kind="stable")[:, : settings.top_k or None]
    kept = weights[rows, sorting]
    if settings.top_p < 1:
        cumulative = kept.cumsum(axis=1)
        before = cumulative - kept
        kept[before >= settings.top_p * cumulative[:, -1:]] = 0.0
    filtered = np.zeros_like(weights)
    filtered[rows, sorting] = kept
    return filtered


def draw_ids(
    log_probs: FloatArray, tokens: Filter, marks: NDArray[np.float64]
) -> NDArray[np.int32]:
    """Draw one id (B,) from each filtered row, by inversion of the cumulative sum.

    Args:
        log_probs: of the next token, (B, V).
        tokens: the filter.
        marks: (B,), drawn evenly from 0 to 1.

    Raises:
        LmError: a row gives no token any probability.
    """
    cumulative = tokens.cumulative_weights(log_probs)
    is_beyond = cumulative > (marks * cumulative[:, -1])[:, None]
    drawn: NDArray[np.int32] = is_beyond.argmax(axis=1).astype(np.int32)
    return drawn
