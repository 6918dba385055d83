"""Look-up, and the refusal of damaged tables."""

from __future__ import annotations

import pickle
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmsuite.errors import ModelFileError
from lmsuite.models.interface import LanguageModel
from lmsuite.ngram.lookup import KeyIndex
from lmsuite.ngram.table import BackoffTable
from lmsuite.text.vocabulary import BOS

TEXT = "the cow eats hay\nthe cow eats corn\na cow is not a crow\n\nthe crow eats the corn\n"


@given(
    st.lists(st.integers(0, 2**62), unique=True, max_size=200),
    st.lists(st.integers(0, 2**62), max_size=50),
)
def test_keys_are_found_where_they_are_and_nowhere_else(keys: list[int], others: list[int]) -> None:
    index = KeyIndex(np.array(keys, dtype=np.int64))
    places = {key: at for at, key in enumerate(keys)}
    wanted = keys + others + keys[:5]
    found = index.find(np.array(wanted, dtype=np.int64)).tolist()
    assert found == [places.get(key, -1) for key in wanted]


def test_crowded_keys_are_found() -> None:
    keys = np.arange(100_000)
    index = KeyIndex(keys)
    np.testing.assert_array_equal(index.find(keys), keys)
    assert (index.find(keys + 100_000) == -1).all()


