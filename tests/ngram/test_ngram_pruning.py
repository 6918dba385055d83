"""Cut-offs and entropy pruning, against what they are defined as."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lmsuite.errors import UsageError
from lmsuite.models.ngram import NgramModel
from lmsuite.ngram.counting import count_ngrams
from lmsuite.ngram.entropy_pruning import perplexity_rises
from lmsuite.ngram.pruning import survivors_of
from lmsuite.ngram.settings import cutoffs_of
from lmsuite.ngram.table import BackoffTable

TEXT = "a b a c a b\nb b a\nc a b c d\na b c a c\n" * 3 + "d a c\nb c d a b\n"


def test_the_last_cut_off_holds_for_longer_ngrams() -> None:
    assert cutoffs_of((0, 1), 4) == (0, 1, 1, 1)
    assert cutoffs_of((), 3) == (0, 0, 0)
    with pytest.raises(UsageError, match=r"prune 0,2,1 may not fall"):
        cutoffs_of((0, 2, 1), 4)


def test_cut_offs_keep_what_occurs_more_often() -> None:
    ids = np.random.default_rng(5).integers(3, 7, 200)
    counts = count_ngrams(ids, 7, 3, sentences=False)
    _, _, trigrams = survivors_of(counts, (0, 1, 2))
    occurrences = Counter(zip(ids, ids[1:], ids[2:], strict=False))
    assert len(trigrams.word) == sum(count > 2 for count in occurrences.values())
    bigrams = Counter(pairwise(ids))
    kept = sorted(bigram for bigram, count in bigrams.items() if count > 1)
    spelled = [
        (*kept[prefix], word)
        for prefix, word in zip(trigrams.prefix.tolist(), trigrams.word.tolist(), strict=True)
    ]
    assert spelled == sorted(ngram for ngram, count in occurrences.items() if count > 2)
    assert [kept[suffix] for suffix in trigrams.suffix.tolist()] == [n[1:] for n in spelled]


def contexts_of(model: NgramModel, n: int) -> list[tuple[int, ...]]:
    """The words of the n-grams of order n, by index."""
    if n == 1:
        return [(word,) for word in range(model.table.vocabulary_size)]
    shorter = contexts_of(model, n - 1)
    words = model.table.orders[n - 1].words.tolist()
    return [(*shorter[p], w) for p, w in zip(model.table.prefixes(n).tolist(), words, strict=True)]


def dense(table: BackoffTable, history: tuple[int, ...]) -> np.ndarray:
    state = np.full((1, table.order - 1), -1)
    for word in history:
        state = table.extend(state, np.array([word]))
    return np.exp(table.log_probs(state)[0])


def without(model: NgramModel, n: int, index: int) -> np.ndarray:
    """The distribution of the n-gram's context, had the n-gram not been stored; slowly."""
    ngram = contexts_of(model, n)[index]
    history, word = ngram[:-1], ngram[-1]
    full, shorter = dense(model.table, history), dense(model.table, history[1:])
    stored = [
        other[-1] for other in contexts_of(model, n) if other[:-1] == history and other != ngram
    ]
    rest = np.setdiff1d(np.arange(len(full)), stored)
    assert word in rest
    pruned = full.copy()
    pruned[rest] = shorter[rest] * (1 - full[stored].sum()) / shorter[rest].sum()
    return pruned


@pytest.mark.parametrize("smoothing", ["modified-kneser-ney", "witten-bell", "katz"])
def test_rises_are_those_of_brute_force_relative_entropy(fit: Any, smoothing: str) -> None:
    model = fit(TEXT, lines=True, order=3, smoothing=smoothing)
    for n, rises in enumerate(perplexity_rises(model.table), start=2):
        for index, ngram in enumerate(contexts_of(model, n)):
            history = ngram[:-1]
            # <s> is as probable as </s>.
            p_history = 1.0
            for at, word in enumerate(history):
                p_history *= dense(model.table, history[:at])[2 if word == 1 else word]
            before, after = dense(model.table, history), without(model, n, index)
            before, after = before[before > 0], after[before > 0]
            divergence = (before * np.log(before / after)).sum()
            expected = np.expm1(p_history * divergence)
            assert rises[index] == pytest.approx(expected, rel=1e-3, abs=1e-7), ngram


