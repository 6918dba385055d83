"""Counts, adjusted counts and discounts, against slow definitions of them."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmsuite.ngram.counting import NgramCounts, _sort_within_groups, count_ngrams
from lmsuite.ngram.discounts import (
    FALLBACK,
    SINGLE_FALLBACK,
    counts_of_counts,
    modified_discounts,
    single_discount,
)
from lmsuite.ngram.smoothing.kneser_ney import adjusted_counts

V = 7
BOS, EOS = 1, 2
words = st.sampled_from([0, 3, 4, 5, 6])
streams = st.lists(words, min_size=1, max_size=40)
lines = st.lists(st.lists(words, max_size=8), min_size=1, max_size=6)

Ngram = tuple[int, ...]


def as_ids(sentences: list[list[int]]) -> list[int]:
    return [id for sentence in sentences for id in [BOS, *sentence, EOS]]


def brute_force(sequences: list[list[int]], n: int) -> Counter[Ngram]:
    return Counter(tuple(s[at : at + n]) for s in sequences for at in range(len(s) - n + 1))


def spelled(counts: NgramCounts, n: int) -> list[Ngram]:
    """The words of the n-grams of order n, by index."""
    order = counts.orders[n - 1]
    if n == 1:
        return [(word,) for word in order.word.tolist()]
    shorter = spelled(counts, n - 1)
    pairs = zip(order.prefix.tolist(), order.word.tolist(), strict=True)
    return [(*shorter[prefix], word) for prefix, word in pairs]


def check_counts(ids: list[int], sequences: list[list[int]], *, sentences: bool) -> None:
    counts = count_ngrams(np.array(ids, dtype=np.int32), V, 5, sentences=sentences)
    for n in range(2, 6):
        order = counts.orders[n - 1]
        ngrams = spelled(counts, n)
        assert ngrams == sorted(ngrams)
        assert dict(zip(ngrams, order.count.tolist(), strict=True)) == brute_force(sequences, n)
        shorter = spelled(counts, n - 1)
        assert [shorter[suffix] for suffix in order.suffix.tolist()] == [g[1:] for g in ngrams]
        starting = range(len(ngrams))[order.sentence_starts]
        assert list(starting) == [at for at, ngram in enumerate(ngrams) if ngram[0] == BOS]
    unigrams = brute_force(sequences, 1)
    unigrams.pop((BOS,), None)
    assert counts.orders[0].count.tolist() == [unigrams[(word,)] for word in range(V)]


@given(streams)
def test_stream_counts_are_those_of_a_counter(stream: list[int]) -> None:
    check_counts(stream, [stream], sentences=False)


@given(lines)
def test_line_counts_never_cross_a_line(sentences: list[list[int]]) -> None:
    check_counts(as_ids(sentences), [[BOS, *s, EOS] for s in sentences], sentences=True)


@given(st.lists(streams, min_size=1, max_size=3))
def test_a_start_symbol_in_a_stream_begins_it_anew(parts: list[list[int]]) -> None:
    ids = [id for part in parts for id in [BOS, *part]]
    check_counts(ids, parts, sentences=False)


@pytest.mark.parametrize("scale", [1, 1 << 58], ids=["packed", "too wide to pack"])
@pytest.mark.parametrize("portion", [1, 50, 1000])
def test_sorting_within_groups(scale: int, portion: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lmsuite.ngram.counting._IN_CACHE", portion)
    rng = np.random.default_rng(1)
    group = np.sort(rng.integers(0, 60, 200))
    word, position = rng.integers(0, 4, 200) * scale, rng.permutation(200)
    stable = np.lexsort((np.arange(200), word, group))
    expected = word[stable].tolist(), position[stable].tolist()
    _sort_within_groups(group, word, position)
    assert (word.tolist(), position.tolist()) == expected


@given(lines)
@settings(max_examples=50)
def test_adjusted_counts_of_lines_are_numbers_of_preceding_words(
    sentences: list[list[int]],
) -> None:
    sequences = [[BOS, *s, EOS] for s in sentences]
    counts = count_ngrams(np.array(as_ids(sentences)), V, 4, sentences=True)
    adjusted = adjusted_counts(counts)
    for n in range(1, 4):
        preceding = defaultdict(set)
        for ngram in brute_force(sequences, n + 1):
            preceding[ngram[1:]].add(ngram[0])
        occurrences = brute_force(sequences, n)
        for ngram, count in zip(spelled(counts, n), adjusted[n - 1].tolist(), strict=True):
            if ngram == (BOS,):
                assert count == 0
            elif ngram[0] == BOS:
                assert count == occurrences[ngram]
            else:
                assert count == len(preceding[ngram])
    assert adjusted[3].tolist() == counts.orders[3].count.tolist()


@given(streams)
@settings(max_examples=50)
def test_the_beginning_of_a_stream_counts_as_a_preceding_word(stream: list[int]) -> None:
    counts = count_ngrams(np.array(stream), V, 3, sentences=False)
    adjusted = adjusted_counts(counts)
    for n in (1, 2):
        for ngram, count in zip(spelled(counts, n), adjusted[n - 1].tolist(), strict=True):
            before = {
                stream[at - 1] if at else None
                for at in range(len(stream) - n + 1)
                if tuple(stream[at : at + n]) == ngram
            }
            assert count == len(before)


def test_counts_of_counts() -> None:
    assert counts_of_counts(np.array([0, 1, 1, 2, 5, 9, 4])).tolist() == [1, 2, 1, 0, 1, 1, 0]


def test_modified_discounts_by_hand() -> None:
    # n1..n4 = 8, 4, 3, 2: Y = 8 / (8 + 8) = 1/2; D1 = 1 - 2/2 * 4/8 = 1/2;
    # D2 = 2 - 3/2 * 3/4 = 7/8; D3 = 3 - 4/2 * 2/3 = 5/3.
    count = np.repeat([1, 2, 3, 4, 11], [8, 4, 3, 2, 6])
    discounts, messages = modified_discounts(counts_of_counts(count), 2)
    assert discounts.as_tuple() == pytest.approx((1 / 2, 7 / 8, 5 / 3))
    assert messages == []
    assert discounts.of(np.array([0, 1, 2, 3, 50])).tolist() == pytest.approx(
        [0, 1 / 2, 7 / 8, 5 / 3, 5 / 3]
    )


@pytest.mark.parametrize(
    ("count", "reason"),
    [
        ([1, 1, 3, 3], "no 4-gram has an adjusted count of 2"),
        # Y = 3 / (3 + 2); D2 = 2 - 3 * 3/5 * 5/1 = -7.
        ([1, 1, 1, 2, 3, 3, 3, 3, 3], "the closed form gives -7 for a count of 2"),
    ],
)
def test_unusable_counts_of_counts_fall_back_and_say_why(count: list[int], reason: str) -> None:
    discounts, [message] = modified_discounts(counts_of_counts(np.array(count)), 4)
    assert discounts is FALLBACK
    assert "order 4" in message and "0.5, 1, 1.5" in message and reason in message


def test_single_discount_and_its_fallback() -> None:
    discounts, messages = single_discount(counts_of_counts(np.array([1, 1, 1, 2, 7])), 1)
    assert discounts.as_tuple() == pytest.approx((3 / 5,) * 3) and messages == []
    discounts, [message] = single_discount(counts_of_counts(np.array([1, 1, 7])), 3)
    assert discounts is SINGLE_FALLBACK
    assert "order 3" in message and "0.75" in message
