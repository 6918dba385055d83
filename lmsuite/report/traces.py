"""The nodes of a traced pass in words and numbers: for tables, for one unit alone, for JSON.

A large array is shown by its norm (the root of the sum of squares) and its first entries.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from lmsuite.analysis.network_trace import NetworkTrace, Shown, TracedStep
from lmsuite.analysis.ngram_trace import TokenTrace
from lmsuite.nn.graph import Edge, Node
from lmsuite.types import FloatArray

CORNER = 3
"""The number of entries shown of a large array."""
WHOLE = 4
"""An array of at most so many entries is shown whole."""
MOST_IN_JSON = 1000
"""An array of more entries is given by norm and corner in JSON, too."""
_Entries: TypeAlias = dict[Node, Shown]
_TERMS = 3  # of a sum that are written out


def number(value: float) -> str:
    """Four significant digits."""
    return f"{value:.4g}".replace("-", "−") if value else "0"


def corner(array: FloatArray) -> str:
    """All entries of a small array; of a large one the first."""
    entries = array.reshape(-1)
    shown = entries if entries.size <= WHOLE else entries[:CORNER]
    return " ".join(map(number, shown.tolist())) + (" …" if shown.size < entries.size else "")


def entries(node: Node, array: FloatArray, step: TracedStep) -> str:
    """As `corner`, of an array of a node's shape; of logits and the like the token's entry."""
    shown = step.shown.get(node)
    if shown is None:
        return corner(array)
    return f"{shown.label}: {number(float(array[shown.at]))} …"


def norm(array: FloatArray) -> str:
    """The root of the sum of squares; nothing for a single number."""
    return number(float(np.linalg.norm(array))) if array.size > 1 else ""


def shape(array: FloatArray) -> str:
    """The shape: 3×4; 1 for a single number."""
    return "×".join(map(str, array.shape)) or "1"


def has_gradient(node: Node) -> bool:
    """Whether the node is on the way to the loss, and not only beside it."""
    return bool(node.edges) or not node.formula


def derivative(node: Node, edge: Edge, step: TracedStep) -> str:
    """The local derivative of a node by one input: its symbols, and its numbers if it has any."""
    slope = node.slope(edge)
    is_own = node.operation in ("each", "loss") and slope not in ("1", "−1", edge.source.name)
    is_factor = node.operation == "each" and any(slope == other.source.name for other in node.edges)
    return (
        f"{slope} = {entries(edge.source, edge.local, step)}" if is_own and not is_factor else slope
    )


def derivatives(node: Node, step: TracedStep) -> str:
    """The local derivatives of a node by all of its inputs."""
    found = [(edge.source.name, derivative(node, edge, step)) for edge in node.edges]
    if len(found) > 1 and {slope for _, slope in found} == {"1"}:
        return "1 by each"
    return ";  ".join(f"by {name}: {slope}" for name, slope in found)


def equation(node: Node) -> str:
    """What a node is: its name, and its formula if that says more."""
    return node.name if node.formula in ("", node.name) else f"{node.name} = {node.formula}"


def node_row(node: Node, step: TracedStep) -> list[str]:
    """A row of a table: node, shape, value, its norm, local derivative, gradient, its norm."""
    return [
        equation(node),
        shape(node.value),
        entries(node, node.value, step),
        norm(node.value),
        derivatives(node, step),
        *(
            (entries(node, node.gradient, step), norm(node.gradient))
            if has_gradient(node)
            else ("", "")
        ),
    ]


def shown_nodes(step: TracedStep) -> list[Node]:
    """The nodes of a step, in the order in which they are computed; the probabilities too."""
    return [each for node in step.nodes for each in (*node.beside, node)]


def unit_lines(trace: NetworkTrace, step: TracedStep, unit: int) -> Iterator[str]:
    """One hidden unit of a step, by hand: forward line by line, then backward.

    Vectors of another size than the hidden layer's are shown by a corner; of the logits, that of
    the token to be predicted.
    """
    size = trace.hidden_size
    entry: _Entries = {}  # the entry that is shown of each node
    for node in step.nodes:
        if node in step.shown:
            entry[node] = step.shown[node]
        elif node.value.shape == (size,) and node.operation not in ("row", "joined"):
            entry[node] = Shown(unit, f"{unit}")
    for node in step.nodes:
        yield f"{_called(node, entry)} = {_forward(node, entry)}"
    yield ""
    users = _users(trace)
    for node in reversed(step.nodes):
        yield f"dJ/d{_called(node, entry)} = {_backward(node, entry, users.get(node, []))}"


def _users(trace: NetworkTrace) -> dict[Node, list[tuple[Node, Edge]]]:
    users: dict[Node, list[tuple[Node, Edge]]] = {}
    for user in trace.loss.nodes():
        for edge in user.edges:
            users.setdefault(edge.source, []).append((user, edge))
    return users


def _called(node: Node, entry: _Entries) -> str:
    name = node.name if " " not in node.name else f"({node.name})"
    return f"{name}[{entry[node].label}]" if node in entry else name


def _at(node: Node, entry: _Entries, array: FloatArray) -> float | None:
    """The shown entry of an array of a node's shape; None if it has no one entry."""
    if array.size == 1:
        return float(array.reshape(-1)[0])
    return float(array[entry[node].at]) if node in entry else None


