"""Copied runs and new n-grams, against brute force."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmsuite.analysis.novelty import ORDERS, novelty
from lmsuite.text.vocabulary import BOS


def pieces(ids: list[int]) -> list[tuple[int, ...]]:
    """The ids between line starts."""
    parts: list[list[int]] = [[]]
    for i in ids:
        if i == BOS:
            parts.append([])
        else:
            parts[-1].append(i)
    return [tuple(part) for part in parts]


def ngrams(parts: list[tuple[int, ...]], n: int) -> list[tuple[int, ...]]:
    return [part[i : i + n] for part in parts for i in range(len(part) - n + 1)]


def brute_force(samples: list[list[int]], text: list[int]) -> tuple[int, dict[int, float | None]]:
    known, drawn = pieces(text), [part for sample in samples for part in pieces(sample)]
    longest, novel = 0, {}
    for n in range(1, 1 + max(map(len, drawn), default=0)):
        if set(ngrams(drawn, n)) & set(ngrams(known, n)):
            longest = n
    for n in ORDERS:
        own, others = ngrams(drawn, n), set(ngrams(known, n))
        novel[n] = sum(gram not in others for gram in own) / len(own) if own else None
    return longest, novel


TOKENS = st.lists(st.sampled_from([BOS, 3, 4, 5]), max_size=40)


@given(st.lists(TOKENS, max_size=3), TOKENS)
@settings(max_examples=300, deadline=None)
def test_agrees_with_brute_force(samples: list[list[int]], text: list[int]) -> None:
    arrays = [np.array(sample, np.int32) for sample in samples]
    found = novelty(arrays, np.array(text, np.int32))
    longest, novel = brute_force(samples, text)
    assert len(found.copied) == longest
    assert found.novel == pytest.approx(novel)
    run = tuple(found.copied.tolist())
    assert longest == 0 or run in ngrams([part for s in samples for part in pieces(s)], longest)
    assert longest == 0 or run in ngrams(pieces(text), longest)


def test_longer_texts_agree_with_brute_force() -> None:
    rng = np.random.default_rng(0)
    text = rng.integers(3, 7, 1500)
    copied = np.concatenate([rng.integers(3, 7, 30), text[700:777], rng.integers(3, 7, 30)])
    found = novelty([copied.astype(np.int32)], text.astype(np.int32))
    longest, novel = brute_force([copied.tolist()], text.tolist())
    assert len(found.copied) == longest >= 77
    assert found.novel == pytest.approx(novel)
    assert found.tokens == 137


def test_worked_example() -> None:
    # text abcabd, sample abdabca: runs abd, abca. Of its trigrams abd bda dab abc bca, two are new.
    text, sample = np.array([3, 4, 5, 3, 4, 6]), np.array([3, 4, 6, 3, 4, 5, 3])
    found = novelty([sample.astype(np.int32)], text.astype(np.int32))
    assert found.copied.tolist() == [3, 4, 5, 3]
    assert found.novel[3] == 2 / 5
    assert found.novel[8] is None


def test_a_megabyte_is_quick_even_if_all_is_copied() -> None:
    text = np.random.default_rng(0).integers(3, 60, 1_000_000).astype(np.int32)
    began = time.perf_counter()
    found = novelty([text[1234:101_234]], text)
    assert len(found.copied) == 100_000
    assert set(found.novel.values()) == {0.0}
    assert time.perf_counter() - began < 20  # about 2 s on one core
