"""Wanted texts, most probable texts and uncopied texts, against all texts of a small model."""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmsuite.errors import LmError, UsageError
from lmsuite.generation import SamplingSettings, sample, sample_each, stream
from lmsuite.generation.batcher import Batcher
from lmsuite.generation.beam import beam
from lmsuite.generation.copying import MaxCopy
from lmsuite.generation.filters import filtered_probs
from lmsuite.generation.lookahead import LookAhead
from lmsuite.generation.phrases import START, Phrases
from lmsuite.models.interface import LanguageModel
from lmsuite.models.ngram import NgramModel, NgramSettings
from lmsuite.text.encoding import Boundaries, TextEncoder, TextSettings
from lmsuite.text.vocabulary import BOS, EOS, UNK
from tests.bigram_model import encoder, random_model

Texts = dict[tuple[int, ...], float]

TEXT = "a b c a b a c b . a a b . c b a a c . b b a . a b c ."


def small(boundaries: Boundaries = Boundaries.STREAM, order: int = 3, **how: Any) -> NgramModel:
    """An n-gram model of four words; its text has sentences between full stops."""
    text = TEXT.replace(" . ", f" .{boundaries.end}") if boundaries.has_sequences else TEXT
    known, ids = TextEncoder.train(
        text, TextSettings(tokenizer="whitespace", boundaries=boundaries)
    )
    return NgramModel.fit(known, ids, NgramSettings(order=order, **how))


def all_texts(model: LanguageModel, settings: SamplingSettings, prompt: str = "") -> Texts:
    """The probability of every text, as sampling draws it, without regard to phrases."""
    encoder = model.encoder
    stops = {t for t, text in enumerate(encoder.vocabulary.tokens) if text in settings.stop}
    stops |= {EOS} if encoder.boundaries is Boundaries.DOCUMENTS or "\n" in settings.stop else set()
    excluded = np.array([UNK, *encoder.impossible])
    texts: Texts = defaultdict(float)

    def go_on(state: Any, text: tuple[int, ...], probability: float) -> None:
        if len(text) == settings.max_tokens or (text and text[-1] in stops):
            texts[text] += probability
            return
        row = filtered_probs(model.log_probs(state), settings, excluded)[0]
        for token in np.flatnonzero(row).tolist():
            after = model.step(state, np.array([token]))
            if token == EOS:
                after = model.step(after, np.array([BOS]))
            go_on(after, (*text, token), probability * row[token])

    state = model.read(model.start(1), encoder.encode_prompt(prompt))
    go_on(state, (), 1.0)
    return texts


def is_wanted(model: LanguageModel, settings: SamplingSettings, text: tuple[int, ...]) -> bool:
    encoder = model.encoder
    stops = {t for t, word in enumerate(encoder.vocabulary.tokens) if word in settings.stop}
    stops |= {EOS} if encoder.boundaries is Boundaries.DOCUMENTS or "\n" in settings.stop else set()
    body = text[:-1] if text and text[-1] in stops else text
    phrases = [tuple(encoder.encode_prompt(each).tolist()) for each in settings.contains]
    found = all(
        any(body[at : at + len(p)] == p for at in range(len(body) - len(p) + 1)) for p in phrases
    )
    if settings.ends_with is None:
        return found
    end = tuple(encoder.encode_prompt(settings.ends_with).tolist())
    return found and body[-len(end) :] == end


CHOICES: list[dict[str, Any]] = [
    {"contains": ("a b",)},
    {"contains": ("a a b",)},
    {"contains": ("b b", "c")},
    {"ends_with": "a b"},
    {"ends_with": "a"},
    {"contains": ("c b",), "ends_with": "b a"},
    {"contains": ("a b a",), "ends_with": "a b"},
    {"contains": ("c",), "stop": (".",)},
    {"ends_with": "a a", "stop": (".",)},
    {"contains": (".",), "ends_with": "a"},
]


