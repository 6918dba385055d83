"""Worked examples of the lectures, computed with the workshop's own layers.

Where a printed result is rounded or cut off, the test holds more digits and says how far the
printed ones are from them.
"""

from __future__ import annotations

import numpy as np
import pytest

from lmsuite.nn.activations import ACTIVATIONS
from lmsuite.nn.gradient_check import numeric_gradient
from lmsuite.nn.layers import Linear
from lmsuite.nn.losses import binary_cross_entropy, log_softmax, squared_error
from lmsuite.nn.optimizers import SGD, Adam
from lmsuite.nn.parameter import Parameters
from lmsuite.types import FloatArray

SIGMOID, TANH, RELU = (ACTIVATIONS[name] for name in ("sigmoid", "tanh", "relu"))


def linear(W: list[list[float]], b: list[float]) -> Linear:
    """A layer y = x W + b. The lectures write y = W x + b: their W, transposed, is given here."""
    weights = np.array(W)
    layer = Linear(Parameters(Linear.shapes("l", *weights.shape), np.float64), "l")
    layer.W[...], layer.b[...] = weights, b
    return layer


def test_a_sigmoid_unit() -> None:
    unit = linear([[0.2], [0.3], [0.9]], [0.5])
    a, _ = unit.forward(np.array([[0.5, 0.6, 0.1]]))
    # 0.2·0.5 + 0.3·0.6 + 0.9·0.1 + 0.5
    assert a[0, 0] == pytest.approx(0.87)
    y = SIGMOID.apply(a)[0, 0]
    assert y == pytest.approx(0.704746, abs=1e-6)
    assert round(y, 2) == 0.70


def test_softmax() -> None:
    p = np.exp(log_softmax(np.array([[0.6, 1.1, -1.5, 1.2, 3.2, -1.1]])))[0]
    np.testing.assert_allclose(
        p, [0.0548254, 0.0903918, 0.0067137, 0.0998984, 0.7381549, 0.0100157], atol=1e-7
    )
    # As printed; the third and the fourth are cut off, not rounded (0.0067, 0.0999).
    printed = np.array([0.055, 0.090, 0.006, 0.099, 0.74, 0.010])
    last_digit = np.array([0.001, 0.001, 0.001, 0.001, 0.01, 0.001])
    assert (np.abs(p - printed) < last_digit).all()


XOR_INPUTS = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
XOR = np.array([[0.0], [1.0], [1.0], [0.0]])


def test_a_relu_network_that_computes_xor() -> None:
    hidden = linear([[1, 1], [1, 1]], [0, -1])
    output = linear([[1], [-2]], [0])
    h = RELU.apply(hidden.forward(XOR_INPUTS)[0])
    assert h.tolist() == [[0, 0], [1, 0], [1, 0], [2, 1]]
    y, _ = output.forward(h)
    assert y.tolist() == XOR.tolist()


@pytest.mark.parametrize("seed", range(3))
def test_a_network_that_learns_xor(seed: int) -> None:
    rng = np.random.default_rng(seed)
    parameters = Parameters(
        Linear.shapes("hidden", 2, 4) | Linear.shapes("output", 4, 1), np.float64
    )
    hidden, output = Linear(parameters, "hidden"), Linear(parameters, "output")
    hidden.initialise(rng)
    output.initialise(rng)
    optimizer = Adam(len(parameters), np.float64)
    loss = np.inf
    for step in range(1, 501):
        parameters.gradients[...] = 0
        a, inputs = hidden.forward(XOR_INPUTS)
        h, h_cache = TANH.forward(a)
        logits, output_cache = output.forward(h)
        loss, d_logits = binary_cross_entropy(logits, XOR)
        hidden.backward(TANH.backward(output.backward(d_logits, output_cache), h_cache), inputs)
        optimizer.update(parameters.values, parameters.gradients, 0.05, step)
    assert loss < 0.05
    assert (SIGMOID.apply(logits).round() == XOR).all()


class TanhChain:
    """Three inputs, one tanh unit (u), two (v), one (w); target 1, loss (1 - y)²."""

    def __init__(self) -> None:
        self.x = np.array([[1.0, 0.0, 1.0]])
        self.layers = [
            linear([[0.2], [0.5], [-1.0]], [0]),
            linear([[0.9, -0.5]], [0, 0]),
            linear([[0.2], [-5.0]], [0]),
        ]

    def forward(self) -> tuple[float, FloatArray, list[tuple[FloatArray, FloatArray]]]:
        signal = self.x
        caches = []
        for layer in self.layers:
            a, inputs = layer.forward(signal)
            signal, outputs = TANH.forward(a)
            caches.append((inputs, outputs))
        # squared_error is half the square: a weight of 2 makes it the lecture's (1 - y)²
        loss, d_signal = squared_error(signal, np.array([[1.0]]), 2.0)
        return loss, d_signal, caches

    def backward(self) -> None:
        _, d_signal, caches = self.forward()
        for layer, (inputs, outputs) in zip(self.layers[::-1], caches[::-1], strict=True):
            d_signal = layer.backward(TANH.backward(d_signal, outputs), inputs)


def test_backpropagation_through_the_tanh_chain() -> None:
    chain = TanhChain()
    loss, _, caches = chain.forward()
    assert caches[0][1][0, 0] == pytest.approx(np.tanh(-0.8))
    assert loss == pytest.approx(3.750003641, abs=1e-9)
    chain.backward()
    u = chain.layers[0]
    assert u.d_W[2, 0] == pytest.approx(-0.631586144, abs=1e-9)
    assert round(u.d_W[2, 0], 3) == -0.632
    assert u.d_W[1, 0] == 0  # its input is 0
    by_difference = numeric_gradient(lambda: chain.forward()[0], u.W, (2, 0))
    assert u.d_W[2, 0] == pytest.approx(by_difference, rel=1e-9)


