"""A traced pass has the loss and the gradients of training, and those of finite differences."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from contract_cases import NETWORKS, OTHER, TRAINING, given_to, text_of

from lmsuite.analysis.network_trace import LONGEST, NetworkTrace, trace_network
from lmsuite.errors import DataError
from lmsuite.models.feedforward import FeedForward, windows
from lmsuite.models.neural import NeuralModel
from lmsuite.models.recurrent import Recurrent
from lmsuite.nn.cell_graphs import GATES, PAST_GATES
from lmsuite.nn.gradient_check import numeric_gradient
from lmsuite.text.encoding import Boundaries, TextEncoder
from lmsuite.text.vocabulary import BOS
from lmsuite.types import FloatArray, IntArray

TEXT = "The cows eat corn.\nThe cat sat in\n\nthe zebra."
SHORT = "The cat"


def network(name: str, boundaries: Boundaries = Boundaries.LINES) -> NeuralModel:
    """A network in float64 with random weights, larger than at the beginning of a training."""
    settings = NETWORKS[name]
    kind: type[NeuralModel] = FeedForward if "ffnn" in name else Recurrent
    if kind is Recurrent:
        kept = {"dropout": 0.0, "embed_dropout": 0.0, "weight_drop": 0.0, "feature_dropout": 0.0}
        settings = replace(settings, **kept)
    encoder, _ = TextEncoder.train(given_to(boundaries, TRAINING), text_of(boundaries))
    model = kind.initial(encoder, settings, np.random.default_rng(1), np.float64)
    model.parameters.values += 0.2 * np.random.default_rng(2).standard_normal(len(model.parameters))
    return model


def batch_of(model: NeuralModel, ids: IntArray) -> tuple[IntArray, IntArray, FloatArray]:
    """The text as one batch of a training, with weight 1: inputs, targets, carry."""
    arrays, width = model.carry_shape
    carry = np.zeros((arrays, 1, width))
    if isinstance(model, FeedForward):
        since = np.maximum.accumulate(np.where(ids == BOS, np.arange(ids.size), 0))
        at = np.flatnonzero(ids != BOS)
        context = model.settings.context
        return windows(ids.__getitem__, at, since[at], context), ids[at], carry[:, :0]
    before = np.concatenate(([BOS], ids[:-1]))
    kept = ids != BOS
    return before[kept][:, None], ids[kept][:, None], carry


def gradients(trace: NetworkTrace, model: NeuralModel) -> dict[str, FloatArray]:
    """The gradients of a trace by the names of the model's arrays."""
    of = {node.name: node.gradient for node in trace.parameters}
    found = {"embedding.table": of["C"]}
    if isinstance(model, FeedForward):
        for i, mark in enumerate(marks(len(model.settings.hidden))):
            found[f"hidden.{i}.W"], found[f"hidden.{i}.b"] = of[f"H{mark}"], of[f"d{mark}"]
        if "U" in of:
            found["output.W"] = np.concatenate([of[symbol] for symbol in "UW" if symbol in of])
        found["output.b"] = of["b"]
    else:
        cell = model.settings.cell
        for i, mark in enumerate(marks(model.settings.layers)):
            for letter, name, gates in (
                ("W", "Wx", GATES),
                ("U", "Wh", PAST_GATES),
                ("b", "b", GATES),
            ):
                names = [f"{letter}{mark}_{gate}".rstrip("_") for gate in gates[cell]]
                found[f"layer.{i}.{name}"] = np.concatenate([of[n] for n in names], axis=-1)
            if cell == "gru":
                found[f"layer.{i}.b_q"] = of[f"b{mark}_q"]
        if "W_y" in of:
            found["output.W"] = of["W_y"]
        found["output.b"] = of["b_y"]
    if "features.table" in model.parameters:
        found["features.table"] = np.zeros_like(model.parameters["features.table"])
        for row, gradient in enumerate(found["features.table"]):
            gradient += of.get(f"F[{row}]", 0)
    if "W_c" in of:  # an adaptive softmax
        found |= {"output.clusters.W": of["W_c"], "output.clusters.b": of["b_c"]}
        for k in range(1, 9):
            tail = {f"output.tail.{k}.{x}": f"{x}_{k}" for x in "PWb"}
            found |= {name: of[symbol] for name, symbol in tail.items() if symbol in of}
    return found