KINDS = [
    (Boundaries.STREAM, "modified-kneser-ney"),
    pytest.param(Boundaries.LINES, "witten-bell", marks=pytest.mark.slow),
    pytest.param(Boundaries.DOCUMENTS, "stupid-backoff", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("boundaries", "smoothing"), KINDS)
@pytest.mark.parametrize("changes", CHOICES, ids=str)
def test_looking_ahead_gives_each_wanted_text_its_probability(
    changes: dict[str, Any], smoothing: str, boundaries: Boundaries
) -> None:
    model = small(boundaries, smoothing=smoothing)
    settings = SamplingSettings(max_tokens=4, **changes)
    phrases = Phrases(model.encoder, settings)
    ahead = LookAhead.of(model, phrases, settings)
    assert ahead is not None
    texts = all_texts(model, settings, "a")
    whole = sum(p for text, p in texts.items() if is_wanted(model, settings, text))
    prompt = model.encoder.encode_prompt("a")
    state = model.read(model.start(1), prompt)
    excluded = np.array([UNK, *model.encoder.impossible])
    for text, p in itertools.islice(texts.items(), 0, None, 7):
        condition, here, drawn = ahead.condition(state, 4), state, 1.0
        for token in text:
            log_probs = model.log_probs(here)
            left = condition.apply(log_probs[0])
            possible = np.delete(left, excluded)
            if not (possible > -np.inf).any():
                drawn = 0.0
                break
            drawn *= filtered_probs(left[None], settings, excluded)[0, token]
            condition.push(token)
            here = model.step(here, np.array([token]))
            if token == EOS:
                here = model.step(here, np.array([BOS]))
        expected = p / whole if is_wanted(model, settings, text) else 0.0
        assert drawn == pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("order", [2, 4])
def test_pruned_and_quantized_tables_look_ahead_alike(order: int) -> None:
    settings = SamplingSettings(max_tokens=6, contains=("b a",))
    for how in ({"prune": (0, 1)}, {"quantize": True}):
        model = small(order=order, **how)
        texts = sample(model, "", settings, 1, samples=300)
        assert all(is_wanted(model, settings, tuple(text.ids)) for text in texts)
        assert {text.draws for text in texts} == {1}


@pytest.mark.parametrize("changes", [CHOICES[4], *CHOICES[7:9]], ids=str)
def test_drawing_again_gives_wanted_texts_their_share(changes: dict[str, Any]) -> None:
    model = random_model(encoder("a b c . a", "whitespace"), 7)
    settings = SamplingSettings(max_tokens=4, max_draws=100_000, top_p=0.95, **changes)
    texts = {
        text: p
        for text, p in all_texts(model, settings).items()
        if is_wanted(model, settings, text)
    }
    whole, number = sum(texts.values()), 200
    drawn = sample(model, "", settings, 2, samples=number)
    counts = Counter(tuple(text.ids) for text in drawn)
    assert counts.keys() <= texts.keys()
    for text, p in texts.items():
        share = p / whole
        assert abs(counts[text] / number - share) < 5 * math.sqrt(share / number) + 1e-3
    mean = sum(text.draws for text in drawn) / number
    assert mean == pytest.approx(1 / whole, rel=0.3)


def test_texts_that_are_wanted_at_once_are_those_without_conditions() -> None:
    model = random_model(encoder("a b c . a", "whitespace"), 7)
    plain = sample(model, "", seed=5, samples=40, max_tokens=6)
    chosen = sample(model, "", seed=5, samples=40, max_tokens=6, contains="a b")
    for one, other in zip(plain, chosen, strict=True):
        assert (one.ids == other.ids) == (other.draws == 1)
    assert len({text.draws for text in chosen}) > 2
    alone = sample(model, "", seed=5, samples=3, max_tokens=6, contains="a b")
    assert alone == chosen[:3]
    pieces = list(stream(model, "", seed=5, max_tokens=6, contains="a b"))
    assert [piece.id for piece in pieces] == chosen[0].ids


def test_stop_texts_of_several_tokens_are_drawn_again() -> None:
    model = small()
    settings = SamplingSettings(max_tokens=20, stop=(". a",), ends_with="b", max_draws=10_000)
    for text in sample(model, "", settings, 1, samples=20):
        assert text.text.removesuffix(" ").split()[-1] == "b"


def test_what_cannot_be_is_said() -> None:
    model = small(smoothing="mle")
    with pytest.raises(LmError, match=r"no text of at most 3 tokens is as contains 'c b a b'"):
        sample(model, contains="c b a b", max_tokens=3)
    with pytest.raises(LmError, match=r"no text of at most 3 tokens"):
        list(stream(model, contains="c b a b", max_tokens=3))
    bigram = random_model(encoder("a b c . a", "whitespace"), 7)
    with pytest.raises(LmError, match=r"none of 50 texts is as contains 'a a a a a' and ends_with"):
        sample(bigram, max_tokens=5, contains="a a a a a", ends_with="b", max_draws=50)
    with pytest.raises(UsageError, match=r"contains has 'zebra', a token that the model does not"):
        sample(model, contains="a zebra")
    with pytest.raises(UsageError, match="ends_with must be a text of at least one token"):
        sample(model, ends_with=" ")
    with Batcher(model) as batcher, pytest.raises(UsageError, match="draws each text once"):
        batcher.submit(contains="a")


@given(st.lists(st.text("ab", min_size=1, max_size=3), max_size=2), st.text("ab", max_size=8))
def test_phrases_are_found_as_python_finds_them(contains: list[str], text: str) -> None:
    known = encoder("ab\n", "char")
    phrases = Phrases(known, SamplingSettings(contains=tuple(contains), ends_with="ab"))
    wanted = all(each in text for each in contains) and text.endswith("ab")
    assert phrases.are_kept(known.encode_prompt(text).tolist()) == wanted
    assert START in phrases.reachable()


@pytest.mark.parametrize("width", [1, 2, 400])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"stop": (".",)},
        {"stop": (".",), "min_tokens": 3},
        {"no_repeat": 1, "max_tokens": 3},
        {"top_k": 2, "temperature": 0.5},
    ],
    ids=str,
)
def test_a_wide_beam_finds_the_most_probable_texts(changes: dict[str, Any], width: int) -> None:
    model = random_model(encoder("a b c . a", "whitespace"), 3)
    settings = SamplingSettings(**{"max_tokens": 4} | changes)
    found = beam(model, "a", settings, width=width, samples=min(width, 3))
    if width == 1:
        greedy = settings.__class__(**{**vars(settings), "temperature": 0.0})
        if "no_repeat" not in changes and "min_tokens" not in changes:
            assert found[0].ids == sample(model, "a", greedy)[0].ids
    if width < 400 or "no_repeat" in changes or "min_tokens" in changes:
        assert all(text.ids[-1] for text in found)
    else:
        texts = all_texts(model, settings, "a")
        best = sorted(texts.values())[-3:]
        assert [texts[tuple(text.ids)] for text in found] == pytest.approx(best[::-1])
    for text in found:
        ids = np.concatenate((model.encoder.encode_prompt("a"), text.ids)).astype(np.int32)
        np.testing.assert_allclose(text.log_probs, model.score(ids)[1:], rtol=1e-6)
    if "no_repeat" in changes:
        assert all(len({*text.ids, 3}) == len(text.ids) + 1 for text in found)
    if "min_tokens" in changes:
        assert all(len(text.ids) >= 3 for text in found)


