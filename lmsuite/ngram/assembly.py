"""A back-off table from the n-grams of a file: they may be unsorted, and some may be missing.

Order by order, the n-grams are sorted by the index of their prefix. A table needs the beginning and
the end of each n-gram, too. If one is missing, it is added with its backed-off probability, which
changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from lmsuite.ngram.table import BackoffTable
from lmsuite.text.vocabulary import BOS
from lmsuite.types import FloatArray

# Words of missing n-grams that may be added: so many, and so many more for each word of the file.
_MOST_ADDED = 1 << 18
_ADDED_FOR_ONE = 6


@dataclass(frozen=True)
class Ngrams:
    """The M n-grams of one order, sorted or not."""

    ids: NDArray[np.int64]
    """(M, n)"""
    log_probs: FloatArray
    """(M,)"""
    log_backoffs: FloatArray
    """(M,)"""
    lines: NDArray[np.int64]
    """(M,) their line numbers in the file."""


class RepeatedNgramError(Exception):
    """The file has an n-gram twice."""

    def __init__(self, line: int) -> None:
        super().__init__(line)
        self.line = line


class TooManyMissingError(Exception):
    """The missing beginnings and ends of n-grams would take too much memory."""


def dense_unigrams(unigrams: Ngrams, vocabulary_size: int) -> Ngrams:
    """Unigrams of all ids, in order. If the file lacks one, its probability is zero."""
    probs, weights = np.full(vocabulary_size, -np.inf), np.zeros(vocabulary_size)
    probs[unigrams.ids[:, 0]] = unigrams.log_probs
    weights[unigrams.ids[:, 0]] = unigrams.log_backoffs
    probs[BOS] = -np.inf
    ids = np.arange(vocabulary_size)
    return Ngrams(ids[:, None], probs, weights, ids)


def without_inner_starts(ngrams: Ngrams) -> Ngrams:
    """The n-grams in which ``<s>`` is not a word after the first."""
    keep = ~(ngrams.ids[:, 1:] == BOS).any(axis=1)
    if keep.all():
        return ngrams
    return Ngrams(
        ngrams.ids[keep], ngrams.log_probs[keep], ngrams.log_backoffs[keep], ngrams.lines[keep]
    )


def table_of(ngrams: Sequence[Ngrams]) -> BackoffTable:
    """The table of these n-grams, one entry of the sequence an order.

    They have been through `dense_unigrams` and `without_inner_starts`.

    Raises:
        RepeatedNgramError: an n-gram is there twice.
        TooManyMissingError: too many n-grams would have to be added.
    """
    vocabulary_size = len(ngrams[0].ids)
    prefixes, words = [np.empty(0, dtype=np.int64)], [np.arange(vocabulary_size)]
    log_probs, log_backoffs = [ngrams[0].log_probs], [ngrams[0].log_backoffs]
    keys: list[NDArray[np.int64]] = []  # sorted, of orders 2, 3, ...
    for of_order in ngrams[1:]:
        prefix = _index(of_order.ids[:, :-1], keys, vocabulary_size)
        if prefix is None or _index(of_order.ids[:, 1:], keys, vocabulary_size) is None:
            return table_of(_closed(ngrams))
        key = prefix * vocabulary_size + of_order.ids[:, -1]
        sorting = np.argsort(key, kind="stable")
        key = key[sorting]
        repeated = np.flatnonzero(key[1:] == key[:-1])
        if len(repeated):
            raise RepeatedNgramError(int(of_order.lines[sorting[repeated + 1]].min()))
        keys.append(key)
        prefixes.append(prefix[sorting])
        words.append(of_order.ids[sorting, -1])
        log_probs.append(of_order.log_probs[sorting])
        log_backoffs.append(of_order.log_backoffs[sorting])
    return BackoffTable.build(prefixes, words, log_probs, log_backoffs[:-1])


def _index(
    ids: NDArray[np.int64], keys: Sequence[NDArray[np.int64]], vocabulary_size: int
) -> NDArray[np.int64] | None:
    """The index (M,) of the n-grams ids (M, n) among those of their order; None if one is missing.

    `keys` are sorted, one array for each order from 2 on.
    """
    index = ids[:, 0]
    for column, known in zip(ids.T[1:], keys, strict=False):
        wanted = index * vocabulary_size + column
        index = np.searchsorted(known, wanted)
        # The -1 is no n-gram's key; with it, every index points at a key.
        if (np.append(known, -1)[index] != wanted).any():
            return None
    return index


def _closed(ngrams: Sequence[Ngrams]) -> list[Ngrams]:
    """The n-grams, and their missing beginnings and ends with backed-off probabilities."""
    known: list[dict[tuple[int, ...], tuple[float, float]]] = []
    for of_order in ngrams:
        values = zip(of_order.log_probs.tolist(), of_order.log_backoffs.tolist(), strict=True)
        known.append(dict(zip(map(tuple, of_order.ids.tolist()), values, strict=True)))
    missing: list[set[tuple[int, ...]]] = [set() for _ in ngrams]
    left = _MOST_ADDED + _ADDED_FOR_ONE * sum(of_order.ids.size for of_order in ngrams)
    for n in range(len(ngrams), 2, -1):
        most = left // (n - 1)
        for ngram in chain(known[n - 1], missing[n - 1]):
            missing[n - 2].update({ngram[:-1], ngram[1:]} - known[n - 2].keys())
            if len(missing[n - 2]) > most:
                raise TooManyMissingError
        left -= len(missing[n - 2]) * (n - 1)
    closed = [ngrams[0]]
    for n, (of_order, added) in enumerate(zip(ngrams[1:], missing[1:], strict=True), start=2):
        extra = sorted(added)
        for ngram in extra:
            log_prob = known[n - 2][ngram[:-1]][1] + known[n - 2][ngram[1:]][0]
            known[n - 1][ngram] = (log_prob, 0.0)
        probs = [known[n - 1][ngram][0] for ngram in extra]
        closed.append(
            Ngrams(
                np.concatenate((of_order.ids, np.array(extra, dtype=np.int64).reshape(-1, n))),
                np.concatenate((of_order.log_probs, probs)),
                np.concatenate((of_order.log_backoffs, np.zeros(len(extra)))),
                np.concatenate((of_order.lines, np.full(len(extra), -1))),
            )
        )
    return closed
