"""The lines of a trace make the model's probability, with every smoothing."""

from __future__ import annotations

import numpy as np
import pytest
from contract_cases import OTHER, TRAINING, given_to, text_of

from lmsuite.analysis.ngram_trace import NgramTracer, TokenTrace
from lmsuite.errors import DataError
from lmsuite.models.ngram import SMOOTHINGS, NgramModel, NgramSettings
from lmsuite.text.encoding import Boundaries, TextEncoder, TextSettings
from lmsuite.types import IntArray

COWS = "the cows eat grass\nthe cows eat hay\nthe cats eat\n"


def trained(
    boundaries: Boundaries, text: str = TRAINING, **settings: object
) -> tuple[NgramModel, IntArray]:
    encoder, ids = TextEncoder.train(given_to(boundaries, text), text_of(boundaries))
    return NgramModel.fit(encoder, ids, NgramSettings(**settings)), ids


def traced(model: NgramModel, ids: IntArray | None, text: str) -> list[TokenTrace]:
    return list(NgramTracer(model, ids).trace(text))


CASES = [
    *((smoothing, boundaries, 3, {}) for smoothing in SMOOTHINGS for boundaries in Boundaries),
    *((smoothing, Boundaries.LINES, 1, {}) for smoothing in SMOOTHINGS),
    *(
        (smoothing, Boundaries.STREAM, 2, {"interpolate_unigrams": False})
        for smoothing in SMOOTHINGS
        if smoothing != "add-k"  # which always interpolates
    ),
]


@pytest.mark.parametrize(("smoothing", "boundaries", "order", "more"), CASES)
def test_the_lines_make_the_probability(
    smoothing: str, boundaries: Boundaries, order: int, more: dict[str, bool]
) -> None:
    model, ids = trained(boundaries, smoothing=smoothing, order=order, **more)
    text = given_to(boundaries, TRAINING[:99] + OTHER)
    traces = traced(model, ids, text)
    scores = model.score(model.encoder.encode(text))
    for trace, score in zip(traces, scores.tolist(), strict=True):
        assert trace.prob == pytest.approx(np.exp(score), rel=1e-6)
        assert trace.levels[-1].prob == pytest.approx(trace.prob, rel=1e-5, abs=1e-12)
        product = np.prod([line.value for line in trace.stored])
        assert product == pytest.approx(trace.prob, rel=1e-5, abs=1e-12)
        assert [level.order for level in trace.levels] == list(range(1, len(trace.levels) + 1))


def lines_of(trace: TokenTrace, order: int) -> dict[str, tuple[str, float]]:
    [level] = [level for level in trace.levels if level.order == order]
    return {line.symbol: (line.numbers, line.value) for line in level.lines}


def cows(smoothing: str, **settings: object) -> list[TokenTrace]:
    how = TextSettings(tokenizer="whitespace", boundaries=Boundaries.LINES)
    encoder, ids = TextEncoder.train(COWS, how)
    model = NgramModel.fit(encoder, ids, NgramSettings(order=2, smoothing=smoothing, **settings))
    return traced(model, ids, "the cows eat grass")


def test_witten_bell_by_hand() -> None:
    """`the` is followed by 2 different words, 3 times, and twice by `cows`.

    11 words and 3 ends were counted, of 7 kinds. V = 8: these and <unk>.
    """
    _, given_the, *_ = cows("witten-bell")
    lines = lines_of(given_the, 2)
    assert lines["c(hw)"] == ("", 2)
    assert lines["c(h·)"] == ("", 3)
    assert lines["T(h)"] == ("", 2)
    assert lines["share"] == ("2 / (3 + 2)", 0.4)
    assert lines["leftover"] == ("2 / (3 + 2)", 0.4)
    unigram = lines_of(given_the, 1)
    assert (unigram["c(h·)"][1], unigram["T(h)"][1]) == (14, 7)
    assert unigram["share"][1] == pytest.approx(2 / 21)
    assert unigram["p(w | h)"][1] == pytest.approx(2 / 21 + 7 / 21 / 8)
    assert given_the.prob == pytest.approx(0.4 + 0.4 * (2 / 21 + 7 / 21 / 8), rel=1e-6)


def test_laplace_by_hand() -> None:
    _, given_the, *_ = cows("add-k")
    assert lines_of(given_the, 2)["p(w | h)"] == ("(2 + 1) / (3 + 1 · 8)", 3 / 11)


def test_kneser_ney_counts_what_comes_before() -> None:
    """`eat` follows two different words; D = 0.5 as given; <s> `the` keeps its occurrences."""
    first, _, eat, _, _ = cows("kneser-ney", discount=0.5)
    assert lines_of(eat, 1)["c(hw)"] == ("", 2)
    assert lines_of(eat, 2)["c(hw)"] == ("", 2)
    assert lines_of(eat, 2)["share"] == ("(2 − 0.5) / 2", 0.75)
    assert lines_of(eat, 2)["leftover"] == ("0.5 · 1 / 2", 0.25)
    assert lines_of(first, 2)["c(hw)"] == ("", 3)


def test_without_the_text_the_file_is_shown() -> None:
    model, ids = trained(Boundaries.LINES, order=3)
    tracer = NgramTracer(model)
    assert tracer.reason == "the model file has none; {training} TEXT names the training text"
    assert all(not trace.levels and trace.stored for trace in tracer.trace("The cows sat"))
    for settings, why in (
        ({"quantize": True}, "quantized"),
        ({"prune": (0, 0, 1)}, "pruned"),
        ({"entropy_prune": 1e-3}, "pruned"),
    ):
        model, ids = trained(Boundaries.LINES, order=3, **settings)
        assert why in NgramTracer(model, ids).reason


def test_another_text_is_not_taken_for_the_training_text() -> None:
    model, ids = trained(Boundaries.LINES, order=3)
    with pytest.raises(DataError, match="it was not trained on this text"):
        traced(model, ids[: len(ids) // 2], "The cows eat hay")
    with pytest.raises(DataError, match="no tokens"):
        traced(model, ids, "")
