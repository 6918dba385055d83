"""The cache: its formula by hand, and its fast path against the slow one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from bigram_model import encoder

from lmsuite.errors import ModelFileError, UsageError
from lmsuite.models.cache import CacheModel, CacheSettings
from lmsuite.text.encoding import Boundaries
from lmsuite.text.vocabulary import BOS


def test_worked_example() -> None:
    # Half-life 1: weights 1, 1/2, 1/4 … Tokens a, b and <unk> are possible, so u = 1/3.
    text = encoder("aab", "char")
    cache = CacheModel(text, CacheSettings(half_life=1.0))
    scores = np.exp(cache.score(text.encode("aba")))
    assert scores[0] == pytest.approx(1 / 3)  # nothing read
    assert scores[1] == pytest.approx((0 + 1 / 3) / (1 + 1))  # read: a
    assert scores[2] == pytest.approx((1 / 2 + 1 / 3) / (1 / 2 + 1 + 1))  # read: a b


def test_the_memory_reaches_over_lines() -> None:
    text = encoder("a b\nc d\n", "whitespace", Boundaries.LINES)
    cache = CacheModel(text, CacheSettings(half_life=1000.0))
    first, second = text.encode("a\n"), text.encode("a\nd\n")
    assert cache.score(np.concatenate([first, first]))[2] > cache.score(first)[0] + 0.5
    # and <s> itself is neither remembered nor makes anything fade.
    doubled = np.insert(second, [0, 3], BOS)
    np.testing.assert_array_equal(cache.score(doubled), cache.score(second))
    state = cache.step(cache.start(2), np.array([5, 5], np.int32))
    mixed = cache.step(state, np.array([BOS, 4], np.int32))
    np.testing.assert_array_equal(mixed[0], state[0])
    assert (mixed[1] != state[1]).any()


def test_an_unknown_word_does_not_announce_another() -> None:
    text = encoder("aab", "char")
    cache = CacheModel(text, CacheSettings(half_life=1.0))
    scores = np.exp(cache.score(text.encode("xaxx")))
    np.testing.assert_allclose(scores, np.array([1, 1, 1 / 2, 1 / 2]) / 3)


@pytest.mark.parametrize("half_life", [0.5, 3.0, 200.0])
@pytest.mark.parametrize("boundaries", Boundaries)
def test_score_is_the_chain_of_steps(half_life: float, boundaries: Boundaries) -> None:
    words = np.random.default_rng(0).choice(list("abcdefgh"), 300, p=np.arange(1, 9) / 36)
    text = "".join(w + ("\n" if i % 7 == 0 else " ") for i, w in enumerate(words))
    encoder_ = encoder("a b c d e f\n", "whitespace", boundaries)  # g and h are unknown
    ids = encoder_.encode(text)
    cache = CacheModel(encoder_, CacheSettings(half_life))
    state, chain = cache.start(1), []
    for i in ids:
        if i != BOS:
            chain.append(cache.log_probs(state)[0, i])
            assert np.exp(cache.log_probs(state)).sum() == pytest.approx(1)
        state = cache.step(state, np.array([i], np.int32))
    np.testing.assert_allclose(cache.score(ids), chain, atol=1e-10)


def test_a_long_text_is_quick_and_finite() -> None:
    text = encoder("ab", "char")
    scores = CacheModel(text, CacheSettings(16384.0)).score(np.tile([3, 4], 100_000).astype("i4"))
    assert np.isfinite(scores).all()
    assert scores[-1] == pytest.approx(math.log(1 / 2), abs=1e-3)


@pytest.mark.parametrize("half_life", [0.0, -1.0, math.inf, math.nan])
def test_refuses_a_half_life_that_is_none(half_life: float) -> None:
    with pytest.raises(UsageError, match="half_life"):
        CacheSettings(half_life)


@pytest.mark.parametrize(
    ("settings", "arrays"),
    [({}, {}), ({"half_life": "1"}, {}), ({"half_life": -1.0}, {}), ({"half_life": 1.0}, {"x": 1})],
)
def test_refuses_a_damaged_file(settings: dict[str, object], arrays: dict[str, object]) -> None:
    with pytest.raises(ModelFileError, match="cache"):
        CacheModel.restore(encoder("ab", "char"), settings, arrays)  # type: ignore[arg-type]