def _forward(node: Node, entry: _Entries) -> str:
    value = _at(node, entry, node.value)
    formula = node.formula
    if value is None:
        return f"{formula} = {corner(node.value)}" if formula != node.name else corner(node.value)
    if node.operation == "product":
        x, W = (edge.source.value for edge in node.edges)
        formula = _written_out(x, W[:, entry[node].at])
    elif node.operation == "sum" and node in entry:
        at = entry[node].at
        terms = [float(edge.source.value[at]) for edge in node.edges if edge.source.value.ndim]
        formula = _added(map(number, terms))
    return f"{formula} = {number(value)}" if formula != node.name else number(value)


def _written_out(x: FloatArray, weights: FloatArray) -> str:
    """The first terms of a sum of products."""
    terms = [
        f"{number(a)}·{number(b)}"
        for a, b in zip(x[:_TERMS].tolist(), weights[:_TERMS].tolist(), strict=True)
    ]
    rest = len(x) - len(terms)
    return _added([*terms, f"… ({rest} more)"] if rest > 0 else terms)


def _added(terms: Iterable[str]) -> str:
    """Terms with plus or minus between them."""
    return " + ".join(terms).replace("+ −", "− ")


def _backward(node: Node, entry: _Entries, users: Sequence[tuple[Node, Edge]]) -> str:
    """The sum over the nodes made from this one."""
    total = _at(node, entry, node.gradient)
    if total is None:
        return corner(node.gradient)
    parts = []
    for user, edge in users:
        part = _at(node, entry, edge.pull(user.gradient))
        slope = user.slope(edge)
        if user.operation == "each" and slope != "1":
            upstream, local = (
                float(array[entry[node].at]) if array.ndim else float(array)
                for array in (user.gradient, edge.local)
            )
            parts.append(f"{number(upstream)} · {number(local)} ({slope})")
        else:
            parts.append(f"{number(part or 0.0)} (by {user.name})")
    if not parts:
        return number(total)
    if len(parts) == 1 and " · " not in parts[0]:
        return parts[0]
    return f"{_added(parts)} = {number(total)}"


def network_json(trace: NetworkTrace, steps: Sequence[TracedStep]) -> dict[str, Any]:
    """A traced pass as JSON values: the steps, and the parameters."""
    return {
        "loss": float(trace.loss.value),
        "tokens": len(trace.steps),
        "steps": [
            {
                "step": step.number,
                "reads": list(step.reads),
                "predicts": step.predicts,
                "probability": step.probability,
                "loss": float(step.loss.value),
                "nodes": [_node_json(node) for node in shown_nodes(step)],
            }
            for step in steps
        ],
        "parameters": [_node_json(node) for node in trace.parameters],
    }


def _node_json(node: Node) -> dict[str, Any]:
    inputs = [
        {"node": e.source.name, "derivative": node.slope(e), **_array_json("local", e.local)}
        for e in node.edges
    ]
    return {
        "node": node.name,
        "formula": node.formula or None,
        "shape": list(node.value.shape),
        **_array_json("value", node.value),
        **(_array_json("gradient", node.gradient) if has_gradient(node) else {}),
        "inputs": inputs,
    }


def _array_json(name: str, array: FloatArray) -> dict[str, Any]:
    """All entries, or null of a large array; and its norm."""
    whole = array.tolist() if array.size <= MOST_IN_JSON else None
    return {name: whole, f"{name}_norm": float(np.linalg.norm(array))}


def ngram_json(trace: TokenTrace) -> dict[str, Any]:
    """A traced probability as JSON values."""
    return {
        "token": trace.token,
        "id": trace.id,
        "prob": trace.prob,
        "levels": [
            {
                "order": level.order,
                "context": list(level.context),
                "lines": [vars(line) for line in level.lines],
            }
            for level in trace.levels
        ],
        "stored": [{"symbol": line.symbol, "value": line.value} for line in trace.stored],
    }
