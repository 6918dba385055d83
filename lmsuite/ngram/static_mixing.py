"""One back-off table made of several: linear and log-linear interpolation of n-gram models.

The table stores every n-gram hw that a member stores. A member that does not store it has a
probability for it all the same, by backing off; a word that it does not know is ``<unk>`` in its
histories.

*Linear* (Jelinek and Mercer 1980; SRILM's ``ngram -mix-lm``):

    p(w | h) = sum_k  lambda_k p_k(w | h),

where p_k(w | h) is 0 if member k does not know the word w, so that the sum over w is one. New
back-off weights share out what the stored n-grams of a context leave over. For an n-gram that is
not stored this differs from the mixture of the models at run time, and is what makes it a table.

*Log-linear* (Klakow 1998; Heafield et al. 2016, KenLM's ``interpolate``):

    p(w | h) = 1 / Z(h)  prod_k  p_k(w | h)^lambda_k,

where p_k(w | h) is that of ``<unk>`` if member k does not know w. Let q be this product without Z,
B(h) the product of the members' back-off weights b_k(h)^lambda_k, and h' the context h without its
first word. For words w that no member stores after h, q(w | h) = B(h) q(w | h'). So

    Z(h) = sum over stored hw of [q(w | h) - B(h) q(w | h')]  +  B(h) Z(h'),

which is exact, and the back-off weight is B(h) Z(h') / Z(h): here the table is the mixture, for
every history that it stores.

Letters: U words of the union of the vocabularies, M n-grams of the union of one order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lmsuite.errors import DataError
from lmsuite.ngram.recursion import context_sums
from lmsuite.ngram.refitting import refitted
from lmsuite.ngram.table import BackoffTable, TableOrder
from lmsuite.ngram.table_blocks import all_suffixes
from lmsuite.text.vocabulary import Widening
from lmsuite.types import Float64Array


@dataclass(frozen=True)
class Part:
    """A member's table, and its words."""

    table: BackoffTable
    words: Widening
    """The member's words among those of the union."""

    def nowhere(self, batch_size: int) -> NDArray[np.int64]:
        """The contexts (B, order - 1) without any word."""
        return np.full((batch_size, self.table.order - 1), -1, np.int64)


@dataclass(frozen=True)
class _Level:
    """The union's n-grams of one order n, and what the members say of them."""

    prefix: NDArray[np.int64]
    """(M,) index in order n - 1; of unigrams zeros."""
    word: NDArray[np.int64]
    """(M,)"""
    log_probs: list[Float64Array]
    """For each member (M,), with that of ``<unk>`` for words that it does not know."""
    log_backoffs: list[Float64Array]
    """For each member (M,), of the n-gram as a context; 0 where it is none."""


def linear(parts: Sequence[Part], weights: Sequence[float]) -> BackoffTable:
    """The linear interpolation; the weights are above 0 and sum to one."""
    log_weights = np.log(np.asarray(weights, np.float64))
    levels, log_probs = list(_levels(parts)), []
    for level in levels:
        terms = [
            np.where(part.words.knows[level.word], log_weight + logs, -np.inf)
            for part, log_weight, logs in zip(parts, log_weights, level.log_probs, strict=True)
        ]
        log_probs.append(np.logaddexp.reduce(terms, axis=0))
    table = _built(levels, log_probs, [np.zeros(len(level.word)) for level in levels])
    suffixes = all_suffixes(table)
    for n in range(2, table.order + 1):
        table = refitted(table, suffixes, n)
    return _rounded(table)


