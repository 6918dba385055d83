"""The recurrent cells: gradients through time, resets, truncation, and the ways in agree."""

from __future__ import annotations

import numpy as np
import pytest

from lmsuite.nn.arrays import BoolArray, FloatArray
from lmsuite.nn.cells import CELLS, Cell
from lmsuite.nn.gradient_check import check_gradients
from lmsuite.nn.layers import ONE_HOT_LIMIT, Embedding
from lmsuite.nn.parameter import Parameters

T, B, D, H, V = 5, 3, 4, 3, 7
TOLERANCE = 1e-6

RESETS = np.zeros((T, B), bool)
RESETS[0, 1] = RESETS[2, 0] = RESETS[2, 2] = RESETS[4, 1] = True


class Setting:
    """A cell over an embedding in float64, with every parameter away from zero."""

    def __init__(self, kind: str, vocabulary: int = V) -> None:
        rng = np.random.default_rng(3)
        shapes = Embedding.shapes("embed", vocabulary, D) | CELLS[kind].shapes("cell", D, H)
        self.parameters = Parameters(shapes, np.float64)
        self.embedding = Embedding(self.parameters, "embed")
        self.cell: Cell = CELLS[kind](self.parameters, "cell")
        self.parameters.values[...] = rng.normal(0, 0.7, len(self.parameters))
        self.inputs = rng.normal(0, 1, (T, B, D))
        self.ids = rng.integers(0, vocabulary, (T, B))
        self.state = rng.normal(0, 0.7, (self.cell.states, B, H))
        self.by_hidden = rng.normal(0, 1, (T, B, H))
        self.by_final = rng.normal(0, 1, self.state.shape)

    def loss(self, hidden: FloatArray, final: FloatArray) -> float:
        return float(np.sum(self.by_hidden * hidden) + np.sum(self.by_final * final))

    def arrays(self) -> tuple[dict[str, FloatArray], dict[str, FloatArray]]:
        p = self.parameters
        return {n: p[n] for n in p.names}, {n: p.gradient(n) for n in p.names}


@pytest.mark.parametrize("resets", [None, RESETS], ids=["carried", "reset"])
@pytest.mark.parametrize("kind", CELLS)
def test_gradients_of_vectors(kind: str, resets: BoolArray | None) -> None:
    s = Setting(kind)
    values, gradients = s.arrays()
    hidden, final, cache = s.cell.forward(s.inputs, s.state, resets)
    d_inputs, d_state = s.cell.backward(s.by_hidden, s.by_final, cache)
    del values["embed.table"], gradients["embed.table"]
    values |= {"inputs": s.inputs, "state": s.state}
    gradients |= {"inputs": d_inputs, "state": d_state}
    report = check_gradients(
        lambda: s.loss(*s.cell.forward(s.inputs, s.state, resets)[:2]), values, gradients
    )
    assert report.worst.relative < TOLERANCE, report


@pytest.mark.parametrize("vocabulary", [V, ONE_HOT_LIMIT + 1], ids=["table", "embedded"])
@pytest.mark.parametrize("resets", [None, RESETS], ids=["carried", "reset"])
@pytest.mark.parametrize("kind", CELLS)
def test_gradients_of_ids(kind: str, resets: BoolArray | None, vocabulary: int) -> None:
    s = Setting(kind, vocabulary)
    values, gradients = s.arrays()
    _, _, cache = s.cell.forward_ids(s.ids, s.embedding, s.state, resets)
    d_state = s.cell.backward_ids(s.by_hidden, s.by_final, cache)
    report = check_gradients(
        lambda: s.loss(*s.cell.forward_ids(s.ids, s.embedding, s.state, resets)[:2]),
        values | {"state": s.state},
        gradients | {"state": d_state},
        samples=60,
        rng=np.random.default_rng(0),
    )
    assert report.worst.relative < TOLERANCE, report
