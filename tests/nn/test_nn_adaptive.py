"""The adaptive softmax: by hand, as the definition has it, and its gradients."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmsuite.errors import UsageError
from lmsuite.nn import output
from lmsuite.nn.adaptive import adaptive_cross_entropy, adaptive_log_softmax
from lmsuite.nn.gradient_check import check_gradients
from lmsuite.nn.layers import Embedding
from lmsuite.nn.output import Softmax, SoftmaxReader, tail_sizes
from lmsuite.nn.parameter import Parameters

IMPOSSIBLE = np.array([1], np.int32)
TOLERANCE = 1e-6


def softmax_of(
    V: int, D: int, cutoffs: tuple[int, ...], *, tied: bool, dtype: type = np.float64, seed: int = 1
) -> tuple[Softmax, Parameters]:
    """A softmax with random parameters, and those."""
    shapes = Embedding.shapes("embedding", V, D)
    shapes |= Softmax.shapes("output", D, V, cutoffs, tied=tied)
    parameters = Parameters(shapes, dtype)
    parameters.values[:] = np.random.default_rng(seed).standard_normal(len(parameters))
    embedding = Embedding(parameters, "embedding") if tied else None
    return Softmax(parameters, "output", cutoffs, embedding), parameters


def by_definition(
    softmax: Softmax, vectors: np.ndarray, targets: np.ndarray, weight: float
) -> tuple[float, np.ndarray]:
    """Loss and gradient by the vectors, from every logit; writes the parameters' gradients."""
    forward = [layer.forward(vectors) for layer in softmax.layers]
    head, *tails = [logits for logits, _ in forward]
    loss, d_head, d_tails = adaptive_cross_entropy(head, tails, targets, weight, IMPOSSIBLE)
    d_vectors = np.zeros_like(vectors)
    for layer, (_, cache), d_logits in zip(
        softmax.layers, forward, [d_head, *d_tails], strict=True
    ):
        d_vectors += layer.backward(d_logits, cache)  # type: ignore[arg-type]
    return loss, d_vectors


def test_by_hand() -> None:
    # Words a, b; clusters {c, d} and {e}. Head (1, 3 | 4, 2)/10, tail (1, 3)/4, tail (1)/1.
    head = np.log([[1.0, 3, 4, 2]])
    tails = [np.log([[1.0, 3]]), np.log([[5.0]])]
    expected = [1 / 10, 3 / 10, 4 / 10 / 4, 4 / 10 * 3 / 4, 2 / 10]
    np.testing.assert_allclose(np.exp(adaptive_log_softmax(head, tails))[0], expected)
    loss, d_head, d_tails = adaptive_cross_entropy(head, tails, np.array([3]))
    assert loss == pytest.approx(-log(0.3))
    np.testing.assert_allclose(d_head, [[0.1, 0.3, 0.4 - 1, 0.2]])
    np.testing.assert_allclose(d_tails[0], [[1 / 4, 3 / 4 - 1]])
    np.testing.assert_allclose(d_tails[1], [[0]])


def test_gradients_of_the_definition() -> None:
    rng = np.random.default_rng(2)
    head, tails = rng.normal(size=(5, 6)), [rng.normal(size=(5, n)) for n in (3, 1)]
    targets = np.array([0, 3, 4, 6, 7])  # two in the shortlist of four, two and one in clusters

    def loss() -> float:
        return adaptive_cross_entropy(head, tails, targets, 0.3, IMPOSSIBLE)[0]

    _, d_head, d_tails = adaptive_cross_entropy(head, tails, targets, 0.3, IMPOSSIBLE)
    report = check_gradients(
        loss,
        {"head": head, "first": tails[0], "second": tails[1]},
        {"head": d_head, "first": d_tails[0], "second": d_tails[1]},
    )
    assert report.worst.relative < TOLERANCE, report


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-4), (np.float64, 1e-10)])
@given(
    sizes=st.tuples(st.integers(0, 12), st.integers(1, 40)),
    cutoffs=st.sets(st.integers(3, 29), max_size=4),
    tied=st.booleans(),
    at_once=st.sampled_from([1, 40, 10**6]),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=40, deadline=None)
