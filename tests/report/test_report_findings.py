"""What a report computes: curves, orders, maps, passages, who leads."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from report_subjects import subject, verse

from lmsuite.analysis.evaluation import Evaluation, evaluate
from lmsuite.errors import DataError, UsageError
from lmsuite.models.interface import LanguageModel
from lmsuite.models.ngram import NgramModel
from lmsuite.report.contents import Contents
from lmsuite.report.heatmap import LEVELS, heatmap, level
from lmsuite.report.orders import by_order, order_chart
from lmsuite.report.passages import passage_of
from lmsuite.report.standing import bits_interval, contenders, in_order, lede
from lmsuite.report.subject import Subject, learning_curves
from lmsuite.report.vectors import vector_map
from lmsuite.store.history import HistoryRow
from lmsuite.store.records import ValidationRecord


def row(step: int, loss: float, seconds: float | None = None) -> HistoryRow:
    return HistoryRow(step, 0.1, step * 1.0 if seconds is None else seconds, loss, loss, 0.1, 1.0)


def with_history(given: Subject, rows: list[HistoryRow], **validation: Any) -> Subject:
    assert given.provenance is not None
    provenance = replace(given.provenance, validation=ValidationRecord(**validation))
    return replace(given, provenance=provenance, history=rows)


def test_curves_are_perplexity_where_the_tokens_are_the_same(subjects: list[Subject]) -> None:
    one = with_history(subjects[1], [row(0, 5.0), row(1, 2.0), row(2, 1.0)], sha256="v")
    flat = with_history(subjects[2], [], sha256="v", cross_entropy=1.5)
    elsewhere = with_history(subjects[2], [], sha256="w", cross_entropy=1.5)
    chart = learning_curves([flat, replace(elsewhere, name="elsewhere"), one])
    assert chart is not None
    assert chart.y_logarithmic
    first, second = chart.series
    assert (first.label, first.style) == ("short", 0)
    assert first.points == [(0.0, math.exp(1.5)), (2.0, math.exp(1.5))]
    assert (second.label, second.style) == (one.name, 2)
    assert second.points == [(1.0, math.exp(2.0)), (2.0, math.exp(1.0))]  # not the untrained one


def test_curves_are_bits_a_character_where_tokens_differ(subjects: list[Subject]) -> None:
    words = with_history(subjects[0], [row(300, 6.0)], sha256="v", cross_entropy=3, bits_per_char=2)
    chars = with_history(subjects[1], [row(240, 2.0)], sha256="v", cross_entropy=1, bits_per_char=2)
    chart = learning_curves([words, chars])
    assert chart is not None
    assert chart.x_label == "minutes of training"
    # 6 nats a token * 2 bits a character / 3 nats a token = 4 bits a character
    assert [line.points for line in chart.series] == [[(5.0, 4.0)], [(4.0, 4.0)]]


def test_no_curve_without_a_history(subjects: list[Subject]) -> None:
    assert learning_curves(subjects[:2]) is None
    assert learning_curves([replace(subjects[0], history=[row(1, math.inf)])]) is None


def test_orders(subjects: list[Subject]) -> None:
    model, text = subjects[1].model, verse(20, seed=9)
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


def test_orders_of_an_empty_text(subjects: list[Subject]) -> None:
    model = subjects[1].model
    assert isinstance(model, NgramModel)
    with pytest.raises(DataError, match="no tokens"):
        by_order(model, "")


def test_order_chart_has_a_common_unit(contents: Contents) -> None:
    mixed = order_chart(contents.subjects, contents.orders)
    assert mixed is not None
    assert mixed.y_label == "bits a character"
    assert [line.style for line in mixed.series] == [0, 1, 2]
    chars = {name: rows for name, rows in contents.orders.items() if name != "words"}
    alike = order_chart(contents.subjects, chars)
    assert alike is not None
    assert alike.y_label == "perplexity"
    assert order_chart(contents.subjects, {}) is None


class _WithVectors:
    """As much of a model as a map looks at."""

    kind = "ffnn"

    def __init__(self, model: LanguageModel, vectors: np.ndarray) -> None:
        self.encoder = model.encoder
        self._vectors = vectors

    def embedding(self) -> np.ndarray:
        return self._vectors


def test_map_is_the_plane_of_greatest_variance(subjects: list[Subject]) -> None:
    # Points of a flat ellipse in a tilted plane of five dimensions, and a constant.
    rng = np.random.default_rng(1)
    plane, _ = np.linalg.qr(rng.normal(size=(5, 2)))
    flat = rng.normal(size=(30, 2)) * [3.0, 1.0]
    vectors = np.concatenate([np.full((3, 5), 99.0), flat @ plane.T + 7.0, np.full((4, 5), 50.0)])
    found = vector_map("m", _WithVectors(subjects[0].model, vectors), 30)  # type: ignore[arg-type]
    places = np.array([(place.x, place.y) for place in found.places])
    assert sum(found.shares) == pytest.approx(1)
    assert found.shares[0] > found.shares[1]
    gaps = np.linalg.norm(places[:, None] - places[None], axis=-1)
    assert np.allclose(gaps, np.linalg.norm(flat[:, None] - flat[None], axis=-1))
    assert found.places[0].label == subjects[0].model.encoder.token_text(3)


def test_map_needs_vectors(subjects: list[Subject]) -> None:
    with pytest.raises(UsageError, match=r"words \(ngram\) has no embedding"):
        vector_map("words", subjects[0].model, 10)


def result(name: str, bits: float, oov: int = 0) -> Evaluation:
    return Evaluation(
        model=name,
        kind="ngram",
        tokens=100,
        oov=oov,
        zero_tokens=0,
        cross_entropy=1.0,
        perplexity=2.0,
        perplexity_interval=(1.0, 4.0),
        perplexity_without_oov=2.0,
        chars=50,
        bits_per_char=bits,
        seconds=1.0,
        tokens_per_second=100.0,
    )


def test_those_that_predict_less_are_ranked_last(subjects: list[Subject]) -> None:
    words, chars, short = subjects[:3]
    results = [result("words", 1.0), result(chars.name, 3.0), result("short", 2.0)]
    assert [each.model for each in contenders(subjects[:3], results)] == ["short", chars.name]
    listed = [each.model for each in in_order(subjects[:3], results)]
    assert listed == ["short", chars.name, "words"]
    same = [subject("a", "word", 2), subject("b", "word", 2)]
    unknown = [result("a", 2.0, oov=3), result("b", 1.0, oov=3)]
    assert [each.model for each in contenders(same, unknown)] == ["b", "a"]
    assert contenders([words, short], [result("words", 1.0), result("short", 2.0, oov=1)]) != []


def test_lede_is_careful(contents: Contents) -> None:
    best_first = contenders(contents.subjects, contents.results)
    sure = lede(contents.results, best_first, contents.lead)
    assert "Of the 3 models here that predict every character, " in sure
    assert contents.lead is not None
    bits = contents.lead.bits_per_char
    unsure = replace(contents.lead, bits_per_char=replace(bits, p_value=0.3))
    assert "may be chance (p = 0.30)" in lede(contents.results, best_first, unsure)
    unknown = replace(contents.lead, bits_per_char=replace(bits, p_value=None, low=None, high=None))
    assert "too short to say" in lede(contents.results, best_first, unknown)


def test_interval_of_bits_belongs_to_that_of_perplexity() -> None:
    # log2(4) = 2 bits a token, 100 tokens in 50 characters: 4 bits a character
    assert bits_interval(result("a", 2.0)) == (0.0, 4.0)


def test_passages() -> None:
    paragraphs = "tail of a speech.\n\n" + "A line of verse it is.\n" * 12 + "\n" + "Next\n" * 30
    passage = passage_of(paragraphs)
    assert passage.startswith("A line of verse")
    assert passage.endswith("it is.")
    assert "\n\n" not in passage
    lines = passage_of("word and word\n" * 100)
    assert len(lines) <= 360
    assert lines.endswith("word and word")
    assert passage_of("a few words") == "a few words"
    endless = passage_of("word " * 1000)
    assert 200 <= len(endless) <= 360
    assert endless.endswith("word")
    assert len(passage_of("x" * 1000)) == 360


def test_levels_of_heat() -> None:
    assert [level(bits) for bits in (0, 0.49, 0.5, 3.9, 4, 100)] == [0, 0, 1, 3, 4, 7]
    assert len(LEVELS) == 7


def test_heat_map_shows_the_text_itself(contents: Contents) -> None:
    for each in contents.subjects:
        explained = contents.explanations[each.name]
        markup = heatmap("i", explained, each.model.encoder)
        assert markup.count('class="t h') == len(explained)
        assert markup.count("×") >= sum(len(one.members) for one in explained)
        assert markup.count("↵") >= 1
