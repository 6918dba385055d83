"""Parameters, layers without a memory, and activations."""

from __future__ import annotations

import numpy as np
import pytest

from lmsuite.nn.activations import ACTIVATIONS
from lmsuite.nn.gradient_check import check_gradients
from lmsuite.nn.layers import SMALL_VOCABULARY, Dropout, Embedding, Linear, TiedLinear
from lmsuite.nn.parameter import Parameters
from lmsuite.types import FloatArray

TOLERANCE = 1e-6


def test_parameters_are_views_of_one_buffer() -> None:
    parameters = Parameters({"a": (2, 3), "b": (4,)})
    assert len(parameters) == 10
    assert parameters.names == list(parameters) == ["a", "b"]
    assert parameters.slices == {"a": slice(0, 6), "b": slice(6, 10)}
    assert "a" in parameters
    assert "c" not in parameters
    parameters["a"][1, 2] = 7
    parameters.gradient("b")[0] = 5
    assert parameters.values.tolist() == [0, 0, 0, 0, 0, 7, 0, 0, 0, 0]
    assert parameters.gradients.tolist() == [0, 0, 0, 0, 0, 0, 5, 0, 0, 0]
    assert parameters.values.dtype == np.float32


def test_given_buffers_are_used_in_place() -> None:
    values, gradients = np.arange(6.0), np.ones(6)
    parameters = Parameters({"a": (2, 3)}, np.float64, values=values, gradients=gradients)
    assert parameters["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    parameters["a"][0, 0] = 9
    parameters.gradient("a")[...] = 2
    assert values[0] == 9
    assert gradients.tolist() == [2] * 6


@pytest.mark.parametrize("buffer", [np.zeros(5), np.zeros((2, 3)), np.zeros(12)[::2]])
def test_buffers_that_do_not_fit_are_refused(buffer: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"\(6,\)"):
        Parameters({"a": (2, 3)}, values=buffer)


@pytest.mark.parametrize("vocabulary", [5, SMALL_VOCABULARY + 1])
def test_embedding_gradient_counts_repeated_ids(vocabulary: int) -> None:
    """Both ways of summing by id: `table[ids] += g` would drop the repetitions."""
    parameters = Parameters(Embedding.shapes("e", vocabulary, 2), np.float64)
    embedding = Embedding(parameters, "e")
    embedding.initialise(np.random.default_rng(0))
    ids = np.array([[3, 1], [3, 3]])
    outputs, cache = embedding.forward(ids)
    np.testing.assert_array_equal(outputs[1, 0], embedding.table[3])
    embedding.backward(np.arange(8.0).reshape(2, 2, 2), cache)
    # id 3 stands at rows (0, 1), (4, 5), (6, 7); id 1 at row (2, 3)
    expected = np.zeros((vocabulary, 2))
    expected[3] = [0 + 4 + 6, 1 + 5 + 7]
    expected[1] = [2, 3]
    np.testing.assert_array_equal(embedding.d_table, expected)
    embedding.backward(np.zeros((0, 2)), np.empty(0, int))
    np.testing.assert_array_equal(embedding.d_table, expected)


def test_gradients_are_written_but_those_of_a_table_add_up() -> None:
    shapes = Embedding.shapes("e", 6, 3) | TiedLinear.shapes("tied", 6) | Linear.shapes("l", 3, 2)
    parameters = Parameters(shapes, np.float64)
    embedding, linear = Embedding(parameters, "e"), Linear(parameters, "l")
    tied = TiedLinear(parameters, "tied", embedding)
    linear.initialise(np.random.default_rng(0))

    def backward() -> FloatArray:
        _, cache = linear.forward(np.ones((4, 3)))
        linear.backward(np.ones((4, 2)), cache)
        embedding.backward(np.ones((4, 3)), np.arange(4))
        tied.backward(np.ones((4, 6)), np.ones((4, 3)))
        return parameters.gradients.copy()

    once, twice = backward(), backward()
    table = parameters.slices["e.table"]
    factor = np.ones(len(parameters))
    factor[table] = 2
    np.testing.assert_allclose(twice, factor * once)
    assert once.all()


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("leading", [(5,), (3, 2)])
def test_linear_gradients(tied: bool, leading: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    shapes = Embedding.shapes("e", 6, 4)
    shapes |= TiedLinear.shapes("out", 6) if tied else Linear.shapes("out", 4, 6)
    parameters = Parameters(shapes, np.float64)
    embedding = Embedding(parameters, "e")
    embedding.initialise(rng)
    layer = TiedLinear(parameters, "out", embedding) if tied else Linear(parameters, "out")
    layer.initialise(rng)
    parameters["out.b"][...] = rng.normal(size=6)
    ids = rng.integers(0, 6, leading)
    by_output = rng.normal(size=(*leading, 6))

    def loss() -> float:
        return float(np.sum(by_output * layer.forward(embedding.forward(ids)[0])[0]))

    vectors, ids_cache = embedding.forward(ids)
    outputs, cache = layer.forward(vectors)
    assert outputs.shape == (*leading, 6)
    embedding.backward(layer.backward(by_output, cache), ids_cache)
    report = check_gradients(
        loss,
        {name: parameters[name] for name in parameters},
        {name: parameters.gradient(name) for name in parameters},
    )
    assert report.worst.relative < TOLERANCE, report


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_gradients(name: str) -> None:
    """At points that keep clear of the kinks of relu (0) and hardtanh (-1, 1)."""
    activation = ACTIVATIONS[name]
    x = np.array([-3.0, -1.2, -0.8, -0.1, 0.1, 0.4, 0.9, 1.1, 2.5])
    by_output = np.linspace(0.5, 2, len(x))
    outputs, cache = activation.forward(x)
    d_inputs = activation.backward(by_output, cache)
    report = check_gradients(
        lambda: float(np.sum(by_output * activation.forward(x)[0])), {"x": x}, {"x": d_inputs}
    )
    assert report.worst.relative < TOLERANCE, report
    assert outputs.shape == x.shape


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tanh", [-0.9640275801, 0.0, 0.4621171573]),
        ("sigmoid", [0.1192029220, 0.5, 0.6224593312]),
        ("relu", [0.0, 0.0, 0.5]),
        ("hardtanh", [-1.0, 0.0, 0.5]),
        ("softsign", [-2 / 3, 0.0, 1 / 3]),
    ],
)
def test_activation_values(name: str, expected: list[float]) -> None:
    x = np.array([-2.0, 0.0, 0.5])
    np.testing.assert_allclose(ACTIVATIONS[name].apply(x), expected, atol=1e-10)
    assert x.tolist() == [-2.0, 0.0, 0.5]


