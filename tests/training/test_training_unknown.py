"""Words read as <unk> in training: how often, which, and never in vain."""

from __future__ import annotations

import numpy as np
import pytest

from lmsuite.text.encoding import Boundaries, TextEncoder, TextSettings
from lmsuite.text.vocabulary import BOS, EOS
from lmsuite.training.unknown import MaskedWords, expected_counts, unknown_share

# Once: d e f; twice: b; four times: a. D = 3 / (3 + 2·1).
TEXT = "a a a a b b d e f"


def encoded(text: str, **settings: object) -> tuple[TextEncoder, np.ndarray]:
    return TextEncoder.train(text, TextSettings(tokenizer="whitespace", **settings))  # type: ignore[arg-type]


def test_the_share_is_the_discount_of_a_count_of_one() -> None:
    text, ids = encoded(TEXT)
    assert unknown_share(ids, text) == pytest.approx(3 / 5)


def test_line_ends_are_no_words() -> None:
    text, ids = encoded(TEXT, boundaries=Boundaries.LINES)
    assert unknown_share(ids, text) == pytest.approx(3 / 5)
    masked = MaskedWords.of(ids, text, 1.0).drawn(len(ids), np.random.default_rng(1))
    assert masked is not None
    assert not masked[np.isin(ids, [BOS, EOS])].any()
    assert masked.any()


def test_without_words_seen_once_one_of_the_rarest_is_hidden_an_epoch() -> None:
    text, ids = encoded("a a a a b b c c")
    assert unknown_share(ids, text) == pytest.approx(1 / 4)


def test_nothing_is_hidden_where_unknown_words_occur_anyway() -> None:
    text, ids = encoded(TEXT, min_count=2)
    assert unknown_share(ids, text) == 0
    assert MaskedWords.of(ids, text, 0.0).drawn(len(ids), np.random.default_rng(1)) is None


def test_bytes_know_no_unknown_word() -> None:
    text, ids = TextEncoder.train("low lower lowest " * 20, TextSettings(tokenizer="bpe"))
    assert unknown_share(ids, text) == 0


def test_only_the_rarest_are_hidden_each_at_its_share() -> None:
    text, ids = encoded(TEXT)
    words = MaskedWords.of(ids, text, 0.6)
    rng = np.random.default_rng(1)
    epochs = np.stack([words.drawn(len(ids), rng) for _ in range(2000)])
    np.testing.assert_allclose(epochs.mean(axis=0), [0] * 6 + [0.6] * 3, atol=0.05)
    assert not epochs[:, :6].any()


def test_expected_counts_are_the_mean_over_epochs() -> None:
    text, ids = encoded(TEXT)
    # ids: <unk> <s> </s> a b d e f; 3 of share 0.6 move to <unk>
    expected = [1.8, 0, 0, 4, 2, 0.4, 0.4, 0.4]
    np.testing.assert_allclose(expected_counts(ids, text, 0.6), expected)
    np.testing.assert_allclose(expected_counts(ids, text, 0.0), [0, 0, 0, 4, 2, 1, 1, 1])
