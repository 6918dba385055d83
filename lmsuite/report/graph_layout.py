"""Where the boxes and arrows of a computation graph go: inputs above, the loss below.

The method is that of Sugiyama, Tagawa and Toda (1981). Every box is as low as it can be, so that it
stands close to what uses it. A long arrow has a bend in each row that it passes, which keeps its
place between the boxes. Boxes and bends go to the mean of the places that they are connected with,
row by row, up and down a few times, which leaves few crossings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

from lmsuite.nn.graph import Node

WIDTH, HEIGHT = 152, 62  # of a box, in pixels
_ACROSS, _DOWN = 20, 44  # between two boxes
_BEND = 0.2  # the room of a bend, in boxes
_HEAD = 7  # the length of an arrow's head
_SWEEPS = 12


@dataclass(frozen=True)
class Box:
    """A node and the place of its upper left corner, in pixels."""

    node: Node
    x: float
    y: float
    is_given: bool
    """Whether the node is no part of the step: a parameter, or of an earlier step."""


@dataclass(frozen=True)
class Layout:
    """Boxes, and arrows from each to those made from it."""

    boxes: tuple[Box, ...]
    arrows: tuple[str, ...]
    """Paths of SVG."""
    width: float
    height: float


@dataclass(frozen=True, eq=False)
class _Bend:
    """The place where a long arrow passes a row."""


_Item: TypeAlias = Node | _Bend


def layout(nodes: Sequence[Node]) -> Layout:
    """The places of these nodes, and of all that they are made from directly.

    Args:
        nodes: each after its inputs; the last is the loss.
    """
    inside = {each for node in nodes for each in (node, *node.beside)}
    edges: dict[tuple[Node, Node], list[_Item]] = {}
    for node in nodes:
        for edge in node.edges:
            for user in (node, *node.beside):
                edges[edge.source, user] = []
    heights = _heights(edges)
    deepest = max(heights.values())
    rows: list[list[_Item]] = [[] for _ in range(deepest + 1)]
    for node, height in heights.items():
        rows[deepest - height].append(node)
    for (source, user), way in edges.items():
        way.append(source)
        for height in range(heights[source] - 1, heights[user], -1):
            way.append(_Bend())
            rows[deepest - height].append(way[-1])
        way.append(user)
    place = _places(rows, list(edges.values()))
    left = min(x - _room(item) / 2 for item, x in place.items())
    x = {item: (middle - left) * (WIDTH + _ACROSS) for item, middle in place.items()}
    y = {item: number * (HEIGHT + _DOWN) for number, row in enumerate(rows) for item in row}
    boxes = tuple(
        Box(node, x[node] - WIDTH / 2, y[node], node not in inside)
        for row in rows
        for node in row
        if isinstance(node, Node)
    )
    arrows = tuple(_arrow([(x[item], y[item]) for item in way]) for way in edges.values())
    width = max(box.x for box in boxes) + WIDTH
    return Layout(boxes, arrows, width, deepest * (HEIGHT + _DOWN) + HEIGHT)


def _heights(edges: dict[tuple[Node, Node], list[_Item]]) -> dict[Node, int]:
    """The longest way from each node down to one that nothing is made from."""
    users: dict[Node, list[Node]] = {}
    for source, user in edges:
        users.setdefault(source, []).append(user)
        users.setdefault(user, [])
    heights: dict[Node, int] = {}

    def height(node: Node) -> int:
        if node not in heights:
            heights[node] = 1 + max((height(user) for user in users[node]), default=-1)
        return heights[node]

    for node in users:
        height(node)
    return heights


def _room(item: _Item) -> float:
    return 1.0 if isinstance(item, Node) else _BEND


def _places(rows: list[list[_Item]], ways: list[list[_Item]]) -> dict[_Item, float]:
    """The middle of each item, in boxes from a common middle."""
    below: dict[_Item, list[_Item]] = {item: [] for row in rows for item in row}
    above: dict[_Item, list[_Item]] = {item: [] for row in rows for item in row}
    for way in ways:
        for upper, lower in pairwise(way):
            below[upper].append(lower)
            above[lower].append(upper)
    place: dict[_Item, float] = {}
    for row in rows:
        for i, item in enumerate(row):
            place[item] = i - (len(row) - 1) / 2
    for sweep in range(_SWEEPS):
        is_downwards = sweep % 2 == 1
        near = above if is_downwards else below
        for row in rows if is_downwards else reversed(rows):
            wanted = {
                item: sum(place[other] for other in near[item]) / len(near[item])
                if near[item]
                else place[item]
                for item in row
            }
            row.sort(key=wanted.__getitem__)
            _spread(row, wanted, place)
    return place


def _spread(row: list[_Item], wanted: dict[_Item, float], place: dict[_Item, float]) -> None:
    """Put the items of a row as near as they can be to where they want to be, side by side."""
    groups: list[tuple[list[_Item], float, float]] = []  # items that touch, begin, length
    for item in row:
        group, begin, length = [item], wanted[item] - _room(item) / 2, _room(item)
        while groups and groups[-1][1] + groups[-1][2] > begin:
            before, its_begin, its_length = groups.pop()
            begin = (its_begin * len(before) + (begin - its_length) * len(group)) / (
                len(before) + len(group)
            )
            group, length = before + group, its_length + length
        groups.append((group, begin, length))
    for group, begin, _ in groups:
        for item in group:
            place[item] = begin + _room(item) / 2
            begin += _room(item)


def _arrow(way: Sequence[tuple[float, float]]) -> str:
    """From the lower edge of the first box through the bends to the upper edge of the last."""
    (x, y), *others = way
    y += HEIGHT
    path = f"M{x:.0f} {y:.0f}"
    for number, (to_x, top) in enumerate(others, start=1):
        is_last = number == len(others)
        to_y = top - _HEAD if is_last else top
        half = (to_y - y) / 2
        path += f"C{x:.0f} {y + half:.0f} {to_x:.0f} {to_y - half:.0f} {to_x:.0f} {to_y:.0f}"
        x, y = to_x, to_y
        if not is_last:
            y += HEIGHT
            path += f"V{y:.0f}"
    return path
