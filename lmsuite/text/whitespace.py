"""The tokenizer of texts whose tokens are parted by white space already."""

from __future__ import annotations

import numpy as np

from lmsuite.text.tokenizer import Joiner, Tokenizer
from lmsuite.types import IntArray

# Whether a byte is part of a word; the bits of a word of 0 to 8 bytes.
_IN_WORD = np.ones(256, bool)
_IN_WORD[list(b"\0\t\n\r ")] = False
_BITS = np.array([(1 << 8 * length) - 1 for length in range(9)], np.uint64)
_NEWLINE = ord("\n")


class WhitespaceTokenizer(Tokenizer):
    """A token is what stands between white space, as for KenLM's ``lmplz``.

    White space is what ``lmplz`` takes for it, the bytes NUL, tab, newline, carriage return and
    space; other spaces of Unicode, such as U+00A0, are part of a token.
    """

    name = "whitespace"
    lossless = False

    def tokens(self, text: str) -> list[str]:
        for space in "\t\r\0":
            text = text.replace(space, " ")
        # The single space as separator leaves Unicode's other spaces alone, and empty strings.
        return list(filter(None, text.replace("\n", " \n ").split(" ")))

    def _indexed(self, piece: str) -> tuple[list[str], IntArray | slice]:
        """As `Tokenizer._indexed`, with a number instead of a string for words of few bytes."""
        text = f" {piece}{8 * ' '}".encode("utf-8", "surrogatepass")
        data = np.frombuffer(text, np.uint8)
        is_newline, in_word = data == _NEWLINE, _IN_WORD.take(data)
        starts = 1 + np.flatnonzero(is_newline[1:] | (in_word[1:] > in_word[:-1]))
        ends = 1 + np.flatnonzero(is_newline[:-1] | (in_word[:-1] > in_word[1:]))
        lengths = ends - starts
        is_short = lengths <= 8
        from_here = np.ndarray((len(data) - 7,), "<u8", text, strides=(1,))
        words = from_here[starts[is_short]] & _BITS[lengths[is_short]]
        short, numbers = np.unique(words, return_inverse=True)
        long = zip(starts[~is_short].tolist(), ends[~is_short].tolist(), strict=True)
        spelled = short.view("S8").tolist() + [text[start:end] for start, end in long]
        index = np.empty(len(starts), np.int32)
        index[is_short] = numbers
        index[~is_short] = np.arange(len(short), len(spelled))
        tokens = b" ".join(spelled).decode("utf-8", "surrogatepass")
        return tokens.split(" ") if spelled else [], index

    def cut_before(self, text: str, position: int) -> int:
        return max(text.rfind(" ", 0, position), text.rfind("\n", 0, position)) + 1

    def joiner(self) -> Joiner:
        return _SpaceBetween()


class _SpaceBetween:
    """Puts one space between tokens, and none beside a newline."""

    def __init__(self) -> None:
        self._space = ""

    def push(self, token: str) -> str:
        text = token if token == "\n" else self._space + token
        self._space = "" if token == "\n" else " "
        return text

    def finish(self) -> str:
        return ""
