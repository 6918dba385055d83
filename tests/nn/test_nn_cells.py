"""The recurrent cells: gradients through time, resets, truncation, and the ways in agree."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lmsuite.nn.cells import PLAIN_CELLS, Cell
from lmsuite.nn.cells.cell import by_gate
from lmsuite.nn.drive import DenseDrive, EmbeddedDrive
from lmsuite.nn.gradient_check import check_gradients
from lmsuite.nn.kernels import CELLS
from lmsuite.nn.layers import SMALL_VOCABULARY, Embedding
from lmsuite.nn.parameter import Parameters
from lmsuite.nn.products import GateProducts, transposed
from lmsuite.nn.reader import Reader
from lmsuite.types import BoolArray, FloatArray, IntArray

T, B, D, H, V = 5, 3, 4, 3, 7
TOLERANCE = 1e-6

RESETS = np.zeros((T, B), bool)
RESETS[0, 1] = RESETS[2, 0] = RESETS[2, 2] = RESETS[4, 1] = True


KINDS = {**CELLS, **{f"plain {name}": cell for name, cell in PLAIN_CELLS.items()}}


class Setting:
    """A cell over an embedding in float64, with every parameter away from zero."""

    def __init__(self, kind: str, vocabulary: int = V) -> None:
        rng = np.random.default_rng(3)
        shapes = Embedding.shapes("embed", vocabulary, D) | KINDS[kind].shapes("cell", D, H)
        self.parameters = Parameters(shapes, np.float64)
        self.embedding = Embedding(self.parameters, "embed")
        self.cell: Cell = KINDS[kind](self.parameters, "cell")
        self.parameters.values[...] = rng.normal(0, 0.7, len(self.parameters))
        self.inputs = rng.normal(0, 1, (T, B, D))
        self.ids = rng.integers(0, vocabulary, (T, B))
        self.state = rng.normal(0, 0.7, (self.cell.states, B, H))
        self.by_hidden = rng.normal(0, 1, (T, B, H))
        self.by_final = rng.normal(0, 1, self.state.shape)

    def loss(self, hidden: FloatArray, final: FloatArray) -> float:
        return float(np.sum(self.by_hidden * hidden) + np.sum(self.by_final * final))

    def forward(
        self, inputs: FloatArray, state: FloatArray, resets: BoolArray | None = None
    ) -> tuple[FloatArray, FloatArray, Any]:
        """By way of the dense drive."""
        drive, drive_cache = DenseDrive(self.cell).forward(inputs)
        hidden, final, cache = self.cell.forward(drive, state, resets)
        return hidden, final, (drive_cache, cache)

    def backward(
        self, d_hidden: FloatArray, d_final: FloatArray | None, cache: Any
    ) -> tuple[FloatArray, FloatArray]:
        d_drive, d_state = self.cell.backward(d_hidden, d_final, cache[1])
        return DenseDrive(self.cell).backward(d_drive, cache[0]), d_state

    def forward_ids(
        self, ids: IntArray, state: FloatArray, resets: BoolArray | None = None
    ) -> tuple[FloatArray, FloatArray, Any]:
        """By way of the drive of embedded ids."""
        drive, drive_cache = EmbeddedDrive(self.cell, self.embedding).forward(ids)
        hidden, final, cache = self.cell.forward(drive, state, resets)
        return hidden, final, (drive_cache, cache)

    def backward_ids(
        self, d_hidden: FloatArray, d_final: FloatArray | None, cache: Any
    ) -> FloatArray:
        d_drive, d_state = self.cell.backward(d_hidden, d_final, cache[1])
        EmbeddedDrive(self.cell, self.embedding).backward(d_drive, cache[0])
        return d_state

    def arrays(self) -> tuple[dict[str, FloatArray], dict[str, FloatArray]]:
        p = self.parameters
        return {n: p[n] for n in p.names}, {n: p.gradient(n) for n in p.names}


@pytest.mark.parametrize("resets", [None, RESETS], ids=["carried", "reset"])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_vectors(kind: str, resets: BoolArray | None) -> None:
    s = Setting(kind)
    values, gradients = s.arrays()
    _, _, cache = s.forward(s.inputs, s.state, resets)
    d_inputs, d_state = s.backward(s.by_hidden, s.by_final, cache)
    del values["embed.table"], gradients["embed.table"]
    values |= {"inputs": s.inputs, "state": s.state}
    gradients |= {"inputs": d_inputs, "state": d_state}
    report = check_gradients(
        lambda: s.loss(*s.forward(s.inputs, s.state, resets)[:2]), values, gradients
    )
    assert report.worst.relative < TOLERANCE, report


@pytest.mark.parametrize("vocabulary", [V, SMALL_VOCABULARY + 1], ids=["table", "embedded"])
@pytest.mark.parametrize("resets", [None, RESETS], ids=["carried", "reset"])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_ids(kind: str, resets: BoolArray | None, vocabulary: int) -> None:
    s = Setting(kind, vocabulary)
    values, gradients = s.arrays()
    _, _, cache = s.forward_ids(s.ids, s.state, resets)
    d_state = s.backward_ids(s.by_hidden, s.by_final, cache)
    report = check_gradients(
        lambda: s.loss(*s.forward_ids(s.ids, s.state, resets)[:2]),
        values | {"state": s.state},
        gradients | {"state": d_state},
        samples=60,
        rng=np.random.default_rng(0),
    )
    assert report.worst.relative < TOLERANCE, report


@pytest.mark.parametrize("kind", KINDS)
def test_truncated_backpropagation(kind: str) -> None:
    """Over a boundary the state is carried but no gradient is: the second chunk sees a constant."""
    s = Setting(kind)
    half = T // 2
    _, boundary, _ = s.forward(s.inputs[:half], s.state)
    _, _, cache = s.forward(s.inputs[half:], boundary)
    s.backward(s.by_hidden[half:], None, cache)
    values, gradients = s.arrays()
    del values["embed.table"], gradients["embed.table"]

    def loss() -> float:
        hidden, _, _ = s.forward(s.inputs[half:], boundary)
        return float(np.sum(s.by_hidden[half:] * hidden))

    report = check_gradients(loss, values, gradients)
    assert report.worst.relative < TOLERANCE, report


@pytest.mark.parametrize("kind", KINDS)
def test_chunks_with_the_state_handed_back_give_the_whole_gradient(kind: str) -> None:
    """The use of the initial state's gradient: chunk by chunk equals all at once."""
    s = Setting(kind)
    _, _, cache = s.forward(s.inputs, s.state, RESETS)
    whole, whole_state = s.backward(s.by_hidden, s.by_final, cache)
    whole_gradients = s.parameters.gradients.copy()
    _, boundary, first = s.forward(s.inputs[:3], s.state, RESETS[:3])
    _, _, second = s.forward(s.inputs[3:], boundary, RESETS[3:])
    late, d_boundary = s.backward(s.by_hidden[3:], s.by_final, second)
    summed = s.parameters.gradients.copy()
    early, d_state = s.backward(s.by_hidden[:3], d_boundary, first)
    np.testing.assert_allclose(np.concatenate((early, late)), whole, rtol=1e-12)
    np.testing.assert_allclose(d_state, whole_state, rtol=1e-12, atol=1e-15)
    summed += s.parameters.gradients
    np.testing.assert_allclose(summed, whole_gradients, rtol=1e-10)


