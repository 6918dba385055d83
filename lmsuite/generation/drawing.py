"""Draw the next token of one text as `filters` says, with little work on tokens that cannot come.

A row that a back-off table gives is not even computed. Nearly all its words have the probability of
the unigram times a weight. So their weights are prepared once, and scaled at every token.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmsuite.generation.filters import ENOUGH, Filter
from lmsuite.models.interface import BackedOff, Context
from lmsuite.types import Float64Array, FloatArray, IntArray

WIDE = 500
"""A row of more tokens than this is wide: it pays to choose those that may matter."""

_ROUGH, _FINE = 1e-5, 1e-9
"""Relative errors of a sum of weights, larger than those of float32 and of float64."""

_LONG = 4096
"""The cumulative sum of so many weights takes longer than a sum of blocks and one of a block."""

_ROOM = 1 << 18
"""Powers are kept of the first contexts, so many numbers. A text uses few contexts often."""

_LARGEST = 300.0
"""e to the 300, times any vocabulary, is still a finite number."""

_FIRST_COUNT = 1000
"""The first guess is that the tokens outside the nucleus are like so many equals, or more."""

_Exact = Callable[[IntArray], Float64Array]
"""The exact weights of some ids."""


class Sampler:
    """Draws one token after another with the same filter. It is for one thread at a time."""

    def __init__(self, tokens: Filter, vocabulary: int) -> None:
        """For rows of `vocabulary` log-probabilities."""
        self.filter = tokens
        settings = tokens.settings
        self._top_k = min(settings.top_k, vocabulary)
        self._top_p, self._min_p = settings.top_p, settings.min_p
        self._sorts = self._top_k > 0 or self._top_p < 1
        self._narrows = self._sorts or self._min_p > 0
        self._ids: IntArray = np.arange(vocabulary)
        self._is_wide = vocabulary > WIDE
        self._powers: _Powers | None = None

    def draw(self, log_probs: FloatArray | BackedOff, mark: float) -> int:
        """An id from a row (V,), by inversion of the cumulative sum of the filtered weights.

        Args:
            log_probs: of the next token.
            mark: drawn evenly from 0 to 1.

        Raises:
            LmError: the row gives no token any probability.
        """
        if isinstance(log_probs, BackedOff):
            token = self._backed_off(log_probs, mark)
            if token is not None:
                return token
            log_probs = log_probs.dense(np.empty(len(self._ids)))
        if self.filter.is_neutral:
            place = _inverted(self.filter.unfiltered(log_probs), mark)
            if place is not None:
                return place
        ids, weights = self.filtered(log_probs)
        place = _inverted(weights, mark)
        assert place is not None, "the greatest weight is 1"
        return ids.item(place)

    def _backed_off(self, row: BackedOff, mark: float) -> int | None:
        """As `draw`; None if the weights are too small or too large for a float64."""
        if self._powers is None:
            self._powers = _Powers(self.filter, row.unigrams)
        weights = self._powers.weights(row)
        if weights is None:
            return None
        if self.filter.temperature == 0:
            best = int(weights.argmax())
            return best if weights[best] > ENOUGH else None
        ids, weights = self._narrowed(weights, weights.take, _FINE)
        place = _inverted(weights, mark)
        return None if place is None else ids.item(place)

    def filtered(self, log_probs: FloatArray) -> tuple[IntArray, Float64Array]:
        """Rising ids (C,), and their `Filter.weights` in a row (V,); other ids have weight 0.

        Raises:
            LmError: as `draw`.
        """
        logits = self.filter.relative(log_probs)
        if self._is_wide and self._sorts and self.filter.temperature:
            # Exponentials in float32 cost a tenth, and tell which tokens may matter.
            rough = self.filter.tempered(logits.astype(np.float32))
            return self._narrowed(rough, lambda ids: self.filter.tempered(logits[ids]), _ROUGH)
        weights = self.filter.tempered(logits)
        return self._narrowed(weights, weights.take, _FINE)

    def _narrowed(
        self, weights: NDArray[Any], exact: _Exact, error: float
    ) -> tuple[IntArray, Float64Array]:
        """Steps 3 to 5, as `filtered`; a sum of the weights (V,) may have a relative `error`."""
        if not self._narrows:
            return self._ids, weights
        ids, kept, total = self._candidates(weights, exact, error)
        if self._sorts:
            falling = np.sort(kept)[::-1]
            size = min(self._top_k or len(kept), len(kept))
            if self._top_p < 1:
                size = self._nucleus(falling[:size], total, exact, error)
            least = falling.item(size - 1)
            is_kept = kept >= least
            if size < len(kept) and falling.item(size) == least:  # of equals, the first are kept
                equals = (kept == least).nonzero()[0]
                is_kept[equals[size - np.count_nonzero(is_kept) :]] = False
            kept *= is_kept
        if self._min_p:
            kept[kept < self._min_p * kept.max()] = 0.0
        return ids, kept

    def _candidates(
        self, weights: NDArray[Any], exact: _Exact, error: float
    ) -> tuple[IntArray, Float64Array, float | None]:
        """Rising ids that may be left, their weights, and for top-p about the sum of all weights.

        Top-k leaves no token below the k-th greatest of any tokens, such as the greatest of each of
        many groups. Top-p leaves none but tokens of at least some weight, if these have p of the
        sum. The first such weight is a guess. The last is (1 - p) / V of the sum: the tokens below
        it together have less than 1 - p.
        """
        if not self._is_wide:
            return self._ids, exact(self._ids), None
        if self._top_k:
            groups = 8 * self._top_k
            size = len(weights) // groups
            greatest = weights  # of each group, if there are enough tokens to form groups
            if size > 1:
                greatest = weights[: size * groups].reshape(size, groups).max(axis=0)
            least = np.partition(greatest, -self._top_k)[-self._top_k].item()
        elif self._top_p == 1:
            least = self._min_p * weights.max().item()
        else:
            total, count = np.add.reduce(weights).item(), min(_FIRST_COUNT, len(weights))
            spare = (1 - self._top_p - error) * total
            while True:
                ids = (weights >= spare / count).nonzero()[0]
                kept = exact(ids)
                is_all = count == len(weights) or len(ids) == len(weights)
                if is_all or np.add.reduce(kept) >= total - spare:
                    return ids, kept, total
                count = min(8 * count, len(weights))
        ids = (weights >= least * (1 - error)).nonzero()[0]
        return ids, exact(ids), None

    def _nucleus(
        self, falling: Float64Array, total: float | None, exact: _Exact, error: float
    ) -> int:
        """How many of the greatest weights are the nucleus of all, which sum to about `total`.

        Without `total`, there are no other weights. If p of the total is so close to a border that
        an error may matter, the definition is computed.
        """
        sums = np.add.accumulate(falling)
        border = self._top_p * (sums.item(-1) if total is None else total)
        size: int = sums.searchsorted(border).item()
        below = sums.item(size - 1) if size else 0.0
        above = sums.item(size) if size < len(sums) else below
        if min(border - below, abs(above - border)) <= error * border:
            if total is not None:
                falling = np.sort(exact(self._ids))[::-1]
            sums = np.add.accumulate(falling)
            return int(np.count_nonzero(sums - falling < self._top_p * sums[-1]))
        return size + 1


class _Powers:
    """p^(1/t) of the words after a history: step 2, for each factor of a back-off."""

    def __init__(self, tokens: Filter, unigrams: FloatArray) -> None:
        self._exponent = 1 / (tokens.temperature or 1.0)  # at 0, too, the best has the most
        self._excluded = tokens.excluded
        self._unigrams = np.exp(unigrams.astype(np.float64) * self._exponent)
        self._weights = np.empty_like(self._unigrams)
        self._prepared: dict[tuple[int, int], tuple[NDArray[np.intp], Float64Array]] = {}
        self._room = _ROOM

    def weights(self, row: BackedOff) -> Float64Array | None:
        """The weights (V,) of a row after steps 1 and 2, up to a factor; valid until the next.

        None if they may be too large for a float64.
        """
        log_scales = [0.0]
        for log_backoff, *_ in reversed(row.contexts):
            log_scales.append(log_scales[-1] + log_backoff * self._exponent)
        if not max(log_scales) <= _LARGEST:
            return None
        weights = np.multiply(self._unigrams, math.exp(log_scales.pop()), out=self._weights)
        for context in row.contexts:
            words, powers = self._of(context)
            weights[words] = powers * math.exp(log_scales.pop())
        weights[self._excluded] = 0.0
        return weights

    def _of(self, context: Context) -> tuple[NDArray[np.intp], Float64Array]:
        """The words seen after a context, and their powers."""
        _, words, log_probs, key = context
        prepared = self._prepared.get(key)
        if prepared is None:
            powers = np.multiply(log_probs, self._exponent, dtype=np.float64)
            prepared = words.astype(np.intp), np.exp(powers, out=powers)
            if len(words) <= self._room:
                self._room -= len(words)
                self._prepared[key] = prepared
        return prepared


def _inverted(weights: Float64Array, mark: float) -> int | None:
    """The first place (of C) where the cumulative sum exceeds `mark` of the whole sum.

    None if the whole sum is too small. A long row is summed in blocks first.
    """
    if len(weights) <= _LONG:
        sums = np.add.accumulate(weights)
        whole = sums.item(-1)
        place: int = sums.searchsorted(mark * whole, side="right").item()
        return place if whole > ENOUGH else None
    size = math.isqrt(len(weights))
    blocks = np.add.accumulate(np.add.reduceat(weights, np.arange(0, len(weights), size)))
    whole = blocks.item(-1)
    if not whole > ENOUGH:
        return None
    block: int = blocks.searchsorted(mark * whole, side="right").item()
    rest = mark * whole - (blocks.item(block - 1) if block else 0.0)
    sums = np.add.accumulate(weights[block * size : (block + 1) * size])
    # Rounded, the rest may be all of the block: then the last token with a weight is drawn.
    rest = min(rest, math.nextafter(sums.item(-1), 0.0))
    return block * size + int(sums.searchsorted(rest, side="right"))
