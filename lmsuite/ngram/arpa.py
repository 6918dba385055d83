"""ARPA files: the text format in which n-gram models are exchanged. The one place of log10.

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

Conventions, those of lmplz where it has any:

* the probability printed for ``<s>`` is 0 and means nothing; any other value is read, too;
* a probability or weight of zero is written -99, and -99 or less is read as zero;
* a file without ``<unk>`` gives unknown words the probability zero (KenLM makes it 10^-100), and
  ``<UNK>`` is read as ``<unk>``;
* tokens that hold white space are written with each such character as ``<0x20>``;
* n-grams that longer ones begin or end with, and that the file lacks (as those pruned by SRILM do),
  are added with the probability that backing off gives them, which changes nothing;
* n-grams in which ``<s>`` follows another word are left out: no history contains them.

Numbers are written with nine digits, from which the same 32-bit values are read again.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import dropwhile, repeat
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
from lmsuite.ngram.table import BackoffTable, Logs, largest_log_backoff
from lmsuite.text.vocabulary import BOS, SPECIALS, UNK
from lmsuite.types import FloatArray

_LN10 = float(np.log(10.0))
_ZERO = -99.0  # what stands for the logarithm of zero
_LARGEST = 1e38  # in nats, too, a 32-bit number
_HIGHEST_ORDER = 100  # the work that a file can make grows with its square
_WHITE_SPACE = re.compile("[\0\t\n\v\f\r ]")
_ESCAPED = re.compile("<0x(00|09|0A|0B|0C|0D|20)>")
_COUNT = re.compile(rb"ngram\s+(\d{1,9})\s*=\s*(\d{1,18})")


@dataclass(frozen=True)
class ArpaModel:
    """What an ARPA file holds."""

    tokens: tuple[str, ...]
    """The vocabulary: `SPECIALS`, then the unigrams in the order of the file."""
    table: BackoffTable


def write_arpa(table: BackoffTable, tokens: Sequence[str], stream: TextIO) -> None:
    """Write the table; `tokens` (V,) are the words of its ids.

    Raises:
        ModelFileError: two tokens would be written alike.
    """
    words = [escaped(token) for token in tokens]
    if len(set(words)) < len(words):
        twice = Counter(words).most_common(1)[0][0]
        raise ModelFileError(
            f"two tokens of the model would both be {twice!r} in an ARPA file, which knows no "
            "white space in tokens; rename one of them in the training text"
        )
    stream.write("\\data\\\n")
    stream.writelines(f"ngram {n}={size}\n" for n, size in enumerate(table.sizes, start=1))
    ngrams = words
    for n, order in enumerate(table.orders, start=1):
        if n > 1:
            pairs = zip(table.prefixes(n).tolist(), order.words.tolist(), strict=True)
            ngrams = [f"{ngrams[prefix]} {words[word]}" for prefix, word in pairs]
        probs = _to_log10(order.log_probs)
        if n == 1:
            probs[BOS] = 0.0
        stream.write(f"\n\\{n}-grams:\n")
        if n < table.order:
            rows = zip(probs.tolist(), ngrams, _to_log10(order.log_backoffs).tolist(), strict=True)
            stream.writelines(
                f"{prob:.9g}\t{ngram}\t{weight:.9g}\n" for prob, ngram, weight in rows
            )
        else:
            last = zip(probs.tolist(), ngrams, strict=True)
            stream.writelines(f"{prob:.9g}\t{ngram}\n" for prob, ngram in last)
    stream.write("\n\\end\\\n")


def escaped(token: str) -> str:
    """The token with every white-space character written as ``<0x20>``."""
    return _WHITE_SPACE.sub(lambda match: f"<0x{ord(match[0]):02X}>", token)


def unescaped(word: str) -> str:
    """The token that `escaped` made this of."""
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), word)


def _to_log10(values: Logs) -> FloatArray:
    # Adding 0 makes -0 print as 0.
    return np.maximum(values.astype(np.float64) / _LN10, _ZERO) + 0.0


def read_arpa(data: bytes, name: str) -> ArpaModel:
    """The model in the bytes of an ARPA file, which messages call `name`.

    Raises:
        ModelFileError: the file is malformed or cut short; the message names the line.
    """
    reader = _Reader(data, name)
    unigrams = reader.section(1)
    tokens, vocabulary = _vocabulary(reader, unigrams)
    ngrams = [dense_unigrams(reader.ngrams(unigrams, vocabulary), len(tokens))]
    del unigrams  # the words of a section take ten times its bytes: one is held at a time
    for n in range(2, reader.order + 1):
        ngrams.append(without_inner_starts(reader.ngrams(reader.section(n), vocabulary)))
    try:
        return ArpaModel(tokens, table_of(ngrams))
    except RepeatedNgramError as error:
        raise reader.error(error.line, "this n-gram stands there twice") from None
    except TooManyMissingError:
        raise ModelFileError(
            f"{name}: of nearly all its n-grams the beginnings and ends are missing, so that it "
            "would take many times its size to add them"
        ) from None


@dataclass(frozen=True)
class _Section:
    """The lines of one order, split; M of them."""

    order: int
    words: list[list[bytes]]
    """(n, M)"""
    probs: FloatArray
    """(M,) in nats."""
    weights: FloatArray
    """(M,) in nats."""
    lines: NDArray[np.int64]
    """(M,) where they stand in the file, from 0."""


@dataclass(frozen=True)
class _Mark:
    """A line that begins with a backslash: the bytes begin to end of the file, its end within."""

    text: bytes
    begin: int
    end: int


def _marks(data: bytes) -> Iterator[_Mark]:
    """All marks of a file, without a look at the lines between."""
    at = data.find(b"\\")
    while at >= 0:
        begin = data.rfind(b"\n", 0, at) + 1
        end = data.find(b"\n", at) + 1 or len(data)
        if not data[begin:at].strip():
            yield _Mark(data[at:end].strip(), begin, end)
        at = data.find(b"\\", end)


class _Reader:
    """The structure of a file: where its sections begin and how long they should be."""

    def __init__(self, data: bytes, name: str) -> None:
        self._name = name
        if data.startswith(b"mmap lm http"):
            raise ModelFileError(
                f"{name}: this is a binary of KenLM's; give the ARPA file that it was built from"
            )
        self._data = data
        marks = list(dropwhile(lambda mark: mark.text != b"\\data\\", _marks(data)))
        if not marks:
            raise self.error(0, "no \\data\\ in the file, so it is no ARPA file")
        self._declared = self._counts(marks[0], marks[1].begin if marks[1:] else len(data))
        self.order = len(self._declared)
        expected = [f"\\{n}-grams:".encode() for n in range(1, self.order + 1)] + [b"\\end\\"]
        for wanted, found in zip(expected, marks[1:], strict=False):
            if wanted != found.text:
                raise self.error(self._line_at(found.begin), f"{wanted.decode()} should stand here")
        if len(marks) <= len(expected):
            missing = expected[len(marks) - 1].decode()
            raise self.error(
                self._line_at(len(data)), f"the file ends here without {missing}: it was cut short"
            )
        self._marks = marks[1 : len(expected) + 1]

    def _line_at(self, place: int) -> int:
        """The number of the line, from 0, in which a byte stands."""
        return self._data.count(b"\n", 0, place)

    def error(self, line: int, what: str) -> ModelFileError:
        """An error that names the file and the line, given from 0."""
        return ModelFileError(f"{self._name}, line {line + 1}: {what}")

    def _counts(self, data: _Mark, end: int) -> list[tuple[int, int]]:
        """(line, declared number of n-grams) for every order."""
        counts: list[tuple[int, int]] = []
        first = self._line_at(data.begin) + 1
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
        begin, end = self._marks[n - 1].end, self._marks[n].begin
        first = self._line_at(begin)
        data = self._data[begin:end]
        widths = np.fromiter(map(len, map(bytes.split, BytesIO(data))), dtype=np.int64)
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
        # One list of all fields takes half the time that a list for every line takes.
        width = int(widths.max(initial=n + 1))
        fields = data.split() if (widths == width).all() else _filled_up(data, width)
        words = [fields[column::width] for column in range(1, n + 1)]
        probs = self._numbers(fields[::width], lines, "log10 probability")
        positive = np.flatnonzero(probs > 0)
        if n == 1:
            positive = positive[[words[0][at] != SPECIALS[BOS].encode() for at in positive]]
        if len(positive):
            raise self.error(lines[positive[0]], "the log10 probability is above 0")
        weights: FloatArray = np.zeros(len(lines))
        if width == n + 2:
            weights = self._numbers(fields[n + 1 :: width], lines, "back-off weight")
        too_large = np.flatnonzero(weights > largest_log_backoff(self.order))
        if len(too_large):
            raise self.error(lines[too_large[0]], "the back-off weight is above all reason")
        if n == self.order and weights.any():
            at = lines[np.flatnonzero(weights)[0]]
            raise self.error(at, "n-grams of the highest order have no back-off weight")
        return _Section(n, words, probs, weights, lines)

    def _numbers(self, fields: list[bytes], lines: NDArray[np.int64], what: str) -> FloatArray:
        """The logarithms to base 10 in the fields (M,), as natural ones."""
        try:
            values = np.fromiter(map(float, fields), dtype=np.float64, count=len(fields))
        except ValueError:
            values = np.fromiter(map(_number_or_nan, fields), dtype=np.float64)
        wrong = np.flatnonzero(~(values < _LARGEST))
        if len(wrong):
            shown = fields[wrong[0]].decode(errors="replace")
            raise self.error(lines[wrong[0]], f"{shown!r:.100} is no {what}")
        return np.where(values <= _ZERO, -np.inf, np.maximum(values, _ZERO) * _LN10)

    def ngrams(self, section: _Section, vocabulary: dict[bytes, int]) -> Ngrams:
        """The n-grams of a section, their words as ids."""
        ids = np.empty((len(section.lines), section.order), dtype=np.int64)
        for column, words in enumerate(section.words):
            ids[:, column] = np.fromiter(
                map(vocabulary.get, words, repeat(-1)), np.int64, len(words)
            )
        unknown = np.argwhere(ids < 0)
        if len(unknown):
            row, column = unknown[0].tolist()
            word = section.words[column][row].decode(errors="replace")
            raise self.error(section.lines[row], f"{word!r} is not among the unigrams")
        return Ngrams(ids, section.probs, section.weights, section.lines)


def _filled_up(lines: bytes, width: int) -> list[bytes]:
    """The fields of lines of which some lack the last, a back-off weight of 0."""
    rows = (line.split() for line in BytesIO(lines))
    return [field for row in rows if row for field in (*row, b"0")[:width]]


def _number_or_nan(field: bytes) -> float:
    try:
        return float(field)
    except ValueError:
        return float("nan")


def _vocabulary(reader: _Reader, unigrams: _Section) -> tuple[tuple[str, ...], dict[bytes, int]]:
    """The tokens, and the ids of the words as the file spells them."""
    vocabulary = {special.encode(): number for number, special in enumerate(SPECIALS)}
    (words,) = unigrams.words
    if SPECIALS[UNK].encode() not in words:
        vocabulary[b"<UNK>"] = UNK
    tokens = list(SPECIALS)
    seen: set[bytes] = set()
    for word, line in zip(words, unigrams.lines.tolist(), strict=True):
        if word in seen:
            raise reader.error(line, f"the unigram {word.decode(errors='replace')!r} stands twice")
        seen.add(word)
        if word in vocabulary:
            continue
        vocabulary[word] = len(tokens)
        try:
            tokens.append(word.decode())
        except UnicodeDecodeError:
            raise reader.error(line, "not UTF-8; convert the file to it") from None
    return tuple(tokens), vocabulary
