"""The encoding of long texts: pieces are cut into tokens on all cores, and the ids lie on disk.

Each process numbers the types that it meets, and sends with a piece the types that are new to it.
So the one that puts the pieces together looks up each type once for each process, whatever the
length of the text. The ids do not depend on the pieces or the processes.
"""

from __future__ import annotations

import os
import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import count, islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lmsuite.errors import TextWarning
from lmsuite.executors.cores import thread_count
from lmsuite.executors.tasks import in_order
from lmsuite.files.disk_arrays import DiskArray
from lmsuite.files.stored_text import Text, blocks
from lmsuite.progress import working
from lmsuite.text.cutting import END, distinct, end_type, in_sequences, refuse_reserved
from lmsuite.text.settings import Boundaries
from lmsuite.text.tokenizer import Tokenizer
from lmsuite.text.vocabulary import EOS, SPECIALS, Vocabulary
from lmsuite.types import IntArray

LONG = 1 << 22
"""Characters. One process is done sooner with a shorter text."""

LEARNED = 1 << 25
"""Characters from which ``bpe`` learns its tokens, at most."""

_PIECE = 1 << 18  # characters; what is made of them stays in the cache
_MOST_TYPES = 1 << 17  # that a process remembers

Numbering = Callable[[Sequence[str]], IntArray]
"""The numbers (N,) of types, from 3 on; 0 is ``<unk>``."""


class TypeCounts(NamedTuple):
    """The types of a text, and the text as their numbers."""

    counts: dict[str, int]
    """How often each type occurs, the ends of sequences left out."""
    numbers: DiskArray
    """(N,) as from `numbered`: type k of `counts` has the number 3 + k."""

    def ids(self, vocabulary: Vocabulary) -> DiskArray:
        """The ids of the text; the numbers are lost."""
        specials = np.arange(len(SPECIALS), dtype=np.int32)
        of_number = np.concatenate((specials, vocabulary.ids(list(self.counts))))
        self.numbers.change(lambda numbers: of_number[numbers])
        return self.numbers


def counted(text: Text, tokenizer: Tokenizer, boundaries: Boundaries, name: str) -> TypeCounts:
    """The types of a text, counted.

    Raises:
        DataError: there is a reserved token.
        TrainingError: there is no room on disk.
    """
    number: defaultdict[str, int] = defaultdict(count(len(SPECIALS)).__next__)

    def of_types(types: Sequence[str]) -> IntArray:
        return np.fromiter(map(number.__getitem__, types), np.int32, len(types))

    numbers = numbered(text, tokenizer, boundaries, of_types, name)
    frequency = np.zeros(len(number) + len(SPECIALS), np.int64)
    for chunk in numbers.chunks():
        frequency += np.bincount(chunk, minlength=len(frequency))
    counts: dict[str, int] = number  # each number gives way to a count: two dicts take much memory
    number.default_factory = None
    for token, frequent in zip(list(counts), frequency[len(SPECIALS) :].tolist(), strict=True):
        counts[token] = frequent
    return TypeCounts(counts, numbers)


def numbered(
    text: Text, tokenizer: Tokenizer, boundaries: Boundaries, of_types: Numbering, name: str
) -> DiskArray:
    """The numbers of a text's tokens, int32 (N,), in sequences as `TextEncoder.encode` has them.

    Args:
        text: the text.
        tokenizer: cuts it into tokens.
        boundaries: what its sequences are.
        of_types: gives their numbers.
        name: what error messages call the text.

    Raises:
        DataError: there is a reserved token.
        TrainingError: there is no room on disk.
    """
    end = end_type(tokenizer, boundaries)
    known: dict[tuple[int, int], IntArray] = {}  # the numbers that each process has so far
    numbers = DiskArray(np.int32)
    is_open = False
    workers = thread_count() if len(text) > LONG else 1
    cutting = _Cutting(text, tokenizer, boundaries)
    with working("encoding", len(text), "characters") as work:
        for part in in_order(cutting, tokenizer.spans(text, _PIECE), workers):
            _refuse_reserved(part, text, tokenizer, boundaries, name)
            new = of_types([token for token in part.types if token != end])
            if end in part.types:
                new = np.insert(new, part.types.index(end), np.int32(END))
            known[part.numbering] = of_part = np.concatenate(
                (known.pop(part.numbering, new[:0]), new)
            )
            ids = of_part[part.number]
            if boundaries.has_sequences:
                ids, is_open = in_sequences(ids, is_open=is_open), _is_open_after(ids, is_open)
            numbers.append(ids)
            work.advance(part.size, len(ids))
    if is_open:
        numbers.append(np.array([EOS], np.int32))
    return numbers


def _is_open_after(ids: IntArray, is_open: bool) -> bool:
    """Whether a sequence is open after these ids."""
    return bool(ids[-1] != END) if ids.size else is_open


class _Part(NamedTuple):
    """A piece of the text, cut into tokens."""

    begin: int
    """Where it begins, in characters."""
    size: int
    """Its characters."""
    numbering: tuple[int, int]
    """Whose numbers these are: the process, and how often it began anew."""
    types: list[str]
    """The types that are new in this numbering."""
    number: NDArray[np.unsignedinteger]
    """(N,) the number of each token."""


class _Cutting:
    """Cuts pieces of a text into tokens."""

    def __init__(self, text: Text, tokenizer: Tokenizer, boundaries: Boundaries) -> None:
        self._text, self._tokenizer, self._boundaries = text, tokenizer, boundaries
        self._number: defaultdict[str, int] = defaultdict(count().__next__)
        self._begun = 0

    def __call__(self, span: tuple[int, int]) -> _Part:
        begin, end = span
        types, index = distinct(self._tokenizer, self._boundaries, str(self._text[begin:end]))
        if len(self._number) > _MOST_TYPES:
            self._number = defaultdict(count().__next__)
            self._begun += 1
        before = len(self._number)
        numbers = np.fromiter(map(self._number.__getitem__, types), np.uint32, len(types))
        new = list(islice(self._number, before, None))
        small = numbers.astype(np.min_scalar_type(len(self._number)))  # fewer bytes to send
        return _Part(begin, end - begin, (os.getpid(), self._begun), new, small[index])


def _refuse_reserved(
    part: _Part, text: Text, tokenizer: Tokenizer, boundaries: Boundaries, name: str
) -> None:
    if not {*SPECIALS[1:]} & {*part.types}:
        return
    before = sum(block.count(boundaries.end) for block in blocks(text[: part.begin]))
    piece = str(text[part.begin : part.begin + part.size])
    refuse_reserved(part.types, tokenizer, boundaries, piece, name, before)


def to_learn_from(text: Text) -> str:
    """The text, or of a long one so much from everywhere in it as tokens can be learned from."""
    if len(text) <= LEARNED:
        return str(text)
    warnings.warn(
        f"the tokens of bpe are learned from {LEARNED:,} of the text's {len(text):,} characters, "
        "from everywhere in it",
        TextWarning,
        stacklevel=2,
    )
    step = len(text) * _PIECE // LEARNED
    return "".join(str(text[begin : begin + _PIECE]) for begin in range(0, len(text), step))
