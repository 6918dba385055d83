"""Mixtures of models with different words, and over whole lines with different tokens."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

import lmsuite
from lmsuite.errors import DataError, ModelFileError, UsageError
from lmsuite.models.interpolation import em_weights
from lmsuite.models.line_mixture import LineMixture
from lmsuite.models.mixing import mix
from lmsuite.models.sentences import score_sentences

COWS = "the cow eats hay\nthe cow eats corn\na cow is not a crow\n\nthe crow eats the corn\n"
ZEBRAS = "a zebra eats grass\nthe zebra is a horse\nthe horse eats hay\na cow\n"
LINES = "the cow eats grass\n\na horse is a cow\n"


def fitted(text: str, n: int = 2, **settings: Any) -> lmsuite.LanguageModel:
    how = {"lines": True, "tokenizer": "whitespace", "smoothing": "witten-bell"} | settings
    return lmsuite.fit("ngram", text, n=n, valid=0, **how)


def line_scores(model: lmsuite.LanguageModel, text: str, *, in_context: bool) -> list[float]:
    return [one.log_prob for one in score_sentences(model, [text], in_context=in_context)]


def test_words_have_their_probability_from_the_members_that_know_them() -> None:
    a, b = fitted(COWS, 1), fitted(ZEBRAS, 1)
    mixed = mix({"a": a, "b": b}, weights=[0.25, 0.75])
    probs = np.exp(mixed.log_probs(mixed.start(1))[0])
    of_a, of_b = (np.exp(each.log_probs(each.start(1))[0]) for each in (a, b))
    for word, expected in {
        "hay": 0.25 * of_a[a.encoder.id("hay")] + 0.75 * of_b[b.encoder.id("hay")],
        "corn": 0.25 * of_a[a.encoder.id("corn")],
        "zebra": 0.75 * of_b[b.encoder.id("zebra")],
        "<unk>": 0.25 * of_a[0] + 0.75 * of_b[0],
    }.items():
        assert probs[mixed.encoder.id(word)] == pytest.approx(expected)
    assert probs.sum() == pytest.approx(1)


def test_networks_with_other_words_are_mixed_and_sample(tmp_path: Any) -> None:
    """The weights of a text; saved and opened, it scores as before."""
    network = lmsuite.fit("rnn", ZEBRAS, valid=0, lines=True, tokenizer="whitespace", hidden=8,
                          embed=8, tied=False, epochs=1, threads=1)  # fmt: skip
    members = {"ngram": fitted(COWS), "rnn": network}
    mixed = mix(members, LINES)
    assert isinstance(mixed, lmsuite.Mixture)
    assert mixed.weights.sum() == pytest.approx(1)
    path = tmp_path / "mixed.safetensors"
    lmsuite.save_model(path, mixed)
    again = lmsuite.load_model(path)
    ids = mixed.encoder.encode(LINES)
    assert (again.score(ids) == mixed.score(ids)).all()
    [one] = lmsuite.sample(mixed, "the", seed=1, max_tokens=5)
    assert one.text == lmsuite.sample(again, "the", seed=1, max_tokens=5)[0].text


@pytest.mark.parametrize("in_context", [True, False])
def test_a_line_has_the_weighted_sum_of_the_products_over_its_tokens(in_context: bool) -> None:
    chars, bpe = (
        fitted(COWS + ZEBRAS, 4, tokenizer="char", lines=False),
        fitted(COWS + ZEBRAS, 3, tokenizer="bpe", bpe_size=270),
    )
    mixed = mix({"chars": chars, "bpe": bpe}, weights=[0.3, 0.7])
    assert isinstance(mixed, LineMixture)
    parts = [line_scores(each, LINES, in_context=in_context) for each in (chars, bpe)]
    expected = np.log(0.3 * np.exp(parts[0]) + 0.7 * np.exp(parts[1]))
    found = line_scores(mixed, LINES, in_context=in_context)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    whole = lmsuite.evaluate(mixed, LINES, name="mixed")
    assert whole.tokens == len(chars.encoder.encode(LINES))
    running = np.array(line_scores(mixed, LINES, in_context=True))
    assert whole.cross_entropy * whole.tokens == pytest.approx(-running.sum())
    assert whole.bits_per_char == pytest.approx(-running.sum() / np.log(2) / len(LINES))


def test_all_lines_of_characters_have_the_probability_one_together() -> None:
    """The sum over the lines of up to 8 of two characters is nearly all."""
    one = fitted("ab\na\nb\nba\n", 2, tokenizer="char")
    other = fitted("a\nb\n\nab\n", 1, tokenizer="char", lines=False)
    mixed = mix({"one": one, "other": other}, weights=[0.5, 0.5])
    lines = ["".join(line) for size in range(9) for line in product("ab", repeat=size)]
    scores = line_scores(mixed, "".join(f"{line}\n" for line in lines), in_context=False)
    sums = [
        np.exp(line_scores(each, "".join(f"{line}\n" for line in lines), in_context=False)).sum()
        for each in (one, other)
    ]
    assert 0.9 < np.exp(scores).sum() < 1
    assert np.exp(scores).sum() == pytest.approx(np.mean(sums), abs=1e-9)


def test_a_member_that_does_not_know_a_word_leaves_the_line_to_others() -> None:
    words, chars = fitted(COWS), fitted(COWS + ZEBRAS, 3, tokenizer="char")
    mixed = mix({"words": words, "chars": chars}, weights=[0.5, 0.5])
    known, unknown = line_scores(mixed, "the cow eats\nthe zebra eats\n", in_context=False)
    of_words = line_scores(words, "the cow eats\nthe zebra eats\n", in_context=False)
    of_chars = line_scores(chars, "the cow eats\nthe zebra eats\n", in_context=False)
    assert known == pytest.approx(np.log(0.5) + np.logaddexp(of_words[0], of_chars[0]))
    assert unknown == pytest.approx(np.log(0.5) + of_chars[1])
    nobody = line_scores(mixed, "the Zebra eats\n", in_context=False)  # Z is unknown to both
    both = [line_scores(each, "the Zebra eats\n", in_context=False)[0] for each in (words, chars)]
    assert nobody[0] == pytest.approx(np.log(0.5) + np.logaddexp(*both))


def test_weights_over_lines_are_those_of_em() -> None:
    words, chars = fitted(COWS + ZEBRAS, 3), fitted(COWS + ZEBRAS, 5, tokenizer="char")
    mixed = mix({"words": words, "chars": chars}, LINES)
    assert isinstance(mixed, LineMixture)
    columns = [np.array(line_scores(each, LINES, in_context=True)) for each in (words, chars)]
    np.testing.assert_allclose(mixed.weights, em_weights(columns))


def test_a_comparison_is_of_lines() -> None:
    chars, words = fitted(COWS * 3, 4, tokenizer="char"), fitted(COWS * 3)
    mixed = mix({"chars": chars, "words": words}, weights=[0.5, 0.5])
    found = lmsuite.compare(
        mixed, chars, COWS * 4, np.random.default_rng(1), names=("mixed", "chars")
    )
    assert not found.same_tokens
    assert found.nats_per_token is None
    assert found.bits_per_char.value < 0


def test_it_says_what_it_cannot_do() -> None:
    chars, words = fitted(COWS, tokenizer="char"), fitted(COWS)
    mixed = mix({"chars": chars, "words": words}, weights=[0.5, 0.5])
    for use in (
        lambda: lmsuite.sample(mixed, "the"),
        lambda: mixed.start(1),
        lambda: mixed.score(np.array([3])),
        lambda: mixed.logprob("the cow"),
    ):
        with pytest.raises(UsageError, match=r"\(chars, words\) predicts whole lines.*cannot samp"):
            use()
    with pytest.raises(UsageError, match=r"mixed \(line-mixture\) cannot be mixed"):
        mix({"mixed": mixed, "stream": fitted(COWS, lines=False)}, weights=[1, 1])
    with pytest.raises(UsageError, match="block: mixed predicts whole lines"):
        lmsuite.evaluate(mixed, COWS, name="mixed", block=3)
    documents = fitted(COWS, lines=False, boundaries="documents", tokenizer="char")
    with pytest.raises(DataError, match="documents predicts documents, and words lines"):
        mix({"words": words, "documents": documents}, weights=[1, 1])


def test_a_damaged_mixture_over_lines_is_refused() -> None:
    chars, words = fitted(COWS, tokenizer="char"), fitted(COWS)
    mixed = mix({"chars": chars, "words": words}, weights=[0.5, 0.5])
    settings, arrays = mixed.settings_dict(), dict(mixed.arrays())
    again = LineMixture.restore(mixed.encoder, settings, arrays)
    assert line_scores(again, LINES, in_context=True) == line_scores(mixed, LINES, in_context=True)
    damaged: list[tuple[dict[str, Any], dict[str, Any], str]] = [
        ({"members": settings["members"][:1]}, arrays, "2 to 20 members"),
        (settings, arrays | {"3.x": np.zeros(1)}, "no member has"),
        (settings, arrays | {"weights": np.ones(3)}, "weights"),
        (settings, arrays | {"weights": np.ones(2, np.float32)}, "float64"),
        (
            {"members": settings["members"][::-1]},
            arrays,
            "other tokens than its first|not fit|damaged|set",
        ),
        ({}, arrays, "damaged"),
    ]
    for told, held, said in damaged:
        with pytest.raises(ModelFileError, match=said):
            LineMixture.restore(mixed.encoder, told, held)
