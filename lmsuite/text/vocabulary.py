"""The vocabulary: which tokens have a number, and which number."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lmsuite.errors import DataError, ModelFileError, UsageError
from lmsuite.files.plain import read_text
from lmsuite.types import BoolArray, IntArray

UNK, BOS, EOS = 0, 1, 2
SPECIALS = ("<unk>", "<s>", "</s>")

# A byte that no UTF-8 text contains, so that any token can stand beside any other.
_SEPARATOR = b"\xff"

# How a vocabulary file, one token a line, spells the token that is itself a line end.
_NEWLINE_IN_FILE = "\\n"


def in_file(token: str) -> str:
    """The token as a vocabulary file spells it, which `Vocabulary.read` reads."""
    return _NEWLINE_IN_FILE if token == "\n" else token


class Vocabulary:
    """Tokens and their ids, frozen: 0 to 2 are `SPECIALS`, then whatever was given, in order."""

    __slots__ = ("_ids", "tokens")

    tokens: tuple[str, ...]
    """Every token; its index is its id."""

    def __init__(self, tokens: Iterable[str]) -> None:
        """A vocabulary of the specials and of `tokens`, which are neither special nor repeated.

        Raises:
            DataError: a token is there twice.
        """
        self.tokens = (*SPECIALS, *tokens)
        self._ids = {token: number for number, token in enumerate(self.tokens)}
        if len(self._ids) != len(self.tokens):
            twice = next(t for number, t in enumerate(self.tokens) if self._ids[t] != number)
            raise DataError(f"the vocabulary holds the token {twice!r} twice; list each token once")

    def __len__(self) -> int:
        return len(self.tokens)

    def __contains__(self, token: object) -> bool:
        return token in self._ids

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.tokens == other.tokens

    def __hash__(self) -> int:
        return hash(self.tokens)

    def __repr__(self) -> str:
        return f"Vocabulary({len(self)} tokens)"

    def id(self, token: str) -> int:
        """The token's id; `UNK` if it has none."""
        return self._ids.get(token, UNK)

    def ids(self, tokens: Sequence[str]) -> IntArray:
        """The id of each token, int32 (N,); `UNK` where there is none."""
        return np.array(list(map(self._ids.get, tokens, repeat(UNK))), np.int32)

    def extended(self, tokens: Iterable[str]) -> Vocabulary:
        """This vocabulary, with new tokens behind its own.

        Raises:
            DataError: a token is there already.
        """
        return Vocabulary((*self.tokens[len(SPECIALS) :], *tokens))

    @classmethod
    def union(cls, vocabularies: Sequence[Vocabulary]) -> Vocabulary:
        """All words of several vocabularies: those of the first, then the new ones of each."""
        first, *others = vocabularies
        tokens = dict.fromkeys(token for other in others for token in other.tokens)
        return first.extended(token for token in tokens if token not in first)

    @classmethod
    def build(
        cls, counts: Mapping[str, int], *, min_count: int = 1, max_size: int | None = None
    ) -> Vocabulary:
        """The tokens seen at least `min_count` times, by falling count, ties by code point.

        Args:
            counts: how often each token was seen; the specials among them are passed over.
            min_count: tokens seen less often become ``<unk>``; 0 keeps those counted zero times.
            max_size: at most so many tokens, the three specials included.

        Raises:
            UsageError: `max_size` leaves no room beside the specials.
        """
        if max_size is not None and max_size <= len(SPECIALS):
            raise UsageError(
                f"{{max_vocab}} must be at least {len(SPECIALS) + 1}, for there are "
                f"{', '.join(SPECIALS)}, not {max_size}",
                "max_vocab",
                value=max_size,
            )
        kept = [
            token for token, count in counts.items() if count >= min_count and token not in SPECIALS
        ]
        kept.sort()
        kept.sort(key=counts.__getitem__, reverse=True)  # stable: ties stay in order
        room = None if max_size is None else max_size - len(SPECIALS)
        return cls(kept[:room])

    @classmethod
    def read(cls, path: str | Path) -> Vocabulary:
        r"""The vocabulary of a file, one token a line, in the file's order.

        The specials may be listed or not and keep ids 0 to 2. The newline token is written ``\n``;
        a line that holds one space is the space token.

        Raises:
            DataError: the file cannot be read, is empty, or has an empty or repeated line; the
                message names the line.
        """
        lines = read_text(Path(path)).removesuffix("\n").split("\n")
        line_of: dict[str, int] = {}
        for number, line in enumerate(lines, start=1):
            if not line:
                raise DataError(f"{path}, line {number}: empty; give one token a line")
            token = "\n" if line == _NEWLINE_IN_FILE else line
            if token in line_of:
                raise DataError(
                    f"{path}, line {number}: {line!r} is already on line {line_of[token]}; "
                    "list each token once"
                )
            line_of[token] = number
        return cls(token for token in line_of if token not in SPECIALS)

    def to_array(self) -> NDArray[np.uint8]:
        """All tokens as UTF-8, joined by the byte 0xFF; `from_array` reads it back."""
        # surrogatepass: a Python string may hold what no file can.
        encoded = (token.encode("utf-8", "surrogatepass") for token in self.tokens)
        return np.frombuffer(_SEPARATOR.join(encoded), dtype=np.uint8)

    @classmethod
    def from_array(cls, array: NDArray[np.uint8]) -> Vocabulary:
        """The vocabulary that `to_array` wrote.

        Raises:
            ModelFileError: the array is not such a vocabulary.
        """
        if array.dtype != np.uint8 or array.ndim != 1:
            raise ModelFileError(
                f"the vocabulary is {array.dtype} {array.shape}, not a row of bytes; "
                "the model file is damaged"
            )
        try:
            tokens = [
                token.decode("utf-8", "surrogatepass")
                for token in array.tobytes().split(_SEPARATOR)
            ]
        except UnicodeDecodeError as error:
            raise ModelFileError(
                f"the vocabulary is not UTF-8 ({error.reason}); the model file is damaged"
            ) from None
        if "" in tokens:
            raise ModelFileError("the vocabulary holds an empty token; the model file is damaged")
        if tuple(tokens[: len(SPECIALS)]) != SPECIALS:
            raise ModelFileError(
                f"the vocabulary does not begin with {', '.join(SPECIALS)}; "
                "the model file is damaged"
            )
        try:
            return cls(tokens[len(SPECIALS) :])
        except DataError as error:
            raise ModelFileError(f"{error} (the model file is damaged)") from None


class Widening:
    """The words of a vocabulary among those of a larger one, which has them all.

    Letters: V words of the vocabulary, U of the larger one.
    """

    def __init__(self, vocabulary: Vocabulary, larger: Vocabulary) -> None:
        """The place of a vocabulary in a larger one."""
        self.own: IntArray = larger.ids(vocabulary.tokens)
        """(V,) The id in the larger vocabulary of each word."""
        self.ids: IntArray = np.full(len(larger), UNK, np.int32)
        """(U,) The vocabulary's id of each word of the larger one; `UNK` if it has none."""
        self.ids[self.own] = np.arange(len(vocabulary))
        self.knows: BoolArray = np.zeros(len(larger), bool)
        """(U,) Whether the vocabulary has each word of the larger one."""
        self.knows[self.own] = True
