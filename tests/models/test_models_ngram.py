"""NgramModel: the contract's corners, and what `lm info` shows."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from lmsuite.errors import ModelFileError
from lmsuite.models.ngram import SMOOTHINGS, NgramModel, NgramSettings
from lmsuite.text.encoding import Boundaries, TextEncoder, TextSettings
from lmsuite.text.vocabulary import BOS

TEXT = "the cow eats hay\nthe cow eats corn\na cow is not a crow\n\nthe crow eats the corn\n"


def trained(lines: bool = False, **settings: Any) -> NgramModel:
    boundaries = Boundaries.LINES if lines else Boundaries.STREAM
    encoder, ids = TextEncoder.train(TEXT, TextSettings("word", boundaries))
    return NgramModel.fit(encoder, ids, NgramSettings(**settings))


@pytest.mark.parametrize("lines", [True, False])
def test_a_start_symbol_leads_back_to_the_start(lines: bool) -> None:
    model = trained(lines)
    ids = model.encoder.vocabulary.ids(["the", "cow", "eats"])
    state = model.start(1)
    for word in [*ids.tolist(), BOS]:
        state = model.step(state, np.array([word]))
    np.testing.assert_array_equal(model.log_probs(state), model.log_probs(model.start(1)))
    twice = np.concatenate(([BOS], ids, [BOS], ids)).astype(np.int32)
    np.testing.assert_array_equal(model.score(twice), np.tile(model.score(ids), 2))


def test_a_batch_is_its_rows() -> None:
    model = trained(order=4)
    ids = np.random.default_rng(0).integers(0, len(model.encoder.vocabulary), (5, 100), np.int32)
    state, rows = model.start(100), [model.start(1) for _ in range(100)]
    for column in ids:
        before = state.copy()
        following = model.step(state, column)
        np.testing.assert_array_equal(state, before)
        state = following
        rows = [model.step(row, column[at : at + 1]) for at, row in enumerate(rows)]
        expected = np.concatenate([model.log_probs(row) for row in rows])
        np.testing.assert_array_equal(model.log_probs(state), expected)


def test_nothing_scores_as_nothing() -> None:
    assert trained().score(np.empty(0, dtype=np.int32)).shape == (0,)


def test_the_same_text_gives_the_same_arrays() -> None:
    for smoothing in SMOOTHINGS:
        first, second = (trained(smoothing=smoothing).arrays() for _ in range(2))
        assert all(np.array_equal(first[name], second[name]) for name in first)


def test_summary() -> None:
    model = trained(order=2, smoothing="kneser-ney", discount=0.4)
    summary = model.summary()
    assert summary["order"] == 2 and summary["smoothing"] == "kneser-ney"
    assert summary["1-grams"] == len(model.encoder.vocabulary)
    assert summary["discounts 2"] == "0.4"
    assert "notes" not in summary
    assert any("fall back" in note for note in trained().summary()["notes"])


def test_settings_survive_json() -> None:
    model = trained(order=3, prune=(0, 0, 1), entropy_prune=1e-6)
    settings = json.loads(json.dumps(model.settings_dict()))
    assert NgramModel.restore(model.encoder, settings, model.arrays()).settings == model.settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("order", "3"),
        ("order", True),
        ("order", 0),
        ("prune", [0.5]),
        ("prune", 3),
        ("k", None),
        ("smoothing", 3),
        ("smoothing", "none such"),
        ("interpolate_unigrams", 1),
    ],
)
def test_settings_that_do_not_fit_are_refused_by_name(name: str, value: Any) -> None:
    model = trained()
    with pytest.raises(ModelFileError, match=name):
        NgramModel.restore(model.encoder, {**model.settings_dict(), name: value}, model.arrays())


def test_missing_and_unknown_settings_are_refused_by_name() -> None:
    model = trained()
    settings = model.settings_dict()
    with pytest.raises(ModelFileError, match="unknown setting 'colour'"):
        NgramModel.restore(model.encoder, {**settings, "colour": 1}, model.arrays())
    del settings["order"]
    with pytest.raises(ModelFileError, match="lacks the setting 'order'"):
        NgramModel.restore(model.encoder, settings, model.arrays())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("discounts", np.zeros((2, 2))),
        ("discounts", np.zeros((3, 3), dtype=np.float32)),
        ("discounts", np.zeros((2, 3))),
        ("discounts", np.full((3, 3), np.nan)),
        ("messages", np.zeros((1, 1), dtype=np.uint8)),
        ("messages", np.array([255], dtype=np.uint8)),
    ],
)
def test_damaged_facts_are_refused_by_name(name: str, value: Any) -> None:
    model = trained(order=3)
    with pytest.raises(ModelFileError, match=name):
        NgramModel.restore(model.encoder, model.settings_dict(), {**model.arrays(), name: value})


def test_an_encoder_of_another_size_is_refused() -> None:
    model = trained()
    other, _ = TextEncoder.train("some other text\n", TextSettings("word"))
    with pytest.raises(ModelFileError, match=r"order1\.log_probs"):
        NgramModel.restore(other, model.settings_dict(), model.arrays())
