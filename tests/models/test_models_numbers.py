"""Numbers: distributions sum to one, whatever was trained on, and whatever is asked.

The long run of the n-gram half is ``python -m tests.ngram.distributions``.
"""

from __future__ import annotations

import itertools
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lmsuite.generation import Filter, SamplingSettings, draw_ids, filtered_probs, sample
from lmsuite.generation.drawing import Sampler
from lmsuite.models.cache import CacheModel, CacheSettings
from lmsuite.models.feedforward import FeedForward, FeedForwardSettings
from lmsuite.models.interface import LanguageModel
from lmsuite.models.mixture import Mixture
from lmsuite.models.neural import NeuralModel
from lmsuite.models.ngram import SMOOTHINGS, NgramModel, NgramSettings
from lmsuite.models.recurrent import Recurrent, RecurrentSettings
from lmsuite.ngram import recursion as smoothing_module
from lmsuite.text.encoding import Boundaries, TextEncoder, TextSettings
from lmsuite.text.vocabulary import BOS
from tests.ngram import distributions


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_distributions_of_every_order_and_option_sum_to_one(smoothing: str) -> None:
    """To 1e-9 before rounding to the file's float32, to 2e-6 after it; as the formula says."""
    ((_, worst),) = distributions.attack(400, 1, [smoothing])
    assert worst.contexts >= 3200
    assert worst.models >= 8


@pytest.mark.slow
@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_two_thousand_contexts_of_every_order(smoothing: str) -> None:
    """As above, of 2,000 contexts each."""
    ((_, worst),) = distributions.attack(2_000, 2, [smoothing])
    assert worst.contexts >= 16_000


def test_the_attack_notices_a_share_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """A smoothing that loses a millionth of what is left over is found out."""
    mixed = smoothing_module.mixed

    def leaking(*arguments: object) -> object:
        probs, weight = mixed(*arguments)  # type: ignore[arg-type]
        return probs, weight * (1 - 1e-6)

    monkeypatch.setattr(smoothing_module, "mixed", leaking)
    with pytest.raises(AssertionError, match=r"of the exact table is .* off one"):
        list(distributions.attack(400, 1, ["witten-bell"]))


def test_every_prefix_of_the_training_text(play: str) -> None:
    """A real text, whole: each of its first 2,000 tokens, after all before it."""
    encoder, ids = TextEncoder.train(play[:40_000], TextSettings())
    for smoothing in ("modified-kneser-ney", "katz"):
        settings = NgramSettings(order=5, smoothing=smoothing)
        for dtype, limit in ((np.float64, 1e-9), (np.float32, 2e-6)):
            model = NgramModel.fit(encoder, ids, settings, dtype=dtype)
            state = model.start(1)
            for token in ids[:2000]:
                total = np.exp(model.log_probs(state)[0]).sum()
                assert abs(total - 1) <= limit
                state = model.step(state, np.array([token]))


def test_float64_tables_are_for_checks_alone(tmp_path: Path) -> None:
    """A model file is float32: what is not is refused when it is read, by the array's name."""
    from lmsuite.errors import ModelFileError

    encoder, ids = TextEncoder.train("a b a c a b", TextSettings())
    model = NgramModel.fit(encoder, ids, NgramSettings(order=2), dtype=np.float64)
    with pytest.raises(ModelFileError, match=r"order1\.log_probs.*float64"):
        NgramModel.restore(encoder, model.settings_dict(), model.arrays())


NETWORKS = {
    **{cell: RecurrentSettings(cell=cell, hidden=16, embed=8) for cell in ("elman", "gru", "lstm")},
    "tied": RecurrentSettings(cell="lstm", hidden=8, embed=8, layers=2, tied=True),
    "ffnn": FeedForwardSettings(context=3, embed=4, hidden=(8,), direct=True),
}


def networks(size: int, boundaries: Boundaries, scale: float) -> dict[str, LanguageModel]:
    """One of each, untrained, over so many types, all parameters `scale` times too large."""
    words = " ".join(f"w{i}" for i in range(size))
    text, _ = TextEncoder.train(words, TextSettings("whitespace", boundaries))
    models: dict[str, LanguageModel] = {}
    for name, settings in NETWORKS.items():
        kind: type[NeuralModel] = FeedForward if name == "ffnn" else Recurrent
        model = kind.initial(text, settings, np.random.default_rng(size))
        model.parameters.values[:] *= scale
        models[name] = model
    models["cache"] = CacheModel(text, CacheSettings(4.0))
    models["mixture"] = Mixture({name: models[name] for name in ("lstm", "cache")}, [0.3, 0.7])
    return models


