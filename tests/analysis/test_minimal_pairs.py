"""Minimal pairs by hand: accuracy, Wilson's interval, McNemar's test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lmsuite.analysis.minimal_pairs import (
    Pair,
    PairScores,
    mcnemar,
    read_pairs,
    score_pairs,
    wilson,
)
from lmsuite.text.encoding import Boundaries
from tests.bigram_model import encoder, random_model


def judged(*right: bool) -> PairScores:
    return PairScores(np.array([[-1.0, -2.0] if each else [-2.0, -1.0] for each in right]))


def test_accuracy_counts_ties_as_wrong() -> None:
    scores = PairScores(np.array([[-1.0, -2.0], [-2.0, -2.0], [-3.0, -1.0], [-1.0, -np.inf]]))
    assert scores.is_right.tolist() == [True, False, False, True]
    assert (scores.accuracy, scores.ties) == (0.5, 1)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        # z²/(n + z²) = 3.8415/13.8415
        (0, 10, 0.0, 0.27753),
        (10, 10, 0.72247, 1.0),
        # Newcombe 1998, table I: 81 of 263, 15 of 148
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
    ],
)
def test_wilsons_interval(successes: int, trials: int, low: float, high: float) -> None:
    assert wilson(successes, trials) == (
        pytest.approx(low, abs=1e-4),
        pytest.approx(high, abs=1e-4),
    )


def test_mcnemars_test_by_hand() -> None:
    # A alone is right in 5, B alone in 1: 2 (C(6,0) + C(6,1)) / 2^6 = 14/64.
    a = judged(*[True] * 5, False, True, False)
    b = judged(*[False] * 5, True, True, False)
    assert mcnemar(a, b) == mcnemar(b, a) == pytest.approx(14 / 64)
    assert mcnemar(a, a) == 1
    many = judged(*[True] * 3000), judged(*[False] * 3000)
    assert mcnemar(*many) == 2.0**-2999 * 1 or mcnemar(*many) == 0


@pytest.mark.parametrize("boundaries", list(Boundaries))
def test_a_pair_is_scored_as_its_sentences_are(boundaries: Boundaries) -> None:
    model = random_model(
        encoder(f"a b c{boundaries.end}b a{boundaries.end}", "whitespace", boundaries)
    )
    scores = score_pairs(model, [Pair("a b", "b a"), Pair("c", "a a c")])
    end = boundaries.end
    for pair, row in zip([("a b", "b a"), ("c", "a a c")], scores.log_probs, strict=True):
        expected = [model.logprob(each + end) for each in pair]
        np.testing.assert_allclose(row, expected)


def test_pairs_are_read_from_columns(tmp_path: Path) -> None:
    (tmp_path / "p.tsv").write_text('he "is"\tis, he\nb\tc')
    assert read_pairs(tmp_path / "p.tsv") == [('he "is"', "is, he"), ("b", "c")]
    (tmp_path / "p.csv").write_text('"he ""is""","is, he"\nb,c\n')
    assert read_pairs(tmp_path / "p.csv") == [('he "is"', "is, he"), ("b", "c")]
