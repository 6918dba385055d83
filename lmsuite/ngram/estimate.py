"""From ids to a finished model: the outline of the method, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from lmsuite.errors import TrainingError
from lmsuite.files.disk_arrays import in_memory
from lmsuite.ngram.blocks import Source, TextSource
from lmsuite.ngram.counting import NgramCounts, count_ngrams
from lmsuite.ngram.discounts import Discounts, counts_of_counts
from lmsuite.ngram.entropy_pruning import entropy_pruned
from lmsuite.ngram.exchange import MissingEndError
from lmsuite.ngram.longest import missing_end, rare_ngram
from lmsuite.ngram.packing import Packing
from lmsuite.ngram.partitions import RareNgramError
from lmsuite.ngram.pipeline import counted_in_parts
from lmsuite.ngram.pruning import survivors_of
from lmsuite.ngram.quantizing import quantized
from lmsuite.ngram.recursion import Smoothing, combine
from lmsuite.ngram.settings import (
    KNESER_NEY,
    NgramSettings,
    check_counted,
    check_partitioned,
    check_trainable,
    cutoffs_of,
)
from lmsuite.ngram.smoothing.jelinek_mercer import jelinek_mercer
from lmsuite.ngram.smoothing.kneser_ney import adjusted_counts
from lmsuite.ngram.smoothing.registry import fitted, uses_adjusted_counts, with_unigrams
from lmsuite.ngram.smoothing_in_parts import smoothed_in_parts
from lmsuite.ngram.table import BackoffTable
from lmsuite.ngram.text_counts import JoinedCounts
from lmsuite.ngram.workplace import Workplace, workplace
from lmsuite.text.vocabulary import BOS, EOS, UNK
from lmsuite.types import FloatArray, IntArray

_MOST = 1 << 31  # positions and counts in one part have 32 bits
_LONG = 1 << 20  # tokens from which parts are faster, if n-grams have one column of keys
_AT_ONCE = 1 << 20  # tokens


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
    threads: int | None = None,
    place: Workplace | None = None,
    dtype: DTypeLike = np.float32,
) -> Estimate:
    """Estimate an n-gram model from ids (N,).

    `impossible` ids have probability 0. With `sentences`, the ids are lines between ``<s>`` and
    ``</s>``; without, they are one sequence. `held_out` is for jelinek-mercer. `memory`, in bytes,
    is the most that all processes take together; the rest of the data is on disk. Up to `threads`
    processes share the work on a long text; None is for all cores. `place`, if given, is where the
    work is done, instead. All is computed in float64; the table has `dtype` (with `memory` or
    `place`, float32).

    Raises:
        TrainingError: the text is shorter than the order, or has only one kind of token.
        UsageError: only a model from an ARPA file may have such settings.
    """
    check_trainable(settings)
    if memory is not None or place is not None:
        check_partitioned(settings)
    unigrams = occurrences(ids, vocabulary_size)
    require_text(unigrams)
    base = base_distribution(impossible, vocabulary_size, settings)
    is_fast = is_long(len(ids), Packing(vocabulary_size, settings.order))
    is_possible = settings.smoothing != "jelinek-mercer" and np.dtype(dtype) == np.float32
    if memory is not None or place is not None or (is_fast and is_possible):
        with nullcontext(place) if place else workplace(threads=threads) as there:
            source = TextSource(ids, sentences)
            return _estimate_in_parts(source, unigrams, impossible, base, settings, memory, there)
    require_short(len(ids))
    counts = count_ngrams(ids, vocabulary_size, settings.order, sentences=sentences)
    require_ngrams([len(order) for order in counts.orders])
    if settings.smoothing == "jelinek-mercer":
        smoothing = jelinek_mercer(counts, ids, held_out, base, sentences=sentences)
        smoothing = with_unigrams(smoothing, settings)
        return _finished(counts, _occurrences(counts), smoothing, base, settings, dtype)
    return _smoothed(counts, impossible, base, settings, dtype)


def estimate_counted(
    counts: JoinedCounts,
    settings: NgramSettings,
    *,
    memory: int | None = None,
    threads: int | None = None,
    place: Workplace | None = None,
    dtype: DTypeLike = np.float32,
) -> Estimate:
    """Estimate an n-gram model from counts; as `estimate` from the text that has them.

    Raises:
        DataError: the counts lack the end of an n-gram that they have.
        TrainingError: as `estimate`.
        UsageError: as `estimate`, or the smoothing needs the text itself.
    """
    check_trainable(settings)
    check_counted(settings)
    if memory is not None or place is not None:
        check_partitioned(settings)
    require_text(counts.unigrams)
    size, impossible = len(counts.unigrams), counts.encoder.impossible
    base = base_distribution(impossible, size, settings)
    is_fast = is_long(len(counts), Packing(size, settings.order)) and dtype == np.float32
    if memory is not None or place is not None or is_fast:
        with nullcontext(place) if place else workplace(threads=threads) as there:
            try:
                return _estimate_in_parts(
                    counts, counts.unigrams, impossible, base, settings, memory, there
                )
            except MissingEndError as error:
                raise missing_end(error.words, counts.encoder.vocabulary.tokens) from None
            except RareNgramError as error:
                raise rare_ngram(error.words, counts.encoder.vocabulary.tokens) from None
    known = counts.counts()
    require_ngrams([len(order) for order in known.orders])
    return _smoothed(known, impossible, base, settings, dtype)


def is_long(ngrams: int, packing: Packing) -> bool:
    """Whether so many n-grams are counted faster in parts, though they fit into memory."""
    return ngrams >= _LONG * len(packing.words_of_column) ** 2


def _smoothed(
    counts: NgramCounts,
    impossible: IntArray,
    base: FloatArray,
    settings: NgramSettings,
    dtype: DTypeLike,
) -> Estimate:
    """The estimate from counts, if the smoothing needs no more."""
    counted = (adjusted_counts if uses_adjusted_counts(settings) else _occurrences)(counts)
    possible = counts.vocabulary_size - len(impossible)
    smoothing = fitted([counts_of_counts(count) for count in counted], possible, settings)
    return _finished(counts, counted, smoothing, base, settings, dtype)


def _occurrences(counts: NgramCounts) -> tuple[IntArray, ...]:
    return tuple(order.count for order in counts.orders)


def _finished(
    counts: NgramCounts,
    counted: Sequence[IntArray],
    smoothing: Smoothing,
    base: FloatArray,
    settings: NgramSettings,
    dtype: DTypeLike,
) -> Estimate:
    """The table of smoothed counts, pruned and quantized as the settings say."""
    survivors = survivors_of(counts, cutoffs_of(settings.prune, settings.order))
    table = combine(counts, counted, smoothing, survivors, base, dtype)
    return Estimate(_smaller(table, settings), smoothing.discounts, smoothing.messages)


def _smaller(table: BackoffTable, settings: NgramSettings) -> BackoffTable:
    """The table, pruned and quantized as the settings say."""
    if settings.entropy_prune:
        table = entropy_pruned(table, settings.entropy_prune)
    return quantized(table) if settings.quantize else table


def _estimate_in_parts(
    source: Source,
    unigrams: IntArray,
    impossible: IntArray,
    base: FloatArray,
    settings: NgramSettings,
    memory: int | None,
    place: Workplace,
) -> Estimate:
    size, cutoffs = len(unigrams), cutoffs_of(settings.prune, settings.order)
    identity: dict[str, Any] = {"tokens": len(source), **source.identity, **asdict(settings)}
    identity |= {"prune": list(cutoffs)}
    identity |= {"text": place.fingerprint(*source.arrays, unigrams, impossible)}
    part = place.begin(identity, place.planned(memory, len(source), Packing(size, len(cutoffs))))
    is_adjusted = uses_adjusted_counts(settings)
    counts = counted_in_parts(source, unigrams, cutoffs, part, place, adjusted=is_adjusted)
    require_ngrams(counts.lengths)
    smoothing = fitted(counts.of_count, size - len(impossible), settings)
    table = smoothed_in_parts(counts, smoothing, base, cutoffs, place)
    table = replace(_smaller(table, settings), memory=memory)
    return Estimate(table, smoothing.discounts, smoothing.messages)


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


def occurrences(ids: IntArray, vocabulary_size: int) -> IntArray:
    """How often each id occurs in ids (N,): (V,)."""
    counts = np.zeros(vocabulary_size, np.int64)
    for begin in range(0, len(ids), _AT_ONCE):
        part = in_memory(ids[begin : begin + _AT_ONCE])
        counts += np.bincount(part, minlength=vocabulary_size)
    return counts


def require_text(unigrams: IntArray) -> None:
    """Raise TrainingError if a text with these counts (V,) has nothing to learn from."""
    words = unigrams.copy()
    words[[BOS, EOS]] = 0
    if not words.any():
        raise TrainingError("the training text has no tokens; give some text to learn from")
    if np.count_nonzero(words) == 1 and not unigrams[EOS]:  # a line's end is to be predicted too
        raise TrainingError(
            "the training text has only one kind of token, so there is nothing to predict; "
            "give more text, or a vocabulary with more of its tokens"
        )


def require_short(tokens: int) -> None:
    """Raise TrainingError if the text is too long for the estimation in one part."""
    if tokens >= _MOST:
        raise TrainingError(
            f"the training text has more than {_MOST - 1:,} tokens; give less text, or choose "
            "another {smoothing} than jelinek-mercer",
            "smoothing",
        )


def require_ngrams(lengths: Sequence[int]) -> None:
    """Raise TrainingError if some order has no n-gram: the text is shorter than the order."""
    order, longest = len(lengths), sum(1 for length in lengths if length)
    if longest < order:
        raise TrainingError(
            f"the training text is shorter than the order: it has no {order}-gram; "
            f"choose an order of at most {longest}, or give more text"
        )
