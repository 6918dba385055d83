"""Byte-pair encoding: tokens are frequent runs of bytes, learned from the training text.

Sennrich, Haddow and Birch 2016, "Neural machine translation of rare words with subword units";
over bytes as Radford et al. 2019 do, so that every text has tokens and none is unknown. The
``tokenizers`` library learns and applies the merges.
"""

from __future__ import annotations

import codecs
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from lmsuite.errors import DataError, ModelFileError, UsageError
from lmsuite.text.tokenizer import Joiner, Tokenizer
from lmsuite.types import IntArray

if TYPE_CHECKING:
    import tokenizers


_LONGEST = 1000  # characters of a word to learn from
_LONG_WORD = re.compile(rf"\S{{{_LONGEST}}}|\s{{{_LONGEST}}}")
_MOST_BYTES = 4  # of a character in UTF-8


@cache
def byte_letters() -> dict[str, int]:
    """The printable character that stands for each byte in a token, in order of the characters.

    Printable Latin-1 characters stand for themselves, the others are moved up to U+0100 and on
    (the alphabet of GPT-2, which the ``tokenizers`` library calls ByteLevel).
    """
    itself = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    moved = [byte for byte in range(256) if byte not in set(itself)]
    return {chr(byte): byte for byte in itself} | {
        chr(0x100 + index): byte for index, byte in enumerate(moved)
    }


class BpeTokenizer(Tokenizer):
    """Byte-level byte-pair encoding. A token is written in the letters of `byte_letters`."""

    name = "bpe"
    lossless = True
    newline = "Ċ"

    def __init__(self, merges: Sequence[tuple[str, str]]) -> None:
        """The tokenizer that applies these merges, in this order."""
        self._merges = list(merges)
        # Two different merges may spell the same token: dict keeps the first, in order.
        self._tokens = tuple(
            dict.fromkeys([*byte_letters(), *(left + right for left, right in merges)])
        )
        self._library = _library(self._tokens, self._merges)

    @classmethod
    def train(cls, text: str, size: int) -> BpeTokenizer:
        """Learns `size` tokens, the 256 bytes included; fewer if the text has no more.

        Raises:
            UsageError: the size does not hold the bytes.
            DataError: the text holds half a character (a surrogate).
        """
        if size < len(byte_letters()):
            raise UsageError(
                f"{{bpe_size}} must be at least {len(byte_letters())}, for the single bytes, "
                f"not {size}",
                "bpe_size",
                value=size,
            )
        library = _library(tuple(byte_letters()), [])
        from tokenizers.trainers import BpeTrainer

        # The library takes memory for all `size` tokens; a text of N bytes has fewer than N merges.
        most = len(byte_letters()) + _MOST_BYTES * len(text)
        trainer = BpeTrainer(
            vocab_size=min(size, most), initial_alphabet=list(byte_letters()), show_progress=False
        )
        _require_whole_characters(text)
        library.train_from_iterator(_learnable(text), trainer)
        return cls(
            [(left, right) for left, right in json.loads(library.to_str())["model"]["merges"]]
        )

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> BpeTokenizer:
        """The tokenizer whose `describe` gave this.

        Raises:
            ModelFileError: it did not.
        """
        known = set(byte_letters())
        merges: list[tuple[str, str]] = []
        entries = description.get("merges")
        for entry in entries if isinstance(entries, list) else [None]:
            left, space, right = entry.partition(" ") if isinstance(entry, str) else ("", "", "")
            if not space or left not in known or right not in known:
                raise ModelFileError(
                    f"{entry!r} is no merge of known tokens in the description of a bpe tokenizer; "
                    "the model file is damaged"
                )
            merges.append((left, right))
            known.add(left + right)
        return cls(merges)

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "merges": [f"{left} {right}" for left, right in self._merges]}

    def fixed_tokens(self) -> tuple[str, ...]:
        return self._tokens

    def tokens(self, text: str) -> list[str]:
        types, index = self.distinct(text)
        return [types[number] for number in index]

    def distinct(self, text: str) -> tuple[list[str], IntArray]:
        _require_whole_characters(text)
        line_end = self._tokens.index(self.newline)
        parts = [np.zeros(0, np.int32)]
        for batch in _batches(text):
            encoded = self._library.encode_batch(batch, add_special_tokens=False)
            every = chain.from_iterable(
                [line_end] if stretch == "\n" else found.ids
                for stretch, found in zip(batch, encoded, strict=True)
            )
            parts.append(np.fromiter(every, dtype=np.int32))
        used, index = np.unique(np.concatenate(parts), return_inverse=True)
        return [self._tokens[number] for number in used], index.astype(np.int32)

    def located(self, text: str) -> Iterator[tuple[str, int, int]]:
        begin = 0
        for piece in self.pieces(text):
            place, owed = begin, 0  # the character at `place` has `owed` bytes behind it
            for token in self.tokens(piece):
                start, left = place, len(token)
                while left:
                    size = len(text[place].encode()) - owed
                    owed = owed + left if left < size else 0
                    place += left >= size
                    left -= min(left, size)
                yield token, start, place + (owed > 0)
            begin += len(piece)

    def part_of_character(self, token: str) -> bytes | None:
        data = _bytes(token)
        try:
            data.decode()
        except UnicodeDecodeError:
            return data
        return None

    def token_of(self, text: str) -> str:
        letters = list(byte_letters())
        letters.sort(key=byte_letters().__getitem__)
        return "".join(letters[byte] for byte in text.encode("utf-8", "surrogatepass"))

    def cut_before(self, text: str, position: int) -> int:
        begin = max(0, position - _LONGEST)
        between = list(_BETWEEN_WORDS.finditer(text, begin, position + 1))
        return between[-1].start() if between else super().cut_before(text, position)

    def joiner(self) -> Joiner:
        return _ByteJoiner()

    def visible(self, token: str) -> str:
        return _bytes(token).decode("utf-8", "backslashreplace")