@pytest.mark.parametrize("vocabulary", [V, SMALL_VOCABULARY + 1], ids=["table", "embedded"])
@pytest.mark.parametrize("steps", [1, 2, T])
@pytest.mark.parametrize("rows", [1, B])
@pytest.mark.parametrize("kind", PLAIN_CELLS)
def test_a_drive_is_that_of_the_definition(
    kind: str, rows: int, steps: int, vocabulary: int
) -> None:
    """Of vectors and of ids, once and laid out for many calls, of some sequences and of all."""
    s = Setting(kind, vocabulary)
    dense, embedded = DenseDrive(s.cell), EmbeddedDrive(s.cell, s.embedding)
    of_vectors, of_ids = dense.lay_out(rows), embedded.lay_out(rows)
    for lanes in (rows, 1):
        for begin in range(0, T, steps):
            part = slice(begin, begin + steps), slice(lanes)
            expected = s.cell.drive(s.inputs[part])
            for drive in (of_vectors(s.inputs[part]), dense.forward(s.inputs[part])[0]):
                np.testing.assert_allclose(drive, expected, rtol=1e-12, atol=1e-14)
            expected = s.cell.drive(s.embedding.table[s.ids[part]])
            for drive in (of_ids(s.ids[part]), embedded.forward(s.ids[part])[0]):
                np.testing.assert_allclose(drive, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("vocabulary", [V, SMALL_VOCABULARY + 1], ids=["table", "embedded"])
@pytest.mark.parametrize("rows", [1, B])
@pytest.mark.parametrize("kind", KINDS)
def test_steps_ids_and_vectors_agree(kind: str, rows: int, vocabulary: int) -> None:
    s = Setting(kind, vocabulary)
    hidden, final, _ = s.forward_ids(s.ids, s.state)
    vectors, _ = s.embedding.forward(s.ids)
    hidden_of_vectors, _, _ = s.forward(vectors, s.state)
    np.testing.assert_allclose(hidden, hidden_of_vectors, rtol=1e-12)
    by_vector = Reader(DenseDrive(s.cell), rows)
    by_id = Reader(EmbeddedDrive(s.cell, s.embedding), rows)
    of_vector = of_id = s.state[:, :rows]
    for t in range(T):
        before, of_vector, of_id = (of_vector, of_id), np.empty_like(of_id), np.empty_like(of_id)
        by_vector.step(vectors[t, :rows], before[0], of_vector)
        by_id.step(s.ids[t, :rows], before[1], of_id)
        for state in (of_vector, of_id):
            np.testing.assert_allclose(state[0], hidden[t, :rows], rtol=1e-12)
    np.testing.assert_allclose(of_id, final[:, :rows], rtol=1e-12)


@pytest.mark.parametrize("vocabulary", [V, SMALL_VOCABULARY + 1], ids=["table", "embedded"])
@pytest.mark.parametrize("lanes", [1, 2, B])
@pytest.mark.parametrize("kind", KINDS)
def test_a_reader_reads_what_forward_reads(kind: str, lanes: int, vocabulary: int) -> None:
    """Up to as many sequences as it has room for."""
    s = Setting(kind, vocabulary)
    before = s.state.copy()
    state, some = s.state[:, :lanes], slice(lanes)
    hidden, final, _ = s.forward(s.inputs, s.state)
    read = Reader(DenseDrive(s.cell), B).read(s.inputs[:, some], state)
    np.testing.assert_allclose(read[0], hidden[:, some], rtol=1e-12)
    np.testing.assert_allclose(read[1], final[:, some], rtol=1e-12)
    hidden, final, _ = s.forward_ids(s.ids, s.state)
    read = Reader(EmbeddedDrive(s.cell, s.embedding), B).read(s.ids[:, some], state)
    np.testing.assert_allclose(read[0], hidden[:, some], rtol=1e-12)
    np.testing.assert_allclose(read[1], final[:, some], rtol=1e-12)
    np.testing.assert_array_equal(s.state, before)


@pytest.mark.parametrize("rows", [1, B])
@pytest.mark.parametrize("kind", KINDS)
def test_a_step_changes_nothing_it_is_given(kind: str, rows: int) -> None:
    s = Setting(kind)
    ids, before = s.ids[0, :rows], s.state[:, :rows].copy()
    reader = Reader(EmbeddedDrive(s.cell, s.embedding), rows)
    first, again = np.empty_like(before), np.empty_like(before)
    reader.step(ids, before, first)
    np.testing.assert_array_equal(before, s.state[:, :rows])
    reader.step(ids, before, again)
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("kind", KINDS)
def test_a_reset_is_a_new_start(kind: str) -> None:
    s = Setting(kind)
    resets = np.zeros((T, B), bool)
    resets[2] = True
    hidden, final, _ = s.forward(s.inputs, s.state, resets)
    fresh, fresh_final, _ = s.forward(s.inputs[2:], s.cell.start(B))
    np.testing.assert_array_equal(hidden[2:], fresh)
    np.testing.assert_array_equal(final, fresh_final)


@pytest.mark.parametrize("kind", KINDS)
def test_no_gradient_crosses_a_reset(kind: str) -> None:
    s = Setting(kind)
    resets = np.zeros((T, B), bool)
    resets[3, 1] = True
    _, _, cache = s.forward(s.inputs, s.state, resets)
    late = np.zeros_like(s.by_hidden)
    late[3:] = s.by_hidden[3:]
    d_inputs, d_state = s.backward(late, s.by_final, cache)
    assert not d_inputs[:3, 1].any()
    assert not d_state[:, 1].any()
    assert d_inputs[:3, 0].all()
    assert d_state[:, 0].all()


def test_initialisation() -> None:
    """Orthogonal recurrent weights gate by gate, and an LSTM that begins by remembering."""
    rng = np.random.default_rng(0)
    for kind, cell_class in CELLS.items():
        parameters = Parameters(cell_class.shapes("cell", 6, 5), np.float64)
        cell = cell_class(parameters, "cell")
        parameters.values[...] = 7  # all of it is overwritten
        cell.initialise(rng)
        for W in by_gate(cell.Wh, cell.gates):
            np.testing.assert_allclose(W @ W.T, np.eye(5), atol=1e-12)
        assert np.abs(cell.Wx).max() <= (6 / 11) ** 0.5
        forget = [0.0] * 10 + [1.0] * 5 + [0.0] * 5
        assert cell.b.tolist() == (forget if kind == "lstm" else [0.0] * 5 * cell.gates)
        assert kind != "gru" or not parameters["cell.b_q"].any()


@pytest.mark.parametrize("rows", [1, 3, 40])
@pytest.mark.parametrize("shape", [(1, 8, 8), (4, 7, 130), (3, 200, 256), (2, 300, 128)])
def test_products_in_blocks_are_the_products(shape: tuple[int, int, int], rows: int) -> None:
    rng = np.random.default_rng(1)
    G, K, _ = shape
    W = rng.normal(size=shape)
    products = GateProducts(W, rows)
    one = rng.normal(size=(rows, K))
    each = rng.normal(size=(G, rows, K))
    np.testing.assert_allclose(products(one), np.stack([one @ matrix for matrix in W]))
    np.testing.assert_array_equal(transposed(W[0]), W[0].T)
    np.testing.assert_allclose(products(each), np.stack([each[g] @ W[g] for g in range(G)]))


@pytest.mark.parametrize("kind", KINDS)
def test_pieces_that_fit_the_cache_change_nothing(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    s = Setting(kind)
    _, _, cache = s.forward(s.inputs, s.state, RESETS)
    at_once = s.backward(s.by_hidden, s.by_final, cache)
    monkeypatch.setattr(
        "lmsuite.nn.kernels.tuning.CACHED", 2 * B * 4 * H
    )  # two steps; the last has one
    _, _, cache = s.forward(s.inputs, s.state, RESETS)
    in_chunks = s.backward(s.by_hidden, s.by_final, cache)
    for whole, parts in zip(at_once, in_chunks, strict=True):
        np.testing.assert_array_equal(whole, parts)
