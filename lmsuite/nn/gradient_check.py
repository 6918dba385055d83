"""Analytic gradients against central differences, for any layer or model.

The check needs float64, and every random choice must be held fixed. Then the two agree to about ten
digits, unless the derivation is wrong or the function has a kink within the step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from lmsuite.types import FloatArray, IntArray

STEPS = (1e-3, 1e-4, 1e-5)
"""Half the width of the inner difference. With four points, the error grows as step⁴.

The first step is the most exact, unless the function has a kink (relu, hard tanh) within it. A
narrower step may miss the kink. A wrong derivation disagrees at every step, so the step with the
smallest error counts.
"""

CLOSE = 1e-8
"""At this relative error or below, no narrower step is tried."""

FLOOR = 1e-3
"""The smallest divisor of a relative error, as a share of the array's largest gradient. Where a
gradient happens to be zero, an error relative to it would be rounding noise."""


@dataclass(frozen=True)
class GradientError:
    """The entry of one array where the analytic gradient is furthest from the numeric one."""

    name: str
    index: tuple[int, ...]
    analytic: float
    numeric: float
    relative: float
    """|analytic - numeric| / max(|analytic|, |numeric|, `FLOOR` times the array's largest)."""


@dataclass(frozen=True)
class GradientReport:
    """The result of a check: the worst entry of each array."""

    errors: tuple[GradientError, ...]
    entries: int
    """How many entries were compared."""

    @property
    def worst(self) -> GradientError:
        return max(self.errors, key=lambda error: error.relative)

    def __str__(self) -> str:
        worst = self.worst
        return (
            f"{self.entries} entries; worst {worst.name}{list(worst.index)}: relative error "
            f"{worst.relative:.1e} (analytic {worst.analytic:.9g}, numeric {worst.numeric:.9g})"
        )


def check_gradients(
    loss: Callable[[], float],
    values: Mapping[str, FloatArray],
    gradients: Mapping[str, FloatArray],
    *,
    samples: int | None = None,
    rng: np.random.Generator | None = None,
) -> GradientReport:
    """Move each entry of `values` a little, and compare the change of `loss` with `gradients`.

    Args:
        loss: computes the loss from the present `values`. It is called at least four times for
            each entry.
        values: float64 arrays by name. They are moved in place and put back.
        gradients: the analytic gradients, by the same names.
        samples: how many entries to compare in each array: the largest gradient, and others drawn
            at random. None compares all.
        rng: draws the entries; needed with `samples`.

    Raises:
        ValueError: an array is not float64, names or shapes differ, or `rng` is missing.
    """
    if samples is not None and rng is None:
        raise ValueError("samples are drawn at random: pass rng")
    if set(values) != set(gradients):
        raise ValueError(f"values of {sorted(values)}, gradients of {sorted(gradients)}")
    errors = []
    entries = 0
    # `loss` may write to the gradients.
    derived = {name: np.array(gradient, copy=True) for name, gradient in gradients.items()}
    for name, array in values.items():
        analytic = derived[name]
        if array.dtype != np.float64 or analytic.shape != array.shape:
            raise ValueError(
                f"{name}: values {array.dtype} {array.shape}, gradients {analytic.shape}; "
                "both must have one shape and the values be float64"
            )
        if array.size:
            indices = _choose(analytic, samples, rng)
            entries += len(indices)
            errors.append(_worst_entry(loss, name, array, analytic, indices))
    return GradientReport(tuple(errors), entries)


def _choose(analytic: FloatArray, samples: int | None, rng: np.random.Generator | None) -> IntArray:
    """The flat indices of the entries to compare: all, or the largest and some random ones."""
    if samples is None or rng is None or samples >= analytic.size:
        return np.arange(analytic.size)
    drawn = rng.choice(analytic.size, samples, replace=False)
    drawn[0] = np.abs(analytic).argmax()
    return np.unique(drawn)


def _worst_entry(
    loss: Callable[[], float],
    name: str,
    array: FloatArray,
    analytic: FloatArray,
    indices: IntArray,
) -> GradientError:
    places = [tuple(map(int, np.unravel_index(index, array.shape))) for index in indices]
    by_hand = np.array([analytic[place] for place in places])
    floor = max(FLOOR * np.abs(analytic).max(), np.finfo(np.float64).tiny)
    measured = np.empty(len(places))
    relative = np.full(len(places), np.inf)
    for step in STEPS:
        for i in np.flatnonzero(~(relative <= CLOSE)):
            numeric = numeric_gradient(loss, array, places[i], step)
            error = abs(by_hand[i] - numeric) / max(abs(by_hand[i]), abs(numeric), floor)
            if step == STEPS[0] or error < relative[i]:
                measured[i], relative[i] = numeric, error
    worst = int(np.nan_to_num(relative, nan=np.inf).argmax())
    return GradientError(
        name,
        places[worst],
        float(by_hand[worst]),
        float(measured[worst]),
        float(relative[worst]),
    )


def numeric_gradient(
    loss: Callable[[], float], array: FloatArray, index: tuple[int, ...], step: float = STEPS[0]
) -> float:
    """The slope of `loss` by array[index]: a central difference of four points, error O(step⁴).

    f'(x) = (8 (f(x+h) - f(x-h)) - (f(x+2h) - f(x-2h))) / 12h
    """
    here = array[index]

    def at(offset: float) -> float:
        array[index] = here + offset
        return loss()

    near = at(step) - at(-step)
    far = at(2 * step) - at(-2 * step)
    array[index] = here
    return (8 * near - far) / (12 * step)
