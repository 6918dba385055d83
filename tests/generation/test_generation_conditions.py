"""What conditions leave is what all texts of a small model leave that keep them."""

from __future__ import annotations

import itertools
from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmsuite.errors import LmError, UsageError
from lmsuite.generation import Sample, SamplingSettings, sample, stream
from lmsuite.generation.batch import Batch, Continuation
from lmsuite.generation.batcher import Batcher
from lmsuite.generation.conditions import MinTokens, NoRepeat, RepetitionPenalty, conditions_of
from lmsuite.generation.filters import filtered_probs
from lmsuite.models.ngram import NgramModel, NgramSettings
from lmsuite.text.encoding import Boundaries, TextEncoder, TextSettings
from lmsuite.text.vocabulary import EOS, UNK
from tests.bigram_model import BigramModel, encoder, random_model, uniform

NO_IDS = np.array([], np.int32)


def left(condition: Any, size: int) -> list[int]:
    """The tokens that a condition leaves."""
    return np.flatnonzero(condition.apply(np.zeros(size)) == 0).tolist()


@given(st.lists(st.integers(0, 3), max_size=12), st.lists(st.integers(0, 3), max_size=12))
def test_no_tokens_come_twice_in_the_same_order(prompt: list[int], drawn: list[int]) -> None:
    for order in (1, 2, 3):
        condition = NoRepeat(order, np.array(prompt, np.int32))
        for token in drawn:
            condition.push(token)
        text = [*prompt, *drawn]
        known = {tuple(text[i : i + order]) for i in range(len(text) - order + 1)}
        end = tuple(text[len(text) - order + 1 :]) if order > 1 else ()
        expected = [w for w in range(4) if len(text) < order - 1 or (*end, w) not in known]
        assert left(condition, 4) == expected


def test_what_came_before_has_its_log_probability_multiplied() -> None:
    condition = RepetitionPenalty(1.5, 4, np.array([2], np.int32))
    condition.push(3)
    row = np.log([0.4, 0.3, 0.2, 0.1])
    before = row.copy()
    expected = [row[0], row[1], 1.5 * row[2], 1.5 * row[3]]
    np.testing.assert_array_equal(condition.apply(row), expected)
    np.testing.assert_array_equal(row, before)


def test_a_copy_is_the_condition_of_another_text() -> None:
    import copy

    text = encoder("a b . a b .", "whitespace")
    settings = SamplingSettings(min_tokens=3, stop=(".",), no_repeat=1, repetition_penalty=2)
    for condition in conditions_of(settings, text, NO_IDS):
        size = len(text.vocabulary)
        row = np.log(np.full(size, 1 / size))
        other = copy.copy(condition)
        first = condition.apply(row)
        for token in (3, 4, 3, 4, 5):
            other.push(token)
        np.testing.assert_array_equal(condition.apply(row), first)


@pytest.mark.parametrize("tokenizer", ["char", "word", "whitespace", "treebank", "bpe"])
@pytest.mark.parametrize("stop", ["\n", "sat", "ow", " t", "x", "t sat", '"', "e cow", "é"])
def test_a_text_does_not_end_before_it_has_so_many_tokens(tokenizer: str, stop: str) -> None:
    """And it may end from there on: what is left out is what would complete the stop text."""
    known = encoder('the cat sat.\nthe cow "had" sat; x é\n' * 3, tokenizer)
    settings = SamplingSettings(max_tokens=12, min_tokens=6, stop=(stop,))
    ended = 0
    for text in sample(uniform(known), "", settings, 3, samples=60):
        if tokenizer != "treebank":  # its lines become text, and are searched, when they end
            assert stop not in known.decode(text.ids[: settings.min_tokens - 1])
        assert len(text.ids) >= settings.min_tokens
        ended += len(text.ids) < settings.max_tokens
    if tokenizer == "char" and len(stop) == 1:
        assert ended


def test_the_least_number_of_tokens_may_be_the_last_that_ends() -> None:
    known = encoder("a .", "whitespace")
    texts = sample(uniform(known), "", samples=200, seed=1, min_tokens=3, max_tokens=9, stop=".")
    lengths = [len(text.ids) for text in texts]
    assert min(lengths) == 3


def test_a_document_ends_no_sooner() -> None:
    known = encoder("a b\x1ea\x1eb b a\x1e", "whitespace", Boundaries.DOCUMENTS)
    texts = sample(uniform(known), "", samples=100, seed=1, min_tokens=5, max_tokens=20)
    assert min(len(text.ids) for text in texts) == 5
    assert all(EOS not in text.ids[:4] for text in texts)
    condition = MinTokens(SamplingSettings(min_tokens=5), known, NO_IDS)
    assert left(condition, 5) == [0, 1, 3, 4]


SETTINGS: list[dict[str, Any]] = [
    {"no_repeat": 2},
    {"repetition_penalty": 1.7},
    {"min_tokens": 3, "stop": ("c",)},
    {"no_repeat": 2, "repetition_penalty": 0.5, "min_tokens": 2, "stop": ("a",), "top_k": 2},
    {"max_tokens": 3, "no_repeat": 1, "temperature": 0.7, "top_p": 0.8},
]