def test_pruning_leaves_out_what_is_below_the_threshold_and_nothing_else(fit: Any) -> None:
    model = fit(TEXT, lines=True, order=3, smoothing="witten-bell")
    threshold = 1e-3
    smaller = model.prune_entropy(threshold)
    assert smaller.settings.entropy_prune == threshold
    bigrams, trigrams = perplexity_rises(model.table)
    kept = set(contexts_of(smaller, 3))
    ngrams = contexts_of(model, 3)
    assert kept == {
        ngram for ngram, rise in zip(ngrams, trigrams, strict=True) if rise >= threshold
    }
    needed = {ngram[:2] for ngram in kept} | {ngram[1:] for ngram in kept}
    important = {
        ngram for ngram, r in zip(contexts_of(model, 2), bigrams, strict=True) if r >= threshold
    }
    assert set(contexts_of(smaller, 2)) == needed | important
    assert 0 < len(kept) < len(ngrams)
    for n in (2, 3):
        old = dict(zip(contexts_of(model, n), model.table.orders[n - 1].log_probs, strict=True))
        new = zip(contexts_of(smaller, n), smaller.table.orders[n - 1].log_probs, strict=True)
        assert all(old[ngram] == log_prob for ngram, log_prob in new)


@pytest.mark.parametrize("threshold", [1e-9, 1e-6, 1e-3, 10.0])
@pytest.mark.parametrize("smoothing", ["modified-kneser-ney", "katz", "mle", "add-k"])
def test_sums_stay_at_one(shared: Path, fit: Any, threshold: float, smoothing: str) -> None:
    # Characters: contexts after which nearly every character was seen.
    text = (shared / "corpora" / "tinyshakespeare" / "valid.chars.txt").read_text("utf-8")[:40_000]
    model = fit(text, lines=True, order=4, smoothing=smoothing).prune_entropy(threshold)
    ids = model.encoder.encode(text[20_000:22_000])
    state = model.start(1)
    for word in ids.tolist():
        assert np.exp(model.log_probs(state)).sum() == pytest.approx(1, abs=1e-6)
        state = model.step(state, np.array([word]))


def test_a_higher_threshold_makes_a_smaller_and_worse_model(shared: Path, fit: Any) -> None:
    text = (shared / "corpora" / "tinyshakespeare" / "valid.words.txt").read_text("utf-8")
    model = fit(text, lines=True, order=3, smoothing="witten-bell")
    ids = model.encoder.encode(text)
    sizes, scores = [], []
    for threshold in (1e-8, 1e-7, 1e-6, 1e-5):
        smaller = model.prune_entropy(threshold)
        sizes.append(sum(smaller.table.sizes))
        scores.append(float(smaller.score(ids).mean()))
    assert sizes == sorted(sizes, reverse=True) and sizes[0] > sizes[-1]
    assert scores == sorted(scores, reverse=True) and scores[0] > scores[-1]


def test_estimating_with_a_threshold_is_estimating_then_pruning(fit: Any) -> None:
    pruned = fit(TEXT, order=3, entropy_prune=1e-3)
    then = fit(TEXT, order=3).prune_entropy(1e-3)
    for name, array in pruned.arrays().items():
        np.testing.assert_array_equal(array, then.arrays()[name])


@pytest.mark.parametrize("threshold", [0.0, -1.0, float("nan")])
def test_thresholds_out_of_range_are_refused(fit: Any, threshold: float) -> None:
    with pytest.raises(UsageError, match="entropy_prune must be"):
        fit(TEXT).prune_entropy(threshold)
