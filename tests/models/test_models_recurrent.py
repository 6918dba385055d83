"""The recurrent model: its derivation, its state, and its two ways of scoring."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from lmsuite.analysis.checks import gradient_report
from lmsuite.errors import UsageError
from lmsuite.models import recurrent_scoring, recurrent_stepping
from lmsuite.models.recurrent import Recurrent, RecurrentSettings
from lmsuite.models.settings import CELLS
from lmsuite.nn import layers, output
from lmsuite.text.encoding import TextEncoder, TextSettings
from lmsuite.text.vocabulary import BOS
from lmsuite.types import FloatArray

SMALL = RecurrentSettings(hidden=4, embed=4)
TEXT, IDS = TextEncoder.train("a cat sat on the mat.\n" * 20, TextSettings(tokenizer="char"))


def model_of(settings: RecurrentSettings, dtype: type = np.float32) -> Recurrent:
    return Recurrent.initial(TEXT, settings, np.random.default_rng(1), dtype)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"layers": 2, "tied": True},
        {"layers": 2, "dropout": 0.4},
        {"embed_dropout": 0.3},
        {"dropout": 0.4, "embed_dropout": 0.3, "variational": True, "embed": 3},
    ],
)
def test_gradients_of_every_architecture(cell: str, more: dict[str, object]) -> None:
    settings = dataclasses.replace(SMALL, cell=cell, **more)  # type: ignore[arg-type]
    report = gradient_report(model_of(settings), None, np.random.default_rng(2))
    assert report.entries == len(model_of(settings).parameters)
    assert report.worst.relative < 1e-6, report


@pytest.mark.parametrize("cell", CELLS)
def test_gradients_of_a_large_vocabulary(cell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Large vocabularies are embedded id by id instead of by way of the input table.
    monkeypatch.setattr(layers, "SMALL_VOCABULARY", 5)
    settings = dataclasses.replace(SMALL, cell=cell)
    report = gradient_report(model_of(settings), None, np.random.default_rng(2))
    assert report.worst.relative < 1e-6, report


@pytest.mark.parametrize("tied", [False, True])
def test_gradients_of_a_batch_whose_logits_are_formed_in_parts(
    tied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of(dataclasses.replace(SMALL, tied=tied))
    monkeypatch.setattr(output, "LOGITS_AT_ONCE", 3 * len(model.encoder.vocabulary))
    report = gradient_report(model, None, np.random.default_rng(2))
    assert report.worst.relative < 1e-6, report


@pytest.mark.parametrize("cell", CELLS)
def test_truncation_carries_the_state_but_no_gradient(cell: str) -> None:
    """Two windows give the loss of one, and the gradient of two separate sequences."""
    settings = dataclasses.replace(SMALL, cell=cell)
    whole, halves, apart = (model_of(settings, np.float64) for _ in range(3))
    inputs, targets = IDS[:8].reshape(8, 1), IDS[1:9].reshape(8, 1)
    arrays, width = whole.carry_shape

    def run(model: Recurrent, part: slice, carry: np.ndarray) -> float:
        rng = np.random.default_rng(1)
        return model.backpropagate(inputs[part], targets[part], carry, weight=1, rng=rng)

    carry = np.zeros((arrays, 1, width))
    at_once = run(whole, slice(8), carry.copy())
    first = run(halves, slice(4), carry)
    summed = halves.parameters.gradients.copy()
    middle = carry.copy()
    second = run(halves, slice(4, 8), carry)
    summed += halves.parameters.gradients
    assert first + second == pytest.approx(at_once, rel=1e-12)
    run(apart, slice(4, 8), middle)
    np.testing.assert_allclose(halves.parameters.gradients, apart.parameters.gradients)
    assert np.abs(summed - whole.parameters.gradients).max() > 1e-6


def test_a_boundary_among_the_inputs_clears_the_state() -> None:
    model = model_of(SMALL)
    inputs = np.array([[5], [6], [BOS], [7]], np.int32)
    rng = np.random.default_rng(1)
    after = []
    for filling in (0.0, 3.0):
        carry = np.full((2, 1, 4), filling, np.float32)
        model.backpropagate(inputs, inputs, carry, weight=1, rng=rng)
        after.append(carry)
    np.testing.assert_array_equal(after[0], after[1])


@pytest.mark.parametrize("layers", [1, 2])
def test_pieces_that_end_with_a_stretch_change_no_bit(
    layers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the windows of an evaluation: the state is carried as within one text."""
    monkeypatch.setattr(recurrent_scoring, "PIECE", (8, 16))
    monkeypatch.setattr(recurrent_scoring, "PIECES", 4)
    monkeypatch.setattr(recurrent_scoring, "STEPS", 4)
    monkeypatch.setattr(recurrent_scoring, "STEPS_OF_FEW", 16)  # none is read as a sentence
    model = model_of(dataclasses.replace(SMALL, layers=layers))
    ids = IDS[:403]
    for stretches in (1, 2):
        cuts = np.arange(64, 403, 64)[::stretches]
        found = np.concatenate(list(map(model.piece_scorer(), np.split(ids, cuts))))
        np.testing.assert_array_equal(found, model.score(ids))


@pytest.mark.parametrize("cell", CELLS)
def test_the_start_is_the_step_that_reads_the_first_token(cell: str) -> None:
    model = model_of(dataclasses.replace(SMALL, cell=cell, layers=2), np.float64)
    model.parameters.values[...] = np.random.default_rng(3).normal(size=len(model.parameters))
    after = model.step(model.zero_state(3), np.full(3, BOS, np.int32))
    np.testing.assert_allclose(model.start(3), after, rtol=0, atol=1e-12)


