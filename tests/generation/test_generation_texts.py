"""Filters against their definitions and, by chi-square, against what is really drawn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from bigram_model import BigramModel, encoder, random_model, uniform

from lmsuite.errors import LmError, UsageError
from lmsuite.generation import Filter, SamplingSettings, draw_ids, filtered_probs, sample, stream
from lmsuite.generation.batch import Batch, Continuation, Piece
from lmsuite.models.interface import LanguageModel, State
from lmsuite.models.ngram import NgramModel, NgramSettings
from lmsuite.text.encoding import Boundaries, TextEncoder, TextSettings
from lmsuite.text.vocabulary import BOS, EOS, UNK
from lmsuite.types import FloatArray, IntArray

NO_IDS = np.array([], dtype=np.int32)
DRAWS = 100_000


def streamed(model: LanguageModel, *arguments: Any) -> str:
    """The texts of all pieces that `stream` gives."""
    return "".join(piece.text for piece in stream(model, *arguments))


def filtered(probs: list[float], **settings: float) -> list[float]:
    with np.errstate(divide="ignore"):
        logs = np.log(np.array([probs]))
    return filtered_probs(logs, SamplingSettings(**settings))[0].tolist()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [0.5, 0.2, 0.2, 0.1]),
        # p^2: 0.25, 0.04, 0.04, 0.01, together 0.34
        ({"temperature": 0.5}, [25 / 34, 4 / 34, 4 / 34, 1 / 34]),
        ({"temperature": 0.0}, [1, 0, 0, 0]),
        ({"top_k": 1}, [1, 0, 0, 0]),
        ({"top_k": 2}, [5 / 7, 2 / 7, 0, 0]),  # of equals, the smaller id
        ({"top_k": 9}, [0.5, 0.2, 0.2, 0.1]),
        ({"top_p": 0.49}, [1, 0, 0, 0]),
        ({"top_p": 0.51}, [5 / 7, 2 / 7, 0, 0]),
        ({"top_p": 0.85}, [5 / 9, 2 / 9, 2 / 9, 0]),
        ({"min_p": 0.39}, [5 / 9, 2 / 9, 2 / 9, 0]),
        ({"min_p": 0.41}, [1, 0, 0, 0]),
        ({"min_p": 1.0}, [1, 0, 0, 0]),
        # top-k leaves 5/9, 2/9, 2/9; of these, the first two reach 0.7
        ({"top_k": 3, "top_p": 0.7}, [5 / 7, 2 / 7, 0, 0]),
        # squared first: 25/34 reaches 0.7 alone, which 0.5 would not
        ({"temperature": 0.5, "top_p": 0.7}, [1, 0, 0, 0]),
        ({"temperature": 2.0, "min_p": 0.5}, None),
    ],
)
def test_filters_by_hand(settings: dict[str, float], expected: list[float] | None) -> None:
    if expected is None:
        # Roots: .7071, .4472, .4472, .3162; half of the largest is .3536.
        roots = np.sqrt([0.5, 0.2, 0.2, 0.0])
        expected = (roots / roots.sum()).tolist()
    assert filtered([0.5, 0.2, 0.2, 0.1], **settings) == pytest.approx(expected)


def test_rows_are_filtered_one_by_one() -> None:
    probs = np.random.default_rng(0).dirichlet(np.ones(20), 50)
    settings = SamplingSettings(temperature=0.7, top_k=12, top_p=0.8, min_p=0.02)
    together = filtered_probs(np.log(probs), settings)
    for row, expected in zip(probs, together, strict=True):
        assert filtered_probs(np.log(row[None]), settings)[0] == pytest.approx(expected)
    assert together.sum(axis=1) == pytest.approx(np.ones(50))


def test_the_log_probs_given_are_not_changed() -> None:
    logs = np.log(np.array([[0.5, 0.3, 0.2]]))
    before = logs.copy()
    filtered_probs(logs, SamplingSettings(temperature=0.5, top_k=2, min_p=0.1), np.array([0]))
    assert (logs == before).all()


def test_excluded_ids_are_let_through_only_if_nothing_else_is_left() -> None:
    with np.errstate(divide="ignore"):
        logs = np.log(np.array([[0.9, 0.1, 0.0], [1.0, 0.0, 0.0]]))
    probs = filtered_probs(logs, SamplingSettings(), np.array([0], dtype=np.int32))
    assert probs.tolist() == [[0, 1, 0], [1, 0, 0]]


def test_no_probability_at_all_is_an_error() -> None:
    with pytest.raises(LmError, match="no token any probability"):
        filtered_probs(np.full((1, 3), -np.inf), SamplingSettings())


def test_cold_temperatures_do_not_overflow() -> None:
    assert filtered([0.5, 0.3, 0.2], temperature=1e-8) == [1, 0, 0]


@pytest.mark.parametrize(
    "settings",
    [
        SamplingSettings(),
        SamplingSettings(temperature=0.6),
        SamplingSettings(temperature=1.7),
        SamplingSettings(top_k=10),
        SamplingSettings(top_p=0.75),
        SamplingSettings(min_p=0.2),
        SamplingSettings(temperature=1.3, top_k=25, top_p=0.9, min_p=0.02),
    ],
    ids=str,
)
def test_draws_follow_the_filtered_distribution(settings: SamplingSettings) -> None:
    """Pearson's chi-square of 100,000 draws; the bound is the quantile of one in a million."""
    log_probs, excluded = random_row()
    rows = np.tile(log_probs, (DRAWS, 1))
    ids = draw_ids(
        rows,
        Filter(settings, log_probs.shape[1], excluded),
        np.random.default_rng(11).random(len(rows)),
    )
    expected = filtered_probs(log_probs, settings, excluded)[0] * DRAWS
    observed = np.bincount(ids, minlength=len(expected))
    possible = expected > 0
    assert observed[~possible].sum() == 0
    statistic = float(((observed - expected)[possible] ** 2 / expected[possible]).sum())
    assert statistic < chi_square_quantile(int(possible.sum()) - 1, ONE_IN_A_MILLION)


