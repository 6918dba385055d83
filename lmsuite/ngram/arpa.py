"""ARPA files: the text format in which programs exchange n-gram models. Only here is log10 used.

::

    \\data\\
    ngram 1=4
    ngram 2=5

    \\1-grams:
    -1.2<TAB>word<TAB>-0.3        log10 probability, n-gram, log10 back-off weight (0 if left out)
    ...

    \\2-grams:
    ...
    \\end\\

Conventions (those of lmplz, if it has any):

* the probability printed for ``<s>`` is 0 and means nothing; any other value is accepted, too;
* a probability or weight of zero is written as -99, and -99 or less is read as zero;
* if a file has no ``<unk>``, unknown words have the probability zero (in KenLM 10^-100), and
  ``<UNK>`` is read as ``<unk>``;
* in a token, each white-space character is written as its code, a space as ``<0x20>``;
* the beginning and the end of each n-gram should be in the file, too. If one is missing (SRILM's
  pruning does that), it is added with its backed-off probability, which changes nothing;
* n-grams in which ``<s>`` follows another word are left out: no history contains them.

Numbers are written with nine digits, so the same 32-bit values are read again.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import dropwhile
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from lmsuite.errors import ModelFileError
from lmsuite.ngram.assembly import (
    Ngrams,
    RepeatedNgramError,
    TooManyMissingError,
    dense_unigrams,
    table_of,
    without_inner_starts,
)
from lmsuite.ngram.fields import Fields, WordIndex
from lmsuite.ngram.table import BackoffTable, Logs, largest_log_backoff
from lmsuite.text.vocabulary import BOS, SPECIALS, UNK
from lmsuite.types import FloatArray, IntArray

_LN10 = float(np.log(10.0))
_ZERO = -99.0  # stands for the logarithm of zero
_LARGEST = 1e38  # a number that fits 32 bits, also in nats
_AT_ONCE = 1 << 16  # n-grams that are written
_HIGHEST_ORDER = 100  # the time to read a file may grow with the square of its order
_WHITE_SPACE = re.compile("[\0\t\n\v\f\r ]")
_ESCAPED = re.compile("<0x(00|09|0A|0B|0C|0D|20)>")
_COUNT = re.compile(rb"ngram\s+(\d{1,9})\s*=\s*(\d{1,18})")


@dataclass(frozen=True)
class ArpaModel:
    """The contents of an ARPA file."""

    tokens: tuple[str, ...]
    """The vocabulary: `SPECIALS`, then the unigrams in the order of the file."""
    table: BackoffTable


def write_arpa(table: BackoffTable, tokens: Sequence[str], stream: TextIO) -> None:
    """Write the table; `tokens` (V,) are the words of its ids.

    Raises:
        ModelFileError: the file would have the same word for two tokens.
    """
    words = [escaped(token) for token in tokens]
    if len(set(words)) < len(words):
        twice = Counter(words).most_common(1)[0][0]
        raise ModelFileError(
            f"two tokens of the model would both be {twice!r} in an ARPA file, whose tokens cannot "
            "contain white space; rename one of them in the training text"
        )
    stream.write("\\data\\\n")
    stream.writelines(f"ngram {n}={size}\n" for n, size in enumerate(table.sizes, start=1))
    for n in range(1, table.order + 1):
        stream.write(f"\n\\{n}-grams:\n")
        for begin in range(0, table.sizes[n - 1], _AT_ONCE):
            stream.writelines(_lines(table, words, n, begin))
    stream.write("\n\\end\\\n")


def _lines(table: BackoffTable, words: Sequence[str], n: int, begin: int) -> Iterator[str]:
    """The lines of a few n-grams of order n, from `begin` on."""
    order, end = table.orders[n - 1], min(begin + _AT_ONCE, table.sizes[n - 1])
    spelled = ngrams_of(table.words_of(n, begin, end), words)
    probs = _to_log10(order.log_probs[begin:end])
    if n == 1 and not begin:
        probs[BOS] = 0.0
    if n == table.order:
        last = zip(probs.tolist(), spelled, strict=True)
        yield from (f"{prob:.9g}\t{ngram}\n" for prob, ngram in last)
    else:
        weights = _to_log10(order.log_backoffs[begin:end])
        rows = zip(probs.tolist(), spelled, weights.tolist(), strict=True)
        yield from (f"{prob:.9g}\t{ngram}\t{weight:.9g}\n" for prob, ngram, weight in rows)
    table.release()


def ngrams_of(columns: Sequence[IntArray], words: Sequence[str]) -> Iterator[str]:
    """N-grams as text, from the ids of their words: one array (M,) a place."""
    if len(columns) == 1:
        return map(words.__getitem__, columns[0].tolist())
    spelled = (map(words.__getitem__, column.tolist()) for column in columns)
    return map(" ".join, zip(*spelled, strict=True))


def escaped(token: str) -> str:
    """The token with every white-space character written as its code, a space as ``<0x20>``."""
    return _WHITE_SPACE.sub(lambda match: f"<0x{ord(match[0]):02X}>", token)


def unescaped(word: str) -> str:
    """The token from which `escaped` made this word."""
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), word)


def _to_log10(values: Logs) -> FloatArray:
    # Adding 0 makes -0 print as 0.
    return np.maximum(values.astype(np.float64) / _LN10, _ZERO) + 0.0


def read_arpa(data: bytes, name: str) -> ArpaModel:
    """The model in the bytes of an ARPA file. Messages call the file `name`.

    Raises:
        ModelFileError: the file is malformed or cut short; the message names the line.
    """
    reader = _Reader(data, name)
    unigrams = reader.section(1)
    tokens, vocabulary = _vocabulary(reader, unigrams)
    ngrams = [dense_unigrams(reader.ngrams(unigrams, vocabulary), len(tokens))]
    del unigrams  # a section takes four times the bytes of its text: hold one
    for n in range(2, reader.order + 1):
        ngrams.append(without_inner_starts(reader.ngrams(reader.section(n), vocabulary)))
    try:
        return ArpaModel(tokens, table_of(ngrams))
    except RepeatedNgramError as error:
        raise reader.error(error.line, "the file has this n-gram twice") from None
    except TooManyMissingError:
        raise ModelFileError(
            f"{name}: the beginnings and ends of nearly all its n-grams are missing; with them the "
            "model would be many times the size of the file"
        ) from None


@dataclass(frozen=True)
class _Section:
    """The M lines of one order, split into fields."""

    order: int
    fields: Fields
    first_fields: NDArray[np.int64]
    """(M,) the number of each line's first field, the probability; the words follow it."""
    probs: FloatArray
    """(M,) in nats."""
    weights: FloatArray
    """(M,) in nats."""
    lines: NDArray[np.int64]
    """(M,) their line numbers in the file, from 0."""