def rounding_of_logits(model: LanguageModel, state: Any) -> np.ndarray:
    """How far two log-probabilities (B,) may be apart that sum the same logits in other orders.

    A logit y = b + sum_k x_k W_k of n terms, summed in float32 in any order, is off by at most
    n u S (to first order in u = 2^-24), with S = |b| + sum_k |x_k W_k| (Higham, Accuracy and
    Stability of Numerical Algorithms, section 4.2): what cancels in y does not cancel in S. Two
    orders are twice that apart. A log-probability is y minus the logsumexp of all, which moves by
    no more than the largest error among them: twice that again.
    """
    if not isinstance(model, NeuralModel):
        return np.zeros(6)  # caches and mixtures, whose scores are not compared here
    if isinstance(model, FeedForward):
        top, weights = model._forward(state.T)[0], model.parameters["output.W"]
    else:
        assert isinstance(model, Recurrent)
        top = state[(model.settings.layers - 1) * (2 if model.settings.cell == "lstm" else 1)]
        weights = model.output.words.weights
    bias = np.abs(model.parameters["output.b"].astype(np.float64))
    terms = np.abs(top.astype(np.float64)) @ np.abs(weights.astype(np.float64)) + bias  # (B, V)
    return 4 * (len(weights) + 1) * 2.0**-24 * terms.max(axis=1)


@pytest.mark.parametrize("scale", [1.0, 30.0, 1e4, 1e9])
@pytest.mark.parametrize("size", [1, 2, 60, 3000])
def test_distributions_of_networks_mixtures_and_caches(size: int, scale: float) -> None:
    """They sum to one to 1e-9, though the logits are float32."""
    for boundaries in Boundaries:
        for name, model in networks(size, boundaries, scale).items():
            rng = np.random.default_rng(1)
            with warnings.catch_warnings():
                warnings.simplefilter("error", RuntimeWarning)
                ids = rng.integers(0, len(model.encoder.vocabulary), (8, 6), dtype=np.int32)
                state, chain, off_by = model.start(6), [], []
                for following in ids:
                    logs = np.asarray(model.log_probs(state), np.float64)
                    impossible = model.encoder.impossible
                    off = distributions.check_distributions(logs, impossible, True, 0.0)
                    assert off <= 1e-9, name
                    chain.append(logs[np.arange(6), following])
                    off_by.append(rounding_of_logits(model, state))
                    state = model.step(state, following)
            if not model.remembers_text:
                begin = np.full((1, 6), BOS, np.int32)
                scores = model.score(np.concatenate([begin, ids]).T.ravel())
                expected = np.array(chain).T.ravel()[ids.T.ravel() != BOS]
                bound = np.array(off_by).T.ravel()[ids.T.ravel() != BOS]
                possible = np.isfinite(expected)
                np.testing.assert_array_equal(scores[~possible], expected[~possible], name)
                scores, expected, bound = scores[possible], expected[possible], bound[possible]
                # 1e-4: the states differ too, as sums of small terms do.
                within = np.abs(scores - expected) <= 1e-5 * np.abs(expected) + 1e-4 + bound
                assert within.all(), (name, scores[~within], expected[~within], bound[~within])


TEMPERATURES = (0.0, 5e-324, 1e-300, 1e-6, 0.5, 1.0, 1e6, 1e300)
SHAPES = {
    "uniform": np.zeros(50),
    "sharp": np.append(np.full(49, -800.0), 0.0),
    "long tail": -(np.arange(1.0, 51.0) ** 1.5),
    "one alone": np.append(np.full(49, -np.inf), 0.0),
    "ties": np.repeat([-1.0, -2.0, -np.inf, -700.0, -1.0], 10),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_sampling_at_every_extreme(shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Filtered probabilities sum to one, and what is drawn is what they allow, twice the same."""
    logs = SHAPES[shape] - np.logaddexp.reduce(SHAPES[shape])
    excluded = np.array([0, 1], np.int32)
    for dtype, temperature, top_k, top_p, min_p in itertools.product(
        (np.float32, np.float64),
        TEMPERATURES,
        (0, 1, 3, 10**30),
        (5e-324, 0.5, 1 - 2**-53, 1.0),
        (0.0, 5e-324, 0.1, 1.0),
    ):
        settings = SamplingSettings(temperature, top_k, top_p, min_p)
        rows = np.stack([logs, logs]).astype(dtype)
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            probs = filtered_probs(rows, settings, excluded)
            tokens = Filter(settings, rows.shape[1], excluded)
            drawn = [
                draw_ids(rows[:n], tokens, np.random.default_rng(7).random(n)) for n in (2, 2, 1)
            ]
            marks = np.random.default_rng(7).random(2).tolist()
            alone = []
            for wide in (10, 500):
                monkeypatch.setattr("lmsuite.generation.drawing.WIDE", wide)
                sampler = Sampler(tokens, rows.shape[1])
                alone.append([sampler.draw(rows[0], mark) for mark in marks])
        assert abs(probs.sum(axis=1) - 1).max() <= 1e-9
        assert probs.min() >= 0
        assert not probs[:, excluded].any()
        assert (probs[[0, 1], drawn[0]] > 0).all()
        np.testing.assert_array_equal(drawn[0], drawn[1])
        assert drawn[2][0] == drawn[0][0]
        assert alone[0] == alone[1] == drawn[0].tolist()


@pytest.mark.parametrize("name", [*NETWORKS, "cache", "mixture"])
def test_the_same_seed_draws_the_same_text(name: str) -> None:
    """From every family, at a temperature that leaves everything possible."""
    model = networks(60, Boundaries.LINES, 1.0)[name]
    settings = SamplingSettings(temperature=1e6, max_tokens=30)
    texts = [
        sample(model, np.array([3], np.int32), settings, seed, samples=2) for seed in (1, 1, 2)
    ]
    assert texts[0] == texts[1] != texts[2]
