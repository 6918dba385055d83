"""Models for other programs give the numbers of ours."""

from __future__ import annotations

import io
import itertools
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lmsuite
from hardening.command import lm
from lmsuite.errors import LmError, UsageError
from lmsuite.exporting import export
from lmsuite.models.cache import CacheModel, CacheSettings
from lmsuite.models.feedforward import FeedForward, FeedForwardSettings
from lmsuite.models.interface import LanguageModel
from lmsuite.models.mixture import Mixture
from lmsuite.models.neural import NeuralModel
from lmsuite.models.ngram import NgramModel, NgramSettings
from lmsuite.models.recurrent import Recurrent, RecurrentSettings
from lmsuite.text.encoding import Boundaries, TextEncoder, TextSettings
from lmsuite.text.vocabulary import BOS
from lmsuite.types import FloatArray

TEXT = "the cat sat\na cow had the cat\nthe cow sat there\n"
ALL = list(Boundaries)

FEED_FORWARD = [
    FeedForwardSettings(context=3, embed=4, hidden=hidden, activation=activation, direct=direct)
    for activation, hidden, direct in [
        ("tanh", (6,), False),
        ("relu", (6, 5), True),
        ("sigmoid", (5,), True),
        ("hardtanh", (4, 3, 6), False),
        ("softsign", (5,), False),
    ]
] + [FeedForwardSettings(context=3, embed=5, hidden=(4, 5), tied=True)]
RECURRENT = [
    RecurrentSettings(cell=cell, hidden=5, embed=5 if tied else 4, layers=layers, tied=tied)
    for cell, layers, tied in itertools.product(["elman", "gru", "lstm"], [1, 2], [False, True])
]
RECURRENT += [
    RecurrentSettings(hidden=5, embed=4, ngram_features=3, feature_rows=11),
    RecurrentSettings(
        cell="gru", hidden=5, embed=5, layers=2, tied=True, ngram_features=1, feature_rows=50
    ),
]


def encoder(boundaries: Boundaries = Boundaries.STREAM) -> TextEncoder:
    settings = TextSettings(tokenizer="whitespace", boundaries=boundaries)
    return TextEncoder.train(TEXT.replace("\n", boundaries.end), settings)[0]


def network(settings: Any, boundaries: Boundaries = Boundaries.STREAM) -> NeuralModel:
    kind = FeedForward if isinstance(settings, FeedForwardSettings) else Recurrent
    rng = np.random.default_rng(4)
    model = kind.initial(encoder(boundaries), settings, rng)
    model.parameters.values[:] = rng.normal(0, 0.5, len(model.parameters.values))
    return model


def ngram(**how: Any) -> NgramModel:
    known = encoder()
    return NgramModel.fit(known, known.encode(TEXT), NgramSettings(order=3, **how))


def opened(model: LanguageModel, path: Path) -> Any:
    """The exported graph, run by onnxruntime."""
    pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    export(model, path)
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def close(ours: FloatArray, theirs: FloatArray) -> None:
    np.testing.assert_array_equal(np.isneginf(ours), np.isneginf(theirs))
    possible = np.isfinite(ours)
    np.testing.assert_allclose(theirs[possible], ours[possible], atol=1e-5)


@pytest.mark.parametrize("settings", RECURRENT, ids=str)
def test_onnx_makes_the_steps_of_a_recurrent_network(settings: Any, tmp_path: Path) -> None:
    for boundaries in ALL:
        model = network(settings, boundaries)
        session = opened(model, tmp_path / "m.onnx")
        assert [each.name for each in session.get_inputs()] == ["ids", "state"]
        texts = np.array([[BOS, 3, 4, BOS, 5], [BOS, 6, 3, 3, 4]], np.int64)
        arrays, size = model.carry_shape
        theirs = np.zeros((arrays, 2, size), np.float32)
        ours = model.start(2)
        for step in range(texts.shape[1]):
            log_probs, theirs = session.run(None, {"ids": texts[:, step], "state": theirs})
            if step:
                ours = model.step(ours, texts[:, step])
            close(model.log_probs(ours), log_probs)
            np.testing.assert_allclose(theirs, ours, atol=1e-5)


