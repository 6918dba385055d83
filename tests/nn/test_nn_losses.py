"""Losses against their definitions and their gradients."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmsuite.nn import losses
from lmsuite.nn.gradient_check import check_gradients
from lmsuite.nn.kernels import softmax as kernel

TOLERANCE = 1e-6
CrossEntropy = Callable[..., tuple[float, np.ndarray]]
CROSS_ENTROPIES = [losses.softmax_cross_entropy, kernel.softmax_cross_entropy]
WEIGHTS = [None, 0.1, np.array([0.5, 0.0, 1.5, 2.0])]


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-10)])
@given(
    sizes=st.tuples(st.integers(1, 12), st.integers(3, 40)),
    scale=st.sampled_from([0.1, 3.0, 100.0]),
    weighted=st.sampled_from([None, 0.1, "each"]),
    ruled_out=st.integers(0, 2),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None)
def test_the_kernel_is_the_definition(
    dtype: type,
    tolerance: float,
    sizes: tuple[int, int],
    scale: float,
    weighted: object,
    ruled_out: int,
    seed: int,
) -> None:
    """Loss and gradient, to the tolerance times their largest number; logits that need a shift."""
    N, V = sizes
    rng = np.random.default_rng(seed)
    logits = (scale * rng.normal(size=sizes)).astype(dtype)
    targets = rng.integers(ruled_out, V, N)
    weights = rng.choice([0.0, 0.5, 2.0], N) if weighted == "each" else weighted
    loss, d_logits = losses.softmax_cross_entropy(logits, targets, weights, np.arange(ruled_out))  # type: ignore[arg-type]
    tuned = kernel.softmax_cross_entropy(logits.copy(), targets, weights, np.arange(ruled_out))  # type: ignore[arg-type]
    assert d_logits.dtype == tuned[1].dtype == dtype
    assert tuned[0] == pytest.approx(loss, rel=tolerance, abs=tolerance)
    np.testing.assert_allclose(tuned[1], d_logits, rtol=0, atol=2 * tolerance)


def test_the_kernel_works_in_the_memory_of_the_logits() -> None:
    logits = np.zeros((2, 3))
    assert kernel.softmax_cross_entropy(logits, np.array([1, 2]))[1] is logits


@pytest.mark.parametrize("cross_entropy", CROSS_ENTROPIES)
def test_softmax_cross_entropy_by_hand(cross_entropy: CrossEntropy) -> None:
    logits = np.array([[log(1), log(2), log(5)], [log(3), log(3), log(4)]])
    loss, d_logits = cross_entropy(logits, np.array([1, 2]))
    # softmax rows (1, 2, 5)/8 and (3, 3, 4)/10; targets 2/8 and 4/10; mean of two
    assert loss == pytest.approx(-(log(2 / 8) + log(4 / 10)) / 2)
    expected = np.array([[1 / 8, 2 / 8 - 1, 5 / 8], [3 / 10, 3 / 10, 4 / 10 - 1]]) / 2
    np.testing.assert_allclose(d_logits, expected, atol=1e-12)


@pytest.mark.parametrize("cross_entropy", CROSS_ENTROPIES)
@pytest.mark.parametrize("weights", WEIGHTS)
def test_softmax_cross_entropy_gradient(
    weights: losses.Weights, cross_entropy: CrossEntropy
) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4, 6))
    targets = np.array([3, 1, 5, 0])  # 1 is impossible, in the row whose weight may be zero
    impossible = np.array([2]) if not isinstance(weights, np.ndarray) else np.array([1, 2])

    def loss() -> float:
        return cross_entropy(logits.copy(), targets, weights, impossible)[0]

    _, d_logits = cross_entropy(logits.copy(), targets, weights, impossible)
    report = check_gradients(loss, {"logits": logits}, {"logits": d_logits})
    assert report.worst.relative < TOLERANCE, report
    assert not d_logits[:, impossible].any()
    np.testing.assert_allclose(d_logits.sum(axis=1), 0, atol=1e-15)


@pytest.mark.parametrize("cross_entropy", CROSS_ENTROPIES)
def test_an_impossible_target_of_weight_zero_does_not_count(cross_entropy: CrossEntropy) -> None:
    logits = np.zeros((2, 4), np.float32)
    weights = np.array([0.0, 1.0], np.float32)
    with np.errstate(all="raise"):
        loss, d_logits = cross_entropy(logits, np.array([1, 0]), weights, np.array([1]))
    assert loss == pytest.approx(log(3))
    assert not d_logits[0].any()


def test_blocks_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(7, 5))
    targets = rng.integers(0, 5, 7)
    whole = kernel.softmax_cross_entropy(logits.copy(), targets)
    monkeypatch.setattr(kernel, "BLOCK", 10)
    blocks = kernel.softmax_cross_entropy(logits.copy(), targets)
    assert blocks[0] == pytest.approx(whole[0], rel=1e-14)
    np.testing.assert_array_equal(blocks[1], whole[1])


@pytest.mark.parametrize("cross_entropy", CROSS_ENTROPIES)
def test_no_rows(cross_entropy: CrossEntropy) -> None:
    loss, d_logits = cross_entropy(np.zeros((0, 5)), np.zeros(0, int))
    assert loss == 0
    assert d_logits.shape == (0, 5)


@pytest.mark.parametrize("cross_entropy", CROSS_ENTROPIES)
def test_float32_survives_large_logits(cross_entropy: CrossEntropy) -> None:
    logits = np.array([[1e4, 0.0, -1e4]], np.float32)
    loss, d_logits = cross_entropy(logits, np.array([1]))
    assert loss == pytest.approx(1e4)
    np.testing.assert_array_equal(d_logits, np.array([[1, -1, 0]], np.float32))


def test_log_probabilities() -> None:
    rng = np.random.default_rng(5)
    logits = 3 * rng.normal(size=(4, 6))
    impossible = np.array([1, 2])
    log_probs = losses.log_softmax(logits.copy(), impossible)
    assert np.isneginf(log_probs[:, impossible]).all()
    np.testing.assert_allclose(np.exp(log_probs).sum(axis=1), 1)
    np.testing.assert_allclose(log_probs[:, 4] - log_probs[:, 3], logits[:, 4] - logits[:, 3])
    targets = np.array([0, 5, 3, 4])
    np.testing.assert_allclose(
        losses.target_log_probs(logits.copy(), targets, impossible),
        log_probs[np.arange(4), targets],
    )


@pytest.mark.parametrize("weights", WEIGHTS)
def test_squared_error(weights: losses.Weights) -> None:
    rng = np.random.default_rng(1)
    outputs, targets = rng.normal(size=(2, 4, 3))
    loss, d_outputs = losses.squared_error(outputs, targets, weights)
    if weights is None:
        assert loss == pytest.approx(0.5 * np.mean(np.sum((outputs - targets) ** 2, axis=1)))
    report = check_gradients(
        lambda: losses.squared_error(outputs, targets, weights)[0],
        {"outputs": outputs},
        {"outputs": d_outputs},
    )
    assert report.worst.relative < TOLERANCE, report


@pytest.mark.parametrize("weights", WEIGHTS)
def test_binary_cross_entropy(weights: losses.Weights) -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(4, 2))
    targets = np.array([[0.0, 1.0], [1.0, 0.3], [0.0, 0.0], [1.0, 1.0]])
    loss, d_logits = losses.binary_cross_entropy(logits, targets, weights)
    if weights is None:
        y = np.array([[1 / (1 + exp(-a)) for a in row] for row in logits])
        by_definition = -(targets * np.log(y) + (1 - targets) * np.log(1 - y)).sum(axis=1)
        assert loss == pytest.approx(by_definition.mean())
    report = check_gradients(
        lambda: losses.binary_cross_entropy(logits, targets, weights)[0],
        {"logits": logits},
        {"logits": d_logits},
    )
    assert report.worst.relative < TOLERANCE, report


def test_the_hinge_loss_by_hand() -> None:
    scores = np.array([[2.0, 0.5], [-0.25, -3.0]])
    targets = np.array([[1.0, 1.0], [1.0, -1.0]])
    loss, d_scores = losses.hinge(scores, targets)
    # short of the margin: 0, 0.5; 1.25, 0; the mean of two rows
    assert loss == pytest.approx((0.5 + 1.25) / 2)
    assert d_scores.tolist() == [[0, -0.5], [-0.5, 0]]
    with pytest.raises(ValueError, match="1 and -1"):
        losses.hinge(scores, np.array([[0.0, 1.0], [1.0, 1.0]]))


def test_the_hinge_loss_of_classes_by_hand() -> None:
    scores = np.array([[3.0, 1.5, 0.0], [0.0, 2.0, 2.5], [1.0, 0.0, 0.0]])
    loss, d_scores = losses.multiclass_hinge(scores, np.array([0, 1, 2]))
    # the best rivals: 1.5, 2.5, 1; short of the margin: 0, 1.5, 2; the mean of three rows
    assert loss == pytest.approx((1.5 + 2) / 3)
    np.testing.assert_allclose(d_scores, np.array([[0, 0, 0], [0, -1, 1], [1, 0, -1]]) / 3)


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("kind", ["hinge", "multiclass_hinge"])
def test_gradients_of_hinge_losses(kind: str, weights: losses.Weights) -> None:
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(4, 3))  # none is within a step of a kink
    signs = np.where(rng.random((4, 3)) < 0.5, 1.0, -1.0)
    targets = signs if kind == "hinge" else rng.integers(0, 3, 4)
    loss = getattr(losses, kind)
    _, d_scores = loss(scores, targets, weights)
    assert d_scores.any()
    report = check_gradients(
        lambda: loss(scores, targets, weights)[0], {"scores": scores}, {"scores": d_scores}
    )
    assert report.worst.relative < TOLERANCE, report


def test_binary_cross_entropy_does_not_overflow() -> None:
    logits = np.array([[1e4], [-1e4]], np.float32)
    with np.errstate(over="raise", invalid="raise"):
        loss, d_logits = losses.binary_cross_entropy(logits, np.array([[0.0], [0.0]], np.float32))
    assert loss == pytest.approx(5e3)
    np.testing.assert_array_equal(d_logits, np.array([[0.5], [0.0]], np.float32))


@pytest.mark.parametrize("loss", [losses.squared_error, losses.binary_cross_entropy, losses.hinge])
@pytest.mark.parametrize("targets", [np.zeros(4), np.zeros((4, 2)), np.zeros((1, 4))])
def test_shapes_that_differ_are_refused(loss: Callable[..., object], targets: np.ndarray) -> None:
    """Broadcast, (4, 1) against (4,) would be 16 differences instead of 4."""
    with pytest.raises(ValueError, match="same shape"):
        loss(np.zeros((4, 1)), targets)


@pytest.mark.parametrize("targets", [[-1, 0], [0, 3], [0, 1, 2], [[0], [1]], [0.0, 1.0]])
@pytest.mark.parametrize(
    "loss", [*CROSS_ENTROPIES, losses.target_log_probs, losses.multiclass_hinge]
)
def test_targets_that_are_no_columns_are_refused(
    loss: Callable[..., object], targets: list[int]
) -> None:
    with pytest.raises(ValueError, match="target"):
        loss(np.zeros((2, 3)), np.array(targets))