# The library needs some 150 bytes of memory for each character that it is given at a time. No token
# holds a space after a word, so a long line may be cut before any that stands between two words.
_STRETCH = 1 << 16
_BETWEEN_WORDS = re.compile(r"(?<=\w) (?=\w)")


def _stretches(text: str) -> Iterator[str]:
    """The text in parts none of whose tokens reach into another: lines, parts of lines, newlines.

    A part is not much longer than `_STRETCH` if the text has words, and none is empty.
    """
    begin = 0
    while begin < len(text):
        line_end = text.find("\n", begin)
        line_end = len(text) if line_end < 0 else line_end
        while line_end - begin > _STRETCH:
            space = _BETWEEN_WORDS.search(text, begin + _STRETCH, line_end)
            if space is None:
                break
            yield text[begin : space.start()]
            begin = space.start()
        if line_end > begin:
            yield text[begin:line_end]
        if line_end < len(text):
            yield "\n"
        begin = line_end + 1


def _learnable(text: str) -> Iterator[str]:
    """The stretches but newlines, those with a word longer than any word is in pieces.

    The time that the library takes to learn from a word grows with the square of its length.
    """
    for stretch in _stretches(text):
        if _LONG_WORD.search(stretch):
            yield from (stretch[at : at + _LONGEST] for at in range(0, len(stretch), _LONGEST))
        elif stretch != "\n":
            yield stretch


def _batches(text: str) -> Iterator[list[str]]:
    """The `_stretches`, so many at a time that they are not much longer than one alone may be."""
    batch: list[str] = []
    size = 0
    for stretch in _stretches(text):
        batch.append(stretch)
        size += len(stretch)
        if size > _STRETCH:
            yield batch
            batch, size = [], 0
    yield batch


class _ByteJoiner:
    """Writes a character when all its bytes are there."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token: str) -> str:
        return self._decoder.decode(_bytes(token))

    def finish(self) -> str:
        return self._decoder.decode(b"", final=True)


def _bytes(token: str) -> bytes:
    letters = byte_letters()
    return bytes(letters[letter] for letter in token)


def _library(tokens: Sequence[str], merges: list[tuple[str, str]]) -> tokenizers.Tokenizer:
    # With its threads, the library would warn at every process that is later forked.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from tokenizers import Tokenizer as Library
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import ByteLevel

    library = Library(BPE(vocab={t: number for number, t in enumerate(tokens)}, merges=merges))
    library.pre_tokenizer = ByteLevel(add_prefix_space=False)
    return library


def _require_whole_characters(text: str) -> None:
    """Refuses lone surrogates, which a Python string may hold and the library does not take."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"the text holds {text[error.start]!r} at character {error.start}, half a character, "
            "which bpe cannot encode; read the text in its right {encoding}",
            "encoding",
        ) from None
