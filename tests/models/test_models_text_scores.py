"""What a model says of a text, asked in text; against KenLM and against sums by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bigram_model import encoder, random_model
from hypothesis import given, settings
from hypothesis import strategies as st

import lmsuite
from lmsuite.errors import DataError, UsageError
from lmsuite.models.interface import LanguageModel

TEXT = "the king is here\nthe crown of the king\nmy lord , the king is dead\n" * 4
WORDS = ("the", "king", "is", "here", "crown", "of", "lord", ",", "dead", "zebra")
sentences = st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join)


@pytest.fixture(scope="module")
def lines() -> Any:
    return lmsuite.fit("ngram", TEXT, n=3, tokenizer="whitespace", lines=True, valid=0)


@pytest.fixture(scope="module")
def theirs(lines: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    kenlm = pytest.importorskip("kenlm")
    path: Path = tmp_path_factory.mktemp("kenlm") / "lines.arpa"
    with path.open("wb") as stream:
        lines.to_arpa(stream)
    return kenlm.Model(str(path))


@settings(max_examples=60)
@given(sentence=sentences, bos=st.booleans(), eos=st.booleans())
def test_log_probabilities_are_those_of_kenlm(
    lines: Any, theirs: Any, sentence: str, bos: bool, eos: bool
) -> None:
    """Empty and with unknown words, too; with and without the beginning and the end."""
    ours = lines.logprob(sentence, bos=bos, eos=eos, base=10)
    assert ours == pytest.approx(theirs.score(sentence, bos=bos, eos=eos), abs=1e-5)


@settings(max_examples=60)
@given(sentence=sentences, bos=st.booleans(), eos=st.booleans())
def test_full_scores_are_those_of_kenlm(
    lines: Any, theirs: Any, sentence: str, bos: bool, eos: bool
) -> None:
    ours = list(lines.full_scores(sentence, bos=bos, eos=eos, base=10))
    expected = list(theirs.full_scores(sentence, bos=bos, eos=eos))
    assert [(score.order, score.oov) for score in ours] == [
        (length, oov) for _, length, oov in expected
    ]
    np.testing.assert_allclose(
        [score.log_prob for score in ours], [score for score, _, _ in expected], atol=1e-5
    )
    assert [score.word for score in ours] == sentence.split() + ["</s>"] * eos


@settings(max_examples=30)
@given(sentence=sentences)
def test_states_score_as_those_of_kenlm(lines: Any, theirs: Any, sentence: str) -> None:
    """Word by word, as a decoder does."""
    import kenlm

    before, after = kenlm.State(), kenlm.State()
    theirs.BeginSentenceWrite(before)
    state = lines.start(1)
    for word in sentence.split():
        expected = theirs.BaseScore(before, word, after)
        ids = np.array([lines.encoder.id(word)], np.int32)
        score, state = lines.score_next(state, ids)
        assert score[0] / math.log(10) == pytest.approx(expected, abs=1e-5)
        before, after = after, before


def test_an_empty_hypothesis_does_not_win(lines: Any) -> None:
    assert lines.logprob("") == pytest.approx(lines.log_probs(lines.start(1))[0, 2], abs=1e-6)
    assert lines.logprob("") < math.log(0.5)


MODELS = {
    "words": random_model(encoder("a bc, d\n", "word")),
    "chars": random_model(encoder("a bc, d\n", "char")),
    "bpe": random_model(encoder("a bc, d bc\n" * 9, "bpe")),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("by", ["word", "token", "line"])
def test_surprisals_of_parts_sum_to_those_of_the_lines(name: str, by: Any) -> None:
    model: LanguageModel = MODELS[name]
    text = "bc, a  d\n\n a bc\n"
    records = model.surprisal(text, by=by)
    for number, line in enumerate(text.splitlines(keepends=True), start=1):
        mine = [record for record in records if record.sentence == number]
        total = -model.logprob(line, base=2)
        assert sum(record.surprisal for record in mine) == pytest.approx(total, rel=1e-5)
        for record in mine:
            assert line.startswith(record.word, record.start) or record.word == "\n"
    if by == "word":
        assert [r.word for r in records if r.sentence == 1][:-1] in (
            ["bc,", "a", "d"],
            ["bc", ",", "a", "d"],
        )


def test_given_a_context_the_parts_make_the_whole() -> None:
    model = MODELS["chars"]
    whole = model.logprob("a bc, d")
    parts = model.logprob("a bc") + model.logprob_given("a bc", ", d")
    assert whole == pytest.approx(parts, rel=1e-6)
    with pytest.raises(DataError, match="ends within the token 'bc'"):
        MODELS["words"].logprob_given("a b", "c, d")


def test_perplexity_is_that_of_the_evaluation() -> None:
    text = "a bc, d\nbc\n"
    for model in MODELS.values():
        evaluated = lmsuite.evaluate(model, text, name="m").perplexity
        assert model.perplexity(text) == pytest.approx(evaluated, rel=1e-6)


def test_an_encoder_is_asked_in_text() -> None:
    words = MODELS["words"].encoder
    assert words.tokens("bc, zebra") == ["bc", ",", "zebra"]
    assert ("bc" in words, "zebra" in words, words.id("zebra")) == (True, False, 0)
    assert words.text([words.id("bc"), words.id(",")]) == "bc,"
    assert words.text(words.id("a")) == "a"
    pairs = MODELS["bpe"].encoder
    assert " bc" in pairs and pairs.text(pairs.id(" bc")) == " bc"


@pytest.mark.parametrize("base", [1.0, 0.0, -2.0, math.inf])
def test_a_base_that_is_none_is_refused(base: float) -> None:
    with pytest.raises(UsageError, match="no logarithm has the base"):
        MODELS["words"].logprob("a", base=base)
