"""The computation graph: values and gradients by hand, against layers, and against differences."""

from __future__ import annotations

import numpy as np
import pytest

from lmsuite.nn import ACTIVATIONS, Node, concatenated, cross_entropy, softmax_cross_entropy
from lmsuite.nn.cell_graphs import STEPS, weights_of
from lmsuite.nn.cells import PLAIN_CELLS
from lmsuite.nn.gradient_check import check_gradients
from lmsuite.nn.graph import SLOPES
from lmsuite.nn.parameter import Parameters


def test_a_chain_by_hand() -> None:
    x, w, b = Node("x", 2.0), Node("w", 3.0), Node("b", -5.0)
    y = (x * w + b).named("y")  # 6 - 5 = 1
    J = y**2 / x  # 1 / 2
    J.backward()
    # dJ/dy = 2 y / x = 1; dJ/dw = x = 2; dJ/db = 1; dJ/dx = w - y² / x² = 3 - 1/4
    assert [float(node.gradient) for node in (y, w, b, x)] == [1.0, 2.0, 1.0, 2.75]
    assert [node.name for node in J.nodes()] == ["x", "w", "x · w", "b", "y", "y²", "y² / x"]
    assert y.formula == "x · w + b"


def test_symbols_say_what_was_done() -> None:
    x, W, U, b = Node("x", [1.0]), Node("W", [[2.0]]), Node("U", [[3.0]]), Node("b", [4.0])
    h = (x @ W + x @ U + b).tanh().named("h")
    [edge] = h.edges
    assert edge.source.formula == "x W + x U + b"
    assert [term.source.name for term in edge.source.edges] == ["x W", "x U", "b"]
    assert h.formula == "tanh(x W + x U + b)"
    assert h.slope(edge) == "1 − h²"
    assert (2 * h).formula == "2 · h"
    assert ((h + b) * b).formula == "(h + b) · b"
    assert (1 - h).formula == "1 − h"
    assert (-h).formula == "0 − h"
    assert (h + Node("−c", 1.0) + b).formula == "h − c + b"


def test_only_a_number_is_differentiated() -> None:
    with pytest.raises(ValueError, match=r"x has the shape \(2,\)"):
        Node("x", [1.0, 2.0]).backward()


def test_numbers_of_numpy_leave_arithmetic_to_the_node() -> None:
    J = np.float64(2) * Node("x", 3.0)
    J.backward()
    assert J.value == 6
    assert J.edges[1].source.gradient == 2


def everything(arrays: dict[str, np.ndarray], activation: str) -> tuple[Node, dict[str, Node]]:
    """A number made by every operation from batches and vectors."""
    nodes = {name: Node(name, array) for name, array in arrays.items()}
    x, W, b, v, C = (nodes[name] for name in ("x", "W", "b", "v", "C"))
    hidden = (x @ W + b).apply(activation)  # (2, 6)
    words = concatenated([C.row(1), C.row(1), v])  # (6,)
    mixed = hidden * words - v.sum() / (b**2 + 1)
    losses = cross_entropy(mixed @ C, np.array([0, 1]))
    return losses + cross_entropy(v @ C.T, 2) + (v.exp() + 2).log().sum() * 0.5, nodes


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_operation_agrees_with_differences(activation: str) -> None:
    rng = np.random.default_rng(5)
    arrays = {
        "x": rng.standard_normal((2, 4)),
        "W": rng.standard_normal((4, 6)),
        "b": rng.standard_normal(6),
        "v": rng.standard_normal(2),
        "C": rng.standard_normal((6, 2)),
    }
    J, nodes = everything(arrays, activation)
    J.backward()
    gradients = {name: node.gradient for name, node in nodes.items()}
    report = check_gradients(
        lambda: float(everything(arrays, activation)[0].value), arrays, gradients
    )
    assert report.worst.relative < 1e-6, report


def test_the_loss_is_that_of_the_layers() -> None:
    rng = np.random.default_rng(0)
    y, targets = rng.standard_normal((3, 5)), np.array([1, 4, 0])
    impossible = np.array([2])
    logits = Node("y", y)
    J = cross_entropy(logits, targets, impossible)
    J.backward()
    loss, d_y = softmax_cross_entropy(y, targets, 1.0, impossible)
    assert float(J.value) == pytest.approx(loss, rel=1e-12)
    np.testing.assert_allclose(logits.gradient, d_y, atol=1e-12)
    [p] = J.beside
    np.testing.assert_allclose(p.value.sum(axis=1), 1)
    assert (p.value[:, 2] == 0).all()


def test_every_activation_and_cell_has_its_symbols() -> None:
    assert SLOPES.keys() == ACTIVATIONS.keys()
    assert STEPS.keys() == PLAIN_CELLS.keys()


@pytest.mark.parametrize("name", STEPS)
def test_a_cell_as_a_graph_is_the_plain_cell(name: str) -> None:
    """Two steps forward and back: the state, and the gradients of everything."""
    rng = np.random.default_rng(3)
    kind = PLAIN_CELLS[name]
    parameters = Parameters(kind.shapes("cell", 4, 3), np.float64)
    cell = kind(parameters, "cell")
    parameters.values[:] = rng.standard_normal(len(parameters))
    inputs = rng.standard_normal((2, 1, 4))
    start = rng.standard_normal((kind.states, 1, 3))
    d_hidden = rng.standard_normal((2, 1, 3))
    hidden, after, cache = cell.forward(cell.drive(inputs), start.copy())
    d_drive, d_start = cell.backward(d_hidden, None, cache)

    weights = weights_of(name, {n: parameters[f"cell.{n}"] for n in cell.names})
    x = [Node(f"x_{t}", inputs[t, 0]) for t in (0, 1)]
    first = state = tuple(Node(f"s_{i}", start[i, 0]) for i in range(kind.states))
    J = Node("0", 0.0)
    for t in (0, 1):
        state = STEPS[name](x[t], state, weights, lambda symbol, t=t: f"{symbol}_{t}")
        np.testing.assert_allclose(state[0].value, hidden[t, 0], atol=1e-12)
        J = J + (state[0] * Node("d", d_hidden[t, 0])).sum()
    J.backward()
    np.testing.assert_allclose([node.value for node in state], after[:, 0], atol=1e-12)
    np.testing.assert_allclose([node.gradient for node in first], d_start[:, 0], atol=1e-12)
    recurrent = np.concatenate([w.gradient for s, w in weights.items() if s[0] == "U"], axis=1)
    np.testing.assert_allclose(recurrent, cell.d_Wh, atol=1e-12)
    columns = d_drive.swapaxes(1, 2).reshape(2, -1)  # (T, G·H)
    drive = np.concatenate([w.gradient for s, w in weights.items() if s[0] == "W"], axis=1)
    np.testing.assert_allclose(drive, inputs[:, 0].T @ columns, atol=1e-12)
