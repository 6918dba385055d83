"""Descriptions of charts: `drawing` makes pictures from them, `terminal` makes text."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from lmsuite.types import Float64Array

# matplotlib's notes about its folder and its fonts do not concern a user.
logging.getLogger("matplotlib").setLevel(logging.ERROR)

_LARGEST = 1e305  # close to the largest float
_FLAT = 1e-9  # numbers with at most this relative difference count as equal
# An axis whose ends have at most this ratio has room for ticks at these multiples of 1, 10, 100, …
_LOG_STEPS = ((10, (1, 1.5, 2, 3, 4, 5, 7)), (1000, (1, 2, 5)), (math.inf, (1,)))


@dataclass(frozen=True)
class Series:
    """A line: points (x, y) in the order of x, at least one, finite."""

    label: str
    points: Sequence[tuple[float, float]]
    style: int  # picks colour and dashes; a model has the same style in all charts


@dataclass(frozen=True)
class LineChart:
    """At least one line, over common axes."""

    title: str
    x_label: str
    y_label: str
    series: Sequence[Series]
    y_logarithmic: bool = False
    counts: bool = False  # every x is a whole number and has its own tick

    def x_axis(self) -> Axis:
        """The axis across, which ends at the last point."""
        xs = [x for line in self.series for x, _ in line.points]
        return Axis.over(xs, margin=0.0 if len(set(xs)) > 1 else 0.04)

    def y_axis(self) -> Axis:
        """The axis upwards."""
        ys = (y for line in self.series for _, y in line.points)
        return Axis.over(ys, logarithmic=self.y_logarithmic)

    def x_ticks(self) -> list[float]:
        """The numbers written along the axis across."""
        if self.counts:
            return sorted({x for line in self.series for x, _ in line.points})
        return self.x_axis().ticks()

    def in_words(self) -> str:
        """The description for a screen reader: where every line begins and ends."""
        lines = (
            f"{line.label} from {line.points[0][1]:.4g} to {line.points[-1][1]:.4g}"
            for line in self.series
        )
        return f"{self.title}. {self.y_label} over {self.x_label}: {'; '.join(lines)}."


@dataclass(frozen=True)
class Interval:
    """A value with its interval; `low` and `high` are None if it has none."""

    label: str
    value: float
    low: float | None
    high: float | None
    style: int


@dataclass(frozen=True)
class IntervalChart:
    """At least one value with its interval, each in a row, over a common axis."""

    x_label: str
    rows: Sequence[Interval]

    def x_axis(self) -> Axis:
        """The axis across."""
        ends = (end for row in self.rows for end in (row.value, row.low, row.high))
        return Axis.over((end for end in ends if end is not None), margin=0.08)

    def in_words(self) -> str:
        """The description for a screen reader: every value."""
        rows = (f"{row.label} {row.value:.3f}" for row in self.rows)
        return f"{self.x_label}. {'; '.join(rows)}."


@dataclass(frozen=True)
class Place:
    """The place of a token on a map."""

    label: str
    x: float
    y: float


@dataclass(frozen=True)
class TokenMap:
    """At least two tokens in the plane, the most frequent first."""

    model: str
    places: Sequence[Place]
    shares: tuple[float, float]  # of the tokens' variance that lies along x and along y


@dataclass(frozen=True)
class Axis:
    """An axis from `low` to `high`, linear or logarithmic, both finite and low < high."""

    low: float
    high: float
    logarithmic: bool = False

    @classmethod
    def over(
        cls, values: Iterable[float], *, logarithmic: bool = False, margin: float = 0.04
    ) -> Axis:
        """The axis of all `values` (at least one), with `margin` of its length beyond each end."""
        numbers = list(values)
        low, high = min(numbers), max(numbers)
        flat = high - low <= _FLAT * max(abs(low), abs(high))
        if logarithmic:
            factor = 1.1 if flat else (high / low) ** margin
            return cls(low / factor, min(high * factor, _LARGEST), logarithmic=True)
        beyond = (abs(high) * 0.1 or 1.0) if flat else (high - low) * margin
        return cls(low - beyond, high + beyond)

    def fraction(self, values: ArrayLike) -> Float64Array:
        """The places of `values` on the axis, in their shape: 0 at `low`, 1 at `high`."""
        straight = np.log if self.logarithmic else np.asarray
        low, high, places = map(straight, (self.low, self.high, values))
        fractions: Float64Array = (places - low) / (high - low)
        return fractions

    def ticks(self) -> list[float]:
        """Round numbers within the axis, about five."""
        from matplotlib.ticker import Locator, LogLocator, MaxNLocator

        locators: list[Locator] = [MaxNLocator(5, steps=(1, 2, 2.5, 5, 10))]
        if self.logarithmic:
            ratio = self.high / self.low
            steps = next(each for most, each in _LOG_STEPS if ratio <= most)
            locators.insert(0, LogLocator(subs=steps))
        with np.errstate(over="ignore"):  # matplotlib also tries ticks beyond the axis
            found = [self._within(each.tick_values(self.low, self.high)) for each in locators]
        return next((ticks for ticks in found if len(ticks) > 1), [])

    def _within(self, ticks: Iterable[float]) -> list[float]:
        slack = 0.0 if self.logarithmic else 1e-9 * (self.high - self.low)
        return [float(tick) for tick in ticks if self.low - slack <= tick <= self.high + slack]


def tick_label(tick: float) -> str:
    """A tick in few digits: 1,200  350  12.5  0.05."""
    return f"{tick:,g}"


def spread_apart(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move the `places` of labels at least `gap` apart, between `low` and `high`, in their order.

    After the gaps below each place are subtracted, the places must not decrease. The least such
    sequence above the places and the greatest one below them are found first. Their mean makes the
    longest move as short as possible (isotonic regression in the maximum norm).
    """
    order = np.argsort(places, kind="stable")
    gaps = gap * np.arange(len(places))
    wanted = np.asarray(places, np.float64)[order] - gaps
    above = np.maximum.accumulate(wanted)
    below = np.minimum.accumulate(wanted[::-1])[::-1]
    moved = np.empty(len(places))
    moved[order] = np.clip((above + below) / 2, low, max(high - gaps[-1], low)) + gaps
    return moved.tolist()


def fixed(value: float) -> str:
    """A value with three digits after the point if it is small, fewer if large; zeros are kept."""
    digits = 3 if abs(value) < 10 else 2 if abs(value) < 100 else 1 if abs(value) < 1000 else 0
    return f"{value:,.{digits}f}"
