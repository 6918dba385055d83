"""The feed-forward model: its derivation, its windows, and one forward pass by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from lmsuite.analysis.checks import gradient_report
from lmsuite.errors import ModelFileError, UsageError
from lmsuite.models.feedforward import FeedForward, FeedForwardSettings, windows
from lmsuite.nn import output
from lmsuite.text.encoding import Boundaries, TextEncoder, TextSettings
from lmsuite.text.vocabulary import BOS

SMALL = FeedForwardSettings(context=3, embed=4, hidden=(5,))


def encoder(boundaries: Boundaries = Boundaries.STREAM) -> TextEncoder:
    settings = TextSettings(tokenizer="char", boundaries=boundaries)
    return TextEncoder.train("a cat sat on the mat\n", settings)[0]


def model_of(settings: FeedForwardSettings) -> FeedForward:
    return FeedForward.initial(encoder(), settings, np.random.default_rng(1))


@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid", "hardtanh", "softsign"])
def test_gradients_of_every_activation(activation: str) -> None:
    model = model_of(dataclasses.replace(SMALL, activation=activation))
    report = gradient_report(model, None, np.random.default_rng(2))
    assert report.worst.relative < 1e-6, report


@pytest.mark.parametrize(
    "settings",
    [
        dataclasses.replace(SMALL, hidden=(6, 5, 4)),
        dataclasses.replace(SMALL, direct=True),
        dataclasses.replace(SMALL, hidden=(6, 5), direct=True, dropout=0.4, embed_dropout=0.3),
        dataclasses.replace(SMALL, context=1),
        dataclasses.replace(SMALL, softmax="adaptive", cutoffs=(4, 7), direct=True),
    ],
)
def test_gradients_of_every_architecture(settings: FeedForwardSettings) -> None:
    report = gradient_report(model_of(settings), None, np.random.default_rng(2))
    assert report.entries == len(model_of(settings).parameters)
    assert report.worst.relative < 1e-6, report


def test_gradients_of_a_batch_whose_logits_are_formed_in_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = model_of(dataclasses.replace(SMALL, direct=True))
    monkeypatch.setattr(output, "LOGITS_AT_ONCE", 2 * len(model.encoder.vocabulary))
    report = gradient_report(model, None, np.random.default_rng(2))
    assert report.worst.relative < 1e-6, report


def test_a_forward_pass_by_hand() -> None:
    # y = b + tanh(d + x H) U + x W for the window (<s>, a), m = 1, h = 1.
    text, _ = TextEncoder.train("ab", TextSettings(tokenizer="char"))
    settings = FeedForwardSettings(context=2, embed=1, hidden=(1,), direct=True)
    model = FeedForward.initial(text, settings, np.random.default_rng(1))
    parameters = model.parameters
    parameters["embedding.table"][:, 0] = [0, 0.5, 9, 2, -1]  # <unk> <s> </s> a b
    parameters["hidden.0.W"][:, 0] = [0.4, 0.1]
    parameters["hidden.0.b"][:] = 0.3
    # rows: U, then W for <s> and for a; columns <unk> <s> </s> a b
    parameters["output.W"][:] = [[1, 0, 0, 2, -2], [0, 0, 0, 1, 0], [0.5, 0, 0, 0, 0.25]]
    parameters["output.b"][:] = [0, 0, 0, 0.1, 0.2]
    # a = tanh(0.3 + 0.5·0.4 + 2·0.1) = tanh(0.7) = 0.604368
    # y(<unk>) = 0.604368 + 2·0.5           = 1.604368
    # y(a)     = 0.1 + 2·0.604368 + 0.5·1   = 1.808736
    # y(b)     = 0.2 - 2·0.604368 + 2·0.25  = -0.508736
    logits = np.array([1.604368, 1.808736, -0.508736])
    expected = logits - np.log(np.exp(logits).sum())
    state = model.step(model.start(1), np.array([3], np.int32))
    np.testing.assert_allclose(model.log_probs(state)[0, [0, 3, 4]], expected, atol=1e-5)
    assert np.isneginf(model.log_probs(state)[0, [1, 2]]).all()


def test_windows_hold_what_was_read_since() -> None:
    ids = np.array([1, 10, 11, 12, 13], np.int32)
    positions = np.array([1, 3, 4])
    found = windows(ids.__getitem__, positions, np.array([0, 0, 3]), context=3)
    assert found.T.tolist() == [[1, 1, 1], [1, 10, 11], [1, 1, 12]]


def test_a_boundary_in_the_text_clears_the_window() -> None:
    model = model_of(SMALL)
    state = model.start(2)
    for ids in ([5, 6], [6, 7], [BOS, 8]):
        state = model.step(state, np.array(ids, np.int32))
    assert state.tolist() == [[BOS, BOS, BOS], [6, 7, 8]]


def test_dropout_is_for_training_alone() -> None:
    dropping = model_of(dataclasses.replace(SMALL, dropout=0.9, embed_dropout=0.9))
    plain = model_of(SMALL)
    ids = np.arange(3, 12, dtype=np.int32)
    np.testing.assert_array_equal(dropping.score(ids), plain.score(ids))


@pytest.mark.parametrize(
    "wrong",
    [
        {"context": 0},
        {"embed": 0},
        {"hidden": ()},
        {"hidden": (5, 0)},
        {"activation": "gelu"},
        {"dropout": 1.0},
        {"softmax": "hierarchical"},
        {"softmax": "adaptive", "cutoffs": (5, 5)},
        {"softmax": "adaptive", "cutoffs": (2,)},
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=f"{[*wrong][-1]} must be"):
        dataclasses.replace(SMALL, **wrong)  # type: ignore[arg-type]


def test_restore_refuses_what_does_not_fit() -> None:
    model = model_of(SMALL)
    settings, arrays = model.settings_dict(), dict(model.arrays())
    cases = [
        (settings | {"hidden": [6]}, arrays, "array 'hidden.0.W' .* its settings need"),
        (settings | {"hidden": [0]}, arrays, "'hidden' must be at least 1, not 0"),
        (settings | {"depth": 1}, arrays, "unknown setting 'depth'"),
        ({k: v for k, v in settings.items() if k != "embed"}, arrays, "lacks the setting 'embed'"),
        (settings, arrays | {"more": np.zeros(1)}, "unknown array 'more'"),
        (settings, {k: v for k, v in arrays.items() if k != "output.b"}, "lacks array 'output.b'"),
        (settings, arrays | {"output.b": arrays["output.b"].astype(np.float64)}, "is float64"),
        (settings, arrays | {"output.b": arrays["output.b"] * np.nan}, "is not finite"),
    ]
    for given, stored, message in cases:
        with pytest.raises(ModelFileError, match=message):
            FeedForward.restore(model.encoder, given, stored)


def test_a_model_can_begin_at_the_frequencies_of_the_tokens() -> None:
    model = model_of(SMALL)
    model.parameters["output.W"][:] = 0  # what the context says
    counts = np.arange(len(model.encoder.vocabulary), dtype=np.float64)
    model.set_output_bias(counts)
    # one added to each; <s> and </s>, of counts 1 and 2, cannot occur
    expected = (counts + 1) / (counts.sum() + counts.size - 2 - 3)
    expected[[1, 2]] = 0
    np.testing.assert_allclose(np.exp(model.log_probs(model.start(1)))[0], expected, atol=1e-6)