def test_rows_of_hardly_any_probability_are_drawn_from_all_the_same() -> None:
    """What is left by the excluded ids may be too little for a float64."""
    log_probs = np.array([[0.0, -800.0, -801.0], [-0.5, -1.0, -2.0]])
    tokens = Filter(SamplingSettings(), 3, np.array([0], np.int32))
    drawn = [
        draw_ids(log_probs, tokens, np.random.default_rng(seed).random(len(log_probs))).tolist()
        for seed in range(9)
    ]
    assert {first for first, _ in drawn} == {1, 2} == {second for _, second in drawn}


def random_row() -> tuple[FloatArray, IntArray]:
    """Log-probabilities (1, 43), and the ids that are not to be drawn."""
    model = random_model(encoder("".join(map(chr, range(97, 137))), "char"), seed=5)
    return model.log_probs(model.start(1)), np.array([UNK, BOS, EOS], dtype=np.int32)


ONE_IN_A_MILLION = 4.7534  # standard deviations of the normal distribution


def chi_square_quantile(degrees: int, z: float) -> float:
    """What chi-square exceeds as often as a normal variable exceeds z (Wilson, Hilferty 1931)."""
    third = 2 / (9 * degrees)
    return float(degrees * (1 - third + z * third**0.5) ** 3)


def test_the_quantile_is_that_of_printed_tables() -> None:
    assert chi_square_quantile(30, 3.0902) == pytest.approx(59.70, abs=0.2)


def test_same_seed_same_text_and_another_seed_another() -> None:
    model = random_model(encoder("abcdefghij\n", "char"))
    settings = SamplingSettings(max_tokens=200)
    texts = [streamed(model, NO_IDS, settings, s) for s in (7, 7, 8)]
    assert texts[0] == texts[1] != texts[2]
    assert len(texts[0]) == 200


def test_stream_and_sample_write_the_same() -> None:
    text = encoder("the cat, the dog. A bird\nsang 'loud' to-day!\n", "word")
    model = random_model(text, seed=3)
    settings = SamplingSettings(max_tokens=80)
    prompt = text.encode_prompt("the dog")
    pieces = list(stream(model, prompt, settings, 1))
    (drawn,) = sample(model, prompt, settings, 1)
    assert drawn.text == "".join(piece.text for piece in pieces)
    assert drawn.ids == [piece.id for piece in pieces]
    assert drawn.log_probs == [piece.log_prob for piece in pieces]
    assert [piece.finish_reason for piece in pieces] == [None] * 79 + ["length"]
    assert text.decode([*prompt, *drawn.ids]) == "the dog" + drawn.text
    assert sample(model, "the dog", settings, 1) == sample(model, "the dog", seed=1, max_tokens=80)
    assert sample(model, "the dog", seed=np.random.default_rng(1), max_tokens=80) == [drawn]


def test_log_probs_are_the_models_own() -> None:
    model = random_model(encoder("abcdef", "char"))
    settings = SamplingSettings(temperature=0.5, top_k=3, max_tokens=30)
    (drawn,) = sample(model, NO_IDS, settings, 1)
    expected = model.score(np.array(drawn.ids, dtype=np.int32))
    assert drawn.log_probs == pytest.approx(expected.tolist())