def test_segments_are_scored_side_by_side_as_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    # Windows are shorter than segments, groups smaller than their number; one segment is empty.
    monkeypatch.setattr(recurrent_scoring, "GROUP", 3)
    monkeypatch.setattr(recurrent_scoring, "STEPS", 4)
    monkeypatch.setattr(output, "SCORED_AT_ONCE", 1)
    model = model_of(dataclasses.replace(SMALL, layers=2))
    lengths = [5, 1, 12, 0, 4, 9, 8, 3]
    pieces = np.split(IDS[: sum(lengths)], np.cumsum(lengths)[:-1])
    together = model.score(np.concatenate([np.insert(piece, 0, BOS) for piece in pieces]))
    alone = np.concatenate([model.score(piece) for piece in pieces])
    np.testing.assert_allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("spread", [0.3, 1.0, 3.0], ids=["forgets", "remembers", "chaotic"])
def test_pieces_of_a_long_text_are_scored_as_the_whole(
    cell: str, spread: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether or not the state forgets in time what was guessed before each piece."""
    settings = dataclasses.replace(SMALL, cell=cell, layers=2, hidden=8)
    model = model_of(settings, np.float64)
    for name in model.parameters:
        if name.endswith("Wh"):
            model.parameters[name][...] *= spread / 0.7
    monkeypatch.setattr(recurrent_scoring, "PIECE", (10**6, 10**6))
    whole = model.score(IDS[:397])
    monkeypatch.setattr(recurrent_scoring, "PIECE", (8, 36))
    monkeypatch.setattr(recurrent_scoring, "PIECES", 5)
    monkeypatch.setattr(recurrent_scoring, "STEPS", 4)
    monkeypatch.setattr(recurrent_scoring, "GROUP", 2)
    monkeypatch.setattr(recurrent_scoring, "AGREEMENT", 1e-13)
    np.testing.assert_allclose(model.score(IDS[:397]), whole, atol=1e-10)
    pieces = np.split(IDS[:397], [5, 5, 90, 91, 300])
    found = np.concatenate(list(map(model.piece_scorer(), pieces)))
    np.testing.assert_allclose(found, whole, atol=1e-10)


def test_a_network_that_forgets_nothing_is_scored_piece_after_piece(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = model_of(SMALL)
    model.parameters["layer.0.b"][2 * SMALL.hidden : 3 * SMALL.hidden] = 100  # the forget gate
    whole = model.score(IDS[:300])
    monkeypatch.setattr(recurrent_scoring, "PIECE", (16, 16))
    monkeypatch.setattr(recurrent_scoring, "AGREEMENT", 0)
    rounds = []
    window = recurrent_scoring.SideBySide._window

    def counted(*arguments: Any) -> FloatArray:
        rounds.append(arguments[2].size)
        return window(*arguments)

    monkeypatch.setattr(recurrent_scoring.SideBySide, "_window", counted)
    np.testing.assert_allclose(model.score(IDS[:300]), whole, atol=1e-5)
    assert 1 in rounds and max(rounds) >= 8


@pytest.mark.parametrize("cell", CELLS)
def test_steps_in_threads_are_the_steps(cell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(dataclasses.replace(SMALL, cell=cell, layers=2))
    ids = IDS[:14].reshape(2, 7)
    alone = model.step(model.step(model.start(7), ids[0]), ids[1])
    monkeypatch.setattr(recurrent_stepping, "THREADED_STEP", 0)
    monkeypatch.setattr(recurrent_stepping, "thread_count", lambda: 3)
    again = model_of(dataclasses.replace(SMALL, cell=cell, layers=2))
    decoder = again.decoder(7)
    together = decoder.step(decoder.step(again.start(7), ids[0]), ids[1])
    assert isinstance(decoder, recurrent_stepping.RecurrentDecoder)
    assert decoder.parts == 3
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_steps_follow_the_weights_as_they_are_trained() -> None:
    model = model_of(SMALL)
    before = model.log_probs(model.start(1))
    inputs = IDS[:6].reshape(6, 1)
    model.backpropagate(
        inputs, inputs, np.zeros((2, 1, 4), np.float32), weight=1, rng=np.random.default_rng(1)
    )
    model.parameters.values -= 0.1 * model.parameters.gradients
    after = model.log_probs(model.start(1))
    assert np.abs(after[0, 3:] - before[0, 3:]).max() > 1e-4
    scored = [model.score(np.array([i], np.int32))[0] for i in range(3, 8)]
    np.testing.assert_allclose(after[0, 3:8], scored, atol=1e-5)


def test_states_are_values() -> None:
    model = model_of(dataclasses.replace(SMALL, layers=2))
    state = model.start(2)
    kept = state.copy()
    model.step(state, np.array([BOS, 4], np.int32))
    np.testing.assert_array_equal(state, kept)


@pytest.mark.parametrize(
    "wrong",
    [
        {"cell": "rwkv"},
        {"layers": 0},
        {"hidden": 0},
        {"embed": 0},
        {"tied": True, "embed": 3},
        {"dropout": -0.1},
        {"embed_dropout": 1.0},
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        dataclasses.replace(SMALL, **wrong)  # type: ignore[arg-type]
