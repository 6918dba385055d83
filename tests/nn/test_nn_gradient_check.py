"""The gradient check finds what it is there to find."""

from __future__ import annotations

from math import cos, sin

import numpy as np
import pytest

from lmsuite.nn.gradient_check import check_gradients, numeric_gradient
from lmsuite.types import FloatArray


def cubes(x: FloatArray) -> float:
    return float(np.sum(x**3))


def test_numeric_gradient_is_exact_for_a_cubic_and_close_for_a_sine() -> None:
    x = np.array([0.7, 2.0])
    assert numeric_gradient(lambda: cubes(x), x, (1,)) == pytest.approx(12, rel=1e-11)
    assert numeric_gradient(lambda: sin(x[0]), x, (0,)) == pytest.approx(cos(0.7), rel=1e-11)
    assert x.tolist() == [0.7, 2.0]


def test_a_right_gradient_passes() -> None:
    x, y = np.array([[1.0, -2.0], [3.0, 0.5]]), np.array([2.0])
    report = check_gradients(
        lambda: cubes(x) + cubes(y), {"x": x, "y": y}, {"x": 3 * x**2, "y": 3 * y**2}
    )
    assert report.worst.relative < 1e-10
    assert report.entries == 5
    assert [error.name for error in report.errors] == ["x", "y"]


@pytest.mark.parametrize("samples", [None, 2])
def test_a_wrong_entry_is_named(samples: int | None) -> None:
    """In a sample too, if it is the array's largest: a sample always holds that one."""
    x, y = np.array([[1.0, -2.0], [3.0, 0.5]]), np.array([2.0])
    wrong = 3 * x**2
    wrong[1, 0] *= 1.001
    report = check_gradients(
        lambda: cubes(x) + cubes(y),
        {"y": y, "x": x},
        {"y": 3 * y**2, "x": wrong},
        samples=samples,
        rng=np.random.default_rng(0),
    )
    worst = report.worst
    assert (worst.name, worst.index) == ("x", (1, 0))
    assert worst.relative == pytest.approx(0.001 / 1.001, rel=1e-6)
    assert worst.analytic == pytest.approx(27.027)
    assert worst.numeric == pytest.approx(27)
    assert "x[1, 0]: relative error 1.0e-03" in str(report)


def test_a_gradient_that_is_not_a_number_is_the_worst() -> None:
    x = np.array([1.0, 2.0])
    report = check_gradients(lambda: cubes(x), {"x": x}, {"x": np.array([3.0, np.nan])})
    assert report.worst.index == (1,)
    assert not report.worst.relative < 1e-6


def test_a_missing_gradient_is_found_and_a_true_zero_is_not() -> None:
    x, unused = np.array([1.0, 2.0]), np.array([1.0])
    report = check_gradients(
        lambda: cubes(x), {"x": x, "unused": unused}, {"x": np.zeros(2), "unused": np.zeros(1)}
    )
    by_name = {error.name: error.relative for error in report.errors}
    assert by_name == {"x": 1.0, "unused": 0.0}


def test_the_same_seed_draws_the_same_sample() -> None:
    x = np.linspace(1, 2, 40)
    reports = [
        check_gradients(
            lambda: cubes(x), {"x": x}, {"x": 3 * x**2}, samples=5, rng=np.random.default_rng(7)
        )
        for _ in range(2)
    ]
    assert reports[0] == reports[1]
    assert 1 <= reports[0].entries <= 5


def test_what_cannot_be_checked_is_refused() -> None:
    x = np.ones(2)
    with pytest.raises(ValueError, match="pass rng"):
        check_gradients(lambda: 0.0, {"x": x}, {"x": x}, samples=1)
    with pytest.raises(ValueError, match="gradients of"):
        check_gradients(lambda: 0.0, {"x": x}, {"y": x})
    with pytest.raises(ValueError, match="float64"):
        check_gradients(lambda: 0.0, {"x": x.astype(np.float32)}, {"x": x})
    with pytest.raises(ValueError, match="one shape"):
        check_gradients(lambda: 0.0, {"x": x}, {"x": np.ones(3)})
