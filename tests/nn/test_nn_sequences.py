"""Sequences of different lengths: padding, means, readers from either end, attention."""

from __future__ import annotations

import numpy as np
import pytest

from lmsuite.nn import CELLS, Attention, Average, Bidirectional, RecurrentLayer, length_mask, pad
from lmsuite.nn.drive import DenseDrive, EmbeddedDrive
from lmsuite.nn.gradient_check import check_gradients
from lmsuite.nn.layers import Embedding
from lmsuite.nn.parameter import Parameters
from lmsuite.types import FloatArray

T, B, D, H, V = 5, 4, 3, 2, 7
LENGTHS = np.array([5, 2, 1, 4])
WITHIN = length_mask(LENGTHS, T)
TOLERANCE = 1e-6


def test_padding() -> None:
    ids, lengths = pad([[3, 1, 2], [4], []], padding=9)
    assert ids.tolist() == [[3, 4, 9], [1, 9, 9], [2, 9, 9]]
    assert lengths.tolist() == [3, 1, 0]
    assert length_mask(lengths, 3).T.tolist() == [[True] * 3, [True, False, False], [False] * 3]
    assert pad([])[0].shape == (0, 0)


@pytest.mark.parametrize("weights", [WITHIN, WITHIN * np.linspace(0, 2, T * B).reshape(T, B)])
def test_averages(weights: FloatArray) -> None:
    rng = np.random.default_rng(0)
    x, by_mean = rng.normal(size=(T, B, D)), rng.normal(size=(B, D))
    average = Average()
    means, cache = average.forward(x, weights)
    for b in range(B):
        np.testing.assert_allclose(means[b], np.average(x[:, b], axis=0, weights=weights[:, b]))
    report = check_gradients(
        lambda: float(np.sum(by_mean * average.forward(x, weights)[0])),
        {"x": x},
        {"x": average.backward(by_mean, cache)},
    )
    assert report.worst.relative < TOLERANCE, report


def test_the_mean_of_nothing_is_zero() -> None:
    means, shares = Average().forward(np.ones((T, B, D), np.float32), np.zeros((T, B), bool))
    assert not means.any() and not shares.any() and means.dtype == shares.dtype == np.float32


class Setting:
    """Drives of two cells over an embedding in float64, with every parameter away from zero."""

    def __init__(self, kind: str, of_ids: bool = False) -> None:
        rng = np.random.default_rng(3)
        shapes = Embedding.shapes("embed", V, D)
        shapes |= CELLS[kind].shapes("one", D, H) | CELLS[kind].shapes("other", D, H + 1)
        self.parameters = Parameters(shapes, np.float64)
        self.parameters.values[...] = rng.normal(0, 0.7, len(self.parameters))
        embedding = Embedding(self.parameters, "embed")
        cells = [CELLS[kind](self.parameters, name) for name in ("one", "other")]
        self.one, self.other = (
            EmbeddedDrive(cell, embedding) if of_ids else DenseDrive(cell) for cell in cells
        )
        self.inputs = rng.integers(0, V, (T, B)) if of_ids else rng.normal(size=(T, B, D))
        self.rng = rng

    def check(
        self, layer: RecurrentLayer | Bidirectional, of_ids: bool, lengths: np.ndarray | None
    ) -> None:
        """Gradients of all parameters and inputs, from the hidden vectors and the final states."""
        hidden, final, _ = layer.forward(self.inputs, lengths)
        by_hidden, by_final = self.rng.normal(size=hidden.shape), self.rng.normal(size=final.shape)

        def loss() -> float:
            hidden, final, _ = layer.forward(self.inputs, lengths)
            return float(np.sum(by_hidden * hidden) + np.sum(by_final * final))

        p = self.parameters
        p.gradients[...] = 0
        kept = by_hidden.copy(), by_final.copy()
        _, _, cache = layer.forward(self.inputs, lengths)
        d_inputs = layer.backward(by_hidden, by_final, cache)
        if isinstance(layer, RecurrentLayer):
            d_inputs, _ = d_inputs
        np.testing.assert_array_equal(by_hidden, kept[0])
        np.testing.assert_array_equal(by_final, kept[1])
        values, gradients = p.arrays(), p.gradient_arrays()
        if of_ids:
            assert d_inputs is None
        else:
            values, gradients = values | {"x": self.inputs}, gradients | {"x": d_inputs}
            if lengths is not None:
                assert not d_inputs[~WITHIN].any() and d_inputs[WITHIN].all()
        report = check_gradients(loss, values, gradients, samples=12, rng=self.rng)
        assert report.worst.relative < TOLERANCE, report


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "padded"])
@pytest.mark.parametrize("of_ids", [False, True], ids=["vectors", "ids"])
@pytest.mark.parametrize("reader", ["forwards", "backwards", "both"])
@pytest.mark.parametrize("kind", CELLS)
def test_gradients_of_readers(
    kind: str, reader: str, of_ids: bool, lengths: np.ndarray | None
) -> None:
    s = Setting(kind, of_ids)
    if reader == "both":
        s.check(Bidirectional(s.one, s.other), of_ids, lengths)
    else:
        s.check(RecurrentLayer(s.one, backwards=reader == "backwards"), of_ids, lengths)


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("kind", CELLS)
def test_a_padded_sequence_is_read_as_if_it_were_alone(kind: str, backwards: bool) -> None:
    s = Setting(kind)
    layer = RecurrentLayer(s.one, backwards=backwards)
    hidden, final, _ = layer.forward(s.inputs, LENGTHS)
    for b, length in enumerate(LENGTHS):
        alone = s.inputs[:length, b : b + 1]
        alone = alone[::-1] if backwards else alone
        expected, last, _ = RecurrentLayer(s.one).forward(alone)
        expected = expected[::-1] if backwards else expected
        np.testing.assert_allclose(hidden[:length, b : b + 1], expected, rtol=1e-12)
        np.testing.assert_allclose(final[:, b : b + 1], last, rtol=1e-12)
        assert not hidden[length:, b].any()


