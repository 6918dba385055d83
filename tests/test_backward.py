"""A backward model is the forward model of the text whose tokens are in the opposite order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lmsuite
from hardening.command import Run, lm
from lmsuite.analysis.comparison import compare
from lmsuite.analysis.evaluation import evaluate
from lmsuite.analysis.explanation import explain
from lmsuite.errors import ModelFileError, UsageError
from lmsuite.files.stored_text import TextWriter
from lmsuite.generation import sample, stream
from lmsuite.mapped_ngram import MappedNgram
from lmsuite.models.ngram import NgramModel, NgramSettings
from lmsuite.models.sentences import score_sentences
from lmsuite.store.artefact import load_model, save_model
from lmsuite.text.encoding import Boundaries, TextEncoder, TextSettings, turned
from lmsuite.text.vocabulary import BOS

LINES = ["the cat sat", "a cow", "the cow sat there", "where the cat sat", "a cat"]
ALL = list(Boundaries)


def text_of(boundaries: Boundaries, lines: list[str]) -> str:
    return "".join(line + boundaries.end for line in lines)


def opposite(boundaries: Boundaries) -> str:
    """The text with its tokens in the opposite order."""
    lines = [" ".join(reversed(line.split())) for line in reversed(LINES)]
    if boundaries.has_sequences:
        return text_of(boundaries, lines)
    return "\n" + "\n".join(lines)


def encoders(boundaries: Boundaries, tokenizer: str = "whitespace") -> tuple[TextEncoder, ...]:
    settings = {"tokenizer": tokenizer, "boundaries": boundaries}
    text = text_of(boundaries, LINES)
    backward, _ = TextEncoder.train(text, TextSettings(**settings, backward=True))
    return backward.forward, backward


def models(boundaries: Boundaries) -> tuple[NgramModel, NgramModel]:
    """The forward model of the opposite text, and the backward one."""
    forward, backward = encoders(boundaries)
    settings = NgramSettings(order=3, smoothing="witten-bell")
    return (
        NgramModel.fit(forward, forward.encode(opposite(boundaries)), settings),
        NgramModel.fit(backward, backward.encode(text_of(boundaries, LINES)), settings),
    )


@given(st.lists(st.integers(0, 5), max_size=20))
def test_turned_again_ids_are_as_before(ids: list[int]) -> None:
    array = np.array(ids, np.int32)
    np.testing.assert_array_equal(turned(turned(array)), array)


@pytest.mark.parametrize("boundaries", ALL)
def test_ids_are_those_of_the_opposite_text(boundaries: Boundaries) -> None:
    forward, backward = encoders(boundaries)
    ids = backward.encode(text_of(boundaries, LINES))
    np.testing.assert_array_equal(ids, forward.encode(opposite(boundaries)))
    assert backward.fingerprint() != forward.fingerprint()
    assert backward.decode(ids) == forward.decode(forward.encode(text_of(boundaries, LINES)))
    tokens = backward.tokens(text_of(boundaries, LINES))
    assert tokens == forward.tokens(opposite(boundaries))


@pytest.mark.parametrize("boundaries", ALL)
def test_long_texts_are_turned_on_disk(
    boundaries: Boundaries, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, backward = encoders(boundaries)
    text = text_of(boundaries, LINES)
    expected = backward.encode(text)
    monkeypatch.setattr("lmsuite.text.encoding.LONG", 7)
    writer = TextWriter()
    writer.write(text)
    for given_text in (text, writer.text()):
        np.testing.assert_array_equal(backward.encode(given_text), expected)
        settings = TextSettings(tokenizer="whitespace", boundaries=boundaries, backward=True)
        _, ids = TextEncoder.train(given_text, settings)
        np.testing.assert_array_equal(ids, expected)


@pytest.mark.parametrize("boundaries", ALL)
def test_the_model_is_that_of_the_opposite_text(boundaries: Boundaries) -> None:
    forward, backward = models(boundaries)
    for name, array in forward.arrays().items():
        np.testing.assert_array_equal(array, backward.arrays()[name])
    text = text_of(boundaries, LINES)
    of_backward = evaluate(backward, text, name="b")
    of_forward = evaluate(forward, opposite(boundaries), name="f")
    assert of_backward.cross_entropy == of_forward.cross_entropy
    assert of_backward.tokens == of_forward.tokens


@pytest.mark.parametrize("boundaries", ALL)
@pytest.mark.parametrize("in_context", [False, True])
def test_sentences_have_their_scores_in_reading_order(
    boundaries: Boundaries, in_context: bool
) -> None:
    _, model = models(boundaries)
    text = text_of(boundaries, LINES)
    parts = [text[:9], text[9:30], text[30:]]
    sentences = list(score_sentences(model, parts, in_context=in_context))
    assert [sentence.text for sentence in sentences] == LINES
    ids = model.encoder.encode(text)
    whole = model.score(ids)
    if in_context or boundaries.has_sequences:
        total = sum(sentence.log_prob for sentence in sentences)
        assert total == pytest.approx(whole.sum())
    for sentence in sentences:
        words = sentence.text.split()
        known = model.encoder.vocabulary.ids(words).tolist()
        assert sentence.ids.tolist()[: len(words)] == known
        if not in_context:
            alone = model.encoder.encode(sentence.text + sentence.end)
            scores = model.score(alone)[model.encoder.reading_order(alone)]
            np.testing.assert_array_equal(sentence.log_probs, scores)
            predicted = alone[alone != BOS][model.encoder.reading_order(alone)]
            np.testing.assert_array_equal(sentence.ids, predicted)


def test_words_tokens_and_explanations_are_those_of_their_tokens() -> None:
    _, model = models(Boundaries.LINES)
    words = [each.word for each in model.surprisal("the cat sat")]
    assert words == ["the", "cat", "sat", "</s>"]
    whole = model.logprob("the cat sat", base=2)
    assert sum(each.surprisal for each in model.surprisal("the cat sat")) == pytest.approx(-whole)
    scored = list(model.full_scores("the cat sat"))
    assert [each.word for each in scored] == ["sat", "cat", "the", "</s>"]
    explained = list(explain(model, "the cat sat"))
    assert [each.text for each in explained] == ["sat", "cat", "the", "</s>"]
    assert [each.located.start for each in explained[:3]] == [8, 4, 0]
    assert sum(each.log_prob for each in explained) == pytest.approx(whole * np.log(2))
    with pytest.raises(UsageError, match="predicts a text from what comes after it"):
        model.logprob_given("the", " cat")


@pytest.mark.parametrize("boundaries", ALL)
def test_backward_models_are_compared_as_others_are(boundaries: Boundaries) -> None:
    _, model = models(boundaries)
    text = text_of(boundaries, LINES)
    unigram = NgramModel.fit(
        model.encoder, model.encoder.encode(text), NgramSettings(order=1, smoothing="witten-bell")
    )
    forward = NgramModel.fit(
        model.encoder.forward,
        model.encoder.forward.encode(text),
        NgramSettings(order=2, smoothing="witten-bell"),
    )
    for other in (unigram, forward):
        rng = np.random.default_rng(1)
        result = compare(model, other, text, rng, names=("a", "b"))
        for figures, each in zip(result.figures, (model, other), strict=True):
            expected = evaluate(each, text, name="").cross_entropy
            assert figures.nats_per_token == pytest.approx(expected)
        for place in result.places:
            assert place.text.strip() in [*text.split(), "</s>", "\\n", *LINES]


@pytest.mark.parametrize("boundaries", ALL)
def test_texts_are_written_from_their_end(boundaries: Boundaries) -> None:
    forward, model = models(boundaries)
    for mirrored, text in zip(
        sample(forward, "sat", seed=3, samples=9, max_tokens=8),
        sample(model, "sat", seed=3, samples=9, max_tokens=8),
        strict=True,
    ):
        assert text.ids == mirrored.ids
        whole = model.encoder.decode([*model.encoder.encode_prompt("sat"), *text.ids])
        written = text.text + "sat"
        assert whole in (written, boundaries.end + written)  # a document's own beginning
    [one] = sample(model, "sat", seed=3, max_tokens=8)
    assert "".join(piece.text for piece in stream(model, "sat", seed=3, max_tokens=8)) == one.text
    with lmsuite.Batcher(model) as batcher:
        pieces = list(batcher.submit("sat", seed=3, max_tokens=8))
    assert "".join(piece.text for piece in pieces) == one.text


def test_a_stop_text_is_where_the_text_begins() -> None:
    _, model = models(Boundaries.STREAM)
    for text in sample(model, "sat", seed=1, samples=20, stop="\n", max_tokens=30):
        assert "\n" not in text.text
        assert len(text.ids) == 30 or model.encoder.token_text(text.ids[-1]) == "\\n"
    kept = sample(model, "sat", seed=1, samples=20, stop="cow", keep_stop=True, max_tokens=30)
    assert all(text.text.startswith("cow") for text in kept if len(text.ids) < 30)
    chosen = sample(model, "sat", seed=1, samples=9, contains="the cow", max_tokens=9)
    assert all("the cow" in text.text for text in chosen)
    with pytest.raises(UsageError, match="give it as the prompt"):
        sample(model, ends_with="sat")


def test_the_file_says_so(tmp_path: Path) -> None:
    _, model = models(Boundaries.STREAM)
    path = tmp_path / "b.safetensors"
    save_model(path, model)
    again = load_model(path)
    assert again.encoder.backward
    assert again.encoder.fingerprint() == model.encoder.fingerprint()
    with pytest.raises(ModelFileError, match="reads text backward"):
        MappedNgram(str(path))
    described: dict[str, Any] = model.encoder.describe() | {"direction": "sideways"}
    with pytest.raises(ModelFileError, match="direction 'sideways'"):
        TextEncoder.restore(described, model.encoder.arrays())


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, play: str) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LM_MODELS", raising=False)
    Path("t.txt").write_text(play[:8000])
    return lm


@pytest.mark.parametrize(
    "kind", [("ngram",), ("ffnn", "--epochs", "1"), ("rnn", "--epochs", "1", "--hidden", "8")]
)
def test_every_family_is_trained_backward(run: Run, kind: tuple[str, ...]) -> None:
    assert run("train", *kind, "t.txt", "--backward", "--name", "b", "-q").done
    assert json.loads(run("info", "b", "--json").done.out)["direction"] == "backward"
    assert "direction" in run("info", "b").done.out
    [row] = json.loads(run("eval", "b", "--json").done.out)
    assert row["perplexity"] > 1
    [line] = run("score", "b", "--json", stdin=b"my lord\n").done.out.splitlines()
    [tokens] = [run("score", "b", "--tokens", stdin=b"my lord\n").done.out.splitlines()]
    assert [each.split("\t")[1] for each in tokens] == ["my", "lord", "\\n"]
    total = sum(float(each.split("\t")[0]) for each in tokens)
    assert total == pytest.approx(json.loads(line)["log_prob"], abs=1e-3)
    written = run("sample", "b", "my lord", "--max-tokens", "5", "--seed", "1").done.out
    assert written.endswith("my lord\n")
    assert len(written.split()) > 2
    shown = run("explain", "b", "my lord").done.out
    assert shown.index("lord") < shown.index("my")


def test_counts_are_of_forward_texts(run: Run) -> None:
    run("train", "ngram", "t.txt", "--backward", "--name", "b", "-q").done  # noqa: B018
    run("count", "t.txt", "-o", "t.counts", "-q").done  # noqa: B018
    assert "read forward" in run("train", "ngram", "--counts", "t.counts", "--backward").err
    assert "backward" in run("train", "ngram", "--counts", "t.counts", "--like", "b").err
    assert "b reads text backward" in run("count", "t.txt", "-o", "u.counts", "--like", "b").err
