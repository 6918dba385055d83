"""What is drawn for one text is what the definition of the filters leaves, to the bit."""

from __future__ import annotations

import itertools
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmsuite.generation.drawing import WIDE, Sampler, _inverted
from lmsuite.generation.filters import Filter, SamplingSettings, draw_ids
from lmsuite.models.interface import BackedOff
from lmsuite.models.ngram import NgramModel, NgramSettings
from lmsuite.text.encoding import TextEncoder, TextSettings
from lmsuite.text.vocabulary import BOS, UNK
from lmsuite.types import FloatArray

EXCLUDED = np.array([UNK, BOS])


def rows_of(size: int) -> FloatArray:
    """Log-probabilities with long tails, with ties and with no probability at all."""
    rng = np.random.default_rng(6)
    zipf = np.log(1 / np.arange(1.0, size + 1))
    with np.errstate(divide="ignore"):
        return np.stack(
            [
                zipf,
                rng.permutation(zipf) * 3,
                np.log(rng.dirichlet(np.full(size, 0.01))),
                np.log(rng.integers(0, 4, size) / 3.0),
                np.zeros(size),
            ]
        )


@pytest.mark.parametrize("size", [40, 2000])
@pytest.mark.parametrize("temperature", [0.0, 1e-300, 0.05, 0.8, 1.0, 3.0, 1e300])
def test_what_is_left_is_what_the_definition_leaves(temperature: float, size: int) -> None:
    rows = rows_of(size)
    if temperature not in (0.8, 1.0):
        rows = rows[2:4]
    for top_k, top_p, min_p in itertools.product(
        [0, 1, 7, 300, 5000], [5e-324, 0.1, 0.5, 0.9, 0.999, 1 - 1e-12, 1.0], [0.0, 0.01]
    ):
        settings = SamplingSettings(temperature, top_k, top_p, min_p)
        tokens = Filter(settings, size, EXCLUDED)
        sampler = Sampler(tokens, size)
        for row, plain in zip(rows, tokens.weights(rows), strict=True):
            ids, weights = sampler.filtered(row)
            np.testing.assert_array_equal(weights, plain[ids])
            assert not np.delete(plain, ids).any()
        if size == 2000 and temperature == 0.8 and 0.1 <= top_p <= 0.5 and top_k < 2000:
            assert len(sampler.filtered(rows[0])[0]) < 400


@pytest.mark.parametrize("size", [40, 2000])
def test_a_text_alone_draws_what_a_row_of_a_batch_draws(size: int) -> None:
    marks = np.random.default_rng(3).random(5)
    for changes in CHANGES:
        tokens = Filter(SamplingSettings(**changes), size, EXCLUDED)
        sampler = Sampler(tokens, size)
        for row in rows_of(size):
            together = draw_ids(np.tile(row, (len(marks), 1)), tokens, marks)
            assert [sampler.draw(row, mark) for mark in marks.tolist()] == together.tolist()


CHANGES: list[dict[str, Any]] = [
    {},
    {"temperature": 0.0},
    {"temperature": 0.7},
    {"temperature": 1e-300},
    {"temperature": 0.8, "top_p": 0.9},
    {"temperature": 0.03, "top_p": 0.9},
    {"top_p": 0.99999999},
    {"top_k": 30},
    {"top_k": 500, "top_p": 0.6},
    {"min_p": 0.03},
    {"temperature": 1.5, "top_k": 25, "top_p": 0.8, "min_p": 0.02},
]


@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=30).filter(any),
    st.integers(1, 400),
    st.floats(0, 1, exclude_max=True),
)
def test_a_sum_in_blocks_finds_the_place_that_a_running_sum_finds(
    counts: list[int], times: int, mark: float
) -> None:
    """Whole numbers are summed without rounding."""
    weights = np.tile(np.array(counts, float), times)
    sums = weights.cumsum()
    assert _inverted(weights, mark) == int((sums > mark * sums[-1]).argmax())