@dataclass(frozen=True)
class _Mark:
    """A line that begins with a backslash: the bytes from begin to end, with its line end.

    `line` is its number in the file, from 0.
    """

    text: bytes
    begin: int
    end: int
    line: int


def _marks(data: bytes) -> Iterator[_Mark]:
    """All marks of a file, found without reading the lines between them."""
    at, counted, line = data.find(b"\\"), 0, 0
    while at >= 0:
        begin = data.rfind(b"\n", 0, at) + 1
        end = data.find(b"\n", at) + 1 or len(data)
        if not data[begin:at].strip():
            line += data.count(b"\n", counted, begin)
            counted = begin
            yield _Mark(data[at:end].strip(), begin, end, line)
        at = data.find(b"\\", end)


class _Reader:
    """The structure of a file: the place of each section, and its declared length."""

    def __init__(self, data: bytes, name: str) -> None:
        self._name = name
        if data.startswith(b"mmap lm http"):
            raise ModelFileError(
                f"{name}: this is a binary of KenLM; give the ARPA file from which it was built"
            )
        self._data = data
        marks = list(dropwhile(lambda mark: mark.text != b"\\data\\", _marks(data)))
        if not marks:
            raise self.error(0, "the file has no \\data\\, so it is not an ARPA file")
        self._declared = self._counts(marks[0], marks[1].begin if marks[1:] else len(data))
        self.order = len(self._declared)
        expected = [f"\\{n}-grams:".encode() for n in range(1, self.order + 1)] + [b"\\end\\"]
        for wanted, found in zip(expected, marks[1:], strict=False):
            if wanted != found.text:
                raise self.error(found.line, f"{wanted.decode()} should stand here")
        if len(marks) <= len(expected):
            missing = expected[len(marks) - 1].decode()
            raise self.error(
                data.count(b"\n"), f"the file ends here without {missing}: it was cut short"
            )
        self._marks = marks[1 : len(expected) + 1]

    def error(self, line: int, what: str) -> ModelFileError:
        """An error that names the file and the line, given from 0."""
        return ModelFileError(f"{self._name}, line {line + 1}: {what}")

    def _counts(self, data: _Mark, end: int) -> list[tuple[int, int]]:
        """(line, declared number of n-grams) for every order."""
        counts: list[tuple[int, int]] = []
        first = data.line + 1
        for number, whole in enumerate(BytesIO(self._data[data.end : end]), start=first):
            line = whole.strip()
            if not line:
                continue
            match = _COUNT.fullmatch(line)
            if not match or int(match[1]) != len(counts) + 1:
                raise self.error(number, f"'ngram {len(counts) + 1}=...' should stand here")
            if len(counts) == _HIGHEST_ORDER:
                raise self.error(number, f"n-grams of more than {_HIGHEST_ORDER} words")
            counts.append((number, int(match[2])))
        if not counts:
            raise self.error(first - 1, "no 'ngram 1=...' follows \\data\\")
        return counts

    def section(self, n: int) -> _Section:
        """The n-grams of order n."""
        mark, following = self._marks[n - 1 : n + 1]
        first = mark.line + 1
        fields = Fields(memoryview(self._data)[mark.end : following.begin])
        widths = fields.of_lines()
        lines = np.flatnonzero(widths) + first
        widths = widths[widths > 0]
        wrong = np.flatnonzero((widths != n + 1) & (widths != n + 2))
        if len(wrong):
            raise self.error(
                lines[wrong[0]],
                f"a log10 probability, {n} word{'s' * (n > 1)} and possibly a back-off weight "
                f"should stand here, not {widths[wrong[0]]} fields",
            )
        declared_at, declared = self._declared[n - 1]
        if declared != len(lines):
            raise self.error(
                first - 1,
                f"{len(lines)} {n}-grams follow, but line {declared_at + 1} announces {declared}",
            )
        first_fields = np.cumsum(widths) - widths
        probs = self._numbers(fields, first_fields, lines, "log10 probability")
        positive = np.flatnonzero(probs > 0)
        if n == 1:
            words = fields.texts(first_fields[positive] + 1)
            positive = positive[[word != SPECIALS[BOS].encode() for word in words]]
        if len(positive):
            raise self.error(lines[positive[0]], "the log10 probability is above 0")
        weights: FloatArray = np.zeros(len(lines))
        weighted = np.flatnonzero(widths == n + 2)
        weights[weighted] = self._numbers(
            fields, first_fields[weighted] + n + 1, lines[weighted], "back-off weight"
        )
        too_large = np.flatnonzero(weights > largest_log_backoff(self.order))
        if len(too_large):
            raise self.error(lines[too_large[0]], "the back-off weight is too large")
        if n == self.order and weights.any():
            at = lines[np.flatnonzero(weights)[0]]
            raise self.error(at, "n-grams of the highest order have no back-off weight")
        return _Section(n, fields, first_fields, probs, weights, lines)

    def _numbers(
        self, fields: Fields, at: NDArray[np.int64], lines: NDArray[np.int64], what: str
    ) -> FloatArray:
        """The logarithms in the fields `at` (M,), converted from base 10 to nats."""
        values = fields.numbers(at)
        wrong = np.flatnonzero(~(values < _LARGEST))
        if len(wrong):
            shown = fields.texts(at[wrong[:1]])[0].decode(errors="replace")
            raise self.error(lines[wrong[0]], f"{shown!r:.100} is not a {what}")
        return np.where(values <= _ZERO, -np.inf, np.maximum(values, _ZERO) * _LN10)

    def ngrams(self, section: _Section, vocabulary: WordIndex) -> Ngrams:
        """The n-grams of a section, with ids instead of words."""
        ids = np.empty((len(section.lines), section.order), dtype=np.int64)
        for column in range(section.order):
            ids[:, column] = vocabulary.find(section.fields, section.first_fields + 1 + column)
        unknown = np.argwhere(ids < 0)
        if len(unknown):
            row, column = unknown[0].tolist()
            (word,) = section.fields.texts(section.first_fields[[row]] + 1 + column)
            shown = word.decode(errors="replace")
            raise self.error(section.lines[row], f"{shown!r} is not among the unigrams")
        return Ngrams(ids, section.probs, section.weights, section.lines)


def _vocabulary(reader: _Reader, unigrams: _Section) -> tuple[tuple[str, ...], WordIndex]:
    """The tokens, and the id of each word as the file writes it."""
    vocabulary = {special.encode(): number for number, special in enumerate(SPECIALS)}
    words = unigrams.fields.texts(unigrams.first_fields + 1)
    if SPECIALS[UNK].encode() not in words:
        vocabulary[b"<UNK>"] = UNK
    tokens = list(SPECIALS)
    seen: set[bytes] = set()
    for word, line in zip(words, unigrams.lines.tolist(), strict=True):
        if word in seen:
            shown = word.decode(errors="replace")
            raise reader.error(line, f"the file has the unigram {shown!r} twice")
        seen.add(word)
        if word in vocabulary:
            continue
        vocabulary[word] = len(tokens)
        try:
            tokens.append(word.decode())
        except UnicodeDecodeError:
            raise reader.error(line, "the word is not UTF-8; convert the file to UTF-8") from None
    return tuple(tokens), WordIndex(vocabulary)
