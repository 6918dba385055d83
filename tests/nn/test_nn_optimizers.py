"""Optimizers against two steps worked by hand, and what must hold for all of them."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest

from lmsuite.nn.optimizers import (
    BLOCK,
    OPTIMIZERS,
    add_penalty,
    clip_by_global_norm,
    squared_norm,
)

# One parameter at w = 1, learning rate 0.1, gradients 0.5 then -1. After each step, w:
TWO_STEPS = {
    # 1 - 0.1·0.5;  0.95 + 0.1·1
    "sgd": (0.95, 1.05),
    # v = 0.5;  v = 0.9·0.5 - 1 = -0.55
    "momentum": (0.95, 0.95 + 0.1 * 0.55),
    # 0.5 + 0.9·0.5 = 0.95;  -1 + 0.9·(-0.55) = -1.495
    "nesterov": (1 - 0.1 * 0.95, 0.905 + 0.1 * 1.495),
    # s = 0.25: 0.5/0.5 = 1;  s = 1.25: -1/1.1180340
    "adagrad": (0.9, 0.9 + 0.1 / 1.1180340),
    # s = 0.1·0.25 = 0.025: 0.5/0.1581139;  s = 0.9·0.025 + 0.1·1 = 0.1225: -1/0.35
    "rmsprop": (1 - 0.1 * 0.5 / 0.1581139, 0.6837722 + 0.1 / 0.35),
    # s = 0.05·0.25 = 0.0125: d = 0.5·0.001/sqrt(0.012501) = 0.00447196, u = 0.05·d² = 0.99992e-6;
    # s = 0.95·0.0125 + 0.05 = 0.061875: d = -sqrt(1.99992e-6/0.061876) = -0.00568519
    "adadelta": (1 - 0.1 * 0.00447196, 0.999552804 + 0.1 * 0.00568519),
    # m' = 0.05/0.1 = 0.5, s' = 0.00025/0.001 = 0.25;
    # m' = -0.055/0.19 = -0.2894737, s' = 0.00124975/0.001999 = 0.6251876, its root 0.7906881
    "adam": (0.9, 0.9 + 0.1 * 0.2894737 / 0.7906881),
    # m' = 0.9·0.05/0.19 + 0.1·0.5/0.1 = 0.7368421;
    # m' = 0.9·(-0.055)/0.271 + 0.1·(-1)/0.19 = -0.7089726
    "nadam": (1 - 0.1 * 0.7368421 / 0.5, 0.8526316 + 0.1 * 0.7089726 / 0.7906881),
    # first 1·(1 - 0.1·0.01) = 0.999, then Adam's step;  0.899·0.999 = 0.898101
    "adamw": (0.899, 0.898101 + 0.1 * 0.2894737 / 0.7906881),
}


def test_every_optimizer_has_a_worked_example() -> None:
    assert set(TWO_STEPS) == set(OPTIMIZERS)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_two_steps_by_hand(name: str) -> None:
    optimizer = OPTIMIZERS[name](1, np.float64)
    w = np.array([1.0])
    for step, (gradient, expected) in enumerate(zip((0.5, -1.0), TWO_STEPS[name], strict=True), 1):
        g = np.array([gradient])
        optimizer.update(w, g, 0.1, step)
        assert w[0] == pytest.approx(expected, rel=1e-7)
        assert g[0] == gradient


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_blocks_and_slices_give_the_same_as_the_whole(name: str) -> None:
    """Two workers with half the parameters each, over several blocks: equal to the bit."""
    rng = np.random.default_rng(0)
    size = 2 * BLOCK + 1001
    w = rng.normal(size=size).astype(np.float32)
    halves = w.copy()
    cut = BLOCK + 77
    whole = OPTIMIZERS[name](size)
    workers = [
        (slice(0, cut), OPTIMIZERS[name](cut)),
        (slice(cut, size), OPTIMIZERS[name](size - cut)),
    ]
    for step in (1, 2, 3):
        g = rng.normal(size=size).astype(np.float32)
        whole.update(w, g, 0.01, step)
        for part, optimizer in workers:
            optimizer.update(halves[part], g[part], 0.01, step)
    np.testing.assert_array_equal(w, halves)
    assert w.dtype == np.float32


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_going_on_from_saved_state(name: str) -> None:
    rng = np.random.default_rng(1)
    gradients = rng.normal(size=(6, 50)).astype(np.float32)
    optimizer = OPTIMIZERS[name](50)
    w = np.ones(50, np.float32)
    for step in (1, 2, 3):
        optimizer.update(w, gradients[step - 1], 0.01, step)
    saved = {key: array.copy() for key, array in optimizer.state_arrays().items()}
    again = w.copy()
    resumed = OPTIMIZERS[name](50, state=saved)
    for step in (4, 5, 6):
        optimizer.update(w, gradients[step - 1], 0.01, step)
        resumed.update(again, gradients[step - 1], 0.01, step)
    np.testing.assert_array_equal(w, again)
    for key, array in resumed.state_arrays().items():
        assert array is saved[key]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_finds_the_bottom_of_a_bowl(name: str) -> None:
    """f(w) = sum w²/2 with gradient w, from w = (1, -2, 3): every optimizer comes down to it."""
    optimizer = OPTIMIZERS[name](3, np.float64)
    w = np.array([1.0, -2.0, 3.0])
    rate = {"adagrad": 1.0, "adadelta": 20.0}.get(name, 0.1)
    steps = 1000
    for step in range(1, steps + 1):
        optimizer.update(w, w.copy(), rate * (1 - step / steps), step)
    assert np.abs(w).max() < 0.01


def test_the_first_step_of_adam_is_the_rate_whatever_the_gradient() -> None:
    w = np.zeros(3)
    OPTIMIZERS["adam"](3, np.float64).update(w, np.array([1e-3, -5.0, 1e4]), 0.1, 1)
    np.testing.assert_allclose(w, [-0.1, 0.1, -0.1], rtol=1e-4)


def test_state_that_does_not_fit_is_refused() -> None:
    good = OPTIMIZERS["adam"](3).state_arrays()
    with pytest.raises(ValueError, match="momentum needs"):
        OPTIMIZERS["momentum"](3, state=good)
    with pytest.raises(ValueError, match=r"\(4,\)"):
        OPTIMIZERS["adam"](4, state=good)


def test_clipping_by_global_norm() -> None:
    g = np.array([3.0, 0.0, -4.0])
    assert clip_by_global_norm(g, 10.0) == pytest.approx(5)
    assert g.tolist() == [3, 0, -4]
    assert clip_by_global_norm(g, 1.0) == pytest.approx(5)
    np.testing.assert_allclose(g, [0.6, 0, -0.8])
    assert sqrt(squared_norm(g[:1]) + squared_norm(g[1:])) == pytest.approx(1)


def test_penalties() -> None:
    values, gradients = np.array([2.0, -1.0, 0.0]), np.array([1.0, 1.0, 1.0])
    # 0.1·(2 + 1) + 0.5/2·(4 + 1)
    assert add_penalty(values, gradients, l1=0.1, l2=0.5) == pytest.approx(0.3 + 1.25)
    # 1 + 0.1 + 0.5·2,  1 - 0.1 - 0.5·1,  1
    np.testing.assert_allclose(gradients, [2.1, 0.4, 1.0])
    assert add_penalty(values, gradients, l1=0.0, l2=0.0) == 0
    np.testing.assert_allclose(gradients, [2.1, 0.4, 1.0])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_some_rows_are_updated_as_they_would_be_alone(name: str) -> None:
    """The other rows and their moments stay as they are."""
    rng = np.random.default_rng(4)
    table, rows = rng.standard_normal((9, 3)), np.array([1, 4, 7])
    alone, before = table[rows].reshape(-1), table.copy()
    of_table = OPTIMIZERS[name](27, np.float64)
    of_rows = OPTIMIZERS[name](9, np.float64)
    for step in (1, 2, 3):
        gradients = rng.standard_normal((3, 3))
        of_table.update_rows(table, gradients, rows, 0.1, step)
        of_rows.update(alone, gradients.reshape(-1), 0.1, step)
    np.testing.assert_array_equal(table[rows].reshape(-1), alone)
    others = np.setdiff1d(np.arange(9), rows)
    np.testing.assert_array_equal(table[others], before[others])
    for moment in of_table.state_arrays().values():
        assert not moment.reshape(9, 3)[others].any()
