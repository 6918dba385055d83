"""Comparison of two models: figures by hand, alignment, and right verdicts."""

from __future__ import annotations

import math
from dataclasses import astuple, replace

import numpy as np
import pytest
from bigram_model import BigramModel, encoder, random_model, uniform

from lmsuite.analysis.bootstrap import MOST_UNITS
from lmsuite.analysis.comparison import PLACES, Comparison, compare, lines_of_tokens
from lmsuite.analysis.evaluation import evaluate
from lmsuite.errors import DataError
from lmsuite.files import stored_text
from lmsuite.files.stored_text import Text, TextWriter
from lmsuite.models.interface import LanguageModel
from lmsuite.text.encoding import Boundaries, TextEncoder

LINES = encoder("a b c d\n", "whitespace", Boundaries.LINES)
STREAM = encoder("a b c d\n", "whitespace", Boundaries.STREAM)


def skewed(encoder: TextEncoder, *probs: float) -> BigramModel:
    """Always these probabilities for the tokens from id 2 on, and the rest for <unk>."""
    row = np.zeros(len(encoder.vocabulary))
    row[2 : 2 + len(probs)] = probs
    row[0] = 1 - sum(probs)
    return BigramModel(encoder, np.tile(row, (len(row), 1)))


def compared(a: LanguageModel, b: LanguageModel, text: Text, seed: int = 0) -> Comparison:
    return compare(a, b, text, np.random.default_rng(seed), names=("A", "B"))


def drawn(model: LanguageModel, lines: int, seed: int) -> str:
    """Lines of ten tokens, as the model says (the line ends apart)."""
    rng = np.random.default_rng(seed)
    probs = np.exp(model.log_probs(model.start(1)))[0, 3:7]
    words = rng.choice(list("abcd"), (lines, 10), p=probs / probs.sum())
    return "".join(" ".join(line) + "\n" for line in words)


def test_figures_by_hand() -> None:
    # </s> 1/4 for both; A: a 1/2, b 1/8; B: a 1/8, b 1/2. Text: a a b </s>, 6 characters.
    a, b = skewed(LINES, 1 / 4, 1 / 2, 1 / 8), skewed(LINES, 1 / 4, 1 / 8, 1 / 2)
    result = compared(a, b, "a a b\n")
    # A: 1 + 1 + 3 + 2 = 7 bits; B: 3 + 3 + 1 + 2 = 9.
    assert result.nats_per_token is not None and result.perplexity is not None
    assert result.nats_per_token.value == pytest.approx(-2 / 4 * math.log(2))
    assert result.bits_per_char.value == pytest.approx(-2 / 6)
    assert result.perplexity.value == pytest.approx(2 ** (7 / 4) - 2 ** (9 / 4))
    assert [f.tokens for f in result.figures] == [4, 4]
    assert [f.perplexity for f in result.figures] == pytest.approx([2 ** (7 / 4), 2 ** (9 / 4)])
    assert (result.tally.won, result.tally.lost, result.tally.tied) == (2, 1, 1)
    first = result.places[0]
    assert (first.line, first.before, first.text) == (1, "", "a")
    assert first.difference == pytest.approx(-2 * math.log(2))
    assert [place.text for place in result.places] == ["a", "a", "b"]  # no ties
    assert result.places[2].before == "a a "
    # One line: no interval.
    assert (result.units, result.nats_per_token.low, result.bits_per_char.p_value) == (
        1,
        None,
        None,
    )


@pytest.mark.parametrize("boundaries", Boundaries)
@pytest.mark.parametrize("ending", ["\n", ""])
def test_figures_are_those_of_evaluation(boundaries: Boundaries, ending: str) -> None:
    text = encoder("a b c d\n", "whitespace", boundaries)
    a, b = random_model(text, 1), random_model(text, 2)
    sample = "a b zebra\n\nd d c b\na" + ending
    result = compared(a, b, sample)
    for model, figures in zip((a, b), result.figures, strict=True):
        expected = evaluate(model, sample, name="m")
        assert figures.tokens == expected.tokens
        assert figures.oov == expected.oov == 1
        assert figures.nats_per_token == pytest.approx(expected.cross_entropy)
        assert figures.bits_per_char == pytest.approx(expected.bits_per_char)
        assert figures.perplexity == pytest.approx(expected.perplexity)
    difference = result.figures[0].bits_per_char - result.figures[1].bits_per_char
    assert result.bits_per_char.value == pytest.approx(difference)


def test_the_truth_is_found_to_be_better_and_the_order_only_turns_the_sign() -> None:
    truth, other = skewed(LINES, 0.2, 0.4, 0.2, 0.1, 0.1), skewed(LINES, 0.2, 0.2, 0.2, 0.2, 0.2)
    text = drawn(truth, 60, 1)
    result, turned = compared(truth, other, text), compared(other, truth, text)
    estimate, mirrored = result.nats_per_token, turned.nats_per_token
    assert estimate is not None and mirrored is not None
    assert estimate.low is not None and estimate.high is not None and estimate.p_value is not None
    assert estimate.low < estimate.value < estimate.high < 0
    assert estimate.p_value < 0.01
    assert mirrored.value == -estimate.value
    assert mirrored.low == pytest.approx(-estimate.high)
    assert (turned.tally.won, turned.tally.lost) == (result.tally.lost, result.tally.won)
    assert result.unit == "lines"
    assert len(result.places) == PLACES
    sizes = [abs(place.difference) for place in result.places]
    assert sizes == sorted(sizes, reverse=True)


