"""Axes and their ticks, labels that make room for one another, and what charts say in words."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmsuite.report.charts import (
    Axis,
    Interval,
    IntervalChart,
    LineChart,
    Series,
    fixed,
    spread_apart,
    tick_label,
)


def test_linear_axis() -> None:
    assert Axis(10, 30).fraction([10, 15, 30]).tolist() == [0, 0.25, 1]
    assert Axis(10, 30).fraction(20) == 0.5


def test_logarithmic_axis() -> None:
    assert Axis(1, 100, logarithmic=True).fraction(10) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("axis", "ticks"),
    [
        (Axis(0, 1), [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (Axis(2.01, 2.36), [2.1, 2.2, 2.3]),
        (Axis(-50, 110), [-50, 0, 50, 100]),
        (Axis(1, 1000, logarithmic=True), [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]),
        (Axis(90, 500, logarithmic=True), [100, 150, 200, 300, 400, 500]),
        (Axis(101, 104, logarithmic=True), [101, 101.5, 102, 102.5, 103, 103.5, 104]),
        (Axis(5, 2e6, logarithmic=True), [10, 100, 1e3, 1e4, 1e5, 1e6]),
    ],
)
def test_ticks_are_round(axis: Axis, ticks: list[float]) -> None:
    assert axis.ticks() == pytest.approx(ticks)


@given(
    st.floats(1e-3, 1e6),
    st.floats(1e-3, 1e6),
    st.booleans(),
)
def test_every_axis_has_ticks_within_it(one: float, other: float, logarithmic: bool) -> None:
    axis = Axis.over([one, other], logarithmic=logarithmic)
    assert axis.low < min(one, other) <= max(one, other) < axis.high
    ticks = axis.ticks()
    assert 2 <= len(ticks) <= 20
    assert all(-1e-6 <= axis.fraction(tick) <= 1 + 1e-6 for tick in ticks)


@pytest.mark.filterwarnings("error")
def test_an_axis_for_every_perplexity_that_a_float_holds() -> None:
    for least in (1.0, 1e300, 1e304):
        axis = Axis.over([least, 1e304], logarithmic=True)
        assert axis.high > 1e304
        assert 2 <= len(axis.ticks()) <= 20


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1200, "1,200"), (350, "350"), (12.5, "12.5"), (2.0, "2"), (0.1 + 0.2, "0.3")],
)
def test_tick_labels(value: float, text: str) -> None:
    assert tick_label(value) == text


def test_labels_apart_already_stay() -> None:
    assert spread_apart([80, 10, 50], 15, 0, 100) == [80, 10, 50]


def test_labels_that_meet_stand_about_their_mean() -> None:
    # 50 and 54 want 10 between them: 47 and 57; the mean 52 is kept.
    assert spread_apart([50, 54, 10], 10, 0, 100) == [47, 57, 10]


def test_labels_stay_inside() -> None:
    assert spread_apart([0, 1, 2], 10, 0, 100) == [0, 10, 20]
    assert spread_apart([100, 99], 10, 0, 100) == [100, 90]


@given(st.lists(st.floats(0, 200), min_size=1, max_size=8))
def test_labels_keep_their_distance_and_their_order(places: list[float]) -> None:
    moved = spread_apart(places, 12, 0, 200)
    ranks = sorted(range(len(places)), key=places.__getitem__)
    gaps = [moved[b] - moved[a] for a, b in itertools.pairwise(ranks)]
    assert all(gap >= 12 - 1e-9 for gap in gaps)
    assert min(moved) >= -1e-9
    assert max(moved) <= 200 + 1e-9


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1.98765, "1.988"), (12.3456, "12.35"), (345.67, "345.7"), (12345, "12,345")],
)
def test_figures_keep_their_digits(value: float, shown: str) -> None:
    assert fixed(value) == shown


def test_charts_in_words() -> None:
    lines = LineChart("Curves", "seconds", "perplexity", [Series("m", [(0, 40), (9, 1.5)], 0)])
    assert lines.in_words() == "Curves. perplexity over seconds: m from 40 to 1.5."
    rows = IntervalChart("bits", [Interval("a", 2.0, 1.9, 2.1, 0), Interval("b", 2, None, None, 1)])
    assert rows.in_words() == "bits. a 2.000; b 2.000."
