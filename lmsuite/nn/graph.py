"""A computation graph that remembers: every node has its value, local derivatives and gradient.

Layers and cells compute whole batches, with their derivatives in the code. Here the same numbers
are made one operation at a time, so that each can be looked at. A node is the result of one
operation on others. For each of these inputs it has an *edge*, with the local derivative of the
operation. `backward` goes from a node J back to all that it depends on:

    dJ/dJ = 1;    dJ/dx = the sum, over the nodes y made from x, of dJ/dy · dy/dx

The *upstream gradient* of a node y is dJ/dy. This is reverse-mode differentiation: Linnainmaa
(1970), Rumelhart, Hinton and Williams (1986). Numbers are float64. Vectors are rows: y = x W + b.

>>> import numpy as np
>>> x, w, b = Node("x", 0.5), Node("w", -2.0), Node("b", 1.5)
>>> h = (x * w + b).tanh().named("h")
>>> J = ((h - 1) ** 2).named("J")
>>> J.backward()
>>> print(f"{h.value:.4f} {J.value:.4f} {w.gradient:.4f}")
0.4621 0.2893 -0.4230
>>> for edge in h.edges:
...     print(f"d{h.name}/d({edge.source.name}) = {h.slope(edge)} = {edge.local:.4f}")
dh/d(x · w + b) = 1 − h² = 0.7864
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from lmsuite.nn.activations import ACTIVATIONS
from lmsuite.nn.losses import NOTHING
from lmsuite.types import FloatArray, IntArray

Operand: TypeAlias = "Node | float"

Operation: TypeAlias = Literal["given", "sum", "product", "each", "row", "joined", "total", "loss"]
"""What a node does: nothing; adds; multiplies by a matrix; does the same to each entry; takes a
row; joins vectors; adds up all entries; measures predictions."""

SLOPES = {
    "tanh": ("tanh({x})", "1 − {y}²"),
    "sigmoid": ("σ({x})", "{y} (1 − {y})"),
    "relu": ("max(0, {x})", "1 where {y} > 0, else 0"),
    "hardtanh": ("hardtanh({x})", "1 where |{y}| < 1, else 0"),
    "softsign": ("softsign({x})", "(1 − |{y}|)²"),
}
"""How each activation y = f(x) and its slope are written."""


@dataclass(eq=False)
class Edge:
    """What a node does with one of its inputs."""

    source: Node
    """The input."""
    formula: str
    """The local derivative in symbols, in which ``{y}`` is the node; see `Node.slope`."""
    local: FloatArray
    """Its numbers: one for each entry, or the matrix of a product."""
    pull: Callable[[FloatArray], FloatArray]
    """The upstream gradient of the node, times the local derivative: the edge's part of the
    gradient of the input."""


@dataclass(eq=False)
class Node:
    """A value, and how it came about.

    `+ - * / @ **` make new nodes, and so do the methods below. A node is called by its formula,
    unless it is `named`. Where shapes differ, the smaller one is repeated as numpy does it.
    """

    name: str
    value: FloatArray
    operation: Operation = "given"
    formula: str = ""
    """How it is computed from its inputs, in symbols; empty if it was given."""
    edges: tuple[Edge, ...] = field(default=(), repr=False)
    beside: tuple[Node, ...] = field(default=(), repr=False)
    """Nodes that are not on the way to others, but worth a look: the probabilities of a loss."""
    gradient: FloatArray = field(init=False)
    """dJ/d(this node), in the shape of the value, after `J.backward()`."""

    __array_ufunc__ = None  # an array or a number of numpy leaves `+` to the node

    def __post_init__(self) -> None:
        self.value = np.asarray(self.value, np.float64)
        self.gradient = np.zeros_like(self.value)

    def named(self, name: str) -> Node:
        """This node, under a name of its own."""
        self.name = name
        return self

    def slope(self, edge: Edge) -> str:
        """The local derivative by the input of an edge, in symbols."""
        return edge.formula.replace("{y}", self.name)

    def __add__(self, other: Operand) -> Node:
        # Terms without a name of their own are a part of this sum: x W + h U + b is one node.
        terms = [term for each in (self, as_node(other)) for term in _terms(each)]
        return _sum(terms)

    __radd__ = __add__

    def __sub__(self, other: Operand) -> Node:
        other = as_node(other)
        edges = [(self, "1", np.ones(())), (other, "−1", -np.ones(()))]
        return _elementwise(f"{self.name} − {_factor(other)}", self.value - other.value, edges)

    def __rsub__(self, other: float) -> Node:
        return as_node(other) - self

    def __neg__(self) -> Node:
        return 0.0 - self

    def __mul__(self, other: Operand) -> Node:
        other = as_node(other)
        edges = [(self, other.name, other.value), (other, self.name, self.value)]
        formula = f"{_factor(self)} · {_factor(other)}"
        return _elementwise(formula, self.value * other.value, edges)

    def __rmul__(self, other: float) -> Node:
        return as_node(other) * self

    def __truediv__(self, other: Operand) -> Node:
        other = as_node(other)
        x, y = self.value, other.value
        by_x = (self, f"1 / {_factor(other)}", 1 / y)
        by_y = (other, f"−{_factor(self)} / {_factor(other)}²", -x / y**2)
        return _elementwise(f"{_factor(self)} / {_factor(other)}", x / y, [by_x, by_y])

    def __pow__(self, exponent: float) -> Node:
        slope = exponent * self.value ** (exponent - 1)
        x, power = _factor(self), _superscript(exponent)
        rest = "" if exponent == 2 else _superscript(exponent - 1)
        formula = f"{exponent:g} {x}{rest}"
        return _elementwise(f"{x}{power}", self.value**exponent, [(self, formula, slope)])

    def __matmul__(self, W: Node) -> Node:
        """x W, for x (D,) or (N, D) and W (D, H)."""
        x = self

        def by_weights(upstream: FloatArray) -> FloatArray:
            return np.atleast_2d(x.value).T @ np.atleast_2d(upstream)

        return _made(
            "product",
            f"{_factor(x)} {_factor(W)}",
            x.value @ W.value,
            Edge(x, W.name, W.value, lambda upstream: upstream @ W.value.T),
            Edge(W, x.name, x.value, by_weights),
        )

    def apply(self, activation: str) -> Node:
        """f(x), for an activation of `ACTIVATIONS`."""
        f = ACTIVATIONS[activation]
        formula, slope = SLOPES[activation]
        y = f.apply(np.atleast_1d(self.value))
        local = f.slope(y).reshape(self.value.shape)
        value = y.reshape(self.value.shape)
        return _elementwise(formula.format(x=self.name), value, [(self, slope, local)])

    def tanh(self) -> Node:
        """tanh x."""
        return self.apply("tanh")

    def sigmoid(self) -> Node:
        """σ(x) = 1 / (1 + exp(−x))."""
        return self.apply("sigmoid")

    def exp(self) -> Node:
        """exp x."""
        value = np.exp(self.value)
        return _elementwise(f"exp({self.name})", value, [(self, "{y}", value)])

    def log(self) -> Node:
        """The natural logarithm of x."""
        slope = (self, f"1 / {_factor(self)}", 1 / self.value)
        return _elementwise(f"ln({self.name})", np.log(self.value), [slope])

    def sum(self) -> Node:
        """The sum of all entries."""
        x = self.value
        edge = Edge(self, "1", np.ones(()), lambda upstream: np.full(x.shape, upstream))
        return _made("total", f"Σ {_factor(self)}", x.sum(), edge)

    @property
    def T(self) -> Node:  # noqa: N802  # as numpy calls it
        """A matrix (N, D) seen as (D, N)."""
        edge = Edge(self, "1", np.ones(()), np.transpose)
        return _made("joined", f"{_factor(self)}ᵀ", self.value.T, edge)

    def row(self, index: int | slice, label: str | None = None) -> Node:
        """Row `index` of a table (V, E): a vector (E,); or several rows, of a slice.

        The label stands for the index in the formula.
        """
        where = f"{index}" if label is None else label

        def back(upstream: FloatArray) -> FloatArray:
            gradient = np.zeros_like(self.value)
            gradient[index] = upstream
            return gradient

        edge = Edge(self, f"1 in row {where}, else 0", np.ones(()), back)
        return _made("row", f"{self.name}[{where}]", self.value[index], edge)

    def backward(self) -> None:
        """Fill the gradients of all nodes on which this one, a single number, depends.

        Raises:
            ValueError: the node is not a single number.
        """
        if self.value.size != 1:
            raise ValueError(
                f"{self.name} has the shape {self.value.shape}: only a number can be differentiated"
            )
        order = self.nodes()
        for node in order:
            node.gradient = np.zeros_like(node.value)
        self.gradient = np.ones_like(self.value)
        for node in reversed(order):
            for edge in node.edges:
                edge.source.gradient = np.asarray(edge.source.gradient + edge.pull(node.gradient))

    def nodes(self) -> list[Node]:
        """All nodes on which this one depends, and itself: each after its inputs."""
        order: list[Node] = []
        seen: set[int] = set()
        waiting = [(self, False)]
        while waiting:
            node, is_ready = waiting.pop()
            if is_ready:
                order.append(node)
            elif id(node) not in seen:
                seen.add(id(node))
                waiting.append((node, True))
                waiting += [(edge.source, False) for edge in reversed(node.edges)]
        return order


def as_node(value: Operand) -> Node:
    """A number as a node that is called by its digits; a node as it is."""
    return value if isinstance(value, Node) else Node(f"{value:g}", np.asarray(value, np.float64))


def concatenated(nodes: Sequence[Node]) -> Node:
    """Vectors (D,), (E,), … one after another: (D + E + …,)."""
    edges = []
    end = 0
    for node in nodes:
        part = slice(end, end + len(node.value))
        edges.append(Edge(node, "1", np.ones(()), itemgetter(part)))
        end = part.stop
    names = ", ".join(node.name for node in nodes)
    values = np.concatenate([node.value for node in nodes])
    return _made("joined", f"[{names}]", values, *edges)


def cross_entropy(
    logits: Node,
    target: int | IntArray,
    impossible: IntArray = NOTHING,
    *,
    symbol: str = "p",
    label: str | None = None,
) -> Node:
    """−ln p[target] of p = softmax(y), for logits y (V,); for N rows (N, V) the sum of theirs.

    Args:
        logits: y, any real numbers.
        target: the id that was right; for N rows (N,) of them.
        impossible: ids of probability zero.
        symbol: what the probabilities are called.
        label: stands for the target in the formula.
    """
    y = logits.value.copy()
    y[..., impossible] = -np.inf
    y -= y.max(axis=-1, keepdims=True)
    log_p = y - np.log(np.exp(y).sum(axis=-1, keepdims=True))
    is_target = np.arange(y.shape[-1]) == np.asarray(target)[..., None]
    p = Node(symbol, np.exp(log_p), "each", f"softmax({logits.name})")
    local = p.value - is_target
    each = "" if y.ndim == 1 else "Σ "
    right = label or ("target" if y.ndim > 1 else f"{target}")
    node = _made(
        "loss",
        f"−{each}ln {symbol}[{right}]",
        -log_p[is_target].sum(),
        Edge(logits, f"{symbol} − (1 at {right}, else 0)", local, lambda up: up * local),
    )
    node.beside = (p,)
    return node


def _made(operation: Operation, formula: str, value: ArrayLike, *edges: Edge) -> Node:
    return Node(formula, np.asarray(value, np.float64), operation, formula, edges)


def _elementwise(
    formula: str,
    value: FloatArray,
    inputs: Sequence[tuple[Node, str, FloatArray]],
    operation: Operation = "each",
) -> Node:
    """A node whose entries each depend on one entry of each input."""

    def pull_to(source: Node, local: FloatArray) -> Callable[[FloatArray], FloatArray]:
        return lambda upstream: _summed_to(upstream * local, source.value.shape)

    edges = (Edge(source, name, local, pull_to(source, local)) for source, name, local in inputs)
    return _made(operation, formula, value, *edges)


def _summed_to(gradient: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    """The gradient of an array of this shape that was repeated: the sum over its copies."""
    extra = gradient.ndim - len(shape)
    axes = (*range(extra), *(extra + i for i, size in enumerate(shape) if size == 1))
    return np.asarray(gradient.sum(axis=axes)).reshape(shape)


def _sum(terms: Sequence[Node]) -> Node:
    value = terms[0].value
    for term in terms[1:]:
        value = value + term.value
    names = " + ".join(term.name for term in terms).replace(" + −", " − ")
    return _elementwise(names, value, [(term, "1", np.ones(())) for term in terms], "sum")


def _terms(node: Node) -> list[Node]:
    """The terms of a sum that has no name of its own; any other node is one term."""
    if node.operation == "sum" and node.name == node.formula:
        return [edge.source for edge in node.edges]
    return [node]


def _factor(node: Node) -> str:
    """The name of a node as a factor: a sum is put into brackets."""
    name = node.name
    return f"({name})" if any(sign in name for sign in (" + ", " − ", " · ", " / ")) else name


_RAISED = str.maketrans("0123456789-.", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻·")


def _superscript(exponent: float) -> str:
    return f"{exponent:g}".translate(_RAISED)
