"""Vectors of tokens in their context are the states of a network that reads them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hardening.command import lm
from lmsuite.analysis.vectors import side_by_side, vectors
from lmsuite.errors import DataError, LmError, UsageError
from lmsuite.models.feedforward import FeedForward, FeedForwardSettings
from lmsuite.models.interface import LanguageModel
from lmsuite.models.neural import NeuralModel
from lmsuite.models.recurrent import Recurrent, RecurrentSettings
from lmsuite.text.encoding import Boundaries, TextEncoder, TextSettings
from lmsuite.text.vocabulary import BOS
from tests.bigram_model import encoder, uniform

TEXT = "the cat sat\na cow\n\nthe cow had the cat\n"
ALL = list(Boundaries)


def network(
    boundaries: Boundaries = Boundaries.STREAM,
    *,
    backward: bool = False,
    layers: int = 2,
    cell: str = "lstm",
    seed: int = 1,
) -> Recurrent:
    settings = TextSettings(tokenizer="whitespace", boundaries=boundaries, backward=backward)
    known, _ = TextEncoder.train(TEXT.replace("\n", boundaries.end), settings)
    shape = RecurrentSettings(cell=cell, hidden=5, embed=4, layers=layers)
    return Recurrent.initial(known, shape, np.random.default_rng(seed))


@pytest.mark.parametrize("cell", ["lstm", "gru", "elman"])
@pytest.mark.parametrize("boundaries", ALL)
def test_recurrent_layers_are_those_of_the_chain_of_steps(
    boundaries: Boundaries, cell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lmsuite.models.recurrent._STEPS", 3)
    model = network(boundaries, cell=cell)
    ids = model.encoder.encode(TEXT.replace("\n", boundaries.end))
    embedded, *layers = model.layers(ids)
    np.testing.assert_array_equal(embedded, model.embedding()[ids])
    state, states = model.start(1), len(model.start(1)) // 2
    for place, token in enumerate(ids.tolist()):
        state = model.step(state, np.array([token]))
        for number, layer in enumerate(layers):
            np.testing.assert_allclose(layer[place], state[number * states, 0], atol=1e-6)


@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("boundaries", ALL)
def test_the_last_hidden_layer_of_a_window_predicts_the_next_token(
    boundaries: Boundaries, direct: bool
) -> None:
    known = network(boundaries).encoder
    shape = FeedForwardSettings(context=3, embed=4, hidden=(6, 5), direct=direct)
    model = FeedForward.initial(known, shape, np.random.default_rng(3))
    ids = known.encode(TEXT.replace("\n", boundaries.end))
    embedded, first, last = model.layers(ids)
    assert (embedded.shape[1], first.shape[1], last.shape[1]) == (4, 6, 5)
    state = model.start(1)
    for place, token in enumerate(ids.tolist()):
        state = model.step(state, np.array([token]))
        top, _ = model._forward(state.T)
        np.testing.assert_allclose(last[place], top[0, :5], atol=1e-6)


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("boundaries", ALL)
def test_every_token_has_its_own_vectors(boundaries: Boundaries, backward: bool) -> None:
    model = network(boundaries, backward=backward)
    text = TEXT.replace("\n", boundaries.end)
    found = vectors(model, text)
    words = [word for word in TEXT.replace("\n", " \n ").split(" ") if word]
    if boundaries.has_sequences:
        words = TEXT.split()
    assert list(found.texts) == words
    table = model.embedding()
    np.testing.assert_array_equal(found.layers[0], table[model.encoder.vocabulary.ids(words)])
    lines = text.split(boundaries.end)
    for word, line, start, end in zip(
        found.texts, found.lines, found.starts, found.ends, strict=True
    ):
        assert (lines[line - 1] + "\n")[start:end] == word
    # What a backward model has read when it comes to a word is all that follows it.
    ids = model.encoder.encode(text)
    state, seen = model.start(1), {}
    for place, token in enumerate(ids[ids != BOS].tolist()):
        state = model.step(state, np.array([token]))
        if token == 2:
            state = model.step(state, np.array([BOS]))
        seen[place] = state[2, 0]
    order = model.encoder.reading_order(ids)
    rows = [seen[p] for p in order if ids[ids != BOS][p] != 2 or not boundaries.has_sequences]
    np.testing.assert_allclose(found.layers[2], np.array(rows), atol=1e-6)


def test_lines_have_the_mean_of_their_tokens() -> None:
    found = vectors(network(), TEXT)
    lines = found.of_lines()
    assert lines.texts == ("the cat sat", "a cow", "", "the cow had the cat")
    assert lines.ends.tolist() == [11, 5, 0, 19]
    np.testing.assert_allclose(lines.layers[1][0], found.layers[1][:3].mean(axis=0), rtol=1e-6)
    assert np.isnan(lines.layers[2][2]).all()


def test_two_models_stand_side_by_side() -> None:
    forward, backward = network(), network(backward=True, seed=2)
    a, b = vectors(forward, TEXT), vectors(backward, TEXT)
    both = side_by_side(a, b)
    assert both.layers[1].shape == (len(a.texts), 10)
    np.testing.assert_array_equal(both.layers[2][:, 5:], b.layers[2])
    with pytest.raises(DataError, match="different tokens"):
        side_by_side(a, vectors(network(Boundaries.LINES), TEXT))
    with pytest.raises(DataError, match="2 hidden layers, and the other 1"):
        side_by_side(a, vectors(network(layers=1), TEXT))
    assert side_by_side(a.only([0]), b.only([0])).layers.keys() == {0}


def test_layers_are_chosen_by_number() -> None:
    found = vectors(network(), TEXT)
    assert found.only([-1, 0]).layers.keys() == {2, 0}
    for wrong in (3, -4):
        with pytest.raises(UsageError, match=f"layer {wrong}: there are the layers 0"):
            found.only([wrong])


def test_what_is_no_network_has_none() -> None:
    model: LanguageModel = uniform(encoder("a b", "whitespace"))
    with pytest.raises(LmError, match="kind bigram, which has no vectors"):
        vectors(model, "a")
    with pytest.raises(DataError, match="no tokens"):
        vectors(network(), "")
    assert isinstance(network(), NeuralModel)


def test_lm_embed_writes_what_numpy_and_programs_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, play: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LM_MODELS", raising=False)
    Path("t.txt").write_text(play[:4000])
    small = ("--hidden", "6", "--embed", "4", "--untied", "--epochs", "1", "-q")
    assert lm("train", "rnn", "t.txt", "--name", "f", *small).done
    assert lm("train", "rnn", "t.txt", "--name", "b", "--backward", *small).done
    assert lm("train", "ngram", "t.txt", "-q").done
    assert "layer1" in lm("embed", "f", "b", "t.txt", "-o", "v.npz").done.err
    with np.load("v.npz") as file:
        assert set(file) == {"text", "line", "start", "end", "layer0", "layer1"}
        assert file["layer1"].shape == (len(file["text"]), 12)
        assert file["text"][0] == play.split()[0]
    options = ("--json", "--layer", "-1", "--of", "line")
    rows = lm("embed", "f", *options, stdin=b"my lord\n\nthe king\n").done.out.splitlines()
    assert [json.loads(row)["text"] for row in rows] == ["my lord", "", "the king"]
    assert json.loads(rows[1])["layer1"] == [None] * 6
    assert len(json.loads(rows[0])["layer1"]) == 6
    assert "no vectors of tokens" in lm("embed", "ngram", "t.txt", "-o", "n.npz").err
    assert not Path("n.npz").exists()
    assert "-o vectors.npz" in lm("embed", "f", "t.txt").err
    assert "must end in .npz" in lm("embed", "f", "t.txt", "-o", "v.txt").err
    assert "two side by side" in lm("embed", "f", "b", "f", "t.txt", "-o", "v.npz").err
    assert "--layer 4" in lm("embed", "f", "t.txt", "-o", "v.npz", "--layer", "4").err
