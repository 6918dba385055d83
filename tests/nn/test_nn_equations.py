"""Cells, a network, its loss and the optimizers, compared with their equations in Python floats.

The equations of a cell compute one unit of one sequence at a time, step by step.

W, U and b are written gate by gate, with the gate's letter. If two gates are swapped in the arrays,
the numbers differ, even if forward and backward swap the same two. The expected gradients are
differences of these equations: a derivation that drops a term does not equal them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import exp, log, sqrt, tanh

import numpy as np
import pytest

from lmsuite.models.feedforward import FeedForward, FeedForwardSettings
from lmsuite.nn.cells import PLAIN_CELLS
from lmsuite.nn.drive import DenseDrive
from lmsuite.nn.kernels.softmax import softmax_cross_entropy as kernel_cross_entropy
from lmsuite.nn.losses import softmax_cross_entropy
from lmsuite.nn.optimizers import OPTIMIZERS
from lmsuite.nn.parameter import Parameters
from lmsuite.text.encoding import TextEncoder, TextSettings

T, B, D, H = 4, 2, 3, 3
RESETS = [[False, True], [False, False], [True, False], [False, False]]
STEP = 1e-4

# The letters of the gates, in the order of their blocks of H columns in W and U, as in model files.
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
    """A plain cell with random weights, and the same weights by letter."""

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
    """The slope by every weight, every input and every number of the initial state."""
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


# Softmax with cross-entropy, a feed-forward network and the optimizers, in Python floats.


def dot(x: Sequence[float], W: list[list[float]], b: Sequence[float], k: int) -> float:
    """(x W + b)_k."""
    return sum(x[d] * W[d][k] for d in range(len(x))) + b[k]


def cross_entropy(a: Sequence[float], target: int, impossible: Sequence[int] = ()) -> float:
    """-log (exp a_target / sum_v exp a_v)."""
    return log(sum(exp(a_v) for v, a_v in enumerate(a) if v not in impossible)) - a[target]


@pytest.mark.parametrize("tuned", [False, True])
def test_softmax_with_cross_entropy_is_the_equations(tuned: bool) -> None:
    """p_v = exp a_v / sum_u exp a_u; loss = -sum_n w_n log p_t; dloss/da_v = w (p_v - [v = t])."""
    rng = np.random.default_rng(8)
    logits, targets, weights = rng.normal(0, 2, (4, 6)), [3, 0, 5, 3], [0.5, 0.0, 2.0, 1.0]
    function = kernel_cross_entropy if tuned else softmax_cross_entropy
    loss, d_logits = function(
        logits.copy(), np.array(targets), np.array(weights), np.array([1], np.int32)
    )
    expected = 0.0
    for n, a in enumerate(logits.tolist()):
        expected += weights[n] * cross_entropy(a, targets[n], [1])
        total = sum(exp(a[v]) for v in range(6) if v != 1)
        for v in range(6):
            p = 0.0 if v == 1 else exp(a[v]) / total
            slope = weights[n] * (p - (v == targets[n]))
            assert d_logits[n, v] == pytest.approx(slope, rel=1e-12, abs=1e-15)
    assert loss == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("direct", "tied"), [(False, False), (True, False), (False, True)])
def test_a_feed_forward_network_is_the_equations(direct: bool, tied: bool) -> None:
    """Loss and gradient of a batch of windows: embedding, tanh layers of 3 and 2, softmax.

    x = [C(w_1) C(w_2)], a = tanh(x H + d), a' = tanh(a H' + d'), y = b + a' U (+ x W); or U = Cᵀ
    """
    text, _ = TextEncoder.train("abcabdab", TextSettings("char"))
    settings = FeedForwardSettings(context=2, embed=2, hidden=(3, 2), direct=direct, tied=tied)
    model = FeedForward.initial(text, settings, np.random.default_rng(0), np.float64)
    parameters = model.parameters
    parameters.values[...] = np.random.default_rng(9).normal(0, 0.8, len(parameters))
    V = len(text.vocabulary)
    windows, targets = [[3, 4], [4, 5], [4, 4]], [5, 3, 4]

    def loss() -> float:
        w = {name: parameters[name].tolist() for name in parameters}
        total = 0.0
        for window, target in zip(windows, targets, strict=True):
            x = [number for i in window for number in w["embedding.table"][i]]
            a = x
            for i, size in enumerate((3, 2)):
                W, b = w[f"hidden.{i}.W"], w[f"hidden.{i}.b"]
                a = [tanh(dot(a, W, b, k)) for k in range(size)]
            top = [*a, *x] if direct else a
            U = list(zip(*w["embedding.table"], strict=True)) if tied else w["output.W"]
            y = [dot(top, U, w["output.b"], v) for v in range(V)]
            total += cross_entropy(y, target, text.impossible.tolist())
        return total / 3

    value = model.backpropagate(
        np.array(windows, np.int32).T,
        np.array(targets, np.int32),
        np.zeros((0, 3, 0)),
        weight=1 / 3,
        rng=np.random.default_rng(0),
    )
    assert value == pytest.approx(loss(), rel=1e-12)
    for place in range(len(parameters)):
        here = parameters.values[place]
        parameters.values[place] = here + STEP
        above = loss()
        parameters.values[place] = here - STEP
        below = loss()
        parameters.values[place] = here
        slope = (above - below) / (2 * STEP)
        assert parameters.gradients[place] == pytest.approx(slope, rel=1e-5, abs=1e-6), place


Moments = dict[str, float]
RATE = 0.1


def sgd(w: float, g: float, m: Moments, t: int) -> float:
    return w - RATE * g


def momentum(w: float, g: float, m: Moments, t: int) -> float:
    m["v"] = 0.9 * m["v"] + g
    return w - RATE * m["v"]


def nesterov(w: float, g: float, m: Moments, t: int) -> float:
    m["v"] = 0.9 * m["v"] + g
    return w - RATE * (g + 0.9 * m["v"])


def adagrad(w: float, g: float, m: Moments, t: int) -> float:
    m["s"] += g**2
    return w - RATE * g / (sqrt(m["s"]) + 1e-8)


def rmsprop(w: float, g: float, m: Moments, t: int) -> float:
    m["s"] = 0.9 * m["s"] + 0.1 * g**2
    return w - RATE * g / (sqrt(m["s"]) + 1e-8)


def adadelta(w: float, g: float, m: Moments, t: int) -> float:
    m["s"] = 0.95 * m["s"] + 0.05 * g**2
    d = g * sqrt(m["u"] + 1e-6) / sqrt(m["s"] + 1e-6)
    m["u"] = 0.95 * m["u"] + 0.05 * d**2
    return w - RATE * d


def adam(w: float, g: float, m: Moments, t: int) -> float:
    m["m"] = 0.9 * m["m"] + 0.1 * g
    m["s"] = 0.999 * m["s"] + 0.001 * g**2
    m_corrected, s_corrected = m["m"] / (1 - 0.9**t), m["s"] / (1 - 0.999**t)
    return w - RATE * m_corrected / (sqrt(s_corrected) + 1e-8)


def nadam(w: float, g: float, m: Moments, t: int) -> float:
    m["m"] = 0.9 * m["m"] + 0.1 * g
    m["s"] = 0.999 * m["s"] + 0.001 * g**2
    ahead = 0.9 * m["m"] / (1 - 0.9 ** (t + 1)) + 0.1 * g / (1 - 0.9**t)
    return w - RATE * ahead / (sqrt(m["s"] / (1 - 0.999**t)) + 1e-8)


def adamw(w: float, g: float, m: Moments, t: int) -> float:
    return adam(w - RATE * 0.01 * w, g, m, t)


RULES = {
    rule.__name__: rule
    for rule in (sgd, momentum, nesterov, adagrad, rmsprop, adadelta, adam, nadam, adamw)
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_three_steps_of_an_optimizer_are_the_equations(name: str) -> None:
    """Gradients are large, small and zero, so terms under a root and ε each matter."""
    start = [1.0, -0.3, 2.0]
    gradients = [[0.5, -1e-4, 0.0], [-1.0, 2e-8, 0.0], [0.3, -1e-4, 7.0]]
    optimizer = OPTIMIZERS[name](3, np.float64)
    w = np.array(start)
    expected, moments = start, [dict.fromkeys("vsum", 0.0) for _ in start]
    for t, g in enumerate(gradients, 1):
        optimizer.update(w, np.array(g), RATE, t)
        expected = [RULES[name](expected[i], g[i], moments[i], t) for i in range(3)]
        np.testing.assert_allclose(w, expected, rtol=1e-10)
