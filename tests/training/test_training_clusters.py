"""The cut-offs of an adaptive softmax: the estimated cost, and its least value."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from lmsuite.training import clusters
from lmsuite.training.clusters import CLUSTER, LOGIT, PARAMETER, PRODUCT, SoftmaxCost


def zipf(vocabulary: int) -> np.ndarray:
    return 1e6 / (np.arange(vocabulary) + 2.7)


def test_the_cost_of_a_full_softmax_by_hand() -> None:
    cost = SoftmaxCost(np.ones(1000), inputs=20, tokens=50)
    # 1000 logits for each of 50 tokens, and 1000 · 20 parameters
    assert cost(()) == pytest.approx(50_000 * (20 * PRODUCT + LOGIT) + 20_000 * PARAMETER)


def test_the_cost_of_clusters_by_hand() -> None:
    # A tenth of the tokens are in the cluster of the last 100 ids; D = 80, projected to 20.
    cost = SoftmaxCost(np.ones(1000), inputs=80, tokens=50)
    head = 901 * (50 * (80 * PRODUCT + LOGIT) + 80 * PARAMETER)
    tail = 100 * (5 * (20 * PRODUCT + LOGIT) + 20 * PARAMETER) + CLUSTER
    projection = 80 * 20 * (5 * PRODUCT + PARAMETER)
    assert cost((900,)) == pytest.approx(head + tail + projection)
    tied = SoftmaxCost(np.ones(1000), inputs=80, tokens=50, tied=True)
    whole = 100 * (5 * (80 * PRODUCT + LOGIT) + 80 * PARAMETER) + CLUSTER
    assert tied((900,)) == pytest.approx(head + whole)


@pytest.mark.parametrize("tied", [True, False])
def test_no_cut_offs_cost_less(tied: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "PER_DOUBLING", 1)
    cost = SoftmaxCost(zipf(20_000), inputs=200, tokens=700, tied=tied)
    places = clusters._places(20_000)
    every = (each for n in range(1, clusters.MOST + 1) for each in combinations(places, n))
    least = min(every, key=cost)
    assert cost(cost.cheapest()) <= 1.02 * cost(least)


def test_small_vocabularies_have_a_full_softmax() -> None:
    assert SoftmaxCost(zipf(65), 200, 2000).cheapest() == ()
    assert SoftmaxCost(zipf(clusters.LARGE - 1), 200, 2000).chosen() == ()
    chosen = SoftmaxCost(zipf(20_000), 200, 2000).chosen()
    assert chosen and chosen[-1] < 20_000


def test_ids_that_are_not_in_the_order_of_frequency_have_a_full_softmax() -> None:
    assert SoftmaxCost(zipf(20_000)[::-1].copy(), 200, 2000).chosen() == ()
