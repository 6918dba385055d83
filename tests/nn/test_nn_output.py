"""The output and its loss: in parts as in one piece."""

from __future__ import annotations

import numpy as np
import pytest

from lmsuite.nn import output
from lmsuite.nn.layers import Embedding, Linear, TiedLinear
from lmsuite.nn.losses import softmax_cross_entropy
from lmsuite.nn.parameter import Parameters

N, D, V = 7, 4, 11
IMPOSSIBLE = np.array([1], np.int32)


def layer_of(kind: str) -> tuple[Linear | TiedLinear, Parameters]:
    """A layer with random parameters, and those."""
    shapes = Embedding.shapes("embedding", V, D)
    shapes |= TiedLinear.shapes("output", V) if kind == "tied" else Linear.shapes("output", D, V)
    parameters = Parameters(shapes, np.float64)
    parameters.values[:] = np.random.default_rng(1).standard_normal(len(parameters))
    if kind == "tied":
        return TiedLinear(parameters, "output", Embedding(parameters, "embedding")), parameters
    return Linear(parameters, "output"), parameters


@pytest.mark.parametrize("at_once", [1, 2, 3, N - 1, N, N + 1])
@pytest.mark.parametrize("kind", ["linear", "tied"])
def test_in_parts_as_in_one_piece(kind: str, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    layer, parameters = layer_of(kind)
    rng = np.random.default_rng(2)
    rows, targets = rng.standard_normal((N, D)), rng.integers(2, V, N).astype(np.int32)
    logits, cache = layer.forward(rows)
    loss, d_logits = softmax_cross_entropy(logits, targets, 0.1, IMPOSSIBLE)
    d_rows = layer.backward(d_logits, cache)
    gradients = parameters.gradients.copy()
    sizes = []
    tuned = output.softmax_cross_entropy

    def noted(logits: np.ndarray, *others: object) -> object:
        sizes.append(len(logits))
        return tuned(logits, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(output, "softmax_cross_entropy", noted)
    monkeypatch.setattr(output, "LOGITS_AT_ONCE", at_once * V + 1)
    parameters.gradients[:] = 0
    again = output.output_loss(layer, rows, targets, 0.1, IMPOSSIBLE)
    assert max(sizes) == min(at_once, N) and sum(sizes) == N
    np.testing.assert_allclose(again[0], loss, rtol=1e-12)
    np.testing.assert_allclose(again[1], d_rows, rtol=1e-10)
    np.testing.assert_allclose(parameters.gradients, gradients, rtol=1e-10, atol=1e-15)
