"""The mean of the weights along a training."""

from __future__ import annotations

import numpy as np
import pytest

from lmsuite.training.averaging import EVERY, pull


def mean_of(weights: list[float], share: float) -> float:
    mean = 100.0  # where it begins does not matter
    for update, weight in enumerate(weights, start=1):
        mean += pull(update, share) * (weight - mean)
    return mean


def test_a_half_is_the_plain_mean_of_what_it_takes_in() -> None:
    weights = list(np.random.default_rng(0).normal(size=5 * EVERY))
    assert mean_of(weights, 0.5) == pytest.approx(np.mean(weights[EVERY - 1 :: EVERY]))


def test_by_hand() -> None:
    """c = 2: a_1 = w_1, a_2 = a_1 + 2/3 (w_2 - a_1), a_3 = a_2 + 2/4 (w_3 - a_2)."""
    taken = [3.0, 6.0, 11.0]
    weights = [w for w in taken for _ in range(EVERY)]
    assert mean_of(weights, 1 / 3) == pytest.approx((5 + 11) / 2)


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3])
def test_the_mean_age_is_the_share(share: float) -> None:
    updates = 2000 * EVERY
    moment = mean_of([float(update) for update in range(1, updates + 1)], share)
    assert (updates - moment) / updates == pytest.approx(share, rel=0.02)


def test_without_a_share_there_is_no_mean() -> None:
    assert all(pull(update, 0.0) == 0.0 for update in range(1, 3 * EVERY))
