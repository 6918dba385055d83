"""Charts described once: `drawing` makes pictures of them, `terminal` letters."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from lmsuite.types import Float64Array

logging.getLogger("matplotlib").setLevel(logging.ERROR)  # its folder and its fonts are its own

_LARGEST = 1e305  # about where a float ends
_FLAT = 1e-9  # the relative difference up to which numbers are taken for equal
# What is written of each decade, by the ratio of an axis' ends up to which there is room for it.
_LOG_STEPS = ((10, (1, 1.5, 2, 3, 4, 5, 7)), (1000, (1, 2, 5)), (math.inf, (1,)))


@dataclass(frozen=True)
class Series:
    """A line: points (x, y) in the order of x, at least one, finite."""

    label: str
    points: Sequence[tuple[float, float]]
    style: int  # picks colour and dashes; a model has the same in all charts


@dataclass(frozen=True)
class LineChart:
    """Lines over common axes, at least one."""

    title: str
    x_label: str
    y_label: str
    series: Sequence[Series]
    y_logarithmic: bool = False
    counts: bool = False  # x are whole numbers, each with a tick of its own

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
        """What a screen reader says instead of the picture: where every line begins and ends."""
        lines = (
            f"{line.label} from {line.points[0][1]:.4g} to {line.points[-1][1]:.4g}"
            for line in self.series
        )
        return f"{self.title}. {self.y_label} over {self.x_label}: {'; '.join(lines)}."


@dataclass(frozen=True)
class Interval:
    """A value with the interval that it lies in; without one where `low` is None."""

    label: str
    value: float
    low: float | None
    high: float | None
    style: int


@dataclass(frozen=True)
class IntervalChart:
    """Values with their intervals, at least one, a row each over a common axis."""

    x_label: str
    rows: Sequence[Interval]

    def x_axis(self) -> Axis:
        """The axis across."""
        ends = (end for row in self.rows for end in (row.value, row.low, row.high))
        return Axis.over((end for end in ends if end is not None), margin=0.08)

    def in_words(self) -> str:
        """What a screen reader says instead of the picture."""
        rows = (f"{row.label} {row.value:.3f}" for row in self.rows)
        return f"{self.x_label}. {'; '.join(rows)}."


@dataclass(frozen=True)
class Place:
    """Where a token stands on a map."""

    label: str
    x: float
    y: float


@dataclass(frozen=True)
class TokenMap:
    """Tokens in the plane, at least two, the most frequent first."""

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
        """The axis that shows all values, at least one, with `margin` of its length beyond."""
        numbers = list(values)
        low, high = min(numbers), max(numbers)
        flat = high - low <= _FLAT * max(abs(low), abs(high))
        if logarithmic:
            factor = 1.1 if flat else (high / low) ** margin
            return cls(low / factor, min(high * factor, _LARGEST), logarithmic=True)
        beyond = (abs(high) * 0.1 or 1.0) if flat else (high - low) * margin
        return cls(low - beyond, high + beyond)

    def fraction(self, values: ArrayLike) -> Float64Array:
        """Where `values` lie: 0 at `low`, 1 at `high`; of their shape."""
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
        with np.errstate(over="ignore"):  # ticks are tried beyond the axis
            found = [self._within(each.tick_values(self.low, self.high)) for each in locators]
        return next((ticks for ticks in found if len(ticks) > 1), [])

    def _within(self, ticks: Iterable[float]) -> list[float]:
        slack = 0.0 if self.logarithmic else 1e-9 * (self.high - self.low)
        return [float(tick) for tick in ticks if self.low - slack <= tick <= self.high + slack]


def tick_label(tick: float) -> str:
    """A tick in few digits: 1,200  350  12.5  0.05."""
    return f"{tick:,g}"


def spread_apart(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """The `places` of labels, moved to stand `gap` apart from low to high, in their order.

    Less the gaps below it, each place must be no lower than the one before. The mean of the least
    such numbers above and the greatest below makes the longest move as short as can be (isotonic
    regression in the maximum norm).
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
    """A value with three digits after the point if small, fewer if large, zeros kept."""
    digits = 3 if abs(value) < 10 else 2 if abs(value) < 100 else 1 if abs(value) < 1000 else 0
    return f"{value:,.{digits}f}"