def test_equal_models_differ_nowhere() -> None:
    result = compared(uniform(STREAM), uniform(STREAM), "a b c\n" * 100)
    assert result.nats_per_token is not None
    assert result.nats_per_token.value == 0
    assert result.nats_per_token.p_value == 1
    assert result.tally.tied == 400
    assert result.places == ()
    assert result.unit == "blocks of 50 tokens"


def test_models_of_other_tokens_meet_at_lines() -> None:
    letters = encoder("abcdefg \n", "char")
    words = uniform(LINES)  # ln 6 a token, </s> among them
    chars = uniform(letters)  # ln 10 a character
    text = "a b\nc\n\nab\nb c d\nc a\n"
    result = compared(words, chars, text)
    assert not result.same_tokens
    assert result.nats_per_token is None and result.perplexity is None
    bits = (15 * math.log2(6) - 20 * math.log2(10)) / 20
    assert result.bits_per_char.value == pytest.approx(bits)
    assert result.units == 6
    assert result.tally.won + result.tally.lost + result.tally.tied == 6
    top = result.places[0]
    assert (top.line, top.text) == (5, "b c d")
    assert top.log_prob_a == pytest.approx(-4 * math.log(6))
    assert top.log_prob_b == pytest.approx(-6 * math.log(10))
    assert result.bits_per_char.p_value is not None


@pytest.mark.parametrize("tokenizer", ["char", "word", "whitespace", "treebank", "bpe"])
@pytest.mark.parametrize("boundaries", Boundaries)
def test_every_token_is_on_its_line(tokenizer: str, boundaries: Boundaries) -> None:
    sample = "\nTo be, or\nnot\n\n\n to be:\n" * 3 + "that"
    if boundaries is Boundaries.DOCUMENTS:
        sample = sample.replace("\n\n", f"\n{boundaries.end}").replace(":\n", f":{boundaries.end}")
    text = encoder(sample, tokenizer, boundaries)
    ids = text.encode(sample)
    found = lines_of_tokens(text, sample, ids)
    predicted = ids[~np.isin(ids, [1])]
    assert len(found) == len(predicted)
    for number, line in enumerate(sample.replace(boundaries.end, "\n").split("\n")):
        shown = text.decode(predicted[found == number])
        # A token such as "\n " ends in the line after the one that it closes.
        ends = "\n" + boundaries.end
        assert shown.replace(" ", "").strip(ends) == line.replace(" ", "")


def test_long_texts_are_joined_to_groups_of_lines() -> None:
    text = drawn(uniform(LINES), 1250, 0)
    result = compared(random_model(LINES, 1), random_model(LINES, 2), text)
    assert result.units == MOST_UNITS
    assert result.unit == "groups of 2.5 lines"


def test_the_same_seed_gives_the_same_answer() -> None:
    text = drawn(uniform(LINES), 30, 0)
    a, b = random_model(LINES, 1), random_model(LINES, 2)
    assert compared(a, b, text, 3) == compared(a, b, text, 3)
    assert compared(a, b, text, 3) != compared(a, b, text, 4)


@pytest.mark.parametrize("block", [1, 30])
@pytest.mark.parametrize("other", ["whitespace", "char"])
@pytest.mark.parametrize("boundaries", Boundaries)
@pytest.mark.parametrize("ending", [True, False])
def test_nothing_depends_on_the_parts(
    boundaries: Boundaries, other: str, block: int, ending: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a text in memory and one on disk: intervals, tally and places are the same."""
    a = random_model(encoder("a b c d\n", "whitespace", boundaries), 1)
    b = random_model(encoder("a b c d\n", other, boundaries), 2)
    rng = np.random.default_rng(0)
    lines = [" ".join(rng.choice(list("abcd\u00e4"), rng.integers(0, 9))) for _ in range(70)]
    text = boundaries.end.join("\n".join(lines[i : i + 2]) for i in range(0, 70, 2))
    text += boundaries.end * ending
    stored = TextWriter(10)
    stored.write(text)
    expected = compared(a, b, text)
    monkeypatch.setattr(stored_text, "BLOCK", block)
    for given in (text, stored.text()):
        found = compared(a, b, given)
        for ours, theirs in zip(found.figures, expected.figures, strict=True):
            assert astuple(ours) == pytest.approx(astuple(theirs), rel=1e-12)
        assert replace(found, figures=expected.figures) == expected


def test_refuses_an_empty_text_and_probability_zero() -> None:
    with pytest.raises(DataError, match="no tokens"):
        compared(uniform(STREAM), uniform(STREAM), "")
    certain = skewed(LINES, 0.5, 0.5)
    with pytest.raises(DataError, match="B gives 2 of 4 tokens probability zero"):
        compared(uniform(LINES), certain, "a b c\n")
