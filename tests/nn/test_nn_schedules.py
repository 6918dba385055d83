"""Learning rates over a training."""

from __future__ import annotations

import pytest

from lmsuite.nn.schedules import SCHEDULES

AT = (0.0, 0.25, 0.5, 0.75, 1.0)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("constant", (1, 1, 1, 1, 1)),
        ("step", (1, 1 / 4, 1 / 16, 1 / 64, 1 / 128)),
        ("exponential", (1, 0.01**0.25, 0.1, 0.01**0.75, 0.01)),
        ("cosine", (1, 0.5 + 0.5 / 2**0.5, 0.5, 0.5 - 0.5 / 2**0.5, 0)),
        ("plateau", (1, 1, 1, 1, 1)),
    ],
)
def test_factors(name: str, expected: tuple[float, ...]) -> None:
    schedule = SCHEDULES[name]()
    assert [schedule.factor(p) for p in AT] == pytest.approx(expected)


@pytest.mark.parametrize("name", SCHEDULES)
def test_warmup_rises_to_the_peak_and_the_rest_is_the_schedule(name: str) -> None:
    plain, warm = SCHEDULES[name](), SCHEDULES[name](warmup=0.2)
    assert [warm.factor(p) for p in (0.0, 0.1, 0.2)] == pytest.approx([0, 0.5, 1])
    # 0.64 is 0.44 after the warm-up, of the 0.8 that it leaves
    assert warm.factor(0.64) == pytest.approx(plain.factor(0.55))
    assert warm.factor(1.0) == pytest.approx(plain.factor(1.0))


@pytest.mark.parametrize("name", SCHEDULES)
def test_progress_outside_the_plan_is_its_end(name: str) -> None:
    schedule = SCHEDULES[name]()
    assert schedule.factor(1.5) == schedule.factor(1.0)
    assert schedule.factor(-1.0) == schedule.factor(0.0)


def test_plateau_halves_when_nothing_improves() -> None:
    schedule = SCHEDULES["plateau"]()
    factors = []
    for loss in (3.0, 2.0, 2.5, 2.0, 1.9, 1.95, 2.0, 2.1, 2.0):
        schedule.observe(loss)
        factors.append(schedule.factor(0.5))
    # 2.5 and 2.0 do not beat 2.0; then 1.9 does; then two and two more do not beat that
    assert factors == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.125]


@pytest.mark.parametrize("name", SCHEDULES)
def test_going_on_from_saved_state(name: str) -> None:
    schedule, resumed = SCHEDULES[name](), SCHEDULES[name]()
    for loss in (2.0, 2.1, 2.2, 2.3):
        schedule.observe(loss)
    resumed.restore(schedule.state())
    for each in (schedule, resumed):
        each.observe(2.4)
    assert resumed.factor(0.3) == schedule.factor(0.3)
    assert resumed.state() == schedule.state()


@pytest.mark.parametrize("warmup", [-0.1, 1.0])
def test_warmup_out_of_range(warmup: float) -> None:
    with pytest.raises(ValueError, match="warm-up"):
        SCHEDULES["cosine"](warmup)