def test_the_prompt_is_read_but_not_repeated() -> None:
    text = encoder("abc", "char")
    # a is followed by b, b by c, c by a; the start by a.
    table = np.zeros((6, 6))
    table[[0, 1, 2, 3, 4, 5], [3, 3, 3, 4, 5, 3]] = 1.0
    model = BigramModel(text, table)
    prompt = text.encode_prompt("ab")
    rng = np.random.default_rng(0)
    assert streamed(model, prompt, SamplingSettings(max_tokens=4), rng) == "cabc"
    samples = sample(model, prompt, SamplingSettings(max_tokens=4), rng, samples=3)
    assert [drawn.text for drawn in samples] == ["cabc"] * 3


def test_a_model_of_lines_begins_anew_after_each() -> None:
    text = encoder("a b", "whitespace", Boundaries.LINES)
    # <s> a, a b, b </s>; a step after </s> itself would fail: its row is empty.
    table = np.zeros((5, 5))
    table[BOS, 3] = table[3, 4] = table[4, EOS] = 1.0
    (drawn,) = sample(BigramModel(text, table), NO_IDS, SamplingSettings(max_tokens=7), 0)
    assert drawn.text == "a b\na b\na"
    assert drawn.ids == [3, 4, EOS, 3, 4, EOS, 3]


def test_a_model_of_documents_writes_one_and_ends_with_it() -> None:
    text = encoder("a\nb", "char", Boundaries.DOCUMENTS)  # newline, a, b
    table = np.zeros((6, 6))
    table[BOS, 4] = table[4, 3] = table[3, 5] = table[5, EOS] = 1.0
    model, settings = BigramModel(text, table), SamplingSettings(max_tokens=7)
    drawn, again = sample(model, NO_IDS, settings, 0, samples=2)
    assert drawn == again
    assert (drawn.text, drawn.ids) == ("a\nb", [4, 3, 5, EOS])
    pieces = list(stream(model, "a", settings, 0))
    assert [piece.text for piece in pieces] == ["\n", "b", ""]
    assert [piece.finish_reason for piece in pieces] == [None, None, "stop"]
    stopped = sample(model, NO_IDS, replace(settings, stop=("b\n",)), 0)[0]
    assert stopped.text == "a\nb"  # what was held back is given


@pytest.mark.parametrize(
    ("stops", "expected"),
    [
        (("cab",), "ab"),  # the text is abcabcabc…
        (("ca", "bc"), "a"),
        (("bcabd", "cabce"), "abcabcabcabc"),  # only beginnings of these appear
        (("abcabcabcabca",), "abcabcabcabc"),
    ],
)
def test_stop_texts_end_before_they_appear(stops: tuple[str, ...], expected: str) -> None:
    text = encoder("abc", "char")
    table = np.zeros((6, 6))
    table[[0, 1, 2, 3, 4, 5], [3, 3, 3, 4, 5, 3]] = 1.0
    settings = SamplingSettings(max_tokens=12, stop=stops)
    model = BigramModel(text, table)
    assert streamed(model, NO_IDS, settings, 0) == expected
    (drawn,) = sample(model, NO_IDS, settings, 0)
    assert drawn.text == expected


def test_samples_stop_each_at_its_own_time() -> None:
    model = uniform(encoder("abcdefgh.", "char"))
    settings = SamplingSettings(max_tokens=100, stop=(".",))
    samples = sample(model, NO_IDS, settings, 4, samples=20)
    lengths = {len(drawn.ids) for drawn in samples}
    assert len(lengths) > 5
    for drawn in samples:
        assert "." not in drawn.text
        assert len(drawn.text) == len(drawn.ids) - 1


def test_no_tokens_asked_for_none_given() -> None:
    model = uniform(encoder("ab", "char"))
    settings = SamplingSettings(max_tokens=0)
    assert streamed(model, NO_IDS, settings, 0) == ""


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -0.1},
        {"temperature": float("nan")},
        {"top_k": -1},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"min_p": -0.1},
        {"max_tokens": -1},
        {"stop": ("",)},
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        SamplingSettings(**wrong)  # type: ignore[arg-type]


def test_a_text_depends_on_the_seed_and_its_number_alone() -> None:
    """Not on how many others there are, nor on whether it is streamed."""
    text = encoder("a b c d e f\n" * 3, "word")
    model = random_model(text, seed=3)
    settings = SamplingSettings(max_tokens=70, top_p=0.9)  # more than are drawn at a time
    by_number = {
        samples: [t.ids for t in sample(model, NO_IDS, settings, 1, samples=samples)]
        for samples in (1, 2, 5)
    }
    assert by_number[1] == by_number[5][:1]
    assert by_number[2] == by_number[5][:2]
    assert by_number[5][0] != by_number[5][1]
    text_alone = streamed(model, NO_IDS, settings, 1)
    assert text_alone == sample(model, NO_IDS, settings, 1, samples=3)[0].text