def brute_force(model: BigramModel, settings: SamplingSettings, prompt: list[int]) -> Any:
    """The probability of every text: conditions by their definition, then the filters."""
    stops = {model.encoder.id(stop) for stop in settings.stop}
    probabilities: dict[tuple[int, ...], float] = defaultdict(float)
    with np.errstate(divide="ignore"):
        table = np.log(model.table)
    size = len(table)

    def go_on(text: tuple[int, ...], probability: float) -> None:
        if len(text) == settings.max_tokens or (text and text[-1] in stops):
            probabilities[text] += probability
            return
        whole = [*prompt, *text]
        row = table[whole[-1]].copy()
        for token in range(size):
            ngram = (*whole[len(whole) + 1 - settings.no_repeat :], token)
            places = range(len(whole) - settings.no_repeat + 1)
            seen = [tuple(whole[i : i + settings.no_repeat]) for i in places]
            if token in whole:
                row[token] *= settings.repetition_penalty
            if settings.no_repeat and ngram in seen:
                row[token] = -np.inf
            if token in stops and len(text) + 1 < settings.min_tokens:
                row[token] = -np.inf
        excluded = np.array([UNK, *model.encoder.impossible])
        for token, p in enumerate(filtered_probs(row[None], settings, excluded)[0]):
            if p:
                go_on((*text, token), probability * p)

    go_on((), 1.0)
    return probabilities


@pytest.mark.parametrize("changes", SETTINGS, ids=str)
def test_texts_are_drawn_as_all_texts_have_it(changes: dict[str, Any]) -> None:
    model = random_model(encoder("a b c d a", "whitespace"), 4)
    settings = SamplingSettings(**{"max_tokens": 4} | changes)
    prompt = model.encoder.encode_prompt("a")
    expected = brute_force(model, settings, prompt.tolist())
    assert sum(expected.values()) == pytest.approx(1)
    drawn: dict[tuple[int, ...], int] = defaultdict(int)
    texts = 2000
    for text in sample(model, "a", settings, 5, samples=texts):
        drawn[tuple(text.ids)] += 1
    assert drawn.keys() <= expected.keys()
    for text, p in expected.items():
        sigma = (p * (1 - p) / texts) ** 0.5
        assert abs(drawn[text] / texts - p) < 5 * sigma + 1e-3


def three_ways(model: Any, settings: SamplingSettings) -> tuple[list[Sample], str, str]:
    together = sample(model, "the", settings, 3, samples=5)
    streamed = "".join(piece.text for piece in stream(model, "the", settings, 3))
    with Batcher(model) as batcher:
        shared = "".join(piece.text for piece in batcher.submit("the", settings, 3))
    return together, streamed, shared


@pytest.mark.parametrize("tokenizer", ["char", "word"])
def test_the_same_text_in_every_way(play: str, tokenizer: str) -> None:
    """A text alone, from a batcher, and among others; of dense rows and of rows that back off."""
    text, ids = TextEncoder.train(play[:60_000], TextSettings(tokenizer=tokenizer))
    model = NgramModel.fit(text, ids, NgramSettings(order=3))
    settings = SamplingSettings(
        max_tokens=40, no_repeat=3, repetition_penalty=1.2, min_tokens=30, stop=(".",), top_p=0.9
    )
    together, streamed, shared = three_ways(model, settings)
    assert together[0].text == streamed == shared
    for each in together:
        ids = text.encode_prompt("the" + each.text)
        own = model.score(np.concatenate((text.encode_prompt("the"), each.ids)))
        np.testing.assert_allclose(each.log_probs, own[-len(each.ids) :], rtol=1e-5)


def test_texts_without_conditions_are_the_same_beside_texts_with(play: str) -> None:
    """Every text depends on its own settings alone."""
    text, ids = TextEncoder.train(play[:20_000], TextSettings(tokenizer="char"))
    model = NgramModel.fit(text, ids, NgramSettings(order=4))
    plain, strict = SamplingSettings(max_tokens=60), SamplingSettings(max_tokens=60, no_repeat=4)
    [alone] = sample(model, "", plain, 8)
    batch, prompt = Batch(model), NO_IDS
    rngs = [np.random.default_rng(8).spawn(1)[0] for _ in range(2)]
    texts = [
        Continuation(text, prompt, settings, rng)
        for settings, rng in zip((strict, plain), rngs, strict=True)
    ]
    batch.join(texts, model.start(2))
    written = ["", ""]
    for _ in range(60):
        for row, piece in enumerate(batch.draw()):
            assert not isinstance(piece, LmError)
            written[row] += piece.text
        batch.read([0, 1])
    assert written[1] == alone.text != written[0]


def test_conditions_that_leave_nothing_are_said_to() -> None:
    model = random_model(encoder("a b c a", "whitespace"))
    with pytest.raises(LmError, match="the conditions leave no token"):
        sample(model, "", seed=1, no_repeat=1, max_tokens=4)
    with pytest.raises(LmError, match="the conditions leave no token"):
        sample(model, "", seed=1, no_repeat=1, max_tokens=4, samples=3)
    with pytest.raises(LmError, match="the conditions leave no token"):
        list(stream(model, "a b c", seed=1, no_repeat=1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"min_tokens": -1}, "min_tokens must be at least 0"),
        ({"min_tokens": 30, "max_tokens": 20}, "min_tokens must be at most max_tokens, 20, not 30"),
        ({"no_repeat": -2}, "no_repeat must be at least 0"),
        ({"repetition_penalty": 0}, "repetition_penalty must be above 0"),
    ],
)
def test_conditions_out_of_bounds(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SamplingSettings(**changes)


def test_every_order_of_conditions_gives_the_same(play: str) -> None:
    text = encoder("a b c a b", "whitespace")
    settings = SamplingSettings(no_repeat=2, repetition_penalty=1.5, min_tokens=4, stop=("b",))
    conditions = conditions_of(settings, text, text.encode_prompt("a b c a"))
    row = np.log(np.full(6, 1 / 6))
    results = []
    for order in itertools.permutations(conditions):
        changed = row
        for condition in order:
            changed = condition.apply(changed)
        results.append(changed)
    assert all((each == results[0]).all() for each in results)
