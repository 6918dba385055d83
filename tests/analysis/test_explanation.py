"""Every figure of an explanation, and that its parts make the whole."""

from __future__ import annotations

import math

import numpy as np
import pytest
from bigram_model import encoder, random_model, uniform

from lmsuite.analysis.explanation import ALTERNATIVES, explain
from lmsuite.errors import DataError
from lmsuite.models.interface import LanguageModel
from lmsuite.models.mixture import Mixture
from lmsuite.models.ngram import SMOOTHINGS, NgramModel, NgramSettings
from lmsuite.text.encoding import Boundaries, TextEncoder, TextSettings
from lmsuite.text.vocabulary import BOS

TRAINING = "the cow eats the hay\nthe cat eats\na cow sat in the hay\nthe cow sat\n" * 2
TEXT = "the cow sat in a hay\n\nthe zebra eats the cow"


def ngram(order: int, boundaries: Boundaries, smoothing: str = "witten-bell") -> NgramModel:
    settings = TextSettings(tokenizer="whitespace", boundaries=boundaries)
    text, ids = TextEncoder.train(TRAINING, settings)
    return NgramModel.fit(text, ids, NgramSettings(order=order, smoothing=smoothing))


def check_against_the_chain(model: LanguageModel, text: str) -> None:
    ids = model.encoder.encode(text)
    found = list(explain(model, text))
    assert [each.id for each in found] == ids[ids != BOS].tolist()
    np.testing.assert_allclose([each.log_prob for each in found], model.score(ids), atol=1e-5)
    state = model.start(1)
    explained = iter(found)
    for token in ids.tolist():
        if token != BOS:
            each, probs = next(explained), np.exp(model.log_probs(state)[0])
            assert each.rank == 1 + (probs > probs[token]).sum()
            assert each.prob == pytest.approx(probs[token])
            assert each.surprisal == pytest.approx(-math.log2(each.prob))
            others = sorted(np.delete(probs, token), reverse=True)[:ALTERNATIVES]
            shown = [other.prob for other in each.alternatives]
            np.testing.assert_allclose(shown, [p for p in others if p > 0])
            assert model.encoder.token_text(token) not in [
                other.text for other in each.alternatives
            ]
        state = model.step(state, np.array([token], np.int32))


@pytest.mark.parametrize("boundaries", Boundaries)
def test_probability_rank_and_alternatives_of_any_model(boundaries: Boundaries) -> None:
    text = encoder("a b c d e f g\n", "whitespace", boundaries)
    check_against_the_chain(random_model(text), "a g b\n\nzebra c")
    check_against_the_chain(ngram(3, boundaries), TEXT)


@pytest.mark.parametrize("boundaries", Boundaries)
@pytest.mark.parametrize("order", [1, 2, 3, 5])
@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_factors_of_an_ngram_multiply_to_its_probability(
    smoothing: str, order: int, boundaries: Boundaries
) -> None:
    model = ngram(order, boundaries, smoothing)
    orders = model.matched_orders(model.encoder.encode(TEXT)).tolist()
    for each, matched in zip(explain(model, TEXT), orders, strict=True):
        product = math.prod(factor.value for factor in each.factors)
        assert product == pytest.approx(each.prob, rel=1e-5)
        *weights, found = each.factors
        assert each.order == matched == len(found.context) + 1
        assert found.token == each.text
        lengths = [len(weight.context) for weight in weights]
        assert lengths == sorted(lengths, reverse=True)
        assert all(weight.token is None for weight in weights)
        assert all(length >= each.order for length in lengths)


def test_worked_example() -> None:
    model = ngram(3, Boundaries.LINES)
    the, cow, eats, *_ = explain(model, "the cow eats")
    assert (the.text, the.order, the.factors[0].context) == ("the", 2, ("<s>",))
    assert (cow.order, cow.factors[0].context) == (3, ("<s>", "the"))
    assert (eats.order, eats.factors[0].context) == (3, ("the", "cow"))
    # After "cow eats the" the trigram "eats the cow" is not known, the bigram "the cow" is.
    last = list(explain(model, "eats the cow"))[2]
    assert [factor.context for factor in last.factors] == [("eats", "the"), ("the",)]
    assert last.order == 2


def test_a_stream_has_no_beginning_to_give_up() -> None:
    first = next(iter(explain(ngram(3, Boundaries.STREAM), "sat")))
    assert [factor.context for factor in first.factors] == [()]


@pytest.mark.parametrize("boundaries", Boundaries)
def test_unknown_words_are_named(boundaries: Boundaries) -> None:
    found = list(explain(ngram(2, boundaries), TEXT + " x\u202ey"))
    unknown = {each.unknown: each.text for each in found if each.unknown}
    assert unknown == {"zebra": "<unk>", "x\\u202ey": "<unk>"}


def test_members_of_a_mixture_add_up() -> None:
    model = ngram(3, Boundaries.LINES)
    mixture = Mixture({"three": model, "flat": uniform(model.encoder)}, (0.7, 0.3))
    check_against_the_chain(mixture, TEXT)
    for each in explain(mixture, TEXT):
        assert each.order is None
        assert [member.name for member in each.members] == ["three", "flat"]
        assert sum(m.weight * m.prob for m in each.members) == pytest.approx(each.prob)
        assert sum(m.share for m in each.members) == pytest.approx(1)


def test_an_empty_text_is_an_error_at_once() -> None:
    with pytest.raises(DataError, match="no tokens"):
        explain(ngram(2, Boundaries.STREAM), "")