@pytest.mark.parametrize("settings", FEED_FORWARD, ids=str)
@pytest.mark.parametrize("boundaries", ALL)
def test_onnx_gives_the_log_probs_of_a_window(
    settings: Any, boundaries: Boundaries, tmp_path: Path
) -> None:
    model = network(settings, boundaries)
    session = opened(model, tmp_path / "m.onnx")
    windows = np.array([[BOS, BOS, BOS], [BOS, 3, 4], [5, 6, 3]], np.int64)
    [log_probs] = session.run(None, {"window": windows})
    close(model.log_probs(windows.astype(np.int32)), log_probs)
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["settings"]) == json.loads(json.dumps(model.settings_dict()))
    assert json.loads(facts["vocabulary"]) == list(model.encoder.vocabulary.tokens)


def softmax(y: FloatArray, impossible: Any) -> FloatArray:
    y = y.copy()
    y[..., impossible] = -np.inf
    with np.errstate(divide="ignore"):
        logs: FloatArray = y - np.log(np.exp(y).sum(axis=-1, keepdims=True))
    return logs


@pytest.mark.parametrize("settings", FEED_FORWARD, ids=str)
def test_an_npz_file_is_enough_for_the_equations_of_bengio(settings: Any, tmp_path: Path) -> None:
    model = network(settings)
    export(model, tmp_path / "m.npz")
    f: dict[str, Any] = {
        "tanh": np.tanh,
        "relu": lambda x: np.maximum(x, 0),
        "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
        "hardtanh": lambda x: np.clip(x, -1, 1),
        "softsign": lambda x: x / (1 + abs(x)),
    }
    with np.load(tmp_path / "m.npz") as file:
        a = dict(file)
    window = np.array([1, 3, 4])
    x = h = a["C"][window].reshape(-1)
    for number in range(1, len(settings.hidden) + 1):
        h = f[settings.activation](h @ a[f"H_{number}"] + a[f"d_{number}"])
    U = a["C"].T if settings.tied else a["U"]
    y = a["b"] + h @ U + (x @ a["W"] if settings.direct else 0)
    expected = model.log_probs(window[None].astype(np.int32))[0]
    close(expected, softmax(y, model.encoder.impossible))
    assert list(a["vocabulary"]) == list(model.encoder.vocabulary.tokens)
    assert json.loads(str(a["settings"]))["settings"]["activation"] == settings.activation


@pytest.mark.parametrize("tied", [False, True])
def test_a_json_file_is_enough_for_the_equations_of_an_lstm(tied: bool, tmp_path: Path) -> None:
    model = network(RecurrentSettings(hidden=4, embed=4, layers=2, tied=tied))
    export(model, tmp_path / "m.json")
    file = json.loads((tmp_path / "m.json").read_text())
    a = {name: np.array(array) for name, array in file["arrays"].items()}
    assert file["kind"] == "rnn"
    assert file["vocabulary"] == list(model.encoder.vocabulary.tokens)
    h, c = np.zeros((2, 4)), np.zeros((2, 4))
    for token in (BOS, 3, 5):
        x = a["C"][token]
        for layer in range(2):
            gates = x @ a[f"W_{layer + 1}"] + a[f"b_{layer + 1}"] + h[layer] @ a[f"U_{layer + 1}"]
            o, i, forget, g = np.split(gates, 4)
            o, i, forget = (1 / (1 + np.exp(-gate)) for gate in (o, i, forget))
            c[layer] = forget * c[layer] + i * np.tanh(g)
            x = h[layer] = o * np.tanh(c[layer])
    y = x @ (a["C"].T if tied else a["W"]) + a["b"]
    state = model.read(model.start(1), np.array([3, 5], np.int32))
    close(model.log_probs(state)[0], softmax(y, model.encoder.impossible))