def test_rounding_never_draws_a_token_without_weight() -> None:
    weights = np.tile([0.1, 0.7, 0.3, 0.0], 2500)
    for mark in np.nextafter(np.arange(1, 101) / 100, 0).tolist():
        place = _inverted(weights, mark)
        assert place is not None
        assert weights[place] > 0
    assert _inverted(np.zeros(9000), 0.5) is None is _inverted(np.zeros(9), 0.5)


@cache
def fitted(play: str, smoothing: str) -> NgramModel:
    encoder, _ = TextEncoder.train(play[:60_000], TextSettings())
    ids = encoder.encode(play[:60_000])
    return NgramModel.fit(encoder, ids, NgramSettings(order=4, smoothing=smoothing))


@pytest.mark.parametrize("changes", CHANGES, ids=str)
@pytest.mark.parametrize("smoothing", ["modified-kneser-ney", "stupid-backoff", "mle"])
def test_a_backed_off_row_gives_what_all_its_numbers_give(
    play: str, smoothing: str, changes: dict[str, Any]
) -> None:
    model = fitted(play, smoothing)
    size = len(model.encoder.vocabulary)
    assert size > WIDE
    tokens = Filter(SamplingSettings(**changes), size, EXCLUDED)
    sampler = Sampler(tokens, size)
    state, rng = model.start(1), np.random.default_rng(2)
    for word in model.encoder.encode(play[2000:4000])[:60]:
        log_probs, [row] = model.log_probs(state), model.backed_off(state)
        mark = rng.random()
        drawn = sampler.draw(row, mark)
        assert drawn == draw_ids(log_probs, tokens, np.array([mark]))[0]
        for token in (drawn, int(word), 7):
            assert row.item(token) == log_probs[0, token]
        state = model.step(state, np.array([word]))


def test_any_number_of_contexts_may_be_prepared(play: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = fitted(play, "modified-kneser-ney")
    size = len(model.encoder.vocabulary)
    rows = [model.backed_off(model.step(model.start(1), np.array([id])))[0] for id in range(3, 40)]
    drawn = []
    for room in (0, 50, 1 << 18):
        monkeypatch.setattr("lmsuite.generation.drawing._ROOM", room)
        sampler = Sampler(Filter(SamplingSettings(top_p=0.9), size, EXCLUDED), size)
        drawn.append([sampler.draw(row, 0.4) for row in [*rows, *rows]])
    assert drawn[0] == drawn[1] == drawn[2]


@pytest.mark.parametrize("changes", CHANGES, ids=str)
@pytest.mark.parametrize(
    ("unigrams", "log_backoff", "log_probs"),
    [
        ([0.0, -np.inf, -800.0, -801.0, -802.0], 0.0, [-0.1]),  # only <unk> has much
        ([0.0, -np.inf, -9.0, -8.0, -7.0], -900.0, [-900.0]),  # a weight of hardly anything
        ([0.0, -np.inf, -650.0, -660.0, -670.0], 650.0, [-0.1]),  # a weight beyond all bounds
        ([0.0, -np.inf, -np.inf, -np.inf, -np.inf], -1.0, [-0.1]),  # <unk> is all there is
    ],
)
def test_weights_beyond_a_float64_are_drawn_from_all_the_same(
    changes: dict[str, Any], unigrams: list[float], log_backoff: float, log_probs: list[float]
) -> None:
    context = log_backoff, np.array([0], np.uint16), np.array(log_probs, np.float32), (0, 1)
    row = BackedOff(np.array(unigrams, np.float32), [context])
    tokens = Filter(SamplingSettings(**changes), 5, EXCLUDED)
    marks = np.linspace(0, 0.99, 12)
    together = draw_ids(np.tile(row.dense(np.empty(5)), (12, 1)), tokens, marks)
    sampler = Sampler(tokens, 5)
    assert [sampler.draw(row, mark) for mark in marks.tolist()] == together.tolist()
