"""Intervals and p-values: right as often as they claim to be."""

from __future__ import annotations

import numpy as np
import pytest

from lmsuite.analysis import bootstrap
from lmsuite.analysis.bootstrap import Bootstrap, Estimate, UnitSums, blocks, joined, ratio
from lmsuite.analysis.comparison import perplexity_difference


def of_units(columns: list[list[float]] | np.ndarray, seed: int = 0) -> Bootstrap:
    return Bootstrap(np.array(columns, float), np.random.default_rng(seed))


def simulated_lines(rng: np.random.Generator, lines: int, shift: float) -> np.ndarray:
    """Differences of lines of 1 to 20 tokens, which agree more within a line than between."""
    tokens = rng.integers(1, 21, lines).astype(float)
    own = rng.normal(shift, 1, lines) * tokens  # the line's topic suits one model
    return np.stack([own + rng.normal(0, 1, lines) * np.sqrt(tokens), tokens], axis=1)


def rejections(lines: int, shift: float, simulations: int) -> float:
    rng = np.random.default_rng(4)
    estimates = [
        Bootstrap(simulated_lines(rng, lines, shift), rng, resamples=399).estimate(ratio(0, 1))
        for _ in range(simulations)
    ]
    for estimate in estimates:
        assert estimate.low is not None and estimate.high is not None and estimate.p_value
        assert (estimate.p_value <= 0.05) == (estimate.low > 0 or estimate.high < 0)
    return float(np.mean([(e.p_value or 0) <= 0.05 for e in estimates]))


@pytest.mark.parametrize("lines", [12, 60, 150])
def test_a_true_null_is_rejected_one_time_in_twenty(lines: int) -> None:
    # 1500 simulations: one standard error is 0.56 %, so the bound is 2.7 of them wide.
    assert rejections(lines, 0.0, 1500) == pytest.approx(0.05, abs=0.015)


def test_a_true_difference_is_found() -> None:
    assert rejections(60, 0.7, 200) > 0.95


def test_resampling_tokens_instead_of_lines_would_reject_too_often() -> None:
    """Why units are lines: the check above can fail."""
    rng = np.random.default_rng(1)
    rejected = 0
    for _ in range(150):
        topic = np.repeat(rng.normal(0, 1, 30), 10)
        columns = np.stack([topic + rng.normal(0, 1, 300), np.ones(300)], axis=1)
        estimate = Bootstrap(columns, rng, resamples=399).estimate(ratio(0, 1))
        rejected += (estimate.p_value or 0) <= 0.05
    assert rejected > 45


def test_standard_error_of_a_mean_is_the_textbook_one() -> None:
    values = np.random.default_rng(2).normal(3, 2, 400)
    estimate = of_units(np.stack([values, np.ones(400)], axis=1)).estimate(ratio(0, 1))
    assert estimate.low is not None and estimate.high is not None
    half = 1.966 * values.std(ddof=1) / 20  # t distribution, 399 degrees of freedom
    assert estimate.value == pytest.approx(values.mean())
    assert estimate.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert estimate.high == pytest.approx(values.mean() + half, abs=0.1 * half)
    assert estimate.p_value == pytest.approx(2 / 2000)


@pytest.mark.parametrize(
    "statistic", [ratio(0, 2, scale=1.5), perplexity_difference(0, 1, 2)], ids=["ratio", "ppl"]
)
def test_gradients_are_those_of_the_figures(statistic: bootstrap.Statistic) -> None:
    sums = np.array([3.0, 40.0, 17.0])
    _, gradient = statistic(sums)
    for i, step in enumerate(1e-6 * np.eye(3)):
        slope = (statistic(sums + step)[0] - statistic(sums - step)[0]) / 2e-6
        assert gradient[i] == pytest.approx(float(slope), rel=1e-6)


def test_equal_models_differ_by_nothing() -> None:
    columns = np.random.default_rng(0).uniform(1, 2, (30, 3))
    columns[:, 0] = 0.0
    bootstrap_ = of_units(columns)
    nothing = Estimate(0.0, 0.0, 0.0, 1.0)
    assert bootstrap_.estimate(ratio(0, 2)) == nothing
    assert bootstrap_.estimate(perplexity_difference(0, 1, 2)) == nothing


def test_units_that_are_all_alike_leave_no_doubt() -> None:
    estimate = of_units([[0.3, 4.0]] * 20).estimate(ratio(0, 1))
    assert estimate.value == estimate.low == estimate.high == pytest.approx(0.075)
    assert estimate.p_value == 2 / 2000


def test_one_unit_that_differs_decides_nothing() -> None:
    estimate = of_units([[0.0, 4.0]] * 19 + [[8.0, 4.0]]).estimate(ratio(0, 1))
    assert estimate.low is not None and estimate.high is not None and estimate.p_value
    assert estimate.low <= 0 < estimate.high < 10
    assert estimate.p_value > 0.05


@pytest.mark.parametrize("units", [1, 4])
def test_too_few_units_have_no_interval(units: int) -> None:
    estimate = of_units([[2.0, 4.0]] * units).estimate(ratio(0, 1))
    assert estimate == Estimate(0.5, None, None, None)


def test_the_same_seed_gives_the_same_interval() -> None:
    columns = np.random.default_rng(0).uniform(1, 2, (30, 2))
    first, again, other = (of_units(columns, seed).estimate(ratio(0, 1)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_units_are_joined_evenly_and_in_order() -> None:
    assert joined(np.array([0, 0, 1, 2, 2]), 3).tolist() == [0, 0, 1, 2, 2]
    many = joined(np.repeat(np.arange(1203), 2), 1203)
    assert many[-1] == bootstrap.MOST_UNITS - 1
    assert set(np.diff(many).tolist()) == {0, 1}
    sizes = np.bincount(many)
    assert sizes.max() - sizes.min() <= 2  # one unit of two values


def test_blocks_have_fifty_tokens_or_more() -> None:
    assert blocks(0, 49, 49).tolist() == [0] * 49
    assert np.bincount(blocks(0, 107, 107)).tolist() == [54, 53]
    assert len(np.bincount(blocks(0, 10**6, 10**6))) == bootstrap.MOST_UNITS
    assert blocks(53, 55, 107).tolist() == [0, 1]


def test_sums_over_units_whatever_the_parts() -> None:
    units, values = np.array([0, 0, 2]), np.array([1.0, 2.0, 5.0])
    for cuts in ([], [1], [0, 2]):
        sums = UnitSums(2)
        for place in np.split(np.arange(3), cuts):
            sums.add(units[place], values[place], 1.0)
        assert sums.columns().tolist() == [[3, 2], [0, 0], [5, 1]]