def marks(layers: int) -> list[str]:
    return [""] if layers == 1 else list("¹²³"[:layers])


@pytest.mark.parametrize("boundaries", Boundaries)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_pass_is_that_of_training(name: str, boundaries: Boundaries) -> None:
    model = network(name, boundaries)
    text = given_to(boundaries, TEXT)
    ids = model.encoder.encode(text)
    trace = trace_network(model, text)
    inputs, targets, carry = batch_of(model, ids)
    rng = np.random.default_rng(0)
    loss = model.backpropagate(inputs, targets, carry, weight=1.0, rng=rng)
    assert float(trace.loss.value) == pytest.approx(loss, rel=1e-10)
    derived = gradients(trace, model)
    assert derived.keys() == set(model.parameters)
    for array, gradient in derived.items():
        expected = model.parameters.gradient(array)
        np.testing.assert_allclose(gradient, expected, atol=1e-10, err_msg=array)
    scores = [-float(step.loss.value) for step in trace.steps]
    np.testing.assert_allclose(scores, model.score(ids), atol=1e-8)


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_are_those_of_differences(name: str) -> None:
    model = network(name)
    trace = trace_network(model, SHORT)
    rng = np.random.default_rng(4)
    for array, gradient in gradients(trace, model).items():
        at = tuple(int(i) for i in np.unravel_index(np.abs(gradient).argmax(), gradient.shape))
        other = tuple(int(rng.integers(size)) for size in gradient.shape)
        for index in (at, other):
            numeric = numeric_gradient(
                lambda: float(trace_network(model, SHORT).loss.value),
                model.parameters[array],
                index,
            )
            assert gradient[index] == pytest.approx(numeric, rel=1e-6, abs=1e-8), array


@pytest.mark.parametrize("name", ["lstm", "ffnn"])
def test_the_parts_of_an_upstream_gradient_sum_to_it(name: str) -> None:
    trace = trace_network(network(name), SHORT)
    assert trace.parameters
    for node in (*trace.parameters, *(node for step in trace.steps for node in step.nodes)):
        if node is not trace.loss:
            parts = [part for _, part in trace.parts(node)]
            np.testing.assert_allclose(sum(parts), node.gradient, atol=1e-12, err_msg=node.name)


def test_the_steps_say_what_is_read_and_predicted() -> None:
    model = network("elman")
    steps = trace_network(model, "The cows eat\nthe").steps
    assert [step.reads for step in steps] == [
        ("<s>",),
        ("The",),
        ("cows",),
        ("eat",),
        ("<s>",),
        ("the",),
    ]
    assert [step.predicts for step in steps] == ["The", "cows", "eat", "</s>", "the", "</s>"]
    assert [step.number for step in steps] == list(range(1, len(steps) + 1))
    assert steps[0].nodes[-1] is steps[0].loss
    names = [node.name for step in steps for node in step.nodes]
    assert {"x_1", "a_1", "h_1", "y_1", "L_1", "h_2"} <= set(names)
    window = trace_network(network("ffnn"), "The cows eat").steps[1].reads
    assert window[:2] == ("<s>", "<s>")
    assert len(window) == 3


def test_what_cannot_be_traced_is_refused() -> None:
    model = network("elman")
    with pytest.raises(DataError, match="no tokens"):
        trace_network(model, "")
    with pytest.raises(DataError, match=f"at most {LONGEST}"):
        trace_network(model, OTHER * 200)
