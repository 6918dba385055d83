"""Axes, their ticks, and labels that make room for one another."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmsuite.report.scales import Scale, fitted, short, spread_apart


def test_linear_scale() -> None:
    scale = Scale(10, 30)
    assert [scale(10), scale(15), scale(30)] == [0, 0.25, 1]


def test_logarithmic_scale() -> None:
    scale = Scale(1, 100, logarithmic=True)
    assert scale(10) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("scale", "ticks"),
    [
        (Scale(0, 1), [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (Scale(2.01, 2.36), [2.1, 2.2, 2.3]),
        (Scale(-50, 110), [-50, 0, 50, 100]),
        (Scale(1, 1000, logarithmic=True), [1, 10, 100, 1000]),
        (Scale(90, 500, logarithmic=True), [100, 150, 200, 300, 400, 500]),
        (Scale(101, 104, logarithmic=True), [101, 102, 103, 104]),
    ],
)
def test_ticks_are_round(scale: Scale, ticks: list[float]) -> None:
    assert scale.ticks() == pytest.approx(ticks)


@given(
    st.floats(1e-3, 1e6),
    st.floats(1e-3, 1e6),
    st.booleans(),
)
def test_every_axis_has_ticks_within_it(one: float, other: float, logarithmic: bool) -> None:
    scale = fitted([one, other], logarithmic=logarithmic)
    assert scale.low < min(one, other) <= max(one, other) < scale.high
    ticks = scale.ticks()
    assert 2 <= len(ticks) <= 20
    assert all(-1e-6 <= scale(tick) <= 1 + 1e-6 for tick in ticks)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1200, "1,200"), (350.4, "350"), (12.5, "12.5"), (2.0, "2"), (0.05, "0.05")],
)
def test_short_numbers(value: float, text: str) -> None:
    assert short(value) == text


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