def log_linear(parts: Sequence[Part], weights: Sequence[float]) -> BackoffTable:
    """The log-linear interpolation; the weights are above 0.

    Raises:
        DataError: there is no word that all members give a probability.
    """
    levels = list(_levels(parts))
    logs = [_product(weights, level.log_probs) for level in levels]  # ln q
    backoffs = [_product(weights, level.log_backoffs) for level in levels]  # ln B
    table = _built(levels, logs, backoffs)
    total = float(np.exp(logs[0]).sum())
    if not 0 < total < np.inf:
        raise DataError(
            "a log-linear mixture needs a word to which every member gives a probability; these "
            "have none: mix them linearly"
        )
    log_z = [np.array([np.log(total)])]  # of the contexts of 0, 1, ... words
    log_probs, new_backoffs = [logs[0] - log_z[0]], []
    suffixes = [np.zeros(len(logs[0]), np.int64), *all_suffixes(table)]  # of orders 1, 2, ...
    for n in range(2, len(levels) + 1):
        level, of_context, suffix = levels[n - 1], suffixes[n - 2], suffixes[n - 1]
        size = len(logs[n - 2])
        stored = context_sums(level.prefix, np.exp(logs[n - 1]), size)
        lower = context_sums(level.prefix, np.exp(logs[n - 2][suffix]), size)
        shorter = np.exp(log_z[n - 2])[of_context]
        factor = np.exp(backoffs[n - 2])
        with np.errstate(divide="ignore"):
            z = np.log(stored + factor * np.maximum(shorter - lower, 0.0))
        # A context without any possible continuation is never left: its values do not matter.
        z = np.where(z > -np.inf, z, 0.0)
        log_z.append(z)
        log_probs.append(logs[n - 1] - z[level.prefix])
        new_backoffs.append(backoffs[n - 2] + log_z[n - 2][of_context] - z)
    return _rounded(_built(levels, log_probs, [*new_backoffs, np.zeros(0)]))


def _levels(parts: Sequence[Part]) -> Iterator[_Level]:
    """The union's n-grams of orders 1, 2, ..., sorted, as in a table."""
    size = len(parts[0].words.ids)
    word = np.arange(size)
    prefix = np.zeros(size, np.int64)
    index = [part.words.own for part in parts]  # of each member's n-grams, in the union
    contexts = [part.nowhere(1) for part in parts]  # of the union's n-grams of the order before
    n = 1
    while True:
        log_probs, log_backoffs = [], []
        for k, part in enumerate(parts):
            logs, contexts[k] = part.table.score_next(contexts[k][prefix], part.words.ids[word])
            log_probs.append(logs)
            log_backoffs.append(_backoffs(part.table, contexts[k], n))
        yield _Level(prefix, word, log_probs, log_backoffs)
        n += 1
        keys = []
        for k, part in enumerate(parts):
            if n > part.table.order:
                index[k] = np.empty(0, np.int64)
                keys.append(index[k])
                continue
            words = part.words.own[part.table.orders[n - 1].words]
            keys.append(index[k][part.table.prefixes(n)] * size + words)
        union = np.unique(np.concatenate(keys))
        if not len(union):
            return
        index = [np.searchsorted(union, each) for each in keys]
        prefix, word = np.divmod(union, size)


def _backoffs(table: BackoffTable, contexts: NDArray[np.int64], length: int) -> Float64Array:
    """The log back-off weights (M,) of contexts (M, order - 1) of so many words."""
    weights = np.zeros(len(contexts))
    if length < table.order:
        context = contexts[:, length - 1]
        stored = context >= 0
        weights[stored] = table.orders[length - 1].log_backoffs[context[stored]]
    return weights


def _product(weights: Sequence[float], logs: Sequence[Float64Array]) -> Float64Array:
    """The logarithm of the product of powers."""
    total = np.zeros(len(logs[0]))
    for weight, own in zip(weights, logs, strict=True):
        total += weight * own
    return total


def _built(
    levels: Sequence[_Level],
    log_probs: Sequence[Float64Array],
    log_backoffs: Sequence[Float64Array],
) -> BackoffTable:
    prefixes, words = [level.prefix for level in levels], [level.word for level in levels]
    return BackoffTable.build(prefixes, words, log_probs, log_backoffs[:-1], np.float64)


def _rounded(table: BackoffTable) -> BackoffTable:
    """The table as it is saved, in float32."""
    return BackoffTable(
        tuple(
            TableOrder(
                order.words,
                order.log_probs.astype(np.float32),
                order.log_backoffs.astype(np.float32),
                order.first_child,
            )
            for order in table.orders
        )
    )