def test_the_lectures_rounding_of_the_tanh_chain() -> None:
    """With two digits carried through the forward pass it is -0.605: the lecture's -0.61."""

    def two(x: float) -> float:
        return round(float(x), 2)

    h = two(np.tanh(0.2 - 1.0))
    g = [two(np.tanh(two(v * h))) for v in (0.9, -0.5)]
    y = two(np.tanh(two(0.2 * g[0] - 5 * g[1])))
    assert (h, g, y) == (-0.66, [-0.53, 0.32], -0.94)
    d_a = 2 * (y - 1) * (1 - y**2)
    d_b = [w * d_a * (1 - out**2) for w, out in zip((0.2, -5), g, strict=True)]
    d_u3 = (0.9 * d_b[0] - 0.5 * d_b[1]) * (1 - h**2)
    assert d_u3 == pytest.approx(-0.60499, abs=1e-5)


def test_iris() -> None:
    hidden = linear([[0.1, 0.4], [-0.2, 0.6]], [0.2, -0.3])
    output = linear([[0.3, 0.2, 0.3], [-0.3, 0.1, -0.2]], [-0.1, -0.5, -0.4])
    h = RELU.apply(hidden.forward(np.array([[1.8, 0.5]]))[0])
    np.testing.assert_allclose(h, [[0.28, 0.72]])
    logits, _ = output.forward(h)
    np.testing.assert_allclose(logits, [[-0.232, -0.372, -0.460]])
    p = np.exp(log_softmax(logits))[0]
    np.testing.assert_allclose(p, [0.3751666, 0.3261542, 0.2986792], atol=1e-7)
    # Printed (0.38, 0.32, 0.30): the second is cut off, so that the three add up to 1.
    np.testing.assert_allclose(p, [0.38, 0.32, 0.30], atol=0.0062)


def test_one_hidden_layer_with_binary_cross_entropy() -> None:
    """The lecture's backward pass, written out, equals that of the layers.

    z_j = sigmoid(sum_i alpha_ji x_i + alpha_j0), y = sigmoid(b), b = sum_j beta_j z_j + beta_0:
    dJ/db = y - y*, dJ/dbeta_j = dJ/db z_j, dJ/dalpha_ji = dJ/db beta_j z_j (1 - z_j) x_i.
    """
    rng = np.random.default_rng(4)
    alpha, beta = rng.normal(size=(3, 2)), rng.normal(size=3)
    x, target = np.array([0.7, -1.3]), 1.0
    hidden = linear(alpha.T.tolist(), [0.1, -0.2, 0.3])
    output = linear(beta[:, None].tolist(), [0.4])
    a, inputs = hidden.forward(x[None])
    z, z_cache = SIGMOID.forward(a)
    b, output_cache = output.forward(z)
    loss, d_b = binary_cross_entropy(b, np.array([[target]]))
    hidden.backward(SIGMOID.backward(output.backward(d_b, output_cache), z_cache), inputs)

    y = SIGMOID.apply(b)[0, 0]
    assert loss == pytest.approx(-np.log(y))
    by_b = y - target
    assert d_b[0, 0] == pytest.approx(by_b)
    for j in range(3):
        assert output.d_W[j, 0] == pytest.approx(by_b * z[0, j])
        for i in range(2):
            by_alpha = by_b * beta[j] * z[0, j] * (1 - z[0, j]) * x[i]
            assert hidden.d_W[i, j] == pytest.approx(by_alpha)


def test_the_perceptron() -> None:
    """SGD on the loss max(0, -t w·x), a point at a time: only mistakes move w. Rosenblatt (1958).

    From w = (0, -1, 1), the first weight the bias, with rate 0.5:

    | point   | class | w·x  | w after           |
    |---------|-------|------|-------------------|
    | (1, 3)  |   +   |   2  | unchanged         |
    | (5, 4)  |   +   |  -1  | (0.5, 1.5, 3)     |
    | (6, 3)  |   -   | 18.5 | (0, -1.5, 1.5)    |
    | (3, 1)  |   -   |  -3  | unchanged         |

    Each round like it takes (0, -k, k) to k + 1/2: (5, 4) and (6, 3) undo one another. At k = 7.5
    the second mistake, 21.5 - 3k > 0, is no longer made, and w = (0.5, 2.5 - 7.5, 2 + 7.5) divides
    the classes: 13 rounds of two mistakes, one of one, and one of none.
    """
    points = np.array([[1, 1, 3], [1, 5, 4], [1, 6, 3], [1, 3, 1]], float)
    classes = np.array([1, 1, -1, -1])
    w = np.array([0.0, -1.0, 1.0])
    optimizer = SGD(3, np.float64)
    first_round: list[list[float]] = []
    mistakes: list[int] = []
    step = 0
    while not mistakes or mistakes[-1]:
        mistakes.append(0)
        for x, t in zip(points, classes, strict=True):
            wrong = t * (w @ x) <= 0
            mistakes[-1] += int(wrong)
            step += 1
            optimizer.update(w, -t * x if wrong else np.zeros(3), 0.5, step)
            if len(mistakes) == 1:
                first_round.append(w.tolist())
    assert first_round == [[0, -1, 1], [0.5, 1.5, 3], [0, -1.5, 1.5], [0, -1.5, 1.5]]
    assert mistakes == [2] * 13 + [1, 0]
    assert w.tolist() == [0.5, -5, 9.5]
