"""Every figure by hand, on models small enough for it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from bigram_model import BigramModel, encoder, random_model, uniform

from lmsuite.analysis import evaluation
from lmsuite.analysis.evaluation import evaluate, in_blocks
from lmsuite.errors import DataError, UsageError
from lmsuite.files.stored_text import TextWriter
from lmsuite.models.cache import CacheModel, CacheSettings
from lmsuite.models.interface import LanguageModel
from lmsuite.text import encoding, long_texts
from lmsuite.text.encoding import Boundaries
from lmsuite.text.vocabulary import BOS, EOS, UNK


def test_uniform_model_has_the_vocabulary_size_as_perplexity() -> None:
    model = uniform(encoder("a b c", "whitespace", Boundaries.LINES))  # <unk> </s> a b c: 5
    result = evaluate(model, "a c\nb\n", name="u")
    # a c </s> b </s>: 5 tokens at ln 5 each; "a c\nb\n" has 6 characters.
    assert result.tokens == 5
    assert result.oov == 0
    assert result.perplexity == pytest.approx(5)
    assert result.perplexity_without_oov == pytest.approx(5)
    assert result.cross_entropy == pytest.approx(math.log(5))
    assert result.chars == 6
    assert result.bits_per_char == pytest.approx(5 * math.log2(5) / 6)


def test_oov_is_charged_the_unknown_token_or_left_out_of_sum_and_count() -> None:
    text = encoder("a b", "whitespace", Boundaries.LINES)
    # <unk> <s> </s> a b; whatever came before: 1/8 for <unk>, 1/2 </s>, 1/4 a, 1/8 b.
    model = BigramModel(text, np.tile([1 / 8, 0, 1 / 2, 1 / 4, 1 / 8], (5, 1)))
    result = evaluate(model, "a zebra b", name="m")
    # a 1/4, zebra 1/8, b 1/8, </s> 1/2: 2 + 3 + 3 + 1 = 9 bits, 6 without the zebra.
    assert (result.tokens, result.oov) == (4, 1)
    assert result.perplexity == pytest.approx(2 ** (9 / 4))
    assert result.perplexity_without_oov == pytest.approx(2 ** (6 / 3))
    assert result.bits_per_char == pytest.approx(9 / 9)


def test_only_oov_has_no_perplexity_without_it() -> None:
    result = evaluate(uniform(encoder("abc", "char")), "xyz", name="m")
    assert result.oov == result.tokens == 3
    assert math.isnan(result.perplexity_without_oov)


def test_a_zero_probability_makes_infinity_and_is_counted() -> None:
    text = encoder("ab", "char")
    model = BigramModel(text, np.tile([0.0, 0, 0, 1, 0], (5, 1)))
    result = evaluate(model, "aabab", name="m")
    assert result.zero_tokens == 2
    assert math.isinf(result.cross_entropy)
    assert math.isinf(result.perplexity)
    assert math.isinf(result.bits_per_char)


def test_a_perplexity_too_large_for_a_float_is_infinite() -> None:
    text = encoder("ab", "char")
    model = random_model(text)
    model.score = lambda ids: np.full(len(ids), -800.0)  # type: ignore[method-assign]
    result = evaluate(model, "ab", name="m")
    assert result.cross_entropy == 800
    assert math.isinf(result.perplexity)


def test_no_tokens_is_an_error() -> None:
    with pytest.raises(DataError, match="no tokens"):
        evaluate(uniform(encoder("a", "whitespace")), "", name="m")


def test_blocks_of_a_stream_begin_anew() -> None:
    ids = np.arange(3, 10, dtype=np.int32)
    assert in_blocks(ids, 3).tolist() == [BOS, 3, 4, 5, BOS, 6, 7, 8, BOS, 9]


def test_blocks_count_across_lines_and_double_no_start() -> None:
    ids = np.array([BOS, 3, 4, EOS, BOS, 5, 6, EOS], dtype=np.int32)
    assert in_blocks(ids, 2).tolist() == [BOS, 3, 4, BOS, EOS, BOS, 5, BOS, 6, EOS]
    assert in_blocks(ids, 3).tolist() == ids.tolist()


def test_a_block_is_positive() -> None:
    with pytest.raises(UsageError, match="not 0"):
        in_blocks(np.array([3], dtype=np.int32), 0)


def test_block_evaluation_is_the_sum_over_the_blocks() -> None:
    model = random_model(encoder("abcdef", "char"))
    whole = evaluate(model, "fadedcab", name="m", block=3)
    parts = [evaluate(model, part, name="m") for part in ("fad", "edc", "ab")]
    total = sum(part.cross_entropy * part.tokens for part in parts)
    assert whole.cross_entropy == pytest.approx(total / 8)
    assert whole.tokens == 8


@pytest.mark.parametrize("block", [None, 1, 7])
@pytest.mark.parametrize("boundaries", Boundaries)
@pytest.mark.parametrize("window", [2, 50])
def test_nothing_depends_on_the_window(
    boundaries: Boundaries, block: int | None, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The figures, to the bit: of a text in memory, and of one on disk, with an end or without."""
    text = encoder("a bb c äö\n", "char", boundaries)
    rng = np.random.default_rng(3)
    letters = [*"ab cdä\U0001f40e\n", boundaries.end]
    sample = "".join(rng.choice(letters, 300)) + "b"
    models: list[LanguageModel] = [random_model(text), CacheModel(text, CacheSettings(20.0))]
    stored = TextWriter(10)
    stored.write(sample)
    for model in models:
        rng = np.random.default_rng(1)
        expected = evaluate(model, sample, name="m", block=block, rng=rng)
        with monkeypatch.context() as patch:
            patch.setattr(evaluation, "WINDOW", window)
            patch.setattr(encoding, "LONG", 100)
            patch.setattr(long_texts, "thread_count", lambda: 1)
            for given in (sample, stored.text()):
                rng = np.random.default_rng(1)
                found = evaluate(model, given, name="m", block=block, rng=rng)
                if model.remembers_text and block is None:  # the memory is rounded
                    assert found.perplexity_interval == pytest.approx(expected.perplexity_interval)
                    assert found.cross_entropy == pytest.approx(expected.cross_entropy, rel=1e-12)
                else:
                    same = {"seconds": 0.0, "tokens_per_second": 0.0}
                    assert replace(found, **same) == replace(expected, **same)


