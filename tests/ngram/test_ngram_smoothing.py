"""Every smoothing: worked by hand, against NLTK, and what must hold on any text."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from nltk.lm import (
    MLE,
    AbsoluteDiscountingInterpolated,
    Lidstone,
    WittenBellInterpolated,
)
from nltk.lm.api import LanguageModel as NltkModel
from nltk.lm.vocabulary import Vocabulary as NltkVocabulary
from nltk.util import everygrams

from lmsuite.errors import TrainingError, UsageError
from lmsuite.models.ngram import SMOOTHINGS, NgramModel, NgramSettings
from lmsuite.ngram.smoothing.jelinek_mercer import _Evidence, fit_weights
from lmsuite.text.encoding import Boundaries, TextEncoder, TextSettings

COWS = """\
cows eat corn every day
the cows eat corn
cows eat corn if there is any
all cows eat corn at night
cows eat grass
brown cows eat grass in spring
most cows eat grass
cows eat hay in winter
our cows eat hay
cows eat if they are hungry
cows eat which food they find
"""

CORPUS = list("abacabbadabaccabadbabefaab")


def test_the_cows_of_the_lecture(fit: Any, distribution: Any) -> None:
    model = fit(COWS, lines=True, order=3, smoothing="mle")
    after = distribution(model, ["cows", "eat"])
    vocabulary = model.encoder.vocabulary
    probabilities = {vocabulary.tokens[id]: after[id] for id in np.flatnonzero(after).tolist()}
    expected = {"corn": 4 / 11, "grass": 3 / 11, "hay": 2 / 11, "if": 1 / 11, "which": 1 / 11}
    assert probabilities == pytest.approx(expected)


def nltk_model(model: NltkModel, order: int) -> NltkModel:
    # The vocabulary that we have, less <s> and </s>, which are impossible in a stream.
    model.fit([everygrams(CORPUS, max_len=order)], CORPUS)
    return model


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize(
    ("make", "ours"),
    [
        (lambda n: MLE(n), {"smoothing": "mle"}),
        (lambda n: Lidstone(0.3, n), {"smoothing": "add-k", "k": 0.3}),
        (lambda n: Lidstone(1, n), {"smoothing": "add-k", "k": 1.0}),
        (
            lambda n: WittenBellInterpolated(n),
            {"smoothing": "witten-bell", "interpolate_unigrams": False},
        ),
        (
            lambda n: AbsoluteDiscountingInterpolated(n, discount=0.6),
            {"smoothing": "absolute", "discount": 0.6, "interpolate_unigrams": False},
        ),
    ],
    ids=["mle", "lidstone", "laplace", "witten-bell", "absolute"],
)
def test_agreement_with_nltk_wherever_nltk_sums_to_one(
    order: int, make: Any, ours: dict[str, Any], fit: Any, distribution: Any
) -> None:
    theirs = nltk_model(make(order), order)
    model = fit(" ".join(CORPUS), order=order, **ours)
    words = model.encoder.vocabulary.tokens
    agreed = 0
    contexts = {tuple(CORPUS[at : at + order - 1]) for at in range(len(CORPUS))}
    for context in sorted(contexts | {("f",) * (order - 1), ("e", "d", "c")[: order - 1]}):
        if len(context) < order - 1:
            continue
        scores = {word: theirs.score(word, context) for word in theirs.vocab}
        if abs(sum(scores.values()) - 1) > 1e-9:
            # NLTK's maximum likelihood is 0 for every word after a context never seen; ours
            # backs off. Of the others all sum to one.
            assert ours["smoothing"] == "mle" and sum(scores.values()) == 0
            continue
        agreed += 1
        after = distribution(model, context)
        for word, score in scores.items():
            at = words.index("<unk>" if word == "<UNK>" else word)
            assert after[at] == pytest.approx(score, abs=1e-7), (context, word)
    assert agreed >= 1


def test_nltks_vocabulary_counts_its_unknown_word() -> None:
    # What the comparison of add-k rests on: V is the number of types and one for <UNK>.
    assert len(NltkVocabulary(CORPUS)) == len(set(CORPUS)) + 1


def test_kneser_ney_bigram_by_hand(fit: Any, distribution: Any) -> None:
    # Stream a b a c a: bigrams ab ba ac ca, each once. Words before a: b c and the beginning, 3;
    # before b: a, 1; before c: a, 1. D = 1/2, V = 4 possible (a b c <unk>).
    # p(a) = (3 - .5)/5 + (1.5/5)/4 = .575;  p(b) = .5/5 + .075 = .175;  p(<unk>) = .075.
    # p(b | a) = .5/2 + (1/2) p(b) = .3375;  p(<unk> | a) = .0375;  p(a | b) = .5 + .5 p(a).
    model = fit("a b a c a", order=2, smoothing="kneser-ney", discount=0.5)
    unk, a, b, c = (model.encoder.vocabulary.id(word) for word in ["<unk>", "a", "b", "c"])
    start = distribution(model, [])
    assert start[[a, b, c, unk]] == pytest.approx([0.575, 0.175, 0.175, 0.075])
    after_a = distribution(model, ["a"])
    assert after_a[[a, b, c, unk]] == pytest.approx([0.2875, 0.3375, 0.3375, 0.0375])
    assert distribution(model, ["b"])[a] == pytest.approx(0.5 + 0.5 * 0.575)


def test_stupid_backoff_by_hand(fit: Any, distribution: Any) -> None:
    # S(b | a) = 1/2; S(a | a) = .4 * 3/5; S(<unk> | a) = .4 * .4 / 4.
    model = fit("a b a c a", order=2, smoothing="stupid-backoff")
    assert not model.is_normalised
    unk, a, b = (model.encoder.vocabulary.id(word) for word in ["<unk>", "a", "b"])
    assert distribution(model, ["a"])[[b, a, unk]] == pytest.approx([0.5, 0.24, 0.04])


def test_katz_by_hand(fit: Any, distribution: Any) -> None:
    # Small counts of counts give no Good-Turing discounts: counts up to 5 lose one half.
    # p(a) = 2.5/5 + (1.5/5)/4; after a, b and c keep .5/2 each, and a and <unk> share the
    # other half as p(a) : p(<unk>).
    model = fit("a b a c a", order=2, smoothing="katz")
    assert any("Good-Turing" in message for message in model.messages)
    unk, a, b = (model.encoder.vocabulary.id(word) for word in ["<unk>", "a", "b"])
    p_a, p_unk = 0.5 + 0.075, 0.075
    after = distribution(model, ["a"])
    assert after[b] == pytest.approx(0.25)
    assert after[[a, unk]] == pytest.approx(
        [0.5 * p_a / (p_a + p_unk), 0.5 * p_unk / (p_a + p_unk)]
    )


def test_katz_reserves_what_good_turing_does(shared: Any, fit: Any) -> None:
    text = (shared / "corpora" / "tinyshakespeare" / "valid.words.txt").read_text("utf-8")
    model = fit(text, lines=True, order=1, smoothing="katz")
    assert model.messages == ()
    tokens = text.split() + ["</s>"] * text.count("\n")
    counts = np.unique(np.array(tokens), return_counts=True)[1]
    base = model.table.vocabulary_size - 1
    p_unk = float(np.exp(model.table.orders[0].log_probs[0]))
    assert p_unk * base == pytest.approx((counts == 1).sum() / len(tokens), rel=1e-5)


def test_jelinek_mercers_weights_are_those_of_a_grid_search() -> None:
    rng = np.random.default_rng(3)
    bucket = np.zeros(400, dtype=np.int64)
    orders = [_Evidence(rng.random(400) ** 4, bucket), _Evidence(rng.random(400) ** 2, bucket)]
    base = np.full(400, 0.05)
    fitted = [weights[0] for weights in fit_weights(orders, base)]
    grid = np.linspace(0.005, 0.995, 199)
    first, second = np.meshgrid(grid, grid, indexing="ij")
    likelihood = np.zeros_like(first)
    for f1, f2, b in zip(orders[0].frequency, orders[1].frequency, base, strict=True):
        likelihood += np.log(second * f2 + (1 - second) * (first * f1 + (1 - first) * b))
    best = np.unravel_index(likelihood.argmax(), likelihood.shape)
    assert fitted == pytest.approx([grid[best[0]], grid[best[1]]], abs=0.005)


def test_jelinek_mercer_follows_the_held_out_text() -> None:
    encoder, ids = TextEncoder.train("a b a b a b c a b " * 20, TextSettings("whitespace"))
    settings_ = NgramSettings(order=2, smoothing="jelinek-mercer")
    alike = NgramModel.fit(encoder, ids, settings_, held_out=encoder.encode("a b a b c a b"))
    unlike = NgramModel.fit(encoder, ids, settings_, held_out=encoder.encode("a a c c b a c b"))
    a, b = encoder.encode("a b")
    after_a = [
        np.exp(m.log_probs(m.step(m.start(1), np.array([a])))[0, b]) for m in (alike, unlike)
    ]
    assert after_a[0] > 0.95 > 0.6 > after_a[1]


WORDS = st.lists(st.sampled_from(["a", "b", "c", "<unk>", "\n"]), min_size=2, max_size=60)


@st.composite
def trained(draw: st.DrawFn) -> NgramModel:
    """A model of any smoothing and order, pruned or not, of a random text."""
    text = " ".join(draw(WORDS))
    boundaries = draw(st.sampled_from(Boundaries))
    smoothing = draw(st.sampled_from(SMOOTHINGS))
    order = draw(st.integers(1, 5))
    prune = draw(st.sampled_from([(), (0, 1), (0, 0, 2)]))
    entropy = draw(st.sampled_from([0.0, 1e-4, 1e-2, 1.0]))
    unigrams = draw(st.booleans())
    assume(text.strip())
    encoder, ids = TextEncoder.train(text, TextSettings("whitespace", boundaries))
    try:
        return NgramModel.fit(
            encoder,
            ids,
            NgramSettings(
                order=order,
                smoothing=smoothing,
                k=0.5 if smoothing == "add-k" else 1.0,
                prune=prune[:order],
                entropy_prune=0.0 if smoothing == "stupid-backoff" else entropy,
                interpolate_unigrams=unigrams or smoothing == "add-k",
            ),
        )
    except TrainingError as error:
        assert "shorter than the order" in str(error) or "one kind of token" in str(error)
        assume(False)
        raise


@settings(max_examples=100, deadline=None)
@given(trained(), st.lists(st.integers(0, 5), max_size=12))
def test_what_holds_for_every_smoothing(model: NgramModel, draws: list[int]) -> None:
    size = model.table.vocabulary_size
    ids = np.array([draw % size for draw in draws], dtype=np.int32)
    state, chain = model.start(1), []
    for word in [*ids.tolist(), 0]:
        log_probs = model.log_probs(state)[0]
        assert np.all(log_probs[model.encoder.impossible] == -np.inf)
        if model.is_normalised:
            assert np.exp(log_probs).sum() == pytest.approx(1, abs=1e-6)
        assert np.all(log_probs <= 1e-6)
        if word != 1:
            chain.append(log_probs[word])
        state = model.step(state, np.array([word]))
    np.testing.assert_array_equal(model.score(np.append(ids, 0)), chain)

    again = NgramModel.restore(model.encoder, model.settings_dict(), model.arrays())
    assert again.settings == model.settings
    assert again.messages == model.messages
    for name, array in model.arrays().items():
        np.testing.assert_array_equal(array, again.arrays()[name])


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@pytest.mark.parametrize("lines", [True, False])
def test_unknown_words_have_an_honest_probability(fit: Any, smoothing: str, lines: bool) -> None:
    model = fit(COWS, lines=lines, order=2, smoothing=smoothing)
    p_unk = float(np.exp(model.table.orders[0].log_probs[0]))
    assert (p_unk == 0) == (smoothing == "mle")


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_twelve_orders(fit: Any, distribution: Any, smoothing: str) -> None:
    model = fit(" ".join(CORPUS), order=12, smoothing=smoothing)
    assert model.table.order == 12
    if model.is_normalised:
        for length in range(len(CORPUS)):
            assert distribution(model, CORPUS[:length]).sum() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("boundaries", "text", "order", "message"),
    [
        (Boundaries.STREAM, "", 1, "no tokens"),
        (Boundaries.LINES, "", 1, "no tokens"),
        (Boundaries.STREAM, "a", 2, "one kind of token"),
        (Boundaries.STREAM, "a a a a a", 2, "one kind of token"),
        (Boundaries.STREAM, "a b", 3, "no 3-gram; choose an order of at most 2"),
        (Boundaries.LINES, "a b", 5, "no 5-gram; choose an order of at most 4"),
    ],
)
def test_too_little_text_is_refused(
    boundaries: Boundaries, text: str, order: int, message: str
) -> None:
    encoder, _ = TextEncoder.train("a b c", TextSettings("whitespace", boundaries))
    with pytest.raises(TrainingError, match=message):
        NgramModel.fit(encoder, encoder.encode(text), NgramSettings(order=order))


def test_a_line_of_one_kind_of_token_has_an_end_to_predict() -> None:
    encoder, ids = TextEncoder.train("a a a a a", TextSettings("whitespace", Boundaries.LINES))
    model = NgramModel.fit(encoder, ids, NgramSettings(order=2))
    # <s> a a a a a </s>: of the five times that something follows a, it is </s> once.
    after_a = np.exp(model.log_probs(model.step(model.start(1), np.array([3])))[0])
    assert 0 < after_a[2] < after_a[3]


def test_lines_of_nothing_are_refused() -> None:
    encoder, _ = TextEncoder.train("a b c", TextSettings("whitespace", Boundaries.LINES))
    with pytest.raises(TrainingError, match="no tokens"):
        NgramModel.fit(encoder, encoder.encode("\n\n"), NgramSettings(order=1))


@pytest.mark.parametrize(
    "given_",
    [
        {"order": 0},
        {"smoothing": "good"},
        {"smoothing": "arpa"},
        {"smoothing": "add-k", "k": 0.0},
        {"smoothing": "add-k", "k": float("nan")},
        {"k": 0.5},
        {"discount": 0.5},
        {"smoothing": "absolute", "discount": 1.0},
        {"smoothing": "add-k", "interpolate_unigrams": False},
        {"entropy_prune": -1.0},
        {"smoothing": "stupid-backoff", "entropy_prune": 0.1},
        {"prune": (1,)},
        {"prune": (0, 2, 1)},
        {"prune": (0, -1)},
        {"prune": (0, 0, 0, 1)},
    ],
)
def test_settings_out_of_range_are_refused(given_: dict[str, Any], fit: Any) -> None:
    with pytest.raises(UsageError):
        fit(COWS, **given_)
