"""From ids to a finished model: the outline of the method, step by step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice

import numpy as np
from numpy.typing import DTypeLike

from lmsuite.errors import TrainingError
from lmsuite.ngram.counting import NgramCounts, count_ngrams
from lmsuite.ngram.discounts import Discounts, advised
from lmsuite.ngram.entropy_pruning import entropy_pruned
from lmsuite.ngram.pruning import survivors_of
from lmsuite.ngram.quantizing import quantized
from lmsuite.ngram.recursion import Smoothed, combine
from lmsuite.ngram.settings import (
    KNESER_NEY,
    NgramSettings,
    check_counted,
    check_partitioned,
    check_trainable,
    cutoffs_of,
)
from lmsuite.ngram.smoothing.jelinek_mercer import jelinek_mercer
from lmsuite.ngram.smoothing.katz import katz
from lmsuite.ngram.smoothing.kneser_ney import absolute, kneser_ney, modified_kneser_ney
from lmsuite.ngram.smoothing.relative_frequency import (
    add_k,
    maximum_likelihood,
    relative_frequencies,
    stupid_backoff,
)
from lmsuite.ngram.smoothing.witten_bell import witten_bell
from lmsuite.ngram.table import BackoffTable
from lmsuite.text.vocabulary import BOS, EOS, UNK
from lmsuite.types import FloatArray, IntArray

_MOST = 1 << 31  # positions and counts have 32 bits


@dataclass(frozen=True)
class Estimate:
    """A finished table, the discounts that made it, and messages about them."""

    table: BackoffTable
    discounts: tuple[Discounts, ...]
    messages: tuple[str, ...]


def estimate(
    ids: IntArray,
    held_out: IntArray | None,
    impossible: IntArray,
    vocabulary_size: int,
    settings: NgramSettings,
    *,
    sentences: bool,
    memory: int | None = None,
    dtype: DTypeLike = np.float32,
) -> Estimate:
    """Estimate an n-gram model from ids (N,).

    `impossible` ids have probability 0. With `sentences`, the ids are lines between ``<s>`` and
    ``</s>``; without, they are one sequence. `held_out` is for jelinek-mercer. `memory`, in bytes,
    is the most that the process takes; the rest of its data is on disk. All is computed in float64;
    the table has `dtype` (with `memory`, float32).

    Raises:
        TrainingError: the text is shorter than the order, or has only one kind of token.
        UsageError: only a model from an ARPA file may have such settings.
    """
    check_trainable(settings)
    require_text(ids)
    base = base_distribution(impossible, vocabulary_size, settings)
    if memory is not None:
        return _estimate_partitioned(ids, base, settings, sentences, memory)
    counts = count_ngrams(ids, vocabulary_size, settings.order, sentences=sentences)
    require_ngrams([len(order) for order in counts.orders])
    if settings.smoothing == "jelinek-mercer":
        smoothed = jelinek_mercer(counts, ids, held_out, base, sentences=sentences)
    else:
        smoothed = smooth(counts, vocabulary_size - len(impossible), settings)
    return _finished(counts, smoothed, base, settings, dtype)


def estimate_counted(
    counts: NgramCounts,
    impossible: IntArray,
    settings: NgramSettings,
    *,
    dtype: DTypeLike = np.float32,
) -> Estimate:
    """Estimate an n-gram model from counts; as `estimate` from the text that has them.

    Raises:
        TrainingError: as `estimate`.
        UsageError: as `estimate`, or the smoothing needs the text itself.
    """
    check_trainable(settings)
    check_counted(settings)
    is_seen = counts.orders[0].count > 0
    kinds = int(is_seen.sum() - is_seen[EOS])
    _require_kinds(kinds, has_ends=bool(is_seen[EOS]))
    require_ngrams([len(order) for order in counts.orders])
    base = base_distribution(impossible, counts.vocabulary_size, settings)
    smoothed = smooth(counts, counts.vocabulary_size - len(impossible), settings)
    return _finished(counts, smoothed, base, settings, dtype)


def _finished(
    counts: NgramCounts,
    smoothed: Smoothed,
    base: FloatArray,
    settings: NgramSettings,
    dtype: DTypeLike,
) -> Estimate:
    """The table of smoothed counts, pruned and quantized as the settings say."""
    if not settings.interpolate_unigrams and settings.smoothing not in KNESER_NEY:
        unigrams = relative_frequencies(counts, 1)
        longer = islice(smoothed.shares, 1, None)
        smoothed = replace(smoothed, shares=chain([unigrams], longer))
    survivors = survivors_of(counts, cutoffs_of(settings.prune, settings.order))
    table = combine(counts, smoothed, survivors, base, dtype)
    if settings.entropy_prune:
        table = entropy_pruned(table, settings.entropy_prune)
    if settings.quantize:
        table = quantized(table)
    return Estimate(table, smoothed.discounts, smoothed.messages)


def _estimate_partitioned(
    ids: IntArray, base: FloatArray, settings: NgramSettings, sentences: bool, memory: int
) -> Estimate:
    from lmsuite.ngram import partitioned

    check_partitioned(settings)
    positions = partitioned.positions_in(memory, len(ids))
    counts = partitioned.count_partitioned(
        ids, len(base), settings.order, sentences=sentences, positions=positions
    )
    require_ngrams(counts.lengths)
    adjusted = partitioned.adjust_partitioned(counts)
    found = partitioned.discounts_of(*adjusted, settings)
    discounts = [of_order for of_order, _ in found]
    table = partitioned.smooth_partitioned(counts, adjusted, discounts, base, settings.prune)
    messages = advised(message for _, of_order in found for message in of_order)
    return Estimate(table, tuple(discounts), messages)


def smooth(counts: NgramCounts, possible: int, settings: NgramSettings) -> Smoothed:
    """The shares and leftover weights of the smoothing in the settings."""
    estimators: dict[str, Callable[[], Smoothed]] = {
        "modified-kneser-ney": lambda: modified_kneser_ney(counts),
        "kneser-ney": lambda: kneser_ney(counts, settings.discount),
        "absolute": lambda: absolute(counts, settings.discount),
        "witten-bell": lambda: witten_bell(counts),
        "katz": lambda: katz(counts),
        "add-k": lambda: add_k(counts, settings.k, possible),
        "mle": lambda: maximum_likelihood(counts),
        "stupid-backoff": lambda: stupid_backoff(counts),
    }
    return estimators[settings.smoothing]()


def base_distribution(
    impossible: IntArray, vocabulary_size: int, settings: NgramSettings
) -> FloatArray:
    """The distribution (V,) below the unigrams: uniform, or all of it on ``<unk>``."""
    base = np.zeros(vocabulary_size)
    if settings.interpolate_unigrams or settings.smoothing not in KNESER_NEY:
        base[:] = 1.0 / (vocabulary_size - len(impossible))
        base[impossible] = 0.0
    else:
        base[UNK] = 1.0
    return base


def require_countable(ids: IntArray) -> None:
    """Raise TrainingError if the text is too long to be counted."""
    if len(ids) >= _MOST:
        raise TrainingError(f"the training text has more than {_MOST - 1:,} tokens; give less text")


def require_text(ids: IntArray) -> None:
    """Raise TrainingError if the text is too long, or has nothing to learn from."""
    require_countable(ids)
    words = ids[(ids != BOS) & (ids != EOS)]
    kinds = 0 if not len(words) else 1 if words.min() == words.max() else 2
    _require_kinds(kinds, has_ends=bool((ids == EOS).any()))


def _require_kinds(kinds: int, *, has_ends: bool) -> None:
    """Raise TrainingError if a text of so many kinds of tokens has nothing to learn from."""
    if not kinds:
        raise TrainingError("the training text has no tokens; give some text to learn from")
    if kinds == 1 and not has_ends:  # a line's end is to be predicted too
        raise TrainingError(
            "the training text has only one kind of token, so there is nothing to predict; "
            "give more text, or a vocabulary with more of its tokens"
        )


def require_ngrams(lengths: Sequence[int]) -> None:
    """Raise TrainingError if some order has no n-gram: the text is shorter than the order."""
    order, longest = len(lengths), sum(1 for length in lengths if length)
    if longest < order:
        raise TrainingError(
            f"the training text is shorter than the order: it has no {order}-gram; "
            f"choose an order of at most {longest}, or give more text"
        )