def test_a_memory_does_not_reach_over_blocks() -> None:
    text = encoder("a b c d\n", "whitespace", Boundaries.LINES)
    cache = CacheModel(text, CacheSettings())
    whole = evaluate(cache, "a b\na\nb c d\n", name="m", block=4)  # a b </s> a | </s> b c d | </s>
    parts = [[BOS, 3, 4, EOS, BOS, 3], [BOS, EOS, BOS, 4, 5, 6], [BOS, EOS]]
    total = sum(cache.score(np.array(part, np.int32)).sum() for part in parts)
    assert whole.cross_entropy == pytest.approx(-total / 9)


@pytest.mark.parametrize("boundaries", Boundaries)
def test_the_interval_is_where_other_texts_of_the_kind_lie(boundaries: Boundaries) -> None:
    text = encoder(f"a b c d{boundaries.end}" * 3, "whitespace", boundaries)
    table = np.zeros((len(text.vocabulary), len(text.vocabulary)))
    table[:, 3:7] = [0.4, 0.3, 0.2, 0.1]
    model = BigramModel(text, table + 1e-3)
    rng = np.random.default_rng(5)

    def drawn() -> str:
        return boundaries.end.join(" ".join(rng.choice(list("abcd"), 8)) for _ in range(40))

    hits = 0
    for _ in range(100):
        low, high = evaluate(model, drawn(), name="m", rng=rng).perplexity_interval or (0, 0)
        hits += low < evaluate(model, drawn() + drawn(), name="m").perplexity < high
    # The rival texts vary too, by half the variance: 95 % becomes erf(1.96 / sqrt(1.5 * 2)) = 89 %.
    assert 80 <= hits <= 97


def test_no_interval_without_rng_for_one_line_or_an_infinite_perplexity() -> None:
    lines = uniform(encoder("a b", "whitespace", Boundaries.LINES))
    text = "a b\n" * 20
    rng = np.random.default_rng(0)
    assert evaluate(lines, text, name="m").perplexity_interval is None
    assert evaluate(lines, text, name="m", rng=rng).perplexity_interval is not None
    assert evaluate(lines, "a b", name="m", rng=rng).perplexity_interval is None
    never_b = BigramModel(lines.encoder, np.tile([0.0, 0, 0.5, 0.5, 0], (5, 1)))
    assert evaluate(never_b, text, name="m", rng=rng).perplexity_interval is None


def test_unknown_is_the_first_id() -> None:
    assert UNK == 0