def test_both_directions_stand_side_by_side() -> None:
    s = Setting("lstm")
    both = Bidirectional(s.one, s.other)
    hidden, final, _ = both.forward(s.inputs, LENGTHS)
    for layer, part in zip(both.layers, (slice(H), slice(H, None)), strict=True):
        expected, last, _ = layer.forward(s.inputs, LENGTHS)
        np.testing.assert_array_equal(hidden[..., part], expected)
        np.testing.assert_array_equal(final[..., part], last)
    s.parameters.values[...] = 7
    both.initialise(np.random.default_rng(0))
    assert not (s.parameters["one.Wh"] == 7).any() and not (s.parameters["other.b"] == 7).any()


@pytest.mark.parametrize("kind", CELLS)
def test_a_decoder_begins_with_the_state_of_an_encoder(kind: str) -> None:
    """The gradient of the first state goes on into the encoder as that of its final state."""
    s = Setting(kind)
    encoder, decoder = RecurrentLayer(s.one), RecurrentLayer(s.one)  # the same weights
    whole, _, cache = encoder.forward(s.inputs)
    by_hidden = s.rng.normal(size=whole.shape)
    d_whole, _ = encoder.backward(by_hidden, None, cache)
    _, state, first = encoder.forward(s.inputs[:2])
    late, _, second = decoder.forward(s.inputs[2:], state=state)
    np.testing.assert_allclose(late, whole[2:], rtol=1e-12)
    d_late, d_state = decoder.backward(by_hidden[2:], None, second)
    d_early, _ = encoder.backward(by_hidden[:2], d_state, first)
    np.testing.assert_allclose(np.concatenate((d_early, d_late)), d_whole, rtol=1e-10)


@pytest.mark.parametrize("lengths", [[5, 2, 1, 0], [6, 2, 1, 4], [5, 2, 1]])
def test_lengths_that_do_not_fit_are_refused(lengths: list[int]) -> None:
    s = Setting("elman")
    with pytest.raises(ValueError, match="numbers from 1 to 5"):
        RecurrentLayer(s.one).forward(s.inputs, np.array(lengths))
    with pytest.raises(ValueError, match="lengths or a state"):
        RecurrentLayer(s.one).forward(s.inputs, LENGTHS, s.one.cell.start(B))


def attention(dtype: type = np.float64) -> tuple[Attention, FloatArray, FloatArray]:
    """An attention layer, queries (T, B, H), and a memory (T + 1, B, D)."""
    rng = np.random.default_rng(5)
    layer = Attention(Parameters(Attention.shapes("a", H, D), dtype), "a")
    layer.initialise(rng)
    queries, memory = rng.normal(size=(T, B, H)), rng.normal(size=(T + 1, B, D))
    return layer, queries.astype(dtype), memory.astype(dtype)


def test_attention_by_its_equations() -> None:
    layer, queries, memory = attention()
    contexts, cache = layer.forward(queries, memory, length_mask(LENGTHS, T + 1))
    for b, length in enumerate(LENGTHS):
        for t in range(T):
            scores = [queries[t, b] @ layer.W @ memory[s, b] for s in range(length)]
            alpha = np.exp(scores) / np.exp(scores).sum()
            np.testing.assert_allclose(cache.alpha[b, t, :length], alpha)
            assert not cache.alpha[b, t, length:].any()
            np.testing.assert_allclose(contexts[t, b], alpha @ memory[:length, b])


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "padded"])
def test_gradients_of_attention(lengths: np.ndarray | None) -> None:
    layer, queries, memory = attention()
    mask = None if lengths is None else length_mask(lengths, T + 1)
    by_context = np.random.default_rng(6).normal(size=(T, B, D))
    _, cache = layer.forward(queries, memory, mask)
    d_queries, d_memory = layer.backward(by_context, cache)
    assert mask is None or not d_memory[~mask].any()
    report = check_gradients(
        lambda: float(np.sum(by_context * layer.forward(queries, memory, mask)[0])),
        {"W": layer.W, "queries": queries, "memory": memory},
        {"W": layer.d_W, "queries": d_queries, "memory": d_memory},
    )
    assert report.worst.relative < TOLERANCE, report


def test_attention_in_float32_does_not_overflow() -> None:
    layer, queries, memory = attention(np.float32)
    layer.W[...] = 1e3
    with np.errstate(over="raise", invalid="raise"):
        contexts, cache = layer.forward(queries, memory, length_mask(LENGTHS, T + 1))
    assert contexts.dtype == np.float32 and np.isfinite(contexts).all()
    np.testing.assert_allclose(cache.alpha.sum(axis=2), 1, rtol=1e-6)