@pytest.mark.parametrize("lines", [True, False])
def test_long_texts_are_scored_as_short_ones(
    fit: Any, lines: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = fit(TEXT, lines=lines, order=4)
    ids = model.encoder.encode(TEXT * 3)
    whole = model.score(ids)
    monkeypatch.setattr("lmsuite.ngram.table._SHORT", 0)
    for size in (1, 2, 7):
        monkeypatch.setattr("lmsuite.ngram.table._CHUNK", size)
        np.testing.assert_array_equal(model.score(ids), whole)


WAYS_TO_SEARCH = ((10**9, 0, 0), (0, 0, 0), (0, 10**9, 0), (0, 0, 10**9))
"""Few queries, short texts, and whether a hash table pays: each of the four ways alone."""


@pytest.mark.parametrize("bos", [True, False])
def test_every_way_to_search_gives_the_same(
    fit: Any, play: str, monkeypatch: pytest.MonkeyPatch, bos: bool
) -> None:
    """One by one, all at once, by the flat table, and by a hash table once it pays."""
    model = fit(play[:40_000], order=4, lines=True)
    ids = model.encoder.encode(play[30_000:50_000])
    found = []
    for few, short, share in WAYS_TO_SEARCH:
        monkeypatch.setattr("lmsuite.ngram.table._FEW", few)
        monkeypatch.setattr("lmsuite.ngram.table._SHORT", short)
        monkeypatch.setattr("lmsuite.ngram.table._SHARE", share)
        table = BackoffTable(model.table.orders)
        found.append((table.score(ids, bos=bos), table.matched_orders(ids, bos=bos)))
        assert sorted(table.indexes) == ([2, 3, 4] if share and not few else [])
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


@pytest.mark.parametrize("lines", [True, False])
@pytest.mark.parametrize("order", [1, 2, 3, 9])
def test_the_flat_table_gives_what_the_table_gives(
    fit: Any, play: str, monkeypatch: pytest.MonkeyPatch, order: int, lines: bool
) -> None:
    """Scores and contexts, to the bit, of known and unknown words and of a ``<s>`` anywhere."""
    model = fit(play[:10_000], lines=lines, order=order)
    flat, plain = model.table, BackoffTable(model.table.orders)
    ids = model.encoder.encode(play[8_000:14_000])
    columns = np.stack(
        [ids[:300], np.roll(ids[:300], 7), np.random.default_rng(1).permuted(ids)[:300]]
    )
    columns[2, ::9] = BOS
    state = flat.start(3)
    for words in columns.T:
        with monkeypatch.context() as patch:
            patch.setattr("lmsuite.ngram.table._SHORT", 0)
            scores, after = plain.score_next(state, words)
            np.testing.assert_array_equal(plain.extend(state, words), after)
        np.testing.assert_array_equal(flat.extend(state, words), after)
        one = flat.extend(state[:1], words[:1])
        np.testing.assert_array_equal(one, after[:1])
        assert one.dtype == after.dtype
        ours, state = flat.score_next(state, words)
        np.testing.assert_array_equal(state, after)
        np.testing.assert_array_equal(ours, scores)
    for row in columns:
        with monkeypatch.context() as patch:
            patch.setattr("lmsuite.ngram.table._SHORT", 0)
            patch.setattr("lmsuite.ngram.table._FEW", 0)
            scores = plain.score(row)
        np.testing.assert_array_equal(flat.score(row), scores)
        few = flat.score(row[:50])
        np.testing.assert_array_equal(few, scores[: len(few)])


@pytest.mark.parametrize("size", [0, 1, 40, 400])
def test_without_a_beginning_is_the_chain_from_the_null_context(
    fit: Any, play: str, size: int
) -> None:
    """Scores to the bit, and orders: of a sentence and of many, and of no ids."""
    model = fit(play[:40_000], order=4, lines=True)
    ids = model.encoder.encode(play[30_000:40_000])[:size]
    chain = LanguageModel.score_without_bos(model, ids)
    np.testing.assert_array_equal(model.score_without_bos(ids), chain)
    orders, state = [], model.null_context(1)
    for token in ids:
        if token == BOS:
            state = model.null_context(1)
            continue
        orders.append(model.table.trace(state, int(token)).order)
        state = model.step(state, np.array([token]))
    assert model.matched_orders(ids, bos=False).tolist() == orders


def test_a_pickled_table_has_all_but_what_is_made_again(fit: Any) -> None:
    table = fit(TEXT, order=3).table
    ids = np.array([3, 4, 5, 0, 3])
    scores = table.score(ids)
    pickled = pickle.loads(pickle.dumps(table))
    assert len(pickle.dumps(pickled)) == len(pickle.dumps(BackoffTable(table.orders)))
    np.testing.assert_array_equal(pickled.score(ids), scores)


def test_few_searches_make_no_hash_table_and_many_keep_theirs(fit: Any, play: str) -> None:
    """So no call among many short ones waits for one; the n-grams are the same ever after."""
    model = fit(play[:20_000], order=3)
    before = model.table.orders
    ids = model.encoder.encode(play[:40_000])
    few = model.score(ids[:10])
    for begin in range(0, 5000, 50):
        model.score(ids[begin : begin + 50])
    model.log_probs(model.read(model.start(1), ids[:50]))
    assert model.table.indexes == {}
    model.score(ids)
    assert sorted(model.table.indexes) == [2, 3]
    assert model.table.orders is before
    np.testing.assert_array_equal(model.score(ids[:10]), few)


@given(st.data())
def test_no_flipped_byte_of_a_large_table_breaks_a_look_up(fit: Any, data: st.DataObject) -> None:
    """Values that are left unread at first give wrong numbers at worst, or are refused."""
    model = fit(TEXT, order=3)
    arrays = arrays_of(model.table)
    name = data.draw(st.sampled_from(sorted(arrays)))
    flat = arrays[name].view(np.uint8)
    flat[data.draw(st.integers(0, len(flat) - 1))] ^= data.draw(st.integers(1, 255))
    few, short, share = data.draw(st.sampled_from(WAYS_TO_SEARCH))
    ids = model.encoder.encode(TEXT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lmsuite.ngram.table._CHECKED_AT_ONCE", 0)
        patch.setattr("lmsuite.ngram.table._FEW", few)
        patch.setattr("lmsuite.ngram.table._SHORT", short)
        patch.setattr("lmsuite.ngram.table._SHARE", share)
        try:
            table = BackoffTable.from_arrays(arrays, 3, model.table.vocabulary_size)
            assert table.score(ids).shape == ids.shape
            state = table.start(1)
            for token in ids[:20]:
                assert table.log_probs(state).shape == (1, table.vocabulary_size)
                state = table.extend(state, np.array([token]))
        except ModelFileError:
            return


def test_a_large_table_is_checked_when_asked(fit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    table = fit(TEXT, order=3).table
    arrays = arrays_of(table)
    arrays["order3.words"] = arrays["order3.words"][::-1].copy()
    monkeypatch.setattr("lmsuite.ngram.table._CHECKED_AT_ONCE", 0)
    loaded = BackoffTable.from_arrays(arrays, 3, table.vocabulary_size)
    with pytest.raises(ModelFileError, match=r"order3\.words"):
        loaded.check()


def test_trace_adds_up_to_the_score(fit: Any) -> None:
    model = fit(TEXT, lines=True, order=4)
    vocabulary, ids = model.encoder.vocabulary, model.encoder.encode("the cow eats the crow\n")
    scores, orders = model.score(ids), model.matched_orders(ids)
    for at in range(1, len(ids)):
        trace = model.trace(ids[1:at], int(ids[at]))
        assert trace.total == pytest.approx(scores[at - 1], abs=1e-12)
        assert trace.order == orders[at - 1]
        lengths = [length for length, _ in trace.log_backoffs]
        assert lengths == list(range(trace.order, len(trace.context) + 1))
    trace = model.trace(vocabulary.ids(["the", "cow", "eats"]), vocabulary.id("hay"))
    assert trace.context == tuple(vocabulary.ids(["the", "cow", "eats"]))
    assert (trace.order, trace.log_backoffs) == (4, ())


def test_the_next_word_takes_less_than_a_millisecond(shared: Path, fit: Any) -> None:
    text = (shared / "corpora" / "tinyshakespeare" / "train.words.txt").read_text("utf-8")
    model = fit(text, lines=True, order=5)
    assert model.table.vocabulary_size > 13_000
    state, seconds = model.start(1), []
    for word in model.encoder.encode(text[:2000]).tolist():
        begin = time.perf_counter()
        model.log_probs(state)
        seconds.append(time.perf_counter() - begin)
        state = model.step(state, np.array([word]))
    assert np.median(seconds) < 0.001


def arrays_of(table: BackoffTable) -> dict[str, Any]:
    return {name: array.copy() for name, array in table.arrays().items()}


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("order2.words", lambda a: a[:-1], r"is uint16 \(\d+,\), not uint16"),
        ("order2.words", lambda a: a.astype(np.int64), "is int64"),
        ("order2.words", lambda a: a[::-1].copy(), "is not sorted"),
        ("order3.words", lambda a: a + 60_000, "out of range"),
        ("order1.log_probs", lambda a: np.append(a, a[-1]), r"not float32 \(13,\)"),
        ("order1.log_probs", lambda a: -a, "not all <= 0"),
        ("order3.log_probs", lambda a: a * np.nan, "not all <= 0"),
        ("order2.log_backoffs", lambda a: a * np.nan, "not a weight"),
        ("order2.log_backoffs", lambda a: a + np.inf, "not a weight"),
        ("order2.log_backoffs", lambda a: a + 400, "not a weight"),  # twice that is e to the 800
        ("order1.first_child", lambda a: a[::-1].copy(), "does not rise"),
        ("order1.first_child", lambda a: a + 1, "does not rise"),
        ("order2.first_child", lambda a: a // 2, "order3.words"),
    ],
)
def test_damaged_arrays_are_refused_by_name(fit: Any, name: str, change: Any, message: str) -> None:
    table = fit(TEXT, order=3).table
    arrays = arrays_of(table)
    arrays[name] = change(arrays[name])
    with pytest.raises(ModelFileError, match=message) as error:
        BackoffTable.from_arrays(arrays, 3, table.vocabulary_size)
    assert "order" in str(error.value)


def test_missing_and_superfluous_arrays_are_refused_by_name(fit: Any) -> None:
    table = fit(TEXT, order=3).table
    for name in table.arrays():
        arrays = arrays_of(table)
        del arrays[name]
        with pytest.raises(ModelFileError, match=f"lacks its array '{name}'"):
            BackoffTable.from_arrays(arrays, 3, table.vocabulary_size)
    with pytest.raises(ModelFileError, match=r"'order2\.first_child'"):
        BackoffTable.from_arrays(table.arrays(), 2, table.vocabulary_size)


@given(st.data())
def test_no_flipped_byte_breaks_a_look_up(fit: Any, data: st.DataObject) -> None:
    model = fit(TEXT, order=3)
    arrays = arrays_of(model.table)
    name = data.draw(st.sampled_from(sorted(arrays)))
    flat = arrays[name].view(np.uint8)
    flat[data.draw(st.integers(0, len(flat) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        table = BackoffTable.from_arrays(arrays, 3, model.table.vocabulary_size)
    except ModelFileError:
        return
    ids = model.encoder.encode(TEXT)
    assert not np.isnan(table.score(ids)).any()
    assert not np.isnan(table.log_probs(table.extend(table.start(1), ids[:1]))).any()