def test_a_stop_text_can_be_kept_and_may_be_a_string() -> None:
    model = uniform(encoder("a b\n", "char"))
    whole = sample(model, NO_IDS, SamplingSettings(), 5)[0].text
    stop = whole[20:23]
    for keep in (False, True):
        settings = SamplingSettings(stop=stop, keep_stop=keep)  # type: ignore[arg-type]
        end = whole.index(stop) + (len(stop) if keep else 0)
        assert sample(model, NO_IDS, settings, 5)[0].text == whole[:end]
        assert streamed(model, NO_IDS, settings, 5) == whole[:end]


def test_no_samples_are_refused() -> None:
    model = uniform(encoder("a b\n", "word"))
    with pytest.raises(UsageError, match="0 samples: at least 1"):
        sample(model, NO_IDS, SamplingSettings(), 1, samples=0)


@pytest.mark.parametrize("value", [float("inf"), float("nan"), -1.0])
def test_a_temperature_is_finite(value: float) -> None:
    with pytest.raises(UsageError, match=f"temperature must be .*at least 0, not {value:g}"):
        SamplingSettings(temperature=value)


def test_a_part_of_a_character_waits_for_the_rest() -> None:
    """The tokens are single bytes, of which these characters have two to four."""
    written = "größe: 5 € – naïve 😀!\n"
    how = TextSettings(tokenizer="bpe", bpe_size=256)
    text, ids = TextEncoder.train(written * 30, how)
    model = NgramModel.fit(text, ids, NgramSettings(order=6))
    pieces = list(stream(model, written, temperature=0, max_tokens=len(written.encode())))
    assert [piece.text for piece in pieces if piece.text] == list(written)
    assert [piece.text for piece in pieces].count("") == len(written.encode()) - len(written)
    cut = list(stream(model, "gr", temperature=0, max_tokens=1))
    assert [(piece.text, piece.finish_reason) for piece in cut] == [("\ufffd", "length")]
    assert sample(model, "gr", temperature=0, max_tokens=1)[0].text == "\ufffd"


@pytest.mark.parametrize("keep", [False, True])
def test_pieces_hold_back_what_may_begin_a_stop_text(keep: bool) -> None:
    text = encoder("abc", "char")
    table = np.zeros((6, 6))
    table[[0, 1, 2, 3, 4, 5], [3, 3, 3, 4, 5, 3]] = 1.0  # abcabc…
    model = BigramModel(text, table)
    pieces = list(stream(model, "", stop="cabca", keep_stop=keep))
    assert [piece.text for piece in pieces] == ["a", "b", *[""] * 4, "cabca" if keep else ""]
    assert [piece.finish_reason for piece in pieces] == [None] * 6 + ["stop"]
    held = list(stream(model, "", stop="cabcx", max_tokens=5))
    assert [piece.text for piece in held] == ["a", "b", "", "", "cab"]
    assert held[-1].finish_reason == "length"


def test_a_stream_draws_no_more_than_is_asked_for() -> None:
    drawn = []

    class Counting(BigramModel):
        def log_probs(self, state: State) -> FloatArray:
            drawn.append(len(state))
            return super().log_probs(state)

    text = encoder("abc", "char")
    pieces = stream(Counting(text, uniform(text).table), "", max_tokens=10**9)
    assert drawn == []
    for _ in range(5):
        next(pieces)
    assert drawn == [1] * 5


def test_what_is_no_prompt_and_no_setting_is_refused_before_anything_is_drawn() -> None:
    model = uniform(encoder("a b\n", "word"))
    for call in (sample, stream):
        with pytest.raises(UsageError, match="ids are whole numbers"):
            call(model, SamplingSettings())  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="temperature"):
            call(model, "a", temperature=-1)
        with pytest.raises(TypeError, match="temp"):
            call(model, "a", temp=1)


def test_texts_with_other_filters_are_drawn_side_by_side() -> None:
    """Each from its own row, with its own filter, whoever joins or leaves."""
    model = random_model(encoder("abcdefghij\n", "char"), seed=4)
    ways = [SamplingSettings(max_tokens=9 + n, top_k=n % 3, temperature=1 + n) for n in range(7)]
    batch, ids = Batch(model), [[] for _ in ways]  # type: ignore[var-annotated]
    numbers: list[int] = []
    for n, how in enumerate(ways):
        [rng] = np.random.default_rng(n).spawn(1)
        batch.join([Continuation(model.encoder, NO_IDS, how, rng)], model.start(1))
        numbers.append(n)
        while batch.texts:
            pieces = batch.draw()
            going = []
            for row, piece in enumerate(pieces):
                assert isinstance(piece, Piece)
                ids[numbers[row]].append(piece.id)
                if piece.finish_reason is None:
                    going.append(row)
            batch.read(going)
            numbers = [numbers[row] for row in going]
            if n + 1 < len(ways):
                break
    for n, how in enumerate(ways):
        assert ids[n] == sample(model, NO_IDS, how, n)[0].ids
