"""What models give to charts: learning curves, orders, maps of tokens."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from report_models import verse

from lmsuite.analysis.evaluation import evaluate
from lmsuite.errors import DataError, UsageError
from lmsuite.models.interface import LanguageModel
from lmsuite.models.ngram import NgramModel
from lmsuite.report.findings import Findings
from lmsuite.report.model_charts import (
    TrainedModel,
    by_order,
    learning_curves,
    order_chart,
    token_map,
)
from lmsuite.store.history import HistoryRow
from lmsuite.store.records import ValidationRecord


def row(step: int, loss: float, seconds: float | None = None) -> HistoryRow:
    return HistoryRow(step, 0.1, step * 1.0 if seconds is None else seconds, loss, loss, 0.1, 1.0)


def with_history(given: TrainedModel, rows: list[HistoryRow], **validation: Any) -> TrainedModel:
    assert given.provenance is not None
    provenance = replace(given.provenance, validation=ValidationRecord(**validation))
    return replace(given, provenance=provenance, history=rows)


def test_curves_are_perplexity_where_the_tokens_are_the_same(models: list[TrainedModel]) -> None:
    one = with_history(models[1], [row(0, 5.0), row(1, 2.0), row(2, 1.0)], sha256="v")
    flat = with_history(models[2], [], sha256="v", cross_entropy=1.5)
    elsewhere = with_history(models[2], [], sha256="w", cross_entropy=1.5)
    chart = learning_curves([flat, replace(elsewhere, name="elsewhere"), one])
    assert chart is not None
    assert chart.y_logarithmic
    first, second = chart.series
    assert (first.label, first.style) == ("short", 0)
    assert first.points == [(0.0, math.exp(1.5)), (2.0, math.exp(1.5))]
    assert (second.label, second.style) == (one.name, 2)
    assert second.points == [(1.0, math.exp(2.0)), (2.0, math.exp(1.0))]  # not the untrained one


def test_curves_are_bits_a_character_where_tokens_differ(models: list[TrainedModel]) -> None:
    words = with_history(models[0], [row(300, 6.0)], sha256="v", cross_entropy=3, bits_per_char=2)
    chars = with_history(models[1], [row(240, 2.0)], sha256="v", cross_entropy=1, bits_per_char=2)
    chart = learning_curves([words, chars])
    assert chart is not None
    assert chart.x_label == "minutes of training"
    # 6 nats a token * 2 bits a character / 3 nats a token = 4 bits a character
    assert [line.points for line in chart.series] == [[(5.0, 4.0)], [(4.0, 4.0)]]


def test_no_curve_without_a_history(models: list[TrainedModel]) -> None:
    assert learning_curves(models[:2]) is None
    assert learning_curves([replace(models[0], history=[row(1, math.inf)])]) is None


def test_orders(models: list[TrainedModel]) -> None:
    model, text = models[1].model, verse(20, seed=9)
    assert isinstance(model, NgramModel)
    rows = by_order(model, text)
    assert [each.order for each in rows] == [1, 2, 3, 4, 5]
    assert sum(each.share for each in rows) == pytest.approx(1)
    # The whole model is its highest order, and the orders' tokens make up the whole text.
    whole = evaluate(model, text, name="m")
    assert rows[-1].perplexity == pytest.approx(whole.perplexity)
    assert rows[-1].bits_per_char == pytest.approx(whole.bits_per_char)
    parts = [each.share * math.log(each.matched_perplexity) for each in rows if each.share]
    assert sum(parts) == pytest.approx(whole.cross_entropy)
    # The first order is the unigram distribution, whatever came before.
    ids = model.encoder.encode(text)
    unigrams = model.table.orders[0].log_probs[ids].astype(float)
    assert rows[0].perplexity == pytest.approx(math.exp(-unigrams.mean()))


def test_orders_of_an_empty_text(models: list[TrainedModel]) -> None:
    model = models[1].model
    assert isinstance(model, NgramModel)
    with pytest.raises(DataError, match="no tokens"):
        by_order(model, "")


def test_order_chart_has_a_common_unit(findings: Findings) -> None:
    mixed = order_chart(findings.models, findings.orders)
    assert mixed is not None
    assert mixed.y_label == "bits a character"
    assert [line.style for line in mixed.series] == [0, 1, 2]
    chars = {name: rows for name, rows in findings.orders.items() if name != "words"}
    alike = order_chart(findings.models, chars)
    assert alike is not None
    assert alike.y_label == "perplexity"
    assert order_chart(findings.models, {}) is None


class _WithVectors:
    """As much of a model as a map looks at."""

    kind = "ffnn"

    def __init__(self, model: LanguageModel, vectors: np.ndarray) -> None:
        self.encoder = model.encoder
        self._vectors = vectors

    def embedding(self) -> np.ndarray:
        return self._vectors


def test_map_is_the_plane_of_greatest_variance(models: list[TrainedModel]) -> None:
    # Points of a flat ellipse in a tilted plane of five dimensions, and a constant.
    rng = np.random.default_rng(1)
    plane, _ = np.linalg.qr(rng.normal(size=(5, 2)))
    flat = rng.normal(size=(30, 2)) * [3.0, 1.0]
    vectors = np.concatenate([np.full((3, 5), 99.0), flat @ plane.T + 7.0, np.full((4, 5), 50.0)])
    found = token_map("m", _WithVectors(models[0].model, vectors), 30)  # type: ignore[arg-type]
    places = np.array([(place.x, place.y) for place in found.places])
    assert sum(found.shares) == pytest.approx(1)
    assert found.shares[0] > found.shares[1]
    gaps = np.linalg.norm(places[:, None] - places[None], axis=-1)
    assert np.allclose(gaps, np.linalg.norm(flat[:, None] - flat[None], axis=-1))
    assert found.places[0].label == models[0].model.encoder.token_text(3)


def test_map_needs_vectors(models: list[TrainedModel]) -> None:
    with pytest.raises(UsageError, match=r"words \(ngram\) has no embedding"):
        token_map("words", models[0].model, 10)
