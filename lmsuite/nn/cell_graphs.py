"""The equations of the cells, as nodes of a computation graph, one sequence at a time.

Each function makes one step: from the input x_t (D,) and the state before it, the state after it.
The equations are those of the files in `lmsuite.nn.cells`, and carry the same numbers. A matrix of
several gates is taken apart: the weights W, U and b of the output gate are W_o, U_o and b_o.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np

from lmsuite.nn.graph import Node
from lmsuite.types import FloatArray

Weights: TypeAlias = Mapping[str, Node]
State: TypeAlias = tuple[Node, ...]
"""h_{t-1} (H,), and the cell's other memories."""
Names: TypeAlias = Callable[[str], str]
"""From a symbol to its name at this step, in this layer: from h to h_3."""

GATES = {"elman": ("",), "gru": ("n", "r", "z"), "lstm": ("o", "i", "f", "g")}
"""The gates of each cell, in the order of their columns in W and b; "" if there is but one."""
PAST_GATES = GATES | {"gru": ("r", "z", "q")}
"""The same for the columns of U."""


def weights_of(cell: str, arrays: Mapping[str, FloatArray], layer: str = "") -> Weights:
    """The parameters of a cell as nodes, by their symbols: W_o, U_o, b_o, ...

    Args:
        cell: its name.
        arrays: Wx (D, G·H), Wh (H, G·H), b (G·H,), and what else it has, by name.
        layer: follows the letter in the name of a node: W¹_o.
    """
    nodes = {}

    def add(letter: str, gate: str, array: FloatArray) -> None:
        ending = f"_{gate}" if gate else ""
        nodes[letter + ending] = Node(f"{letter}{layer}{ending}", array)

    for name, letter, gates in (("Wx", "W", GATES), ("Wh", "U", PAST_GATES), ("b", "b", GATES)):
        blocks = np.split(arrays[name], len(gates[cell]), axis=-1)
        for gate, block in zip(gates[cell], blocks, strict=True):
            add(letter, gate, block)
    if cell == "gru":
        add("b", "q", arrays["b_q"])
    return nodes


def elman(x: Node, state: State, w: Weights, at: Names) -> State:
    """h_t = tanh(x_t W + b + h_{t-1} U)."""
    (h,) = state
    a = (x @ w["W"] + h @ w["U"] + w["b"]).named(at("a"))  # (1)
    return (a.tanh().named(at("h")),)  # (2)


def gru(x: Node, state: State, w: Weights, at: Names) -> State:
    """The equations (1) to (5) of `lmsuite.nn.cells.gru`."""
    (h,) = state

    def gate(name: str) -> Node:
        drive = x @ w[f"W_{name}"] + h @ w[f"U_{name}"] + w[f"b_{name}"]
        return drive.named(at(f"a_{name}")).sigmoid().named(at(name))

    r = gate("r")  # (1)
    z = gate("z")  # (2)
    q = (h @ w["U_q"] + w["b_q"]).named(at("q"))  # (3)
    n = (x @ w["W_n"] + w["b_n"] + r * q).named(at("a_n")).tanh().named(at("n"))  # (4)
    return (((1 - z) * n + z * h).named(at("h")),)  # (5)


def lstm(x: Node, state: State, w: Weights, at: Names) -> State:
    """The equations (1) to (7) of `lmsuite.nn.cells.lstm`."""
    h, c = state

    def drive(name: str) -> Node:  # (1)
        a = x @ w[f"W_{name}"] + h @ w[f"U_{name}"] + w[f"b_{name}"]
        return a.named(at(f"a_{name}"))

    o = drive("o").sigmoid().named(at("o"))  # (2)
    i = drive("i").sigmoid().named(at("i"))  # (3)
    f = drive("f").sigmoid().named(at("f"))  # (4)
    g = drive("g").tanh().named(at("g"))  # (5)
    c = (f * c + i * g).named(at("c"))  # (6)
    return (o * c.tanh()).named(at("h")), c  # (7)


STEPS: dict[str, Callable[[Node, State, Weights, Names], State]] = {
    "elman": elman,
    "gru": gru,
    "lstm": lstm,
}
