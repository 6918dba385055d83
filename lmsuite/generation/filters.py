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
from lmsuite.types import FloatArray, IntArray

_ENOUGH = 1e-100
"""If the probabilities of a row sum to at least this, tokens are drawn from them as they are.
Probabilities that are too small for a float64 are then too small to matter."""

_ROUGHNESS = 1e-5
"""A relative error of a weight, or of a sum of weights, larger than that of float32."""

_WIDE = 500
"""If a row has more tokens than this, it is faster not to sort all of them."""

_COLD, _HOT = 1e-20, 1e20
"""Below the first temperature only the best token is left; above the second all are alike."""


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
    """The steps of the module's docstring, prepared for some settings."""

    def __init__(
        self, settings: SamplingSettings, vocabulary: int, excluded: IntArray | None = None
    ) -> None:
        """For rows of `vocabulary` log-probabilities; `excluded` are the ids of step 1."""
        self._settings = settings
        self._penalty = np.zeros(vocabulary)  # it is added to log-probabilities: -inf excludes
        if excluded is not None:
            self._penalty[excluded] = -np.inf
        self._changes_shape = settings.filters != NEUTRAL
        self._temperature = settings.temperature and min(max(settings.temperature, _COLD), _HOT)
        self._ids: IntArray = np.arange(vocabulary)
        self._is_wide = vocabulary > _WIDE

    @property
    def narrows(self) -> bool:
        """Whether drawing row by row is much faster than drawing for a batch; see `_kept`."""
        return self._is_wide and (self._settings.top_k > 0 or self._settings.top_p < 1)

    def weights(self, log_probs: FloatArray) -> NDArray[np.float64]:
        """`filtered_probs` up to a factor for each row.

        Raises:
            LmError: a row gives no token any probability.
        """
        return self._filtered(self._tempered(self._relative(log_probs)))

    def cumulative_weights(self, log_probs: FloatArray) -> tuple[IntArray, NDArray[np.float64]]:
        """Rising ids (C,), and the cumulative sums (B, C) of their `weights`. Others weigh 0.

        Raises:
            LmError: as `weights`.
        """
        if not self._changes_shape:
            sums: NDArray[np.float64] = np.add.accumulate(np.exp(log_probs + self._penalty), axis=1)
            if np.minimum.reduce(sums[:, -1]) > _ENOUGH:
                return self._ids, sums
        if self.narrows and len(log_probs) == 1:
            ids, weights = self._kept(self._relative(log_probs)[0])
            return ids, np.add.accumulate(self._probable_enough(weights)[None], axis=1)
        return self._ids, np.add.accumulate(self.weights(log_probs), axis=1)

    def _kept(self, logits: NDArray[np.float64]) -> tuple[IntArray, NDArray[np.float64]]:
        """Steps 2 to 4 for one row (V,): the rising ids (C,) that are kept, and their weights.

        Only a few tokens are sorted. Top-k keeps no token below the k-th. For top-p, take all
        tokens that each have less than (1 - p) / V of the sum. Together they have less than 1 - p
        of it, so none of them is in the nucleus. Now their part of the sum is known, and the rest
        of 1 - p bounds the other tokens in the same way.

        Exponentials in float32 cost a tenth, and are exact enough for this. They are exact enough
        for the sum, too, with one exception: a sum of the greatest weights may be so close to p of
        it that the last digits decide which tokens are kept.
        """
        top_k, top_p = min(self._settings.top_k, len(logits)), self._settings.top_p
        if top_k:
            least = np.partition(logits, -top_k)[-top_k]
            # A logit that is so little below the least may have an equal weight.
            ids = np.flatnonzero(logits >= least - _ROUGHNESS * self._temperature)
            return ids, _most_probable(self._tempered(logits[ids])[None], self._settings)[0]
        rough = self._tempered(logits.astype(np.float32))
        total = float(np.add.reduce(rough))
        spare = (1 - top_p - _ROUGHNESS) * total
        ids = np.flatnonzero(rough >= np.float32(spare / len(rough)))
        rough = rough[ids]
        spare -= total - float(np.add.reduce(rough))
        ids = ids[rough >= np.float32(spare / len(rough))]
        weights = self._tempered(logits[ids])
        sorting = (-weights).argsort(kind="stable")
        falling = weights[sorting]
        before = falling.cumsum() - falling
        if np.abs(before - top_p * total).min() <= _ROUGHNESS * total:
            total = float(np.sort(self._tempered(logits))[::-1].cumsum()[-1])
        kept = np.sort(sorting[before < top_p * total])
        return ids[kept], weights[kept]

    def _relative(self, log_probs: FloatArray) -> NDArray[np.float64]:
        """The logits (B, V) after step 1, shifted so that the greatest in each row is 0."""
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

    def _tempered(self, logits: NDArray[Any]) -> NDArray[Any]:
        """Step 2: weights with the dtype of the logits (..., C); the greatest of a row is 1."""
        weights: NDArray[Any]
        if self._temperature == 0:
            is_best = np.arange(logits.shape[-1]) == logits.argmax(axis=-1, keepdims=True)
            weights = is_best.astype(logits.dtype)
        else:
            weights = np.exp(logits if self._temperature == 1 else logits / self._temperature)
        return weights

    def _filtered(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Steps 3 to 5, for weights (B, V)."""
        if self._settings.top_k or self._settings.top_p < 1:
            weights = _most_probable(weights, self._settings)
        return self._probable_enough(weights)

    def _probable_enough(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Step 5, in place."""
        if self._settings.min_p > 0:
            weights[weights < self._settings.min_p] = 0.0
        return weights


def _most_probable(weights: NDArray[np.float64], settings: SamplingSettings) -> NDArray[np.float64]:
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
    if tokens.narrows and len(log_probs) > 1:
        rows = zip(log_probs[:, None], marks[:, None], strict=True)
        return np.concatenate([draw_ids(row, tokens, mark) for row, mark in rows])
    ids, cumulative = tokens.cumulative_weights(log_probs)
    if len(cumulative) == 1:  # for a single text, a binary search is enough
        row = cumulative[0]
        place = row.searchsorted(marks.item() * row.item(-1), side="right").item()
        return np.array((ids.item(place),), np.int32)
    places = (cumulative > (marks * cumulative[:, -1])[:, None]).argmax(axis=1)
    drawn: NDArray[np.int32] = ids[places].astype(np.int32)
    return drawn
