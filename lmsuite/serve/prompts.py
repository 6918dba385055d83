"""A prompt as a model reads it, and as an answer shows it.

The ids that clients see have no ``<s>``: a model begins after one, and after each ``</s>`` a text
begins anew. So a ``<s>`` is put after every ``</s>``, and is not counted. (A client may send ids
with ``<s>``. These are read, too.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lmsuite.errors import DataError
from lmsuite.text.encoding import StreamDecoder, TextEncoder
from lmsuite.text.settings import Boundaries
from lmsuite.text.vocabulary import BOS, EOS, SPECIALS, UNK
from lmsuite.types import BoolArray, IntArray


class Shown(NamedTuple):
    """A token as an answer shows it."""

    text: str
    """The characters that it adds to the text; if there are none, its name. Of a part of a
    character ``bytes:\\\\xe2``."""
    offset: int
    """Where these characters begin in the text of the answer."""


@dataclass(frozen=True)
class Prompt:
    """A prompt of a request."""

    text: str
    """As it was given; of ids, what they stand for."""
    ids: IntArray
    """(N,) as the model reads them."""
    is_counted: BoolArray
    """(N,) whether the client sees the id."""
    is_text: bool
    """Whether it was given as text."""

    @property
    def count(self) -> int:
        """The number of its tokens."""
        return int(np.count_nonzero(self.is_counted))

    @property
    def counted(self) -> IntArray:
        """The ids that the client sees."""
        return self.ids[self.is_counted]

    def shown(self, encoder: TextEncoder) -> list[Shown]:
        """Its tokens, one for each id that the client sees; their texts add up to its text."""
        if not self.is_text:
            writer = TokenWriter(encoder, self.ids[:0])
            return [writer.push(token) for token in self.counted.tolist()]
        tokens = []
        base = begin = 0
        for token, _ in zip(encoder.located(self.text), range(self.count), strict=False):
            end = base + token.end
            if token.bytes is None:
                tokens.append(Shown(self.text[begin:end], begin))
            else:
                tokens.append(Shown(_spelled(bytes(token.bytes)), base + token.start))
            if self.text[base + token.start : end] == encoder.boundaries.end:
                base = end  # `located` counts from the beginning of each line or document
            begin = end
        if tokens and begin < len(self.text):  # white space that no token shows
            tokens[-1] = Shown(self.text[tokens[-1].offset :], tokens[-1].offset)
        return tokens

    def spare_space(self, encoder: TextEncoder) -> bool:
        """Whether it ends with white space that its ids do not show.

        A text that follows then needs no space of its own.
        """
        ends = ("\n", encoder.boundaries.end)
        last = self.text[-1:]
        return self.is_text and not encoder.lossless and last.isspace() and last not in ends


def text_prompt(encoder: TextEncoder, text: str) -> Prompt:
    """The prompt that is this text.

    Raises:
        DataError: it holds a reserved token.
    """
    ids = encoder.encode_prompt(text)
    return Prompt(text, ids, ids != BOS, is_text=True)


_SPACING_REACH = 1 << 14
"""The spaces before a token may depend on so many tokens before it."""


def ids_prompt(encoder: TextEncoder, ids: Sequence[int]) -> Prompt:
    """The prompt of these ids.

    Raises:
        DataError: one is outside the vocabulary.
    """
    vocabulary = len(encoder.vocabulary)
    for token in ids:  # first: a huge one would not fit into an array
        if not 0 <= token < vocabulary:
            raise DataError(f"the id {token} is no token; the vocabulary has 0 to {vocabulary - 1}")
    given = np.array(ids, np.int32)
    ends = np.flatnonzero(given == EOS)
    goes_on = np.append(given, 0)[ends + 1] == BOS
    places = ends[~goes_on] + 1
    whole = np.insert(given, places, BOS)
    is_counted = np.insert(np.ones(len(given), bool), places, False)
    return Prompt(encoder.decode(given), whole, is_counted, is_text=False)


class TokenWriter:
    """Shows tokens one after the other, as they stand in a text."""

    def __init__(
        self,
        encoder: TextEncoder,
        before: IntArray,
        offset: int = 0,
        *,
        spare_space: bool = False,
    ) -> None:
        """A writer of tokens that come after `before`.

        Args:
            encoder: the model's.
            before: the ids (N,) of the prompt.
            offset: where the first token begins in the answer's text.
            spare_space: whether the first token needs no space before it.
        """
        self._encoder = encoder
        self._decoder = encoder.decoder()
        for token in before[-_SPACING_REACH:].tolist():
            self._decoder.push(token)
        self._offset = offset
        self._spare_space = spare_space
        self._shows_ends = encoder.boundaries is not Boundaries.DOCUMENTS

    def push(self, token: int) -> Shown:
        """The next token."""
        text = self._text(token, self._decoder)
        shown = Shown(self._name(token, text), self._offset)
        self._offset += len(text)
        self._spare_space = False
        return shown

    def name(self, token: int) -> str:
        """What `push` would show as the text of a token."""
        if self._encoder.lossless:
            return self._name(token, "")
        return self._name(token, self._text(token, self._decoder.copy()))

    def _text(self, token: int, decoder: StreamDecoder) -> str:
        """The characters that become certain with a token."""
        if token == EOS and not self._shows_ends:
            return ""
        text = decoder.push(token)
        return text.removeprefix(" ") if self._spare_space else text

    def _name(self, token: int, text: str) -> str:
        vocabulary, tokenizer = self._encoder.vocabulary, self._encoder.tokenizer
        if token in (UNK, BOS) or (token == EOS and not self._shows_ends):
            return text or SPECIALS[token]
        if token == EOS:
            return text or self._encoder.boundaries.end
        own = vocabulary.tokens[token]
        part = tokenizer.part_of_character(own)
        if part is not None:
            return _spelled(part)
        return text or tokenizer.detokenize([own])


def _spelled(part: bytes) -> str:
    return "bytes:" + "".join(f"\\x{byte:02x}" for byte in part)