@pytest.mark.parametrize("boundaries", list(Boundaries))
def test_a_beam_of_sentences_goes_on_as_sampling_does(boundaries: Boundaries) -> None:
    model = small(boundaries)
    settings = SamplingSettings(max_tokens=4)
    texts = all_texts(model, settings)
    [best] = beam(model, "", settings, width=5000)
    assert tuple(best.ids) == max(texts, key=lambda text: texts[text])
    assert best.text == model.encoder.decode(best.ids).removesuffix("\x1e")


def test_a_beam_out_of_bounds() -> None:
    model = small()
    for options in ({"samples": 3, "width": 2}, {"width": 0}, {"contains": "a"}):
        with pytest.raises(UsageError, match="beam"):
            beam(model, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("most", [1, 2, 3])
@pytest.mark.parametrize("boundaries", list(Boundaries))
def test_no_longer_run_is_copied(most: int, boundaries: Boundaries) -> None:
    model = small(boundaries)
    ids = model.encoder.encode("a b c a b a c b . a a b")
    runs = {tuple(ids[at : at + most + 1].tolist()) for at in range(len(ids) - most)}
    prompt = model.encoder.encode_prompt("a b")
    settings = SamplingSettings(max_tokens=12)
    forbidden = MaxCopy(most, ids)
    shortest = 99
    for text in sample(model, "a b", settings, 4, samples=50, conditions=[forbidden]):
        whole = [*prompt.tolist(), *text.ids]
        for at in range(1, len(whole) - most):
            run = tuple(whole[at : at + most + 1])
            assert run not in runs or at + most + 1 <= len(prompt)
        shortest = min(shortest, len(set(text.ids)))
    assert forbidden._last.size == 0  # each text has a copy


def test_only_what_would_be_copied_is_left_out() -> None:
    text = np.array([3, 4, 5, 3, 4, 6, BOS, 4], np.int32)
    condition = MaxCopy(2, text)
    for token in (3, 4):
        condition.push(token)
    row = np.zeros(8)
    assert np.flatnonzero(np.isinf(condition.apply(row))).tolist() == [5, 6]
    condition.push(6)
    assert not np.isinf(condition.apply(row)).any()
    with pytest.raises(UsageError, match="at least 1"):
        MaxCopy(0, text)


def test_several_prompts_are_drawn_in_their_order() -> None:
    model = small()
    prompts = ["a", "a b", "c", ""] * 80
    drawn = list(sample_each(model, prompts, seed=3, samples=2, max_tokens=6))
    assert [len(each) for each in drawn] == [2] * len(prompts)
    [rngs] = [np.random.default_rng(3).spawn(2 * len(prompts))]
    for number in (0, 5, 200):
        rng = rngs[2 * number]
        from lmsuite.generation.batch import Batch, Continuation

        ids = model.encoder.encode_prompt(prompts[number])
        batch = Batch(model)
        batch.join(
            [Continuation(model.encoder, ids, SamplingSettings(max_tokens=6), rng)],
            model.read(model.start(1), ids),
        )
        alone = []
        for _ in range(6):
            [piece] = batch.draw()
            assert not isinstance(piece, LmError)
            alone.append(piece.id)
            batch.read([0])
        assert drawn[number][0].ids == alone
