"""Features of n-grams: sums by hand, which rows contexts have, and that the newest tokens count."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmsuite.models.recent_tokens import RecentTokens
from lmsuite.nn.layers import Linear
from lmsuite.nn.ngram_features import (
    FACTOR,
    PRIME,
    NgramFeatures,
    WithFeatures,
    context_rows,
    with_features,
)
from lmsuite.nn.parameter import Parameters
from lmsuite.text.vocabulary import BOS

A, B, C = 3, 4, 5  # ids of tokens


def layer(rows: int, vocabulary: int, hidden: int, count: int) -> WithFeatures:
    shapes = NgramFeatures.shapes("features", rows, vocabulary)
    parameters = Parameters(shapes | Linear.shapes("output", hidden, vocabulary), np.float64)
    return WithFeatures(Linear(parameters, "output"), NgramFeatures(parameters, "features", count))


def test_a_row_is_the_hash_of_its_context() -> None:
    # s_1 = 742938285 + 4 = 742938289; s_2 = (742938285 s_1 + 6) mod 2147483647 = 387706909;
    # their squares mod 2147483647 are 1211976412 and 1098937260.
    assert (FACTOR + 4) % PRIME == 742_938_289
    assert (FACTOR * 742_938_289 + 6) % PRIME == 387_706_909
    rows = context_rows(np.array([[A + 1, C + 1]]), 1000)
    assert rows.tolist() == [[412, 260]]


def test_the_rows_of_the_contexts_are_added_to_the_logits() -> None:
    made = layer(rows=4, vocabulary=3, hidden=2, count=2)
    made.linear.weights[...] = [[1, 0, -1], [2, 2, 0]]
    made.linear.b[...] = [0.5, 0, 0]
    made.features.table[...] = [[1, 2, 3], [10, 20, 30], [0, 0, 0], [-1, 0, 1]]
    vectors = with_features(np.array([[1.0, 1.0], [0.0, 3.0]]), np.array([[0, 1], [3, 3]]))
    assert vectors.tolist() == [[1, 1, 0, 1, 1, 1], [0, 3, 3, 3, 1, 1]]
    logits, cache = made.forward(vectors)
    # [1, 1] W + b = [3.5, 2, -1], plus rows 0 and 1; [0, 3] W + b = [6.5, 6, 0], plus row 3 twice.
    assert logits.tolist() == [[14.5, 24, 32], [4.5, 6, 2]]
    gradient = np.array([[1.0, 0, 0], [0, 0, 2.0]])
    assert made.backward(gradient, cache).tolist() == [
        [1, 2],
        [-2, 0],
    ]  # gradient times W transposed
    # Row 3 was added twice to the second logits.
    assert made.features.d_table.tolist() == [[1, 0, 0], [1, 0, 0], [0, 0, 0], [0, 0, 4]]


def test_a_feature_counts_by_its_value() -> None:
    made = layer(rows=2, vocabulary=2, hidden=1, count=2)
    made.features.table[...] = [[1, 2], [10, 20]]
    rows, values = np.array([[0, 1], [1, 1]]), np.array([[0.0, 2.0], [0.5, 0.0]])
    logits, cache = made.forward(with_features(np.zeros((2, 1)), rows, values))
    assert logits.tolist() == [[20, 40], [5, 10]]  # 0 row 0 + 2 row 1; half of row 1
    made.backward(np.array([[1.0, -1.0], [4.0, 0.0]]), cache)
    assert made.features.d_table.tolist() == [[0, 0], [4, -2]]  # 2 (1, -1) + 0.5 (4, 0)


def recent(count: int, ids: list[int], before: list[int] | None = None) -> list[list[int]]:
    """The last tokens after each id, of one text."""
    tokens = RecentTokens(count, 1000)
    array = np.zeros((1, count + 2))
    if before is not None:
        tokens.write(tokens.read(array, np.array(before)[:, None])[-1], array)
    found: list[list[int]] = tokens.read(array, np.array(ids)[:, None])[:, 0].tolist()
    return found


def test_the_newest_token_is_the_first_and_a_beginning_hides_what_was_before() -> None:
    assert recent(3, [A, B, C, A]) == [[4, 0, 0], [5, 4, 0], [6, 5, 4], [4, 6, 5]]
    assert recent(3, [A, BOS, B, C]) == [[4, 0, 0], [2, 0, 0], [5, 2, 0], [6, 5, 2]]
    assert recent(2, [BOS, BOS, A]) == [[2, 0], [2, 0], [4, 2]]


@given(st.lists(st.integers(0, 6), min_size=1, max_size=12), st.integers(1, 5), st.data())
def test_a_text_may_be_read_in_pieces(ids: list[int], count: int, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(ids) - 1))
    whole = recent(count, ids)
    assert whole[cut:] == recent(count, ids[cut:], ids[:cut] or None)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=12), st.integers(1, 5))
def test_a_text_may_be_read_token_by_token(ids: list[int], count: int) -> None:
    tokens, array = RecentTokens(count, 1000), np.zeros((1, 6))
    for at, expected in enumerate(recent(count, ids)):
        after = np.full_like(array, np.nan)
        tokens.step(array, np.array(ids[at : at + 1]), after)
        assert after[0].tolist() == expected + [0] * (6 - count)
        array = after


def test_rows_are_those_of_the_recursion() -> None:
    tokens = np.random.default_rng(1).integers(0, 1 << 28, (50, 15))
    expected = np.empty_like(tokens)
    for at, context in enumerate(tokens.tolist()):
        s = 1
        for n, token in enumerate(context):
            s = (FACTOR * s + token) % PRIME
            expected[at, n] = s * s % PRIME % 1000
    np.testing.assert_array_equal(context_rows(tokens, 1000), expected)


@pytest.mark.parametrize("rows", [1 << 10, 1 << 16])
def test_contexts_are_spread_over_the_rows(rows: int) -> None:
    # So many different contexts of three tokens, thrown at random, hit rows (1 - 1/e) rows.
    ids = np.array(np.unravel_index(np.arange(rows), (41, 41, 41))).T + 1
    found = context_rows(ids, rows)[:, 2]
    assert len(np.unique(found)) == pytest.approx((1 - np.exp(-1)) * rows, rel=0.06)
