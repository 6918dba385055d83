"""Packed n-grams: their words come back, and sorting them counts them in the order of words."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmsuite.ngram.packing import Packing, sorting_of


@st.composite
def packed(draw: st.DrawFn) -> tuple[Packing, list[tuple[int, ...]], list[bool]]:
    """N-grams of ids plus one, 0 for no word, and marks; one to six columns."""
    size = draw(st.sampled_from([1, 4, 1 << 16, 1 << 30]))
    packing = Packing(size, draw(st.integers(2, 12)))
    word = st.sampled_from(sorted({0, 1, size // 2, size}))
    ngrams = draw(st.lists(st.tuples(*[word] * packing.order), min_size=1, max_size=30))
    return (
        packing,
        ngrams,
        draw(st.lists(st.booleans(), min_size=len(ngrams), max_size=len(ngrams))),
    )


def columns_of(
    packing: Packing, ngrams: list[tuple[int, ...]], marks: list[bool]
) -> list[np.ndarray]:
    words = [np.array(column, np.uint64) for column in zip(*ngrams, strict=True)]
    return packing.pack(words, np.array(marks))


def unpacked(packing: Packing, columns: list[np.ndarray]) -> list[tuple[int, ...]]:
    words = [packing.words(columns, place).tolist() for place in range(packing.order)]
    return list(zip(*words, (columns[-1] & np.uint64(1)).tolist(), strict=True))


@given(packed())
def test_ngrams_are_counted_in_order(
    given: tuple[Packing, list[tuple[int, ...]], list[bool]],
) -> None:
    packing, ngrams, marks = given
    rows = [(*ngram, int(mark)) for ngram, mark in zip(ngrams, marks, strict=True)]
    columns = columns_of(packing, ngrams, marks)
    assert unpacked(packing, columns) == rows
    distinct, count = packing.counted(columns)
    counter = sorted(Counter(rows).items())
    assert list(zip(unpacked(packing, distinct), count.tolist(), strict=True)) == counter
    # Two runs, the second with each n-gram three times.
    twice = [np.concatenate((column, column)) for column in distinct]
    merged, total = packing.counted(twice, np.concatenate((count, 2 * count)))
    assert unpacked(packing, merged) == [row for row, _ in counter]
    assert total.tolist() == [3 * number for _, number in counter]


def test_pairs_are_the_beginnings_of_keys() -> None:
    packing = Packing(1000, 4)
    (column,) = columns_of(packing, [(3, 8, 5, 1), (3, 9, 0, 0)], [True, False])
    pairs = packing.pairs(column)
    assert pairs.tolist() == packing.pair(np.array([2, 2]), np.array([7, 8])).tolist()
    assert packing.beginning_with(pairs)[0] < column[0]
    assert packing.beginning_with(pairs)[1] == column[1]


@pytest.mark.parametrize("scale", [1, 1 << 58], ids=["packed", "too wide to pack"])
def test_sorting_is_stable(scale: int) -> None:
    keys = np.random.default_rng(1).integers(0, 9, 100) * scale
    assert sorting_of(keys).tolist() == np.argsort(keys, kind="stable").tolist()
