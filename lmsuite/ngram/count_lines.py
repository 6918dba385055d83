"""Counts as text, an n-gram a line: ``w1 w2 w3<TAB>count``, as SRILM's ngram-count writes them.

* Words are parted by spaces; white space in a word is written as its code (`arpa.escaped`).
* Sequences begin with ``<s>`` and end with ``</s>``, and these are counted, too. A stream has none.
* When read, fields may be parted by any white space, in any order of lines, and the counts of equal
  n-grams are added.

If the file has no n-grams of some lower orders, their counts follow from the lowest order n that it
has, for each (n - 1)-gram is preceded by as many words as follow it, except at the ends of
sequences. A sequence of fewer than n words is not among the n-grams; it is known only if the
file lists it, as ``<s> yes </s>``. If n-grams are missing, because they are rare, those numbers
differ, and nothing follows.
"""

from __future__ import annotations

import codecs
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from lmsuite.errors import DataError, TextWarning
from lmsuite.ngram.arpa import escaped, ngrams_of, unescaped
from lmsuite.ngram.counting import NgramCounts
from lmsuite.ngram.fields import Fields, WordIndex
from lmsuite.ngram.listed_on_disk import ListOnDisk, lowest_order, starts_or_ends_within
from lmsuite.ngram.longest import MOST_COUNT, NOTHING, LongestNgrams, filled_up
from lmsuite.ngram.settings import MOST_ORDER
from lmsuite.text.vocabulary import BOS, EOS, SPECIALS
from lmsuite.types import IntArray

_AT_ONCE = 1 << 16  # n-grams that are listed
_BLOCK = 1 << 24  # bytes of text that are taken apart at once


@dataclass(frozen=True)
class ListedNgrams:
    """Some n-grams of one order, in the order in which they are listed."""

    columns: list[IntArray]
    """The ids of their words: one array (M,) a place."""
    count: IntArray
    """(M,)"""


def listed_ngrams(counts: NgramCounts) -> Iterator[ListedNgrams]:
    """The n-grams of a text, a few at a time: first those of order 1, then those of order 2, ..."""
    for n, order in enumerate(counts.orders, start=1):
        columns: list[IntArray] = []
        at: IntArray = np.arange(len(order))  # of the beginning of each n-gram
        for shorter in reversed(counts.orders[1:n]):
            columns.insert(0, shorter.word[at])
            at = shorter.prefix[at]
        yield from in_pieces([at, *columns], order.count)


def in_pieces(columns: list[IntArray], count: IntArray) -> Iterator[ListedNgrams]:
    """N-grams of one order, a few at a time."""
    for begin in range(0, len(count), _AT_ONCE):
        piece = slice(begin, begin + _AT_ONCE)
        yield ListedNgrams([column[piece] for column in columns], count[piece])


def count_lines(
    listed: Iterable[ListedNgrams], tokens: Sequence[str], least: int = 1
) -> Iterator[tuple[str, int]]:
    """Every n-gram that was counted at least so often: its words, parted by spaces; its count.

    ``<s>`` is given as many occurrences as ``</s>``.

    Args:
        listed: the n-grams of a text.
        tokens: the (V,) words.
        least: what is rarer is left out.

    Raises:
        DataError: two tokens would be the same word.
    """
    words = [escaped(token) for token in tokens]
    if len(set(words)) < len(words):
        twice = Counter(words).most_common(1)[0][0]
        raise DataError(
            f"two tokens of the text would both be {twice!r}, for a word cannot contain white "
            "space; rename one of them in the text"
        )
    for number, piece in enumerate(listed):
        count = piece.count
        if not number:  # it begins with the first unigrams
            count = np.concatenate((count[:BOS], count[EOS : EOS + 1], count[EOS:]))
        kept = np.flatnonzero(count >= least)
        spelled = ngrams_of([column[kept] for column in piece.columns], words)
        yield from zip(spelled, count[kept].tolist(), strict=True)


@dataclass(frozen=True)
class ListedCounts:
    """The counts that a text lists."""

    tokens: tuple[str, ...]
    """`SPECIALS`, then the words in the order of the text."""
    longest: LongestNgrams
    has_sequences: bool
    """Whether its text was cut into sequences: it has ``<s>`` or ``</s>``."""


def read_count_lines(pieces: Iterable[bytes], name: str, *, on_disk: bool = False) -> ListedCounts:
    """The counts in a text, given in pieces, which messages call `name`.

    With `on_disk` they are kept on disk, as `ListOnDisk.longest` tells.

    Raises:
        DataError: a line is no n-gram and count; n-grams are missing without which those of other
            orders have no meaning.
        UsageError: lower orders are missing, which cannot be completed on disk.
    """
    known = {special.encode(): id for id, special in enumerate(SPECIALS)}
    ngrams: list[tuple[IntArray, NDArray[np.int64]]] = []
    kept = ListOnDisk(name)
    is_empty = True
    for rows, count in _ngrams(pieces, known, name):
        is_empty = False
        if on_disk:
            for wrong in starts_or_ends_within(rows)[:1]:
                raise _misplaced(" ".join(_named(known, wrong)), name)
            kept.add(rows, count)
        else:
            ngrams.append((rows, count))
    if is_empty:
        raise DataError(f"{name} has no counts; give a file that lm count or SRILM has written")
    tokens = _tokens(known, name)
    if on_disk:
        return ListedCounts(tokens, kept.longest(), kept.has_sequences)
    order = max(rows.shape[1] for rows, _ in ngrams)
    everything = LongestNgrams.added(
        np.concatenate([filled_up(rows, order) for rows, _ in ngrams]),
        np.concatenate([count for _, count in ngrams]),
    )
    return _Reader(everything, tokens, name).read()


