"""Confidence intervals and p-values by resampling the units of a text.

A text is a random sample of the texts that could have been given. Its *units* (lines, or blocks of
tokens) are drawn again with replacement, as many as there are, and a statistic is computed for each
such resampled text. Its spread over these texts shows how uncertain it is (Efron 1979). Tokens of
one unit depend on each other; tokens of different units should hardly do so. So neighbouring units
are joined until at most `MOST_UNITS` are left.

The interval is the studentised one ("bootstrap-t", Efron and Tibshirani 1993, "An Introduction to
the Bootstrap", chapter 12). For a statistic s, each resampled text gives t* = (s* - s) / se*, with
its own standard error se*. Then

    [s - t*(97.5 %) se,  s - t*(2.5 %) se],    p = 2 min(P(t* >= s/se), P(t* <= s/se)).

The simpler percentile interval (Koehn 2004) rejects a true null hypothesis at 0.05 too often if
there are few units: with ten units in about 11 % of cases, this interval in 6 %. Every statistic
is a smooth function of sums over units; its standard error comes from its gradient (delta method).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lmsuite.types import Float64Array

Statistic: TypeAlias = Callable[[Float64Array], tuple[Float64Array, Float64Array]]
"""From sums (..., K) of K columns over all units: the value (...) and its gradient (..., K)."""

RESAMPLES = 1999  # 2000 with the text itself; 2.5 % of them are 50
FEWEST_UNITS = 5
MOST_UNITS = 500
BLOCK = 50  # the fewest tokens of a block

_ROUNDING = 1e-7  # share of a value; a smaller standard error is only rounding


@dataclass(frozen=True)
class Estimate:
    """A statistic's value, interval and p-value; with too few units only the value."""

    value: float
    low: float | None  # lower end of the 95 % interval
    high: float | None
    p_value: float | None  # two-sided, of the hypothesis that the true value is 0


def joined(units: NDArray[Any], count: int) -> NDArray[np.int64]:
    """Join neighbouring ones of `count` units evenly, so that there are at most `MOST_UNITS`.

    Args:
        units: the number of a unit for each value, (M,), from 0.
        count: the number of units of the text.
    """
    return units.astype(np.int64) * min(count, MOST_UNITS) // max(count, 1)


def blocks(begin: int, end: int, tokens: int) -> NDArray[np.int64]:
    """The number of the block of each token from begin to end, of so many tokens of a text."""
    count = min(max(tokens // BLOCK, 1), MOST_UNITS)
    return np.arange(begin, end, dtype=np.int64) * count // max(tokens, 1)


class UnitSums:
    """Sums of K columns of values over the units of a text, which may come in parts."""

    def __init__(self, columns: int) -> None:
        """No values yet, in so many columns."""
        self._sums = np.zeros((columns, MOST_UNITS))
        self._units = 0

    def add(self, units: NDArray[np.int64], *columns: NDArray[Any] | float) -> None:
        """Add columns of values (M,); units (M,), which do not fall, tell the unit of each."""
        if units.size:
            self._units = int(units[-1]) + 1
        for sums, column in zip(self._sums, columns, strict=True):
            np.add.at(sums, units, column)  # in order, as np.bincount would do for the whole text

    def columns(self) -> Float64Array:
        """The sums (U, K) so far."""
        return np.ascontiguousarray(self._sums[:, : self._units].T)


class Bootstrap:
    """The sums over the units of a text, and over those of R resampled texts."""

    def __init__(
        self, columns: Float64Array, rng: np.random.Generator, *, resamples: int = RESAMPLES
    ) -> None:
        """Resample units, given by their columns (U, K); statistics depend on the sums alone."""
        self.units = len(columns)
        # The columns and their products, (U, K + K²): a standard error needs the sums of products.
        products = columns[:, :, None] * columns[:, None, :]
        extended = np.concatenate([columns, products.reshape(self.units, -1)], axis=1)
        self._width = columns.shape[1]
        self._sums = extended.sum(axis=0)
        if self.units >= FEWEST_UNITS:
            self._resampled = _resampling(self.units, rng, resamples) @ extended  # (R, K + K²)

    def estimate(self, statistic: Statistic) -> Estimate:
        """The statistic of the text; with interval and p-value if there are `FEWEST_UNITS`."""
        value, error = map(float, self._with_error(statistic, self._sums))
        if self.units < FEWEST_UNITS:
            return Estimate(value, None, None, None)
        if error <= _ROUNDING * abs(value):  # all units alike
            least = 2 / (1 + len(self._resampled))
            return Estimate(value, value, value, least if value else 1.0)
        values, errors = self._with_error(statistic, self._resampled)
        # If all units of a resampled text are alike, its own standard error is 0: take the text's.
        errors[errors <= _ROUNDING * abs(value)] = error
        deviations = np.sort((values - value) / errors)
        tail = (len(deviations) + 1) * 25 // 1000
        low, high = deviations[tail - 1], deviations[-tail]
        observed = value / error
        beyond = min((deviations >= observed).sum(), (deviations <= observed).sum())
        # The text itself counts as one of the resampled texts, so p is above 0. It is at most 0.05
        # exactly if 0 lies outside the interval.
        p_value = min(1.0, 2 * (1 + int(beyond)) / (1 + len(deviations)))
        return Estimate(value, float(value - high * error), float(value - low * error), p_value)

    def _with_error(
        self, statistic: Statistic, sums: Float64Array
    ) -> tuple[Float64Array, Float64Array]:
        """The statistic (...) and its standard error (...) from sums (..., K + K²)."""
        plain = sums[..., : self._width]
        value, gradient = statistic(plain)
        products = sums[..., self._width :].reshape(*plain.shape, self._width)
        scatter = products - plain[..., :, None] * plain[..., None, :] / self.units
        variance = np.einsum("...i,...ij,...j->...", gradient, scatter, gradient)
        bessel = self.units / max(self.units - 1, 1)
        return value, np.sqrt(np.maximum(variance, 0.0) * bessel)


def ratio(numerator: int, denominator: int, *, scale: float = 1.0) -> Statistic:
    """One column's sum divided by another's, times `scale`: nats per token, bits per character."""

    def statistic(sums: Float64Array) -> tuple[Float64Array, Float64Array]:
        top, bottom = sums[..., numerator], sums[..., denominator]
        gradient = np.zeros_like(sums)
        gradient[..., numerator] = scale / bottom
        gradient[..., denominator] = -scale * top / bottom**2
        return scale * top / bottom, gradient

    return statistic


def _resampling(units: int, rng: np.random.Generator, resamples: int) -> Float64Array:
    """How often each unit is drawn in each resampled text, (resamples, units)."""
    drawn = rng.integers(units, size=(resamples, units))
    drawn += np.arange(resamples)[:, None] * units
    counts = np.bincount(drawn.ravel(), minlength=resamples * units)
    return counts.reshape(resamples, units).astype(np.float64)
