"""Public names, copies that stay bound to their parameters, a cell of one's own."""

from __future__ import annotations

import copy
import doctest
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lmsuite.nn
from lmsuite.analysis.checks import check_network, check_scores
from lmsuite.models.recurrent import Recurrent, RecurrentSettings
from lmsuite.nn import Attention, Cell, Embedding, Linear, Parameters, TiedLinear, register_cell
from lmsuite.nn.kernels import CELLS
from lmsuite.text.encoding import TextEncoder, TextSettings


def pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


def test_the_examples_of_the_workshop_work() -> None:
    result = doctest.testmod(lmsuite.nn)
    assert result.attempted > 8 and not result.failed


@pytest.mark.parametrize("copied", [copy.deepcopy, pickled])
def test_layers_copied_with_their_parameters_stay_bound(copied: Callable[[Any], Any]) -> None:
    shapes = Embedding.shapes("e", 5, 3) | Linear.shapes("l", 3, 2) | TiedLinear.shapes("t", 5)
    shapes |= CELLS["gru"].shapes("c", 3, 3) | Attention.shapes("a", 3, 3)
    parameters = Parameters(shapes)
    embedding = Embedding(parameters, "e")
    layers = [embedding, Linear(parameters, "l"), TiedLinear(parameters, "t", embedding)]
    layers += [CELLS["gru"](parameters, "c"), Attention(parameters, "a")]
    p, (e, linear, tied, cell, attention) = copied((parameters, layers))
    p.values[:] = 7
    p.gradients[:] = 3
    assert (linear.W == 7).all() and (linear.d_b == 3).all() and (cell.b_q == 7).all()
    assert (attention.W == 7).all() and (attention.d_W == 3).all()
    assert (cell.d_Wh == 3).all() and tied.embedding is e and (e.table == 7).all()
    assert not parameters.values.any()


@pytest.mark.parametrize("copied", [copy.deepcopy, pickled])
def test_a_copied_network_learns_as_its_original(copied: Callable[[Any], Any]) -> None:
    encoder, _ = TextEncoder.train("abcabd", TextSettings("char"))
    model = Recurrent.initial(
        encoder, RecurrentSettings(hidden=4, embed=3), np.random.default_rng(0)
    )
    again = copied(model)
    gradients = []
    for network in (model, again):
        rng = np.random.default_rng(1)
        inputs, targets = network.example(rng, 2, 3)
        carry = np.zeros((2, 2, 4), np.float32)
        network.backpropagate(inputs, targets, carry, weight=1.0, rng=rng)
        gradients.append(network.parameters.gradients)
    assert gradients[0].any() and gradients[0] is not gradients[1]
    np.testing.assert_array_equal(*gradients)


class ReluCell(Cell):
    """h_t = max(0, x_t W + b + h_{t-1} U)."""

    def step(self, drive: Any, recurrent: Any, state: Any) -> tuple[Any, Any]:
        h = np.maximum(0, drive + recurrent)
        return h, h

    def step_back(self, d_state: Any, cache: Any) -> tuple[Any, Any, Any]:
        d_a = d_state * (cache > 0)
        return d_a, d_a, np.zeros_like(d_state)


def network_with(name: str) -> Recurrent:
    encoder, _ = TextEncoder.train("abcabdaceb", TextSettings("char"))
    settings = RecurrentSettings(cell=name, hidden=5, embed=4, layers=2)
    return Recurrent.initial(encoder, settings, np.random.default_rng(3))


def test_a_cell_of_ones_own_trains_reads_and_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CELLS, "relu", ReluCell)
    register_cell("relu", ReluCell)
    model = network_with("relu")
    rng = np.random.default_rng(0)
    findings = [check_scores(model, rng), *check_network(model, 20, rng)]
    assert all(finding.passed for finding in findings), findings
    with pytest.raises(ValueError, match="belongs to"):
        register_cell("relu", CELLS["lstm"])
    with pytest.raises(ValueError, match="lacks step, step_back"):
        register_cell("none", Cell)


@pytest.mark.parametrize("way", ["step", "advance", "forward"])
def test_a_cell_that_runs_otherwise_one_way_fails_the_checks(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each way of running a cell is compared with the others."""

    class Changed(CELLS["lstm"]):  # type: ignore[misc]
        pass

    def step(self: Any, drive: Any, *others: Any) -> Any:
        return CELLS["lstm"].step(self, 1.5 * drive, *others)

    def advance(self: Any, drive: Any, *others: Any) -> None:
        CELLS["lstm"].advance(self, 1.5 * drive, *others)

    def forward(self: Any, drive: Any, *others: Any) -> Any:
        return CELLS["lstm"].forward(self, 1.5 * drive, *others)

    monkeypatch.setattr(Changed, way, {"step": step, "advance": advance, "forward": forward}[way])
    monkeypatch.setitem(CELLS, "changed", Changed)
    rng = np.random.default_rng(0)
    assert not check_scores(network_with("changed"), rng).passed
