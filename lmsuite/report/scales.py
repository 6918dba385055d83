"""Where a number lies along an axis, and which numbers are written beside it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

_ROUND_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_LOG_STEPS = ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7), tuple(range(1, 10)))
_FLAT = 1e-9  # the relative difference up to which numbers are taken for equal


@dataclass(frozen=True)
class Scale:
    """An axis from `low` to `high`, linear or logarithmic, both finite and low < high."""

    low: float
    high: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        """Where `value` lies: 0 at `low`, 1 at `high`."""
        low, high, value = (self._straight(number) for number in (self.low, self.high, value))
        return (value - low) / (high - low)

    def ticks(self, about: int = 5) -> list[float]:
        """Round numbers within the axis, `about` so many."""
        return self._log_ticks(about) if self.logarithmic else self._linear_ticks(about)

    def _straight(self, number: float) -> float:
        return math.log(number) if self.logarithmic else number

    def _linear_ticks(self, about: int) -> list[float]:
        rough = (self.high - self.low) / about
        magnitude = 10.0 ** math.floor(math.log10(rough))
        step = next(round_ * magnitude for round_ in _ROUND_STEPS if round_ * magnitude >= rough)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(index * step, 12) for index in range(first, last + 1)]

    def _log_ticks(self, about: int) -> list[float]:
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        choices = [
            [
                tick
                for decade in decades
                for step in steps
                if self.low * (1 - 1e-9) <= (tick := step * 10.0**decade) <= self.high * (1 + 1e-9)
            ]
            for steps in _LOG_STEPS
        ]
        best = min(choices, key=lambda ticks: abs(len(ticks) - about))
        return best if len(best) > 1 else self._linear_ticks(about)


def fitted(values: Iterable[float], *, logarithmic: bool = False, margin: float = 0.04) -> Scale:
    """The axis that shows all of `values`, at least one, with a `margin` of its length beyond."""
    numbers = list(values)
    low, high = min(numbers), max(numbers)
    flat = high - low <= _FLAT * max(abs(low), abs(high))
    if logarithmic:
        factor = 1.1 if flat else (high / low) ** margin
        return Scale(low / factor, high * factor, logarithmic=True)
    beyond = (abs(high) * 0.1 or 1.0) if flat else (high - low) * margin
    return Scale(low - beyond, high + beyond)


def short(value: float) -> str:
    """A tick or a value in few digits: 1,200  350  12.5  0.05."""
    if value and abs(value) < 0.01:
        return f"{value:.1e}"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def spread_apart(places: list[float], gap: float, low: float, high: float) -> list[float]:
    """The `places` of labels, moved as little as needed to stand `gap` apart from low to high.

    Neighbours that come too near are joined into a block that stands about their mean; blocks that
    then meet are joined in turn (the pool-adjacent-violators method).
    """
    order = sorted(range(len(places)), key=places.__getitem__)
    blocks: list[list[int]] = []
    for index in order:
        blocks.append([index])
        while len(blocks) > 1 and _top(blocks[-1], places, gap, low, high) < (
            _top(blocks[-2], places, gap, low, high) + gap * len(blocks[-2])
        ):
            last = blocks.pop()
            blocks[-1] += last
    moved = list(places)
    for block in blocks:
        top = _top(block, places, gap, low, high)
        for rank, index in enumerate(block):
            moved[index] = top + rank * gap
    return moved


def _top(block: list[int], places: list[float], gap: float, low: float, high: float) -> float:
    """Where the first label of a block stands."""
    height = gap * (len(block) - 1)
    middle = sum(places[index] for index in block) / len(block)
    return max(low, min(middle - height / 2, high - height))
