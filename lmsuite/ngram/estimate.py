"""From ids to a finished model: the outline of the method, step by step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lmsuite.errors import TrainingError, UsageError
from lmsuite.ngram.counting import FloatArray, IntArray, NgramCounts, count_ngrams
from lmsuite.ngram.discounts import Discounts
from lmsuite.ngram.kneser_ney import absolute, kneser_ney, modified_kneser_ney
from lmsuite.ngram.pruning import cutoffs_of, survivors_of
from lmsuite.ngram.smoothing import Smoothed, combine
from lmsuite.ngram.table import BackoffTable
from lmsuite.text.vocabulary import BOS, UNK

SMOOTHINGS: tuple[str, ...] = (
    "modified-kneser-ney",
    "kneser-ney",
    "absolute",
)


@dataclass(frozen=True)
class NgramSettings:
    """How an n-gram model is to be estimated."""

    order: int = 3
    """The length of the longest n-grams, 1 or more."""
    smoothing: str = "modified-kneser-ney"
    """One of `SMOOTHINGS`; ``arpa`` in models that were read from an ARPA file."""
    prune: tuple[int, ...] = ()
    """Cut-offs as lmplz's ``--prune``: n-grams that occur so often or less are left out."""
    discount: float | None = None
    """kneser-ney, absolute: the discount of every order, instead of one from counts of counts."""
    interpolate_unigrams: bool = True
    """Whether unigrams are mixed with the uniform distribution.

    If not, what Kneser-Ney discounts from them goes to ``<unk>``, as with lmplz's
    ``--interpolate_unigrams 0``.
    """


@dataclass(frozen=True)
class Estimate:
    """A finished table, and how it came about."""

    table: BackoffTable
    discounts: tuple[Discounts, ...]
    messages: tuple[str, ...]


def estimate(
    ids: IntArray,
    impossible: IntArray,
    vocabulary_size: int,
    settings: NgramSettings,
    *,
    sentences: bool,
) -> Estimate:
    """Estimate an n-gram model from ids (N,).

    `impossible` ids have probability 0; with `sentences` the ids are lines between ``<s>`` and
    ``</s>``, without they are one sequence.

    Raises:
        TrainingError: the ids are too few, or all the same.
        UsageError: the settings are out of range.
    """
    check(settings)
    require_text(ids)
    counts = count_ngrams(ids, vocabulary_size, settings.order, sentences=sentences)
    require_ngrams(counts)
    smoothed = smooth(counts, settings)
    survivors = survivors_of(counts, cutoffs_of(settings.prune, settings.order))
    table = combine(counts, smoothed, survivors, base_distribution(impossible, counts, settings))
    return Estimate(table, smoothed.discounts, smoothed.messages)


def smooth(counts: NgramCounts, settings: NgramSettings) -> Smoothed:
    """The shares and leftover weights of the smoothing that the settings name."""
    if settings.smoothing == "modified-kneser-ney":
        return modified_kneser_ney(counts)
    if settings.smoothing == "kneser-ney":
        return kneser_ney(counts, settings.discount)
    return absolute(counts, settings.discount)


def base_distribution(
    impossible: IntArray, counts: NgramCounts, settings: NgramSettings
) -> FloatArray:
    """The distribution (V,) below the unigrams: uniform, or all of it on ``<unk>``."""
    base = np.zeros(counts.vocabulary_size)
    if settings.interpolate_unigrams:
        base[:] = 1.0
        base[impossible] = 0.0
    else:
        base[UNK] = 1.0
    return base / base.sum()


def check(settings: NgramSettings) -> None:
    """Raise UsageError for settings that are out of range."""
    if settings.order < 1:
        raise UsageError(f"order {settings.order}: an n-gram has at least one word")
    if settings.smoothing not in SMOOTHINGS:
        raise UsageError(
            f"smoothing {settings.smoothing!r} is not known; choose one of {', '.join(SMOOTHINGS)}"
        )


def require_text(ids: IntArray) -> None:
    """Raise TrainingError where there is nothing to learn from."""
    words = np.unique(ids[ids != BOS])
    if not len(words):
        raise TrainingError("the training text has no tokens; give some text to learn from")


def require_ngrams(counts: NgramCounts) -> None:
    """Raise TrainingError where the text is shorter than the order."""
    lengths = [n for n, order in enumerate(counts.orders, start=1) if len(order)]
    if len(lengths) < counts.order:
        raise TrainingError(
            f"the training text is shorter than the order: it has no {counts.order}-gram; "
            f"choose an order of at most {len(lengths)}, or give more text"
        )
