"""Weights by context: EM with a prior, and what the weights of buckets are good for."""

from __future__ import annotations

import numpy as np
import pytest

from lmsuite.errors import ModelFileError, UsageError
from lmsuite.models.context_mixture import ContextMixture
from lmsuite.models.interpolation import em_weights, em_weights_near
from lmsuite.models.mixture import Mixture
from lmsuite.text.encoding import Boundaries
from tests.contract_cases import OTHER, TRAINING, cache, network, ngram


def test_a_prior_by_hand() -> None:
    # One token, of which the first member has all the probability: its share is 1 wherever its
    # weight is above 0, so w = (1 + 3/4) / (1 + 3) with three tokens more of one in four.
    logs = [np.array([0.0]), np.array([-np.inf])]
    weights = em_weights_near(logs, np.array([0.25, 0.75]), 3.0)
    assert weights == pytest.approx([1.75 / 4, 2.25 / 4])


def test_much_text_overrules_the_prior() -> None:
    rng = np.random.default_rng(1)
    logs = [np.log(rng.random(20_000)) for _ in range(3)]
    free = em_weights(logs)
    assert em_weights_near(logs, np.array([1.0, 0.0, 0.0]), 1.0) == pytest.approx(free, abs=2e-3)
    fast = em_weights_near([log[:1] for log in logs], free, 1e6)
    assert fast == pytest.approx(free, abs=1e-4)


def test_where_the_n_grams_know_the_context_they_count_for_more() -> None:
    # Known words come in known contexts; in between stand words that only the cache has seen.
    members = {
        "cache": cache(Boundaries.LINES).make(),
        "kn": ngram("modified-kneser-ney", 3, Boundaries.LINES).make(),
    }
    encoder = members["kn"].encoder
    ids = encoder.encode((TRAINING + "hay corn hay corn hay corn\n" * 4) * 6)
    plain = Mixture.fit(members, ids)
    scores = [member.score(ids) for member in plain.members]
    mixture = ContextMixture.of(plain, ids, scores)
    assert mixture.score(ids).mean() > plain.score(ids).mean() + 0.005
    assert mixture.bucket_weights.std(axis=0).max() > 0.05
    assert mixture.bucket_weights.sum(axis=1) == pytest.approx(1)


def test_refusals() -> None:
    members = {"a": network("elman", Boundaries.LINES).make(), "b": cache(Boundaries.LINES).make()}
    with pytest.raises(UsageError, match="need an n-gram model"):
        ContextMixture(members, np.ones((3, 2)))
    members["b"] = ngram("katz", 3, Boundaries.LINES).make()
    with pytest.raises(UsageError, match="3 buckets"):
        ContextMixture(members, np.ones((3, 2)))
    plain = Mixture(members, (0.5, 0.5))
    ids = plain.encoder.encode(OTHER)
    mixture = ContextMixture.of(plain, ids, [member.score(ids) for member in plain.members])
    settings, arrays = mixture.settings_dict(), dict(mixture.arrays())
    with pytest.raises(ModelFileError, match="weights for every bucket"):
        ContextMixture.restore(plain.encoder, settings, arrays | {"weights": plain.weights})
    with pytest.raises(ModelFileError):
        ContextMixture.restore(plain.encoder, settings, arrays | {"weights": -np.ones((11, 2))})