def test_the_tuned_form_is_the_definition(
    dtype: type,
    tolerance: float,
    sizes: tuple[int, int],
    cutoffs: set[int],
    tied: bool,
    at_once: int,
    seed: int,
) -> None:
    """Loss, gradients, and log-probabilities; clusters of a batch may have no targets."""
    (N, D), V = sizes, 30
    softmax, parameters = softmax_of(
        V, D, tuple(sorted(cutoffs)), tied=tied, dtype=dtype, seed=seed
    )
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((N, D)).astype(dtype) / np.sqrt(D)
    targets = rng.integers(2, V, N).astype(np.int32)
    loss, d_vectors = by_definition(softmax, vectors, targets, 0.1)
    gradients = parameters.gradients.copy()
    parameters.gradients[parameters.slices["embedding.table"]] = 0
    before, output.LOGITS_AT_ONCE = output.LOGITS_AT_ONCE, at_once
    try:
        found, d_found = softmax.loss(vectors, targets, 0.1, IMPOSSIBLE)
    finally:
        output.LOGITS_AT_ONCE = before
    assert found == pytest.approx(loss, rel=tolerance, abs=tolerance)
    np.testing.assert_allclose(d_found, d_vectors, rtol=0, atol=tolerance)
    np.testing.assert_allclose(parameters.gradients, gradients, rtol=0, atol=tolerance)

    logits = [layer.forward(vectors)[0] for layer in softmax.layers]
    expected = adaptive_log_softmax(logits[0], logits[1:], IMPOSSIBLE)
    for log_probs in (
        softmax.log_probs(vectors, IMPOSSIBLE),
        SoftmaxReader(softmax, IMPOSSIBLE).log_probs(vectors),
    ):
        np.testing.assert_allclose(log_probs, expected, rtol=0, atol=10 * tolerance)
        np.testing.assert_allclose(np.exp(log_probs).sum(axis=1), 1, atol=1e-9)
    of_targets = expected[np.arange(N), targets]
    for scores in (
        softmax.target_log_probs(vectors, targets, IMPOSSIBLE),
        SoftmaxReader(softmax, IMPOSSIBLE).target_log_probs(vectors, targets),
    ):
        np.testing.assert_allclose(scores, of_targets, rtol=0, atol=10 * tolerance)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("cutoffs", [(), (4,), (3, 7, 9)])
def test_gradients(tied: bool, cutoffs: tuple[int, ...]) -> None:
    softmax, parameters = softmax_of(11, 20, cutoffs, tied=tied)
    rng = np.random.default_rng(3)
    vectors, targets = rng.standard_normal((6, 20)), np.array([0, 2, 5, 8, 9, 10])
    table = parameters.gradient("embedding.table")

    def loss() -> float:
        table[...] = 0
        return softmax.loss(vectors, targets, 0.2, IMPOSSIBLE)[0]

    loss()
    _, d_vectors = softmax.loss(vectors, targets, 0.2, IMPOSSIBLE)
    loss()
    names = [name for name in parameters if tied or name != "embedding.table"]
    report = check_gradients(
        loss,
        {"vectors": vectors} | {name: parameters[name] for name in names},
        {"vectors": d_vectors} | {name: parameters.gradient(name) for name in names},
        samples=40,
        rng=rng,
    )
    assert report.worst.relative < TOLERANCE, report


@pytest.mark.parametrize("cutoffs", [(), (5, 8)])
def test_the_bias_gives_the_frequencies(cutoffs: tuple[int, ...]) -> None:
    softmax, _ = softmax_of(11, 4, cutoffs, tied=False)
    wanted = np.arange(1.0, 12)
    wanted /= wanted.sum()
    softmax.set_bias(wanted)
    np.testing.assert_allclose(np.exp(softmax.log_probs(np.zeros((1, 4))))[0], wanted)


def test_projections_shrink_but_not_below_the_narrowest() -> None:
    assert tail_sizes(400, 4) == [100, 25, 16, 16]
    assert tail_sizes(10, 2) == [10, 10]


def test_a_cluster_without_words_is_refused() -> None:
    with pytest.raises(UsageError, match="cutoffs must be below 11"):
        Softmax.shapes("output", 4, 11, (5, 11), tied=False)
