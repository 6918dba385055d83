"""The tokenizer of texts whose tokens are parted by white space already."""

from __future__ import annotations

from collections import defaultdict
from itertools import count

import numpy as np
from numpy.typing import NDArray

from lmsuite.text.tokenizer import Joiner, Tokenizer
from lmsuite.types import IntArray

_FEW = 1 << 12  # characters; with fewer, strings are quicker than arrays

# What each byte is: a part of a token, white space, or a newline, which is a token by itself.
_INSIDE, _SPACE, _NEWLINE = b"i \n"
_KINDS = bytes(
    _NEWLINE if byte == 0x0A else _SPACE if byte in b" \t\r\0" else _INSIDE for byte in range(256)
)

_WORD = 8  # bytes of a number that holds a part of a token
_MOST_PROBES = 64  # of a table that is not too small
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # Fibonacci hashing: Knuth, TAOCP 3, section 6.4


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

    def distinct(self, text: str) -> tuple[list[str], IntArray]:
        """As `Tokenizer.distinct`, without a string for every token.

        A token of up to sixteen bytes is two numbers, its bytes. No token has the byte NUL, so
        shorter ones are filled up with it. Longer tokens, which are rare, become strings.
        """
        if len(text) < _FEW:
            return super().distinct(text)
        data = text.encode("utf-8", "surrogatepass")
        begins, sizes = _tokens_in(data)
        index = np.empty(len(begins), np.int32)
        short = sizes <= 2 * _WORD
        first = _words_at(data, begins, sizes)
        second = np.zeros_like(first)
        (longer,) = np.nonzero((sizes > _WORD) & short)
        second[longer] = _words_at(data, begins[longer] + _WORD, sizes[longer] - _WORD)
        (of_short,) = np.nonzero(short)
        if len(of_short) < len(index):
            first, second = first[of_short], second[of_short]
        example, index[of_short] = _alike(first, second)
        chosen = of_short[example]
        where = zip(begins[chosen].tolist(), (begins + sizes)[chosen].tolist(), strict=True)
        if len(data) == len(text):  # ASCII: a byte is a character
            types = [text[begin:end] for begin, end in where]
        else:
            types = [data[begin:end].decode("utf-8", "surrogatepass") for begin, end in where]
        number: defaultdict[bytes, int] = defaultdict(count(len(types)).__next__)
        for token in np.flatnonzero(~short).tolist():
            begin = begins[token]
            index[token] = number[data[begin : begin + sizes[token]]]
        types += [token.decode("utf-8", "surrogatepass") for token in number]
        return types, index

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


def _tokens_in(data: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each token begins, and its size in bytes, (N,) each."""
    kinds = np.frombuffer(b" " + data.translate(_KINDS) + b" ", np.uint8)
    is_inside, is_newline = kinds == _INSIDE, kinds[1:-1] == _NEWLINE
    begins = np.flatnonzero(is_newline | (is_inside[1:-1] & ~is_inside[:-2]))
    ends = np.flatnonzero(is_newline | (is_inside[1:-1] & ~is_inside[2:]))
    return begins, ends + 1 - begins


def _words_at(
    data: bytes, begins: NDArray[np.int64], sizes: NDArray[np.int64]
) -> NDArray[np.uint64]:
    """The first eight bytes of each token as a number, filled up with zeros."""
    padded = data + bytes(_WORD)
    words = np.ndarray(len(data) + 1, np.dtype("<u8"), padded, strides=(1,))  # one at each byte
    missing = np.maximum(_WORD - sizes, 0).astype(np.uint64) * np.uint64(8)
    found: NDArray[np.uint64] = words[begins] & (np.uint64(0xFFFFFFFFFFFFFFFF) >> missing)
    return found


def _alike(
    first: NDArray[np.uint64], second: NDArray[np.uint64]
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """The place of an example of each pair of numbers (T,), and the index of each pair (N,).

    A hash table with linear probing. If several tokens claim a slot, the last one gets it; those
    that are like it are done, the others go on to the next slot.
    """
    bits = max(len(first) // 4, 1).bit_length()  # most pairs repeat; a small table stays in cache
    hashed = (first ^ (second * _GOLDEN)) * _GOLDEN
    example = np.empty(len(first), np.int32)  # of each token, the one that is in the table
    while not _found_examples(first, second, hashed, bits, example):
        bits += 2
    is_example = example == np.arange(len(example))
    return np.flatnonzero(is_example), (np.cumsum(is_example, dtype=np.int32) - 1)[example]


def _found_examples(
    first: NDArray[np.uint64],
    second: NDArray[np.uint64],
    hashed: NDArray[np.uint64],
    bits: int,
    example: NDArray[np.int32],
) -> bool:
    """Fill in the examples, with a table of so many bits; False if it is too small."""
    table = np.full(1 << bits, -1, np.int32)
    slots = (hashed >> np.uint64(64 - bits)).astype(np.int64)
    waiting = np.arange(len(first), dtype=np.int32)
    table[slots] = waiting
    one, two = first, second  # of those that wait
    for _ in range(_MOST_PROBES):
        found = table[slots]
        is_like = (first[found] == one) & (second[found] == two)
        example[waiting[is_like]] = found[is_like]
        left = np.flatnonzero(~is_like)
        if not len(left):
            return True
        one, two, waiting = one[left], two[left], waiting[left]
        slots = (slots[left] + 1) & ((1 << bits) - 1)
        free = table[slots] < 0
        table[slots[free]] = waiting[free]
    return False
