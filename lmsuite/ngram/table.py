"""BackoffTable: the finished, read-only n-gram model.

Every smoothing ends here. Each stored n-gram has a log-probability, each stored context has a log
back-off weight, and

    log p(w | h) = log p(hw)                       if hw is stored,
                   log b(h) + log p(w | h')        if only h is stored,
                   log p(w | h')                   otherwise,

where h' is h without its first word. This is the model of an ARPA file, in nats.

The layout is a trie in arrays. An n-gram's *index* is its place among the sorted n-grams of its
order. The continuations of context i lie side by side in the next order, from ``first_child[i]`` to
``first_child[i + 1]``. The beginning and the end of a stored n-gram are stored, too.

A history is kept as *contexts*, (B, order - 1): column l - 1 has the index of the last l words, or
-1 if they are not stored. The beginning of a text is the context ``<s>``. If a model has no
``<s>``, this context has no continuations and changes nothing.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from lmsuite.errors import ModelFileError
from lmsuite.files.tensors import release_pages
from lmsuite.ngram.backed_off import BackedOff, Context
from lmsuite.ngram.flat import FlatTable
from lmsuite.ngram.lookup import KeyIndex
from lmsuite.ngram.memory import resident_bytes
from lmsuite.text.vocabulary import BOS
from lmsuite.types import Float64Array, FloatArray, IntArray

Logs = NDArray[np.float32] | NDArray[np.float64]

_FEW = 100  # up to so many queries are faster one by one than all at once
_SHORT = 1000  # up to so many queries are faster with the flat table; more would wait for memory
_SHARE = 4  # a hash table of M n-grams pays if there are about M / 4 searches or more
_CHECKED_AT_ONCE = 1 << 22  # a model file with up to so many n-grams is checked, in about 20 ms
_LARGEST = 700.0  # nats; e to the 709 is the largest float64
_CHUNK = 1 << 16  # ids scored at a time, few enough for the cache
_SMALL_CHUNK = 1 << 12  # the same where memory is limited: few enough pages of a file
_FILLED = 0.75  # the part of the memory after which pages are released
_BYTES_OF_INDEX = 60  # for an n-gram, while its hash table is made

_Level = tuple[int, NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
"""What `BackoffTable.walk` yields for one order."""


@dataclass(frozen=True)
class TableOrder:
    """The M stored n-grams of one order, sorted by their words."""

    words: IntArray
    """(M,) the last word; for unigrams 0 ... V - 1."""
    log_probs: Logs
    """(M,) in nats."""
    log_backoffs: Logs
    """(M,) in nats; (0,) in the highest order."""
    first_child: IntArray
    """(M + 1,) where the continuations begin in the next order; (0,) in the highest order."""

    def __len__(self) -> int:
        return len(self.log_probs)


@dataclass(frozen=True)
class Match:
    """How one probability is computed; see `BackoffTable.trace`."""

    order: int
    """The order of the n-gram found."""
    log_prob: float
    """That n-gram's log-probability."""
    log_backoffs: tuple[tuple[int, float], ...]
    """(length of the context, its log back-off weight) for every longer stored context."""