def test_sigmoid_does_not_overflow() -> None:
    with np.errstate(all="raise"):
        y = ACTIVATIONS["sigmoid"].apply(np.array([-1e4, 1e4], np.float32))
    assert y.tolist() == [0.0, 1.0]


def test_dropout_keeps_the_mean_and_drops_its_rate() -> None:
    dropout = Dropout(0.25)
    mask = dropout.mask(np.random.default_rng(0), (100, 400))
    assert mask is not None
    assert mask.dtype == np.float32
    assert set(np.unique(mask).tolist()) == {0.0, np.float32(4 / 3)}
    # 40,000 draws: the standard error of the share dropped is 0.0022
    assert np.mean(mask == 0) == pytest.approx(0.25, abs=0.01)
    outputs, cache = dropout.forward(np.ones((100, 400), np.float32), mask)
    np.testing.assert_array_equal(outputs, mask)
    np.testing.assert_array_equal(dropout.backward(2 * np.ones_like(mask), cache), 2 * mask)


def test_dropout_gradient_with_the_mask_fixed() -> None:
    rng = np.random.default_rng(2)
    dropout = Dropout(0.5, variational=True)
    x, by_output = rng.normal(size=(2, 4, 3, 5))
    mask = dropout.mask(rng, x.shape, np.float64)
    outputs, cache = dropout.forward(x, mask)
    d_inputs = dropout.backward(by_output, cache)
    report = check_gradients(
        lambda: float(np.sum(by_output * dropout.forward(x, mask)[0])), {"x": x}, {"x": d_inputs}
    )
    assert report.worst.relative < TOLERANCE, report
    dropped = outputs == 0
    np.testing.assert_array_equal(dropped, np.broadcast_to(dropped[0], dropped.shape))
    assert 0 < dropped[0].mean() < 1


def test_no_dropout_is_the_identity() -> None:
    dropout = Dropout(0.0)
    x = np.ones((2, 3))
    mask = dropout.mask(np.random.default_rng(0), x.shape)
    assert mask is None
    outputs, cache = dropout.forward(x, mask)
    assert outputs is x
    assert dropout.backward(x, cache) is x


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_dropout_rates_out_of_range(rate: float) -> None:
    with pytest.raises(ValueError, match="dropout rate"):
        Dropout(rate)
