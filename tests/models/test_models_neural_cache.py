"""The neural cache: its formula, its memory, and the choice of its numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lmsuite.errors import ModelFileError
from lmsuite.models.neural import NeuralModel
from lmsuite.models.neural_cache import NeuralCache, NeuralCacheSettings
from lmsuite.text.encoding import Boundaries
from lmsuite.text.vocabulary import BOS, UNK
from tests.contract_cases import OTHER, TRAINING, network


def made(name: str, boundaries: Boundaries = Boundaries.LINES) -> NeuralModel:
    model = network(name, boundaries).make()
    assert isinstance(model, NeuralModel)
    return model


@pytest.mark.parametrize("boundaries", [Boundaries.STREAM, Boundaries.LINES])
@pytest.mark.parametrize("name", ["lstm", "ffnn"])
def test_every_token_by_the_formula(name: str, boundaries: Boundaries) -> None:
    network = made(name, boundaries)
    settings = NeuralCacheSettings(network.kind, weight=0.4, flatness=0.7, size=5)
    ids = network.encoder.encode(TRAINING + OTHER)
    state, memory, expected = network.start(1), [], []
    for token in ids.tolist():
        if token == BOS:
            state = network.step(state, np.array([token]))
            continue
        h = network.output_vectors(state)[0].astype(float)
        p = math.exp(network.log_probs(state)[0, token])
        if memory:
            powers = [math.exp(0.7 * float(h @ h_i)) for h_i, _ in memory]
            cached = sum(e for e, (_, x_i) in zip(powers, memory, strict=True) if x_i == token)
            p = 0.6 * p + 0.4 * cached / sum(powers)
        expected.append(math.log(p))
        if token != UNK:
            memory = [*memory, (h, token)][-5:]
        state = network.step(state, np.array([token]))
    model = NeuralCache(network, settings)
    assert model.score(ids) == pytest.approx(expected, abs=1e-4)


def test_where_words_recur_the_cache_is_used_and_helps() -> None:
    network = made("lstm")
    ids = network.encoder.encode("the corn sat in the grass\nwhat do the cows eat\n" * 20)
    model = NeuralCache.fit(network, ids)
    assert 0 < model.settings.weight < 1
    assert model.score(ids).mean() > network.score(ids).mean() + 0.1


def test_without_weight_it_is_the_network() -> None:
    network = made("elman")
    ids = network.encoder.encode(TRAINING)
    model = NeuralCache(network, NeuralCacheSettings("rnn", weight=0.0))
    assert model.score(ids) == pytest.approx(network.score(ids), abs=1e-5)


def test_refuses_damaged_files() -> None:
    network = made("elman")
    model = NeuralCache(network, NeuralCacheSettings("rnn"))
    settings, arrays = model.settings_dict(), model.arrays()
    for wrong, named in (
        ({**settings, "kind": "ngram"}, "names none"),
        ({**settings, "network": 3}, "names none"),
        ({**settings, "weight": 2.0}, "weight"),
        ({**settings, "size": 0}, "size"),
    ):
        with pytest.raises(ModelFileError, match=named):
            NeuralCache.restore(network.encoder, wrong, arrays)
    with pytest.raises(ModelFileError, match="unknown array"):
        NeuralCache.restore(network.encoder, settings, {**arrays, "other": np.zeros(1)})