@dataclass(frozen=True)
class BackoffTable:
    """N-grams with log-probabilities and log back-off weights, and methods to look them up."""

    orders: tuple[TableOrder, ...]
    memory: int | None = field(default=None, repr=False, compare=False)
    """The bytes that the process should take at most while long texts are scored."""
    indexes: dict[int, KeyIndex] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """Hash tables of some orders. Each is made when enough text has been scored for it to pay, and
    then kept. Two threads may make the same table at the same time; both tables are right."""
    _scored: list[int] = field(default_factory=lambda: [0], init=False, repr=False, compare=False)
    """How many tokens of long texts have been scored. Short texts never wait for a hash table."""

    @property
    def order(self) -> int:
        """The length of the longest stored n-grams."""
        return len(self.orders)

    @property
    def vocabulary_size(self) -> int:
        """V, the number of ids."""
        return len(self.orders[0])

    @property
    def sizes(self) -> tuple[int, ...]:
        """The number of n-grams of every order."""
        return tuple(len(order) for order in self.orders)

    def prefixes(self, n: int) -> NDArray[np.int64]:
        """For each n-gram of order n, (M,), the index in order n - 1 of all words but the last."""
        first_child = self.orders[n - 2].first_child.astype(np.int64)
        return np.repeat(np.arange(len(first_child) - 1), first_child[1:] - first_child[:-1])

    def suffixes(self, n: int, shorter: IntArray | None = None) -> NDArray[np.int64]:
        """For each n-gram of order n, (M,), the index in order n - 1 of all words but the first.

        `shorter` is the same for order n - 1, if the caller has it.
        """
        words = self.orders[n - 1].words.astype(np.int64)
        if n == 2:
            return words
        if shorter is None:
            shorter = self.suffixes(n - 1)
        return self.find(n - 1, shorter[self.prefixes(n)], words)

    def words_of(self, n: int, begin: int, end: int) -> list[IntArray]:
        """The words of the n-grams of order n from `begin` to `end`: n arrays (end - begin,)."""
        columns = []
        at = np.arange(end - begin)  # the place of each n-gram's beginning, from `begin` on
        for length in range(n, 1, -1):
            columns.append(self.orders[length - 1].words[begin:end][at])
            children = self.orders[length - 2].first_child
            # A number of another type would make numpy convert the whole array.
            low = int(children.searchsorted(children.dtype.type(begin), "right")) - 1
            high = int(children.searchsorted(children.dtype.type(end), "left"))
            ends = np.clip(children[low : high + 1].astype(np.int64), begin, end)
            at = np.repeat(np.arange(high - low), np.diff(ends))[at]
            begin, end = low, high
        columns.append(np.arange(begin, end)[at])
        return columns[::-1]

    def release(self) -> None:
        """If the table is in a file, let the system take back the memory of what was read."""
        for order in self.orders:
            for array in (order.words, order.log_probs, order.log_backoffs, order.first_child):
                release_pages(array)

    @cached_property
    def _flat(self) -> FlatTable | None:
        """The form for few searches. A large table has none: it stays in its file until used."""
        if sum(self.sizes) > _CHECKED_AT_ONCE:
            return None
        return FlatTable(
            [order.words for order in self.orders],
            [self.prefixes(n) for n in range(2, self.order + 1)],
            [order.log_probs for order in self.orders],
            [order.log_backoffs for order in self.orders[:-1]],
        )

    @cached_property
    def _views(self) -> tuple[memoryview, list[tuple[memoryview, ...]]]:
        """What `_walk_few` reads: the log-probabilities of unigrams; for each order but the last,
        its weights and first children, and the words and log-probabilities of the next order."""
        return self.orders[0].log_probs.data, [
            (of.log_backoffs.data, of.first_child.data, longer.words.data, longer.log_probs.data)
            for of, longer in pairwise(self.orders)
        ]

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy or pickle has the orders alone: the forms for searches are made again."""
        return type(self), (self.orders,)

    def make_flat(self) -> None:
        """Make the forms for few searches now, so the first search does not wait for them."""
        _ = self._flat, self._views

    def make_indexes(self, queries: int) -> None:
        """Make hash tables before so many searches, if all long texts so far make them pay."""
        if queries <= _SHORT:
            return
        self._scored[0] += queries
        for n in range(2, self.order + 1):
            if n not in self.indexes and self._pays(n, self._scored[0]):
                self.indexes[n] = self._index(n)

    def _pays(self, n: int, queries: int) -> bool:
        """Whether so many searches make a hash table of order n worth its time and memory."""
        size = len(self.orders[n - 1])
        if self.memory is not None and size * _BYTES_OF_INDEX > self.memory - resident_bytes():
            return False
        return queries > _SHORT and _SHARE * queries >= size

    def _index(self, n: int) -> KeyIndex:
        self.check_order(n)
        return KeyIndex(self._keys_of(n))

    def _keys_of(self, n: int) -> NDArray[np.int64]:
        """The rising keys (M,) of the n-grams of order n >= 2: prefix times V plus last word."""
        return self.prefixes(n) * self.vocabulary_size + self.orders[n - 1].words

    def find(self, n: int, prefix: IntArray, words: IntArray) -> NDArray[np.int64]:
        """The index (K,) of n-grams of order n >= 2, or -1, from their prefixes and last words.

        `prefix` (K,) is an index in order n - 1 and must not be -1.
        """
        index = self.indexes.get(n)
        if index is None and self._pays(n, len(words)):
            index = self._index(n)
        if index is not None:
            return index.find(prefix.astype(np.int64) * self.vocabulary_size + words)
        if len(words) <= _SHORT and self._flat:
            return self._flat.find(n, prefix, words)
        return self.search(n, prefix, words)

    def search(self, n: int, prefix: IntArray, words: IntArray) -> NDArray[np.int64]:
        """As `find`, by binary search among the continuations of each prefix."""
        if len(words) <= _FEW:
            pairs = zip(prefix.tolist(), words.tolist(), strict=True)
            return np.array([self._find_one(n, at, word) for at, word in pairs], dtype=np.int64)
        stored, first_child = self.orders[n - 1].words, self.orders[n - 2].first_child
        end = np.minimum(first_child[prefix + 1], len(stored)).astype(np.int64)
        low = np.minimum(first_child[prefix], end).astype(np.int64)
        high = end.copy()
        for _ in range(int((high - low).max()).bit_length()):
            middle = (low + high) >> 1
            is_less = (middle < end) & (stored[np.minimum(middle, len(stored) - 1)] < words)
            low = np.where(is_less, np.minimum(middle + 1, end), low)
            high = np.where(is_less, high, middle)
        is_found = (low < end) & (stored[np.minimum(low, len(stored) - 1)] == words)
        return np.where(is_found, low, -1)

    def _find_one(self, n: int, prefix: int, word: int) -> int:
        first_child = self.orders[n - 2].first_child
        low, high = first_child.item(prefix), first_child.item(prefix + 1)
        words = self.orders[n - 1].words[low:high]
        at: int = words.searchsorted(words.dtype.type(word)).item()
        return low + at if at < len(words) and words[at] == word else -1

    def start(self, batch_size: int) -> NDArray[np.int64]:
        """The contexts (B, order - 1) at the beginning of a text."""
        contexts = np.full((batch_size, self.order - 1), -1, dtype=np.int64)
        contexts[:, :1] = BOS
        return contexts

    def extend(self, contexts: NDArray[np.int64], ids: IntArray) -> NDArray[np.int64]:
        """The contexts (B, order - 1) after each is continued by one of the ids (B,).

        After ``<s>``, the context is the beginning of a text.
        """
        if len(ids) == 1:
            [(before, word)] = zip(contexts.tolist(), ids.tolist(), strict=True)
            after = [word]
            for n, context in enumerate(before[:-1], start=2):
                after.append(self._find_one(n, context, word) if context >= 0 else -1)
            return np.array([after[: self.order - 1]], np.int64)
        if len(ids) <= _SHORT and self._flat:
            return self._flat.extend(contexts, ids)
        longer = np.full_like(contexts, -1)
        longer[:, :1] = ids[:, None]
        for length in range(2, self.order):
            known = np.flatnonzero(contexts[:, length - 2] >= 0)
            if len(known):
                prefix = contexts[known, length - 2]
                longer[known, length - 1] = self.find(length, prefix, ids[known])
        return longer

    def score_next(
        self, contexts: NDArray[np.int64], ids: IntArray
    ) -> tuple[Float64Array, NDArray[np.int64]]:
        """The log-probability (B,) of one id after each context, and the contexts after the ids.

        An n-gram that is found is also a context of the next id, so one search gives both.
        """
        if len(ids) <= _SHORT and self._flat:
            return self._flat.score_next(contexts, ids)
        total: Float64Array = self.orders[0].log_probs[ids].astype(np.float64)
        longer = np.full_like(contexts, -1)
        longer[:, :1] = ids[:, None]
        for n in range(2, self.order + 1):
            known = np.flatnonzero(contexts[:, n - 2] >= 0)
            context = contexts[known, n - 2]
            index = self.find(n, context, ids[known])
            total[known] += self.orders[n - 2].log_backoffs[context]
            found = np.flatnonzero(index >= 0)
            total[known[found]] = self.orders[n - 1].log_probs[index[found]]
            if n < self.order:
                longer[known, n - 1] = index
        return total, longer

    def log_probs(self, contexts: NDArray[np.int64]) -> FloatArray:
        """The log-probabilities of every next word, (B, V)."""
        dense = np.empty((len(contexts), self.vocabulary_size))
        for row, lengths in zip(dense, contexts.tolist(), strict=True):
            self.backed_off(lengths).dense(row)
        return dense

    def backed_off(self, contexts: Sequence[int]) -> BackedOff:
        """The log-probabilities of every next word after one history, contexts (order - 1,)."""
        known: list[Context] = []
        for n, context in enumerate(contexts):
            if context >= 0:
                order, longer = self.orders[n], self.orders[n + 1]
                low, high = order.first_child.item(context), order.first_child.item(context + 1)
                words = longer.words[low:high]
                if self._flat is None and len(words):  # a large table was not checked
                    is_word = int(words.max()) < self.vocabulary_size
                    _require(is_word, "words", "has an id out of range")
                log_backoff = order.log_backoffs.item(context)
                known.append((log_backoff, words, longer.log_probs[low:high], (n, context)))
        return BackedOff(self.orders[0].log_probs, known)

    def score(self, ids: IntArray, *, bos: bool = True) -> Float64Array:
        """The log-probability (M,) of every id in ids (N,) that is not ``<s>``, in order.

        Each is given the ids before it. The first id follows ``<s>``, and no history reaches back
        beyond a ``<s>``. If `bos` is False, what follows a ``<s>`` has no known context.
        """
        if len(ids) <= _FEW:
            return np.array(self._walk_few(ids, bos)[0], np.float64)
        self.make_indexes(len(ids))  # once for all chunks
        history = np.concatenate(([BOS], ids), dtype=np.int64)
        scores = np.empty(len(ids))
        size = _CHUNK if self.memory is None else _SMALL_CHUNK
        for begin in range(0, len(ids), size):
            if self.memory is not None and resident_bytes() > self.memory * _FILLED:
                self.release()
            end = min(begin + size, len(ids))
            reach = max(begin + 2 - max(self.order, 2), 0)
            chunk = self._score_chunk(history[reach : end + 1], bos)
            scores[begin:end] = chunk[begin + 1 - reach :]
        predicted: Float64Array = scores[ids != BOS]
        return predicted

    def _score_chunk(self, ids: NDArray[np.int64], bos: bool) -> Float64Array:
        total: Float64Array = self.orders[0].log_probs[ids].astype(np.float64)
        for n, here, contexts, ends, ngrams in self.walk(ids, bos):
            total[here] += self.orders[n - 2].log_backoffs[contexts]
            total[ends] = self.orders[n - 1].log_probs[ngrams]
        return total

    def matched_orders(self, ids: IntArray, *, bos: bool = True) -> NDArray[np.int64]:
        """The order (M,) of the longest n-gram found, for every id and history as in `score`."""
        if len(ids) <= _FEW:
            return np.array(self._walk_few(ids, bos)[1], np.int64)
        history = np.concatenate(([BOS], ids), dtype=np.int64)
        matched = np.ones(len(history), dtype=np.int64)
        for n, _, _, ends, _ in self.walk(history, bos):
            matched[ends] = n
        predicted: NDArray[np.int64] = matched[1:][ids != BOS]
        return predicted

    def walk(self, ids: NDArray[np.int64], bos: bool = True) -> Iterator[_Level]:
        """For n = 2, 3, ..., find the n-grams that end at each place.

        Yields n; the places in `ids` (N,) that have a stored context of n - 1 words before them,
        and the index of each context; the places where an n-gram ends, and its index. If `bos` is
        False, ``<s>`` is no context.
        """
        here = np.arange(1, len(ids)) if bos else 1 + np.flatnonzero(ids[:-1] != BOS)
        contexts = ids[here - 1]
        for n in range(2, self.order + 1):
            index = self.find(n, contexts, ids[here])
            found = np.flatnonzero(index >= 0)
            ends, ngrams = here[found], index[found]
            yield n, here, contexts, ends, ngrams
            # An n-gram that ends before a place is its context.
            here, contexts = ends + 1, ngrams
            if len(here) and here[-1] == len(ids):
                here, contexts = here[:-1], contexts[:-1]

    def _walk_few(self, ids: IntArray, bos: bool) -> tuple[list[float], list[int]]:
        """The results of `score` and of `matched_orders`: as with `walk`, but without numpy.

        The calls of numpy would take longer than the searches.
        """
        unigrams, orders = self._views
        history = [BOS, *ids.tolist()]
        predicted = [at for at, word in enumerate(history) if word != BOS]
        scores, matched = [unigrams[word] for word in history], [1] * len(history)
        contexts = [(at, history[at - 1]) for at in predicted if bos or history[at - 1] != BOS]
        try:
            for n, (log_backoffs, first_child, words, log_probs) in enumerate(orders, start=2):
                longer = []
                for at, context in contexts:
                    word, end = history[at], first_child[context + 1]
                    index = bisect_left(words, word, first_child[context], end)
                    if index < end and words[index] == word:
                        scores[at], matched[at] = log_probs[index], n
                        if at + 1 < len(history):
                            longer.append((at + 1, index))
                    else:
                        scores[at] += log_backoffs[context]
                contexts = longer
        except IndexError:
            _require(False, f"order{n - 1}.first_child", "has a place out of range")
        return [scores[at] for at in predicted], [matched[at] for at in predicted]

    def trace(self, contexts: NDArray[np.int64], word: int) -> Match:
        """How the probability of `word` after contexts (1, order - 1) is computed."""
        match = Match(1, float(self.orders[0].log_probs[word]), ())
        for length, context in enumerate(contexts[0].tolist(), start=1):
            if context < 0:
                continue
            index = self._find_one(length + 1, context, word)
            if index >= 0:
                match = Match(length + 1, float(self.orders[length].log_probs[index]), ())
            else:
                weight = float(self.orders[length - 1].log_backoffs[context])
                match = Match(match.order, match.log_prob, (*match.log_backoffs, (length, weight)))
        return match

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All that `from_arrays` needs, by name."""
        named: dict[str, NDArray[Any]] = {}
        for n, order in enumerate(self.orders, start=1):
            if n > 1:
                named[f"order{n}.words"] = order.words
            named[f"order{n}.log_probs"] = order.log_probs
            if n < self.order:
                named[f"order{n}.log_backoffs"] = order.log_backoffs
                named[f"order{n}.first_child"] = order.first_child
        return named

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, NDArray[Any]], order: int, vocabulary_size: int
    ) -> BackoffTable:
        """The table that has these `arrays`.

        To check the values, all of them must be read. For more than four million n-grams, that is
        left to `check_order`. Until then a damaged file may give a wrong number, but no look-up
        reaches beyond the arrays.

        Raises:
            ModelFileError: an array is missing or unknown, or has a shape, dtype or value that
                does not fit the others; the message names it.
        """
        remaining = dict(arrays)
        orders: list[TableOrder] = []
        size = vocabulary_size
        for n in range(1, order + 1):
            words = np.arange(vocabulary_size, dtype=word_dtype(vocabulary_size))
            if n > 1:
                words = _take(remaining, f"order{n}.words", words.dtype, size)
            log_probs = _take(remaining, f"order{n}.log_probs", np.float32, size)
            backoffs = np.empty(0, dtype=np.float32)
            children = np.empty(0, dtype=np.uint32)
            if n < order:
                backoffs = _take(remaining, f"order{n}.log_backoffs", np.float32, size)
                children = _take(remaining, f"order{n}.first_child", np.uint32, size + 1)
                if len(children) <= _CHECKED_AT_ONCE:
                    _check_children(children, n)
                size = int(children[-1])
            orders.append(TableOrder(words, log_probs, backoffs, children))
        if remaining:
            raise ModelFileError(
                f"the n-gram model has an array {min(remaining)!r}, which a model of order {order} "
                "does not have: the file is damaged, or another program made it."
            )
        table = cls(tuple(orders))
        if sum(table.sizes) <= _CHECKED_AT_ONCE:
            table.check()
        return table

    def check(self) -> None:
        """`check_order` of every order."""
        for n in range(1, self.order + 1):
            self.check_order(n)

    def check_order(self, n: int) -> None:
        """Read and check all values of order n, and the places of its n-grams and continuations.

        Raises:
            ModelFileError: a value is not possible in a table; the message names the array.
        """
        order = self.orders[n - 1]
        if n > 1:
            shorter = self.orders[n - 2]
            _check_children(shorter.first_child, n - 1)
            _check_words(order.words, shorter.first_child, self.vocabulary_size, n)
        _require(bool((order.log_probs <= 0).all()), f"order{n}.log_probs", "is not all <= 0")
        if n < self.order:
            is_weight = bool((order.log_backoffs <= largest_log_backoff(self.order)).all())
            _require(is_weight, f"order{n}.log_backoffs", "has a value that is not a weight")
            _check_children(order.first_child, n)
        self.release()

    @classmethod
    def build(
        cls,
        prefixes: Sequence[IntArray],
        words: Sequence[IntArray],
        log_probs: Sequence[Logs],
        log_backoffs: Sequence[Logs],
        dtype: DTypeLike = np.float32,
    ) -> BackoffTable:
        """A table from sorted n-grams; each sequence has one entry for each order.

        The first entries of `prefixes` and `words` are not read: unigrams have every id.
        `log_backoffs` has no entry for the highest order. A table is saved, and read, as float32;
        a float64 table is for tests of that rounding.
        """
        vocabulary_size = len(log_probs[0])
        orders = []
        for n, probs in enumerate(log_probs):
            last = words[n] if n else np.arange(vocabulary_size)
            backoffs: Logs = np.empty(0)
            children = np.empty(0, dtype=np.uint32)
            if n + 1 < len(log_probs):
                backoffs = log_backoffs[n]
                per_context = np.bincount(prefixes[n + 1], minlength=len(probs))
                children = np.zeros(len(probs) + 1, dtype=np.uint32)
                np.cumsum(per_context, out=children[1:])
            orders.append(
                TableOrder(
                    last.astype(word_dtype(vocabulary_size)),
                    # Sums of rounded shares may exceed one by the last bit.
                    np.minimum(probs, 0.0).astype(dtype, copy=False),
                    backoffs.astype(dtype, copy=False),
                    children,
                )
            )
        return cls(tuple(orders))