def _ngrams(
    pieces: Iterable[bytes], known: dict[bytes, int], name: str
) -> Iterator[tuple[IntArray, NDArray[np.int64]]]:
    """The n-grams (M, n) of one length, and their counts (M,), again and again.

    Words that are not `known` yet get the next numbers.
    """
    first = 1
    for block in _blocks(pieces):
        fields = Fields(block)
        width = fields.of_lines()
        length = width[width > 0] - 1
        lines, first = np.flatnonzero(width) + first, first + len(width)
        begins = np.cumsum(length + 1) - (length + 1)
        count = _counts(fields, begins + length, lines, name)
        _require_lengths(length, lines, name)
        _number_words(known, fields.texts(begins[length == 1]))
        index = WordIndex(known)
        for n in np.unique(length).tolist():
            at = (begins[length == n][:, None] + np.arange(n)).ravel()
            ids = index.find(fields, at)
            new = np.flatnonzero(ids < 0)
            ids[new] = _number_words(known, fields.texts(at[new]))
            yield ids.reshape(-1, n).astype(np.int32), count[length == n]


def _blocks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The bytes in blocks of whole lines, each of which ends with a newline."""
    waiting, size, is_first = [], 0, True
    for piece in chain(pieces, [b"\n"]):
        waiting.append(piece)
        size += len(piece)
        if size >= _BLOCK or piece == b"\n":
            data = b"".join(waiting)
            if is_first:
                data, is_first = data.removeprefix(codecs.BOM_UTF8), False
            end = data.rfind(b"\n") + 1
            if data[:end].strip():
                yield data[:end]
            waiting, size = [data[end:]], len(data) - end


def _number_words(known: dict[bytes, int], words: list[bytes]) -> list[int]:
    """The numbers of words (K,); those that are not known yet get the next ones."""
    return [known.setdefault(word, len(known)) for word in words]


def _require_lengths(length: IntArray, lines: IntArray, name: str) -> None:
    """Refuse lines of no words or too many."""
    wrong = np.flatnonzero((length < 1) | (length > MOST_ORDER))
    if len(wrong):
        raise DataError(
            f"{name}, line {lines[wrong[0]]}: an n-gram of 1 to {MOST_ORDER} words and its count "
            f"should stand here, not {length[wrong[0]] + 1} fields"
        )


def _counts(fields: Fields, at: NDArray[np.int64], lines: IntArray, name: str) -> NDArray[np.int64]:
    """The counts (M,) that stand in the fields `at` (M,)."""
    values = fields.numbers(at)
    count = np.where((values >= 1) & (values < MOST_COUNT), values, 0).astype(np.int64)
    wrong = np.flatnonzero((count < 1) | (count != values))
    if len(wrong):
        shown = fields.texts(at[wrong[:1]])[0].decode(errors="replace")
        raise DataError(
            f"{name}, line {lines[wrong[0]]}: {shown!r:.50} is no count, which is a whole number "
            "above 0"
        )
    return count


def _tokens(known: dict[bytes, int], name: str) -> tuple[str, ...]:
    try:
        tokens = [unescaped(word.decode()) for word in known]
    except UnicodeDecodeError as error:
        shown = error.object.decode(errors="replace")
        raise DataError(f"{name}: the word {shown!r} is not UTF-8; convert the file") from None
    if len(set(tokens)) < len(tokens):
        twice = Counter(tokens).most_common(1)[0][0]
        raise DataError(f"{name} writes the word {twice!r} in two ways; choose one")
    return tuple(tokens)


def _named(known: dict[bytes, int], ngram: IntArray) -> list[str]:
    """The words of an n-gram."""
    words = {id: word for word, id in known.items()}
    return [words[id].decode(errors="replace") for id in ngram.tolist()]


def _misplaced(ngram: str, name: str) -> DataError:
    return DataError(f"{name}: {ngram!r} has <s> after, or </s> before another word")


class _Reader:
    """Finds the longest n-grams among n-grams of all lengths."""

    def __init__(self, listed: LongestNgrams, tokens: tuple[str, ...], name: str) -> None:
        self._ngrams, self._count = listed.ngrams, listed.count
        self._tokens, self._name, self._order = tokens, name, listed.order
        self._length = (self._ngrams != NOTHING).sum(axis=1)
        self._has_sequences = bool(((self._ngrams == BOS) | (self._ngrams == EOS)).any())

    def read(self) -> ListedCounts:
        """The counts."""
        self._require_sequences()
        whole = np.unique(self._length[self._ngrams[:, 0] != BOS]).tolist()
        lowest = lowest_order(whole, self._order, self._name)
        parts = [self._without_continuations(lowest)]
        if lowest > 1:
            parts += self._ended(lowest)
        if lowest > 2 and self._has_sequences and not parts[2:]:
            warnings.warn(
                f"{self._name} lists no n-grams of fewer than {lowest} words, so its text is taken "
                f"to have no sentences of fewer than {lowest - 2}",
                TextWarning,
                stacklevel=2,
            )
        return ListedCounts(self._tokens, LongestNgrams.sum(parts), self._has_sequences)

    def _error(self, ngram: IntArray, reason: str) -> DataError:
        """An error that names an n-gram."""
        return DataError(f"{self._name}: {self._spelled(ngram)!r} {reason}")

    def _spelled(self, ngram: IntArray) -> str:
        return " ".join(escaped(self._tokens[id]) for id in ngram.tolist() if id != NOTHING)

    def _require_sequences(self) -> None:
        """Refuse ``<s>`` and ``</s>`` within an n-gram."""
        for ngram in starts_or_ends_within(self._ngrams)[:1]:
            raise _misplaced(self._spelled(ngram), self._name)

    def _without_continuations(self, lowest: int) -> LongestNgrams:
        """Of the n-grams from this order on: how often nothing that is listed follows each."""
        rows = self._length >= lowest
        ngrams, left, length = self._ngrams[rows], self._count[rows], self._length[rows]
        is_new = np.zeros(len(ngrams), dtype=bool)
        is_new[:1] = True
        for n in range(1, self._order):
            is_new[1:] |= ngrams[1:, n - 1] != ngrams[:-1, n - 1]
            if n < lowest:
                continue
            run = np.cumsum(is_new) - 1  # of n-grams with the same first n words
            (own,), (longer,) = np.nonzero(length == n), np.nonzero(length == n + 1)
            of_run = np.full(len(ngrams), -1)
            of_run[run[own]] = own
            shorter = of_run[run[longer]]
            is_start = (ngrams[longer, 0] == BOS) & (n == 1)  # <s> alone need not be counted
            missing = np.flatnonzero((shorter < 0) & ~is_start)
            if len(missing):
                ngram = ngrams[longer[missing[0]]]
                raise self._error(ngram, f"is there, but not {self._spelled(ngram[:n])!r}")
            known = shorter >= 0
            np.subtract.at(left, shorter[known], self._count[rows][longer[known]])
        left[(length == 1) & (ngrams[:, 0] == BOS)] = 0
        wrong = np.flatnonzero(left < 0)
        if len(wrong):
            raise self._error(ngrams[wrong[0]], "is rarer than all that begins with it")
        return LongestNgrams.added(ngrams, left)

    def _ended(self, lowest: int) -> list[LongestNgrams]:
        """The n-grams of lower orders after which a sequence ends, from those of order `lowest`."""
        rows = self._length == lowest
        ngrams, count = self._ngrams[rows, :lowest], self._count[rows]
        # How much more often each (n - 1)-gram has a word before it than a word after it.
        surplus = LongestNgrams.added(
            np.concatenate((ngrams[:, 1:], ngrams[:, :-1])), np.concatenate((count, -count))
        )
        is_last = surplus.count > 0
        last, first = surplus.ngrams[is_last], surplus.ngrams[~is_last]
        self._require_whole(last, first, surplus)
        short = (self._length < lowest) & (self._ngrams == EOS).any(axis=1)
        ended = [self._ends_of(last, surplus.count[is_last])]
        for n in range(2, lowest):
            of_length = short & (self._length == n)
            ended.append(self._ends_of(self._ngrams[of_length, :n], self._count[of_length]))
        return [part for part in ended if len(part.count)]

    def _ends_of(self, ngrams: IntArray, count: IntArray) -> LongestNgrams:
        """The n-grams (M, n), which end sequences, and their ends."""
        ends = [filled_up(ngrams[:, begin:], self._order) for begin in range(ngrams.shape[1])]
        return LongestNgrams.added(np.concatenate(ends), np.tile(count, len(ends)))

    def _require_whole(self, last: IntArray, first: IntArray, surplus: LongestNgrams) -> None:
        """Refuse n-grams of which some are missing: then nothing follows from them."""
        if self._has_sequences:
            strange = [*last[last[:, -1] != EOS], *first[first[:, 0] != BOS]]
            if strange:
                raise self._error(
                    strange[0],
                    "has not as many words before it as after it, so some n-grams are missing, "
                    "and the counts of lower orders do not follow; give the counts of all orders",
                )
        elif len(last) != 1 or len(first) != 1 or surplus.count.max() > 1:
            raise DataError(
                f"{self._name}: its n-grams do not tell where the text begins and ends, so the "
                "counts of lower orders do not follow; give the counts of all orders"
            )
