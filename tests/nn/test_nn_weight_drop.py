"""DropConnect on recurrent weights: what is dropped, and the gradient by finite differences."""

from __future__ import annotations

import numpy as np
import pytest

from lmsuite.models.recurrent import Recurrent, RecurrentSettings
from lmsuite.nn.kernels import LSTM
from lmsuite.nn.parameter import Parameters
from lmsuite.nn.weight_drop import weights_dropped
from lmsuite.text.encoding import TextEncoder, TextSettings

RATE, STEP = 0.4, 1e-6


def test_inside_weights_are_left_out_and_the_others_grow() -> None:
    """By 1 / (1 - rate), so that their sum stays the same on the average."""
    cell = LSTM(Parameters(LSTM.shapes("", 40, 50), np.float64), "")
    cell.Wh[...] = 1.0
    whole = cell.Wh
    with weights_dropped([cell], RATE, np.random.default_rng(0)):
        kept = np.full(np.count_nonzero(cell.Wh), 1 / (1 - RATE))
        assert cell.Wh[cell.Wh != 0] == pytest.approx(kept, rel=1e-4)
        assert np.mean(cell.Wh) == pytest.approx(1.0, abs=0.03)
        assert np.all(whole == 1.0)
    assert cell.Wh is whole


def test_nothing_is_dropped_without_a_generator() -> None:
    cell = LSTM(Parameters(LSTM.shapes("", 2, 3)), "")
    whole = cell.Wh
    with weights_dropped([cell], RATE, None):
        assert cell.Wh is whole


@pytest.mark.parametrize("cell", ["lstm", "gru", "elman"])
def test_the_gradient_is_that_of_differences(cell: str) -> None:
    """With the same seed, the same weights are left out, also of the loss's neighbours."""
    text, _ = TextEncoder.train("abcabdab", TextSettings("char"))
    settings = RecurrentSettings(cell=cell, hidden=4, embed=3, layers=2, weight_drop=RATE)
    model = Recurrent.initial(text, settings, np.random.default_rng(0), np.float64)
    values = model.parameters.values
    values[...] = np.random.default_rng(9).normal(0, 0.8, len(model.parameters))
    inputs, targets = model.example(np.random.default_rng(1), 2, 5)

    def loss() -> float:
        carry = np.zeros((model.carry_shape[0], 2, 4))
        rng = np.random.default_rng(3)
        return model.backpropagate(inputs, targets, carry, weight=0.1, rng=rng)

    loss()
    gradients = model.parameters.gradients.copy()
    left_out = 0
    for place in range(len(values)):
        here = values[place]
        values[place] = here + STEP
        above = loss()
        values[place] = here - STEP
        below = loss()
        values[place] = here
        assert gradients[place] == pytest.approx((above - below) / (2 * STEP), rel=1e-5, abs=1e-9)
    for layer in range(2):
        left_out += int(np.sum(gradients[model.parameters.slices[f"layer.{layer}.Wh"]] == 0))
    assert left_out > 0
