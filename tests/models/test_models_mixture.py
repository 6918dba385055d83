"""Mixtures: EM against a grid, never worse than the best member, and refusals."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from bigram_model import BigramModel, encoder, random_model, uniform

from lmsuite.errors import DataError, ModelFileError, UsageError
from lmsuite.models import registry
from lmsuite.models.cache import CacheModel, CacheSettings
from lmsuite.models.interpolation import em_weights, interpolate
from lmsuite.models.mixture import HALF_LIVES, DifferentTokensError, Mixture
from lmsuite.text.encoding import Boundaries
from lmsuite.text.vocabulary import BOS, EOS

LINES = encoder("a b c d e\n" * 3, "whitespace", Boundaries.LINES)
TEXT = "a b e\nc a d d\n\nb b a c c e e a\n" * 6
IDS = LINES.encode(TEXT)


def mixed(*weights: float) -> Mixture:
    members = {"one": random_model(LINES, 1), "two": random_model(LINES, 2), "flat": uniform(LINES)}
    return Mixture(dict(list(members.items())[: len(weights)]), weights)


def draws(seed: int, size: int, weight: float) -> np.ndarray:
    """Log-probabilities (2, size) by two members of tokens drawn from their mixture."""
    rng = np.random.default_rng(seed)
    first, second = rng.dirichlet(np.ones(6)), rng.dirichlet(np.ones(6))
    tokens = rng.choice(6, size, p=weight * first + (1 - weight) * second)
    return np.log(np.stack([first[tokens], second[tokens]]))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("true", [0.0, 0.02, 0.3, 0.9])
def test_em_agrees_with_a_grid_search(seed: int, true: float) -> None:
    scores = draws(seed, 2000, true)
    grid = np.linspace(0, 1, 1001)
    totals = [interpolate(np.array([w, 1 - w]), scores).sum() for w in grid]
    best = grid[int(np.argmax(totals))]
    weights = em_weights(list(scores))
    assert weights[0] == pytest.approx(best, abs=0.005)
    assert weights.sum() == pytest.approx(1)
    # Never worse than the better member alone, not even by a rounding.
    assert interpolate(weights, scores).sum() >= scores.sum(axis=1).max()


def test_em_agrees_with_a_grid_of_three() -> None:
    rng = np.random.default_rng(8)
    members = rng.dirichlet(np.ones(8), 3)
    tokens = rng.choice(8, 4000, p=np.array([0.2, 0.5, 0.3]) @ members)
    scores = np.log(members[:, tokens])
    steps = np.linspace(0, 1, 101)
    points = [(a, b, 1 - a - b) for a in steps for b in steps if a + b <= 1 + 1e-9]
    counts = np.bincount(tokens, minlength=8)
    totals = [float(counts @ np.log(np.array(w).clip(0) @ members)) for w in points]
    np.testing.assert_allclose(em_weights(list(scores)), points[int(np.argmax(totals))], atol=0.01)


def test_em_leaves_out_what_nobody_can_predict() -> None:
    scores = draws(1, 500, 0.4)
    lost = np.append(scores, np.full((2, 1), -np.inf), axis=1)
    np.testing.assert_allclose(em_weights(list(lost)), em_weights(list(scores)))
    # A token that one of them cannot predict forbids that one to be alone.
    hurt = np.append(scores, [[-np.inf], [-1.0]], axis=1)
    assert em_weights(list(hurt))[1] > 1e-4
    with pytest.raises(DataError, match="no weights"):
        em_weights([np.full(3, -np.inf)] * 2)


def test_interpolation_by_hand() -> None:
    logs = [np.log([0.5, 0.1]), np.array([np.log(0.2), -np.inf])]
    total = interpolate(np.array([0.25, 0.75]), logs)
    np.testing.assert_allclose(np.exp(total), [0.25 * 0.5 + 0.75 * 0.2, 0.25 * 0.1])
    # Far below the smallest float, and with a member of no weight.
    assert interpolate(np.array([1.0, 0.0]), [np.array([-900.0]), np.array([-1.0])]) == -900.0
    assert interpolate(np.array([0.5, 0.5]), [np.array([-np.inf])] * 2) == -np.inf


@pytest.mark.parametrize(
    "mixture",
    [
        mixed(0.3, 0.7),
        mixed(1.0, 0.0),
        mixed(0.2, 0.2, 0.6),
        Mixture({"inner": mixed(0.5, 0.5), "cache": CacheModel(LINES, CacheSettings(9))}, (3, 1)),
    ],
    ids=["two", "one of no weight", "three", "nested, with a cache"],
)
def test_contract(mixture: Mixture, monkeypatch: pytest.MonkeyPatch) -> None:
    state, chain = mixture.start(1), []
    for i in IDS:
        logs = mixture.log_probs(state)[0]
        assert np.exp(logs).sum() == pytest.approx(1)
        assert np.isneginf(logs[BOS])
        if i != BOS:
            chain.append(logs[i])
        state = mixture.step(state, np.array([i], np.int32))
    np.testing.assert_allclose(mixture.score(IDS), chain, atol=1e-10)
    monkeypatch.setitem(registry.MODELS, "bigram", "bigram_model:BigramModel")
    settings = json.loads(json.dumps(mixture.settings_dict()))
    again = Mixture.restore(LINES, settings, mixture.arrays())
    np.testing.assert_array_equal(again.score(IDS), mixture.score(IDS))
    assert (
        again.settings == Mixture.restore(LINES, mixture.settings_dict(), again.arrays()).settings
    )
    assert again.names == mixture.names
    assert again.remembers_text == ("cache" in mixture.names)


def test_shares_of_the_members_make_the_probability() -> None:
    mixture = mixed(0.2, 0.3, 0.5)
    state = mixture.step(mixture.start(1), np.array([4], np.int32))
    for token in (0, EOS, 5):
        parts = mixture.contributions(state, token)
        total = math.exp(mixture.log_probs(state)[0, token])
        assert sum(part.weight * part.prob for part in parts) == pytest.approx(total)
        assert sum(part.share for part in parts) == pytest.approx(1)
        assert parts[1].share == pytest.approx(parts[1].weight * parts[1].prob / total)
    assert [part.share for part in mixture.contributions(state, BOS)] == [0, 0, 0]


def test_fit_is_never_worse_than_its_best_member() -> None:
    for seed in range(5):
        members = {"a": random_model(LINES, seed), "b": random_model(LINES, seed + 50)}
        fitted = Mixture.fit(members, IDS)
        best = max(member.score(IDS).sum() for member in members.values())
        assert fitted.score(IDS).sum() >= best


def test_a_cache_helps_where_words_recur_and_finds_how_fast_to_forget() -> None:
    rng = np.random.default_rng(3)
    words = [f"w{i}" for i in range(40)]
    # Every ten words the topic changes to four other words.
    parts = [rng.choice(rng.choice(words, 4, replace=False), 10) for _ in range(200)]
    stream = encoder(" ".join(words), "whitespace")
    ids = stream.encode(" ".join(np.concatenate(parts)))
    base = uniform(stream)
    fitted = Mixture.fit({"cache": CacheModel(stream, CacheSettings()), "base": base}, ids)
    cache = fitted.members[0]
    assert isinstance(cache, CacheModel)
    assert cache.settings.half_life in (4.0, 8.0, 16.0)
    assert fitted.score(ids).mean() > base.score(ids).mean() + 0.3
    for half_life in HALF_LIVES:
        columns = [base.score(ids), CacheModel(stream, CacheSettings(half_life)).score(ids)]
        rival = interpolate(em_weights(columns), columns)
        assert rival.sum() <= fitted.score(ids).sum() + 1e-6


def test_refuses_members_of_other_tokens_by_name() -> None:
    other = random_model(encoder("a b c d e f\n", "whitespace", Boundaries.LINES))
    with pytest.raises(DifferentTokensError, match=r"^bar has other tokens.*with like foo$"):
        Mixture({"foo": random_model(LINES), "bar": other}, (1, 1))


def test_refuses_scores_that_are_no_probabilities() -> None:
    stupid = random_model(LINES)
    stupid.is_normalised = False
    with pytest.raises(UsageError, match="stupid gives scores"):
        Mixture.fit({"good": random_model(LINES), "stupid": stupid}, IDS)


def test_refuses_one_member_and_two_caches() -> None:
    with pytest.raises(UsageError, match="two members"):
        Mixture({"alone": uniform(LINES)}, (1,))
    caches = {name: CacheModel(LINES, CacheSettings()) for name in ("c", "d")}
    with pytest.raises(UsageError, match="one cache"):
        Mixture.fit({"flat": uniform(LINES), **caches}, IDS)


@pytest.mark.parametrize(
    "weights", [(1.0,), (1, 2, 3), (-1, 2), (0, 0), (math.nan, 1), (math.inf, 1)]
)
def test_refuses_weights_that_make_no_mixture(weights: tuple[float, ...]) -> None:
    members = {"one": random_model(LINES), "two": uniform(LINES)}
    with pytest.raises(UsageError, match="weights"):
        Mixture(members, weights)


def test_refuses_damaged_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.MODELS, "bigram", "bigram_model:BigramModel")
    mixture = mixed(0.5, 0.5)
    settings, arrays = mixture.settings_dict(), dict(mixture.arrays())
    one, two = settings["members"]
    damages = [
        (settings, {**arrays, "2.table": arrays["0.table"]}, "no member '2'"),
        (settings, {**arrays, "odd": arrays["weights"]}, "one array of its own"),
        (settings, {**arrays, "weights": arrays["weights"].astype("f4")}, "float64 'weights'"),
        (settings, {**arrays, "weights": np.ones(3)}, "weights must be 2 numbers"),
        (settings, {k: v for k, v in arrays.items() if k != "1.table"}, "table"),
        ({}, arrays, "damaged"),
        ({"members": [one, {**two, "kind": "spam"}]}, arrays, "spam"),
        ({"members": [one, {**two, "kind": ["x"]}]}, arrays, "damaged"),
        ({"members": [one, {**two, "name": one["name"]}]}, arrays, "same name"),
        ({"members": [one]}, arrays, "no member '1'"),
    ]
    for given, learned, message in damages:
        with pytest.raises(ModelFileError, match=message):
            Mixture.restore(LINES, given, learned)


def test_summary_names_members_and_weights() -> None:
    facts = mixed(0.25, 0.75).summary()
    assert facts["two"] == "0.7500 × bigram"
    assert isinstance(mixed(1, 1).members[0], BigramModel)