@pytest.mark.parametrize("settings", [*RECURRENT, *FEED_FORWARD], ids=str)
def test_json_and_npz_hold_the_same(settings: Any, tmp_path: Path) -> None:
    model = network(settings)
    export(model, tmp_path / "m.npz")
    export(model, tmp_path / "m.json")
    arrays = json.loads((tmp_path / "m.json").read_text())["arrays"]
    with np.load(tmp_path / "m.npz") as file:
        assert set(file) - {"vocabulary", "settings"} == set(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(np.array(array, np.float32), file[name])
    assert sum(np.size(array) for array in arrays.values()) == len(model.parameters)


def test_the_n_grams_of_a_json_file_make_the_model(tmp_path: Path) -> None:
    model = ngram()
    export(model, tmp_path / "m.json")
    file = json.loads((tmp_path / "m.json").read_text())
    assert len(file["ngrams"]) == sum(model.table.sizes)
    table = {tuple(each["words"]): each for each in file["ngrams"]}

    def log_prob(words: tuple[str, ...]) -> float:
        if words in table:
            return float(table[words]["log_prob"])
        return float(table.get(words[:-1], {}).get("log_backoff", 0.0)) + log_prob(words[1:])

    words = ["<s>", "the", "cow", "had", "a", "cat"]
    ids = model.encoder.vocabulary.ids(words[1:])
    expected = [log_prob(tuple(words[max(0, at - 2) : at + 1])) for at in range(1, len(words))]
    np.testing.assert_allclose(model.score(ids), expected, rtol=1e-6)
    export(model, tmp_path / "m.npz")
    with np.load(tmp_path / "m.npz") as npz:
        np.testing.assert_array_equal(npz["order2.words"], model.table.orders[1].words)


@pytest.mark.slow  # gensim takes long to import
def test_word_vectors_are_read_by_gensim(tmp_path: Path) -> None:
    keyed = pytest.importorskip("gensim.models").KeyedVectors
    model = network(RECURRENT[0])
    export(model, tmp_path / "m.vec")
    vectors = keyed.load_word2vec_format(str(tmp_path / "m.vec"))
    for word in ("the", "cow", "<unk>"):
        np.testing.assert_array_equal(vectors[word], model.embedding()[model.encoder.id(word)])
    assert "\\n" in vectors


def test_tokens_of_white_space_stay_one_word(tmp_path: Path) -> None:
    settings = TextSettings(tokenizer="char")
    known, _ = TextEncoder.train("a b\u00a0c\n\td", settings)
    model = Recurrent.initial(known, RECURRENT[0], np.random.default_rng(1))
    export(model, tmp_path / "m.vec")
    first, *rows = (tmp_path / "m.vec").read_text().splitlines()
    assert first == f"{len(known.vocabulary)} 4"
    assert len(rows) == len(known.vocabulary)
    assert all(len(row.split()) == 5 for row in rows)


def test_what_has_no_such_form_is_refused_by_name(tmp_path: Path) -> None:
    model = ngram()
    mixture = Mixture({"a": model, "b": ngram(smoothing="witten-bell")}, [0.5, 0.5])
    cache = CacheModel(model.encoder, CacheSettings())
    for what, ending, message in (
        (model, "onnx", "m is of kind ngram; ONNX is for networks"),
        (model, "vec", "m is of kind ngram, which has no word vectors"),
        (mixture, "npz", "m is of kind mixture: n-gram models and networks"),
        (cache, "json", "m is of kind cache"),
    ):
        path = tmp_path / f"m.{ending}"
        with pytest.raises(LmError, match=message):
            export(what, path, name="m")
        assert not path.exists()
    with pytest.raises(UsageError, match=r"must end in \.npz, \.json"):
        export(model, tmp_path / "m.bin")


def test_arrays_beyond_the_equations_are_refused(tmp_path: Path) -> None:
    model = network(RECURRENT[0])
    extra = {**model.arrays(), "output.tail.0.W": np.zeros((2, 2), np.float32)}
    model.arrays = lambda: extra  # type: ignore[method-assign]
    for ending in ("npz", "json", "onnx"):
        with pytest.raises(LmError, match=r"output\.tail\.0\.W.*full softmax"):
            export(model, tmp_path / f"m.{ending}")


def test_onnx_is_asked_for_where_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(LmError, match=r"pip install 'lmsuite\[onnx\]'"):
        export(network(RECURRENT[0]), tmp_path / "m.onnx")


def test_equal_models_give_equal_bytes(tmp_path: Path) -> None:
    for ending in ("npz", "json", "vec"):
        contents = []
        for _ in range(2):
            export(network(RECURRENT[3]), tmp_path / f"m.{ending}")
            contents.append((tmp_path / f"m.{ending}").read_bytes())
        assert contents[0] == contents[1]
    assert np.load(io.BytesIO((tmp_path / "m.npz").read_bytes()))["C"].size


def test_lm_convert_writes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, play: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LM_MODELS", raising=False)
    Path("t.txt").write_text(play[:4000])
    assert lm("train", "rnn", "t.txt", "--hidden", "6", "--epochs", "1", "-q").done
    assert lm("train", "ngram", "t.txt", "-q").done
    for ending in ("npz", "json", "vec"):
        assert lm("convert", "rnn", f"r.{ending}").done.out.startswith(f"saved r.{ending}")
    facts = json.loads(lm("convert", "ngram", "n.json", "--json").done.out)
    assert (facts["file"], facts["kind"]) == ("n.json", "ngram")
    assert "is of kind ngram" in lm("convert", "ngram", "n.vec").error
    assert "must end in" in lm("convert", "ngram", "n.bin").err
    assert lmsuite.export is export
