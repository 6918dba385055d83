"""Quantized tables: half the size, sums still one, and nearly the same numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

from lmsuite.analysis.evaluation import evaluate
from lmsuite.errors import ModelFileError, UsageError
from lmsuite.models.ngram import SMOOTHINGS, NgramModel, NgramSettings
from lmsuite.ngram import quantizing
from lmsuite.ngram.quantizing import from_quantized_arrays, quantized, quantized_arrays
from lmsuite.store.artefact import load_model, save_model
from lmsuite.text.encoding import Boundaries, TextEncoder, TextSettings

PROBABILITIES = [name for name in SMOOTHINGS if name != "stupid-backoff"]
TEXT = "the cow eats hay\nthe cow eats corn\na cow is not a crow\n\nthe crow eats the corn\n"


def trained(text: str, tokenizer: str, boundaries: Boundaries, **settings: Any) -> NgramModel:
    encoder, ids = TextEncoder.train(text, TextSettings(tokenizer, boundaries))
    return NgramModel.fit(encoder, ids, NgramSettings(**settings))


def largest_error_of_sums(model: NgramModel, ids: Any) -> float:
    state, worst = model.start(1), 0.0
    for token in ids:
        worst = max(worst, abs(float(np.exp(model.log_probs(state)).sum()) - 1.0))
        state = model.step(state, np.array([token]))
    return worst


@pytest.mark.parametrize("boundaries", list(Boundaries))
@pytest.mark.parametrize("tokenizer", ["word", "char"])
@pytest.mark.parametrize("smoothing", PROBABILITIES)
def test_sums_are_one(
    play: str,
    smoothing: str,
    tokenizer: str,
    boundaries: Boundaries,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = play[:20_000]
    plain = trained(text, tokenizer, boundaries, order=4, smoothing=smoothing)
    monkeypatch.setattr(quantizing, "VALUES", 20)
    model = trained(text, tokenizer, boundaries, order=4, smoothing=smoothing, quantize=True)
    before, after = (
        [len(np.unique(order.log_probs)) for order in of.table.orders[1:]] for of in (plain, model)
    )
    # Relative frequencies leave nothing to others that could make up for the rounding.
    assert after == before if smoothing == "mle" else after < before
    assert largest_error_of_sums(model, model.encoder.encode(play[3000:3600])) < 1e-5


@pytest.mark.parametrize("digits", ["0110100110010110", "0123456789"])
def test_contexts_that_leave_nothing_to_others_stay_exact(
    digits: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All words follow every context: no back-off weight can make up for what is rounded."""
    rng = np.random.default_rng(1)
    text = "".join(rng.choice(list(digits), 20_000))
    monkeypatch.setattr(quantizing, "VALUES", 5)
    model = trained(text, "char", Boundaries.STREAM, order=4, quantize=True)
    assert largest_error_of_sums(model, model.encoder.encode(text[:300])) < 1e-5


def test_tiny_shakespeare_in_two_thirds_of_kenlms_trie(shared: Path, tmp_path: Path) -> None:
    folder = shared / "corpora" / "tinyshakespeare"
    text = (folder / "train.words.txt").read_text("utf-8")
    valid = (folder / "valid.words.txt").read_text("utf-8")
    lines = Boundaries.LINES
    plain, small = (
        trained(text, "whitespace", lines, order=5, quantize=rounds) for rounds in (False, True)
    )
    path = tmp_path / "small.safetensors"
    save_model(path, small)
    assert path.stat().st_size < 0.7 * 6_549_889  # what build_binary trie makes of it
    exact, rounded = (evaluate(model, valid, name="").perplexity for model in (plain, small))
    assert rounded == pytest.approx(exact, rel=0.005)
    for here, there in zip(plain.table.orders, small.table.orders, strict=True):
        is_finite = here.log_probs > -np.inf
        np.testing.assert_allclose(
            here.log_probs[is_finite], there.log_probs[is_finite], atol=0.1, rtol=0
        )
    loaded = load_model(path)
    ids = small.encoder.encode(valid)
    np.testing.assert_array_equal(loaded.score(ids), small.score(ids))


