"""From text to tokens and back.

Every tokenizer cuts the text into strings, the tokens, and makes a newline a token of its own, so
that no token reaches over a line end and a text can be cut there. What the tokenizers differ in:

==========  =========================================================  ========
name        a token is                                                 lossless
==========  =========================================================  ========
char        a Unicode character                                        yes
word        a word, a number, a punctuation mark                       no
whitespace  what stands between spaces, as KenLM's ``lmplz`` reads it  no
treebank    a word by the rules of the Penn Treebank (NLTK's)          no
bpe         a frequent run of bytes, learned from the training text    yes
==========  =========================================================  ========
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any, ClassVar, Protocol

import numpy as np

from lmsuite.files.stored_text import Text
from lmsuite.types import IntArray

# Long texts are cut into tokens in pieces of about so many characters: the strings of one piece
# stay in the processor's cache (half as fast again as 4 MB at once) and need no memory to speak of.
_PIECE = 1 << 18
_TAIL = 1 << 12  # characters before a place, among which there nearly always is a cut


class Joiner(Protocol):
    """Writes tokens as text, one after the other: undoes a tokenizer as far as that can be."""

    def push(self, token: str) -> str:
        """The text that has become certain now that `token` is known; may be empty."""

    def finish(self) -> str:
        """What is left to write after the last token."""


class Tokenizer(ABC):
    """Cuts text into tokens and joins tokens to text."""

    name: ClassVar[str]

    lossless: ClassVar[bool]
    """Whether `detokenize` gives back every character of every text."""

    newline: ClassVar[str] = "\n"
    """The token that stands for a line end."""

    @abstractmethod
    def tokens(self, text: str) -> list[str]:
        """The text's tokens, in order."""

    @abstractmethod
    def joiner(self) -> Joiner:
        """A writer of tokens, at the beginning of a text."""

    def detokenize(self, tokens: Sequence[str]) -> str:
        """The tokens as text."""
        joiner = self.joiner()
        return "".join(map(joiner.push, tokens)) + joiner.finish()

    def distinct(self, text: str) -> tuple[list[str], IntArray]:
        """The distinct tokens of the text, and for each token its index among them, int32 (N,).

        This is `tokens`, in the form from which ids are looked up: as ``np.unique`` with
        ``return_inverse``, but in no particular order.
        """
        number: defaultdict[str, int] = defaultdict(count().__next__)
        parts = [np.zeros(0, np.int32)]
        for piece in self.pieces(text):
            tokens, index = self._indexed(piece)
            numbers = np.fromiter(map(number.__getitem__, tokens), np.int32, len(tokens))
            parts.append(numbers[index])
        return list(number), np.concatenate(parts)

    def _indexed(self, piece: str) -> tuple[list[str], IntArray | slice]:
        """All tokens that occur in a piece, at least once each, and their index at each place."""
        return self.tokens(piece), slice(None)

    def pieces(self, text: str) -> Iterator[str]:
        """The text in pieces of about `_PIECE` characters, cut where no token changes."""
        return (text[begin:end] for begin, end in self.spans(text, _PIECE))

    def spans(self, text: Text, size: int) -> Iterator[tuple[int, int]]:
        """Where the pieces of about `size` characters begin and end; there is always one."""
        begin = 0
        while len(text) - begin > size:
            end = begin + size
            for start in (max(begin, end - _TAIL), begin):
                cut = self.cut_before(str(text[start : end + 1]), end - start)
                if cut:
                    break
            cut = start + cut if cut else text.find("\n", end) + 1
            if cut == 0:  # one long line
                break
            yield begin, cut
            begin = cut
        yield begin, len(text)

    def located(self, text: str) -> Iterator[tuple[str, int, int]]:
        """Every token of the text, and where it lies: from character `start` up to `end`.

        What lies between tokens is white space. A token that is a part of a character lies where
        the whole of that character does.
        """
        begin = 0
        for piece in self.pieces(text):
            place = 0
            for token in self.tokens(piece):
                while not piece.startswith(token, place):
                    place += 1
                yield token, begin + place, begin + place + len(token)
                place += len(token)
            begin += len(piece)

    def cut_before(self, text: str, position: int) -> int:
        """The last place up to `position` where the text can be cut and no token changes.

        0 if there is none. A newline is a token of its own, so every line begins at such a place.
        """
        return text.rfind("\n", 0, position) + 1

    def fixed_tokens(self) -> tuple[str, ...] | None:
        """All tokens that can ever occur, if the tokenizer has such a list of its own."""
        return None

    def token_of(self, text: str) -> str:
        """The token that stands for exactly this text, if there is one."""
        return text

    def visible(self, token: str) -> str:
        """The token as it is shown to a person."""
        return token

    def part_of_character(self, token: str) -> bytes | None:
        """The bytes of a token that is no whole characters; None for all others."""
        return None

    @property
    def title(self) -> str:
        """What ``lm info`` calls the tokenizer."""
        return self.name

    def describe(self) -> dict[str, Any]:
        """JSON values from which `registry.tokenizer_from` makes an equal tokenizer."""
        return {"name": self.name}


class _Concatenation:
    """Joins tokens that hold all their spaces themselves."""

    def push(self, token: str) -> str:
        return token

    def finish(self) -> str:
        return ""


class CharTokenizer(Tokenizer):
    """Every Unicode character is a token."""

    name = "char"
    lossless = True

    def tokens(self, text: str) -> list[str]:
        return list(text)

    def cut_before(self, text: str, position: int) -> int:
        return position

    def joiner(self) -> Joiner:
        return _Concatenation()

    def distinct(self, text: str) -> tuple[list[str], IntArray]:
        """As `Tokenizer.distinct`, without a string for every character."""
        points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")  # (N,)
        if not points.size:
            return [], np.zeros(0, np.int32)
        seen = np.zeros(int(points.max()) + 1, bool)
        seen[points] = True
        index = np.cumsum(seen, dtype=np.int32) - 1
        return [chr(point) for point in np.flatnonzero(seen)], index[points].astype(np.int32)
