"""What a report computes: who leads, intervals, passages."""

from __future__ import annotations

from report_models import trained_ngram

from lmsuite.analysis.evaluation import Evaluation
from lmsuite.report.findings import (
    Findings,
    bits_interval,
    comparison_chart,
    passage_of,
    ranking,
)
from lmsuite.report.model_charts import TrainedModel


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


def named(ranked: tuple[list[Evaluation], list[Evaluation]]) -> list[list[str]]:
    return [[each.model for each in part] for part in ranked]


def test_those_that_predict_less_are_ranked_last(models: list[TrainedModel]) -> None:
    words, chars, short = models[:3]
    results = [result("words", 1.0), result(chars.name, 3.0), result("short", 2.0)]
    assert named(ranking(models[:3], results)) == [["short", chars.name], ["words"]]
    same = [trained_ngram("a", "word", 2), trained_ngram("b", "word", 2)]
    unknown = [result("a", 2.0, oov=3), result("b", 1.0, oov=3)]
    assert named(ranking(same, unknown)) == [["b", "a"], []]
    none = [result("words", 1.0), result("short", 2.0, oov=1)]
    assert named(ranking([words, short], none)) == [["words", "short"], []]


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


def test_the_chart_of_a_comparison_keeps_each_model_s_colour(findings: Findings) -> None:
    chart = comparison_chart(findings)
    assert chart is not None
    names = [each.name for each in findings.models]
    assert [names[row.style] for row in chart.rows] == [row.label for row in chart.rows]
    contenders, others = ranking(findings.models, findings.results)
    assert [row.label for row in chart.rows] == [result.model for result in contenders + others]
    assert all(row.low and row.high and row.low < row.value < row.high for row in chart.rows)