def test_what_is_restored_is_what_was_stored(play: str) -> None:
    model = trained(play[:20_000], "char", Boundaries.STREAM, order=5, quantize=True)
    arrays = model.arrays()
    again = NgramModel.restore(model.encoder, model.settings_dict(), arrays)
    for here, there in zip(model.table.orders, again.table.orders, strict=True):
        np.testing.assert_array_equal(here.words, there.words)
        np.testing.assert_array_equal(here.log_probs, there.log_probs)
        np.testing.assert_array_equal(here.log_backoffs, there.log_backoffs)
        np.testing.assert_array_equal(here.first_child, there.first_child)
    for name, array in again.arrays().items():
        np.testing.assert_array_equal(array, arrays[name])


def test_more_than_a_byte_of_children_and_of_values(play: str, tmp_path: Path) -> None:
    model = trained(
        play[:60_000], "word", Boundaries.LINES, order=3, smoothing="mle", quantize=True
    )
    path = tmp_path / "m.safetensors"
    save_model(path, model)
    stored = load_file(path)
    assert len(stored["model.order1.other_children"]) > 0
    assert len(stored["model.order2.other_log_probs"]) > 0
    np.testing.assert_array_equal(
        load_model(path).table.orders[1].log_probs, model.table.orders[1].log_probs
    )


def test_few_values_are_not_rounded() -> None:
    plain, small = (
        trained(TEXT, "word", Boundaries.LINES, order=3, quantize=rounds)
        for rounds in (False, True)
    )
    for here, there in zip(plain.table.orders, small.table.orders, strict=True):
        np.testing.assert_array_equal(here.log_probs, there.log_probs)
        np.testing.assert_allclose(here.log_backoffs, there.log_backoffs, atol=1e-6)


def test_pruning_a_quantized_model_keeps_it_one(play: str) -> None:
    model = trained(play[:20_000], "word", Boundaries.STREAM, order=3, quantize=True)
    pruned = model.prune_entropy(1e-5)
    assert pruned.settings.quantize and sum(pruned.table.sizes) < sum(model.table.sizes)
    assert largest_error_of_sums(pruned, model.encoder.encode(play[:500])) < 1e-5


def test_scores_are_not_quantized() -> None:
    with pytest.raises(UsageError, match="stupid-backoff"):
        trained(TEXT, "word", Boundaries.LINES, smoothing="stupid-backoff", quantize=True)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("order2.values", lambda a: a.astype(np.float64)),
        ("order2.values", lambda a: np.zeros(256, np.float32)),
        ("order3.codes", lambda a: a.astype(np.int64)),
        ("order3.codes", lambda a: a[:-1]),
        ("order3.codes", lambda a: np.full_like(a, 254)),
        ("order2.children", lambda a: a.reshape(1, -1)),
        ("order2.children", lambda a: a + 1),
        ("order1.other_children", lambda a: np.zeros(1, np.uint32)),
        ("order2.other_log_probs", lambda a: np.zeros(1, np.float32)),
    ],
)
def test_damaged_arrays_are_refused(name: str, change: Any) -> None:
    table = trained(TEXT, "word", Boundaries.LINES, order=3, quantize=True).table
    arrays = quantized_arrays(table)
    arrays[name] = change(arrays[name])
    with pytest.raises(ModelFileError, match="order"):
        from_quantized_arrays(arrays, 3, table.vocabulary_size)
    del arrays[name]
    with pytest.raises(ModelFileError, match=name):
        from_quantized_arrays(arrays, 3, table.vocabulary_size)


@given(st.data())
def test_no_flipped_byte_breaks_a_look_up(data: st.DataObject) -> None:
    model = trained(TEXT, "word", Boundaries.LINES, order=3, quantize=True)
    arrays = {name: array.copy() for name, array in quantized_arrays(model.table).items()}
    name = data.draw(st.sampled_from(sorted(name for name, a in arrays.items() if len(a))))
    flat = arrays[name].view(np.uint8)
    flat[data.draw(st.integers(0, len(flat) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        table = from_quantized_arrays(arrays, 3, model.table.vocabulary_size)
    except ModelFileError:
        return
    assert not np.isnan(table.score(model.encoder.encode(TEXT))).any()


def test_quantizing_twice_is_quantizing_once(play: str) -> None:
    once = trained(play[:20_000], "word", Boundaries.STREAM, order=3, quantize=True).table
    twice = quantized(once)
    for here, there in zip(once.orders, twice.orders, strict=True):
        np.testing.assert_allclose(here.log_probs, there.log_probs, atol=0.05)