def largest_log_backoff(order: int) -> float:
    """The largest log back-off weight, in nats, that a model of this order may have.

    One log-probability can be the sum of several weights. With this bound, the exponential of the
    sum is still a finite number.
    """
    return _LARGEST / max(1, order - 1)


def word_dtype(vocabulary_size: int) -> np.dtype[Any]:
    """The smallest dtype in which a table can keep the words of a vocabulary."""
    return np.dtype(np.uint16 if vocabulary_size <= 1 << 16 else np.uint32)


def _take(
    arrays: dict[str, NDArray[Any]], name: str, dtype: np.dtype[Any] | type, size: int
) -> NDArray[Any]:
    """Take an array of the given dtype and shape (size,) out of `arrays`."""
    if name not in arrays:
        raise ModelFileError(f"the n-gram model lacks its array {name!r}: the file is damaged.")
    array = arrays.pop(name)
    fits = array.dtype == dtype and array.shape == (size,)
    expected = f"is {array.dtype} {array.shape}, not {np.dtype(dtype)} {(size,)}"
    _require(fits, name, expected)
    return array


def _check_children(first_child: NDArray[Any], n: int) -> None:
    rises = first_child[0] == 0 and bool((first_child[1:] >= first_child[:-1]).all())
    _require(rises, f"order{n}.first_child", "does not rise from 0")


def _check_words(
    words: NDArray[Any], first_child: NDArray[Any], vocabulary_size: int, n: int
) -> None:
    """Refuse words that are out of range, or not sorted among the continuations of a context."""
    name = f"order{n}.words"
    _require(not len(words) or int(words.max()) < vocabulary_size, name, "has an id out of range")
    rises = np.concatenate(([True], words[1:] > words[:-1], [True]))[: len(words) + 1]
    rises[first_child] = True
    _require(bool(rises.all()), name, "is not sorted")


def _require(condition: bool, name: str, what: str) -> None:
    if not condition:
        raise ModelFileError(
            f"the n-gram model's array {name!r} {what}: the file is damaged; make the model again."
        )
