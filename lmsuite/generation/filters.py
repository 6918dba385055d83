"""From the model's distribution to one token of it.

A token is drawn from the model's next-token distribution after these steps, in this order, each
on what the one before it left over, renormalised:

1. ``<unk>`` and the ids that the encoder calls impossible are excluded; a text cannot show an
   unknown token. (If nothing else has any probability, ``<unk>`` is let through.)
2. *temperature* t: p becomes proportional to p^(1/t) (Ackley, Hinton and Sejnowski 1985). At 0 the
   most probable token is taken, the first of equals.
3. *top-k* (Fan, Lewis and Dauphin 2018): the k most probable tokens are kept.
4. *top-p*, the nucleus (Holtzman et al. 2020): the smallest set of most probable tokens whose
   probabilities sum to at least p is kept.
5. *min-p* (Nguyen et al. 2024): the tokens are kept whose probability is at least m times that of
   the most probable one.

Among tokens of equal probability at the edge of a set, the ones with smaller ids are kept. A filter
at its neutral value (t = 1, k = 0, p = 1, m = 0) is not computed at all.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lmsuite.errors import LmError
from lmsuite.sampling import NEUTRAL
from lmsuite.sampling import SamplingSettings as SamplingSettings
from lmsuite.types import FloatArray, IntArray

_ENOUGH = 1e-100
"""What the probabilities of a row sum to, at least, if they are to be drawn from as they are: those
too small for a float64 then have no share that matters."""


def filtered_probs(
    log_probs: FloatArray, settings: SamplingSettings, excluded: IntArray | None = None
) -> NDArray[np.float64]:
    """The probabilities (B, V) from which tokens are drawn, given the model's log-probabilities.

    `excluded` are the ids of step 1 of the module's docstring.

    Raises:
        LmError: a row gives no token any probability.
    """
    weights = Filter(settings, log_probs.shape[1], excluded).weights(log_probs)
    weights /= weights.sum(axis=1, keepdims=True)
    return weights


class Filter:
    """The steps of the module's docstring for some settings; what depends on those is ready."""

    def __init__(
        self, settings: SamplingSettings, vocabulary: int, excluded: IntArray | None = None
    ) -> None:
        """For rows of `vocabulary` log-probabilities; `excluded` are the ids of step 1."""
        self._settings = settings
        self._penalty = np.zeros(vocabulary)  # what is added: -inf to the excluded
        if excluded is not None:
            self._penalty[excluded] = -np.inf
        self._changes_shape = settings.filters != NEUTRAL

    def weights(self, log_probs: FloatArray) -> NDArray[np.float64]:
        """`filtered_probs` up to a factor for each row.

        Raises:
            LmError: a row gives no token any probability.
        """
        return self._filtered(self._relative(log_probs))

    def cumulative_weights(self, log_probs: FloatArray) -> NDArray[np.float64]:
        """Of each row of `weights` the sums (B, V) up to and with every id.

        Raises:
            LmError: as `weights`.
        """
        if not self._changes_shape:
            sums: NDArray[np.float64] = np.add.accumulate(np.exp(log_probs + self._penalty), axis=1)
            if np.minimum.reduce(sums[:, -1]) > _ENOUGH:
                return sums
        return np.add.accumulate(self.weights(log_probs), axis=1)

    def _relative(self, log_probs: FloatArray) -> NDArray[np.float64]:
        """The logits (B, V) of step 1, of which the greatest in each row is 0."""
        logits = log_probs + self._penalty
        best = logits.max(axis=1, keepdims=True)  # (B, 1)
        if best.min() == -np.inf:
            empty = best[:, 0] == -np.inf
            logits[empty] = log_probs[empty]
            best = logits.max(axis=1, keepdims=True)
            if best.min() == -np.inf:
                raise LmError("the model gives no token any probability here, so no text can go on")
        logits -= best
        return logits

    def _filtered(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        """Steps 2 to 5; the greatest weight of each row is 1. The logits are used up."""
        settings = self._settings
        if settings.temperature == 0:
            weights = np.zeros_like(logits)
            weights[np.arange(len(logits)), logits.argmax(axis=1)] = 1.0
            return weights
        if settings.temperature != 1:
            with np.errstate(over="ignore"):  # a temperature near 0 leaves nothing but the best
                logits /= settings.temperature
        weights = np.exp(logits)
        if settings.top_k or settings.top_p < 1:
            weights = _most_probable(weights, settings)
        if settings.min_p > 0:
            weights[weights < settings.min_p] = 0.0
        return weights


def _most_probable(weights: NDArray[np.float64], settings: SamplingSettings) -> NDArray[np.float64]:
    """Top-k, then top-p, on one sorting of each row."""
    order = (-weights).argsort(axis=1, kind="stable")
    if settings.top_k:
        order = order[:, : settings.top_k]
    kept = np.take_along_axis(weights, order, axis=1)
    if settings.top_p < 1:
        cumulative = kept.cumsum(axis=1)
        before = cumulative - kept
        kept[before >= settings.top_p * cumulative[:, -1:]] = 0.0
    filtered = np.zeros_like(weights)
    np.put_along_axis(filtered, order, kept, axis=1)
    return filtered


def draw_ids(
    log_probs: FloatArray, tokens: Filter, marks: NDArray[np.float64]
) -> NDArray[np.int32]:
    """One id (B,) from each row of what a filter leaves, by inversion of the cumulative sum.

    Args:
        log_probs: of the next token, (B, V).
        tokens: the filter.
        marks: (B,), drawn evenly from 0 to 1.

    Raises:
        LmError: a row gives no token any probability.
    """
    cumulative = tokens.cumulative_weights(log_probs)
    if len(cumulative) == 1:  # a single stream: a binary search does
        row = cumulative[0]
        mark = marks.item() * row.item(-1)
        return np.array((row.searchsorted(mark, side="right"),), np.int32)
    ids: NDArray[np.intp] = (cumulative > (marks * cumulative[:, -1])[:, None]).argmax(axis=1)
    return ids.astype(np.int32)
