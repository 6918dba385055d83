"""Each plain cell against its equations in Python floats: one unit, one sequence, one step a time.

W, U and b are written gate by gate with the gate's letter, so a swap of two gates in the arrays,
even alike in forward and backward, gives other numbers. The gradients are differences of these
equations: a derivation that drops a term does not equal them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import exp, tanh

import numpy as np
import pytest

from lmsuite.nn.cells import PLAIN_CELLS
from lmsuite.nn.drive import DenseDrive
from lmsuite.nn.parameter import Parameters

T, B, D, H = 4, 2, 3, 3
RESETS = [[False, True], [False, False], [True, False], [False, False]]
STEP = 1e-4

# The columns of W and U, in blocks of H, by the letter of the gate: the layout of a model file.
OF_INPUT = {"elman": "h", "lstm": "oifg", "gru": "nrz"}
OF_PAST = {"elman": "h", "lstm": "oifg", "gru": "rzq"}

Weights = dict[str, list[list[float]]]
Step = Callable[[Sequence[float], list[float], list[float], Weights], tuple[list[float], ...]]


def sigmoid(a: float) -> float:
    return 1 / (1 + exp(-a))


def past(h: list[float], w: Weights, gate: str, k: int) -> float:
    """(h U_gate)_k."""
    return sum(h[j] * w[f"U_{gate}"][j][k] for j in range(H))


def input_part(x: Sequence[float], w: Weights, gate: str, k: int) -> float:
    """(x W_gate + b_gate)_k."""
    return sum(x[d] * w[f"W_{gate}"][d][k] for d in range(D)) + w[f"b_{gate}"][0][k]


def elman(
    x: Sequence[float], h: list[float], c: list[float], w: Weights
) -> tuple[list[float], ...]:
    return [tanh(input_part(x, w, "h", k) + past(h, w, "h", k)) for k in range(H)], c


def lstm(x: Sequence[float], h: list[float], c: list[float], w: Weights) -> tuple[list[float], ...]:
    h_after, c_after = [], []
    for k in range(H):
        o = sigmoid(input_part(x, w, "o", k) + past(h, w, "o", k))
        i = sigmoid(input_part(x, w, "i", k) + past(h, w, "i", k))
        f = sigmoid(input_part(x, w, "f", k) + past(h, w, "f", k))
        g = tanh(input_part(x, w, "g", k) + past(h, w, "g", k))
        c_after.append(f * c[k] + i * g)
        h_after.append(o * tanh(c_after[k]))
    return h_after, c_after


def gru(x: Sequence[float], h: list[float], c: list[float], w: Weights) -> tuple[list[float], ...]:
    h_after = []
    for k in range(H):
        r = sigmoid(input_part(x, w, "r", k) + past(h, w, "r", k))
        z = sigmoid(input_part(x, w, "z", k) + past(h, w, "z", k))
        q = past(h, w, "q", k) + w["b_q"][0][k]
        n = tanh(input_part(x, w, "n", k) + r * q)
        h_after.append((1 - z) * n + z * h[k])
    return h_after, c


STEPS: dict[str, Step] = {"elman": elman, "lstm": lstm, "gru": gru}


class Setting:
    """A plain cell with random weights, and the same numbers by letter."""

    def __init__(self, kind: str) -> None:
        rng = np.random.default_rng(7)
        self.kind = kind
        self.parameters = Parameters(PLAIN_CELLS[kind].shapes("cell", D, H), np.float64)
        self.parameters.values[...] = rng.normal(0, 0.8, len(self.parameters))
        self.cell = PLAIN_CELLS[kind](self.parameters, "cell")
        self.x = rng.normal(size=(T, B, D))
        self.state = rng.normal(size=(self.cell.states, B, H))
        self.d_hidden = rng.normal(size=(T, B, H))
        self.d_final = rng.normal(size=self.state.shape)

    def weights(self) -> Weights:
        w: Weights = {}
        for letter, name, gates in (
            ("W", "Wx", OF_INPUT),
            ("U", "Wh", OF_PAST),
            ("b", "b", OF_INPUT),
        ):
            columns = np.atleast_2d(self.parameters[f"cell.{name}"])
            for place, gate in enumerate(gates[self.kind]):
                w[f"{letter}_{gate}"] = columns[:, place * H : (place + 1) * H].tolist()
        if self.kind == "gru":
            w["b_q"] = [self.parameters["cell.b_q"].tolist()]
        return w

    def by_the_equations(self) -> tuple[list[list[list[float]]], list[list[list[float]]]]:
        """Hidden vectors (T, B, H) and the final state (S, B, H)."""
        w, step = self.weights(), STEPS[self.kind]
        hidden = [[[0.0] * H for _ in range(B)] for _ in range(T)]
        final = self.state.tolist()
        for n in range(B):
            h, c = self.state[0, n].tolist(), self.state[-1, n].tolist()
            for t in range(T):
                if RESETS[t][n]:
                    h, c = [0.0] * H, [0.0] * H
                h, c = step(self.x[t, n].tolist(), h, c, w)
                hidden[t][n] = h
            final[0][n] = h
            if self.kind == "lstm":
                final[1][n] = c
        return hidden, final

    def loss(self) -> float:
        hidden, final = self.by_the_equations()
        return float(np.sum(self.d_hidden * hidden) + np.sum(self.d_final * final))


@pytest.mark.parametrize("kind", PLAIN_CELLS)
def test_forward_is_the_equations(kind: str) -> None:
    s = Setting(kind)
    hidden, final, _ = s.cell.forward(s.cell.drive(s.x), s.state, np.array(RESETS))
    expected, expected_final = s.by_the_equations()
    np.testing.assert_allclose(hidden, expected, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(final, expected_final, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind", PLAIN_CELLS)
def test_backward_is_the_slope_of_the_equations(kind: str) -> None:
    """By every weight, every input and every number of the initial state."""
    s = Setting(kind)
    dense = DenseDrive(s.cell)
    drive, drive_cache = dense.forward(s.x)
    _, _, cache = s.cell.forward(drive, s.state, np.array(RESETS))
    d_drive, d_state = s.cell.backward(s.d_hidden, s.d_final, cache)
    d_x = dense.backward(d_drive, drive_cache)
    gradients = {name: (s.parameters[name], s.parameters.gradient(name)) for name in s.parameters}
    gradients |= {"x": (s.x, d_x), "state": (s.state, d_state)}
    for name, (values, derived) in gradients.items():
        for place in np.ndindex(values.shape):
            here = values[place]
            values[place] = here + STEP
            above = s.loss()
            values[place] = here - STEP
            below = s.loss()
            values[place] = here
            slope = (above - below) / (2 * STEP)
            # The error of a central difference is STEP² / 6 times the third derivative.
            assert derived[place] == pytest.approx(slope, rel=1e-5, abs=1e-6), (name, place)
