"""From text to arrays of ids and back: a tokenizer, a vocabulary and the meaning of a line end."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmsuite.errors import DataError, ModelFileError, UsageError
from lmsuite.text.settings import Boundaries as Boundaries
from lmsuite.text.settings import TextSettings as TextSettings
from lmsuite.text.tokenizer import Joiner, Tokenizer, make_tokenizer, tokenizer_from
from lmsuite.text.vocabulary import BOS, EOS, SPECIALS, IntArray, Vocabulary

# Stands for a line end among ids, until it is known what becomes of it.
_LINE_END = -1


@dataclass(frozen=True)
class TextEncoder:
    """Turns text into ids, always in the same way."""

    tokenizer: Tokenizer
    vocabulary: Vocabulary
    boundaries: Boundaries

    @classmethod
    def train(
        cls, text: str, settings: TextSettings, *, name: str = "the text"
    ) -> tuple[TextEncoder, IntArray]:
        """The encoder for this training text, and the ids of the text, as from `encode`.

        Args:
            text: the training text.
            settings: which tokenizer, vocabulary and boundaries.
            name: what error messages call the text.

        Raises:
            DataError: the text has no tokens, or one that is reserved; the vocabulary file is bad.
            UsageError: the settings contradict each other.
        """
        tokenizer = make_tokenizer(settings.tokenizer, text, settings.bpe_size)
        types, index = tokenizer.distinct(text)
        _refuse_reserved(types, tokenizer, text, name)
        if not types:
            raise DataError(f"{name} has no tokens for the tokenizer {tokenizer.name}")
        counts = dict(zip(types, np.bincount(index, minlength=len(types)).tolist(), strict=True))
        if settings.boundaries is Boundaries.LINES:
            counts.pop(tokenizer.newline, None)
        encoder = cls(tokenizer, _vocabulary(tokenizer, counts, settings), settings.boundaries)
        return encoder, encoder._sequences(types, index)

    def encode(self, text: str, *, name: str = "the text") -> IntArray:
        """The ids of a text, int32 (N,).

        In STREAM mode the tokens alone; in LINES mode ``<s> tokens </s>`` for each line. Lines end
        at ``"\\n"``; one at the end of the text opens no further line.

        Raises:
            DataError: the text holds a token ``<s>`` or ``</s>`` (tokenizer whitespace only); the
                message names `name` and the line.
        """
        types, index = self.tokenizer.distinct(text)
        _refuse_reserved(types, self.tokenizer, text, name)
        return self._sequences(types, index)

    def encode_prompt(self, text: str) -> IntArray:
        """The ids of the beginning of a text that is to be continued, int32 (N,).

        As `encode`, but the last line is not closed, and the ``<s>`` before the first is left out:
        it is the state in which every model starts.

        Raises:
            DataError: as `encode`.
        """
        types, index = self.tokenizer.distinct(text)
        _refuse_reserved(types, self.tokenizer, text, "the prompt")
        ids = self._ids(types, index)
        ends = np.flatnonzero(ids == _LINE_END)
        ids[ends] = EOS
        return np.insert(ids, ends + 1, BOS)

    def _ids(self, types: Sequence[str], index: IntArray) -> IntArray:
        """The ids of tokens given as from `Tokenizer.distinct`; LINES: `_LINE_END` for newlines."""
        ids_of_types = self.vocabulary.ids(types)
        if self.boundaries is Boundaries.LINES and self.tokenizer.newline in types:
            ids_of_types[types.index(self.tokenizer.newline)] = _LINE_END
        return ids_of_types[index]

    def _sequences(self, types: Sequence[str], index: IntArray) -> IntArray:
        ids = self._ids(types, index)
        if self.boundaries is Boundaries.STREAM or not ids.size:
            return ids
        if ids[-1] != _LINE_END:
            ids = np.append(ids, np.int32(_LINE_END))
        ends = np.flatnonzero(ids == _LINE_END)
        ids[ends] = EOS
        return np.insert(ids, np.concatenate(([0], ends[:-1] + 1)), BOS)

    def decode(self, ids: Iterable[int] | IntArray) -> str:
        """The text of the ids: ``<s>`` is dropped, ``</s>`` ends a line, ``<unk>`` is shown.

        Raises:
            DataError: an id is outside the vocabulary.
        """
        decoder = self.decoder()
        return "".join(map(decoder.push, ids)) + decoder.finish()

    def decoder(self) -> StreamDecoder:
        """A decoder that is given one id at a time."""
        return StreamDecoder(self)

    @property
    def lossless(self) -> bool:
        """Whether every character of a text shows in its ids, provided no token is unknown."""
        return self.tokenizer.lossless

    @property
    def impossible(self) -> IntArray:
        """The ids that no text continues with, to which every model gives probability zero."""
        return np.array([BOS] if self.boundaries is Boundaries.LINES else [BOS, EOS], np.int32)

    def describe(self) -> dict[str, Any]:
        """JSON values from which `restore`, given also `arrays`, makes an equal encoder."""
        return {"tokenizer": self.tokenizer.describe(), "boundaries": self.boundaries.value}

    def arrays(self) -> dict[str, NDArray[np.uint8]]:
        """The vocabulary, by the name under which a model file keeps it."""
        return {"vocabulary": self.vocabulary.to_array()}

    @classmethod
    def restore(
        cls, description: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
    ) -> TextEncoder:
        """The encoder whose `describe` and `arrays` these are.

        Raises:
            ModelFileError: something is missing, or is not what it should be.
        """
        try:
            tokenizer, boundaries = description["tokenizer"], Boundaries(description["boundaries"])
            vocabulary = arrays["vocabulary"]
        except (KeyError, ValueError) as error:
            raise ModelFileError(
                f"the description of the text lacks something ({error}); the model file is damaged"
            ) from None
        restored = cls(tokenizer_from(tokenizer), Vocabulary.from_array(vocabulary), boundaries)
        fixed = restored.tokenizer.fixed_tokens()
        foreign = fixed is not None and set(restored.vocabulary.tokens[len(SPECIALS) :]) - {*fixed}
        if foreign:
            raise ModelFileError(
                f"{min(foreign)!r} is in the vocabulary, but is no token of the tokenizer "
                f"{restored.tokenizer.name}; the model file is damaged"
            )
        return restored

    def fingerprint(self) -> str:
        """A checksum (SHA-256, hexadecimal), equal for encoders that give every text equal ids."""
        digest = hashlib.sha256(json.dumps(self.describe(), sort_keys=True).encode())
        digest.update(self.vocabulary.to_array().tobytes())
        return digest.hexdigest()

    def token_text(self, token_id: int) -> str:
        """One token as a table shows it: spaces and line ends made visible."""
        if token_id < len(SPECIALS):
            return SPECIALS[token_id]
        return self.visible(self.vocabulary.tokens[token_id])

    def visible(self, token: str) -> str:
        """A token of the tokenizer, known or not, as a table shows it."""
        return "".join(map(_visible, self.tokenizer.visible(token)))


class StreamDecoder:
    """Decodes ids as they come; the texts of all `push` and of `finish` make `decode`'s text."""

    def __init__(self, encoder: TextEncoder) -> None:
        self._encoder = encoder
        self._joiner: Joiner = encoder.tokenizer.joiner()

    def push(self, token_id: int) -> str:
        """The text that has become certain with this id; may be empty.

        Raises:
            DataError: the id is outside the vocabulary.
        """
        if token_id == BOS:
            return ""
        if token_id == EOS:
            return self._joiner.push(self._encoder.tokenizer.newline)
        tokens = self._encoder.vocabulary.tokens
        if not 0 <= token_id < len(tokens):
            raise DataError(
                f"the id {token_id} is no token; the vocabulary has 0 to {len(tokens) - 1}"
            )
        return self._joiner.push(tokens[token_id])

    def finish(self) -> str:
        """What is left to write after the last id."""
        return self._joiner.finish()


def _vocabulary(
    tokenizer: Tokenizer, counts: Mapping[str, int], settings: TextSettings
) -> Vocabulary:
    """The vocabulary of a training text with these counts, line ends among them only in STREAM."""
    fixed = tokenizer.fixed_tokens()
    limited = settings.min_count != 1 or settings.max_vocab is not None
    if fixed is not None:
        if limited or settings.vocab is not None:
            raise UsageError(
                f"the tokenizer {tokenizer.name} learns its own vocabulary, of {{bpe_size}} "
                "tokens; leave out {vocab}, {min_count} and {max_vocab}",
                *("vocab", "min_count", "max_vocab", "bpe_size"),
            )
        counts = dict.fromkeys(fixed, 0) | dict(counts)
        if settings.boundaries is Boundaries.LINES:
            del counts[tokenizer.newline]
        return Vocabulary.build(counts, min_count=0)
    if settings.vocab is None:
        return Vocabulary.build(counts, min_count=settings.min_count, max_size=settings.max_vocab)
    if limited:
        raise UsageError(
            "{vocab} gives the whole vocabulary; leave out {min_count} and {max_vocab}",
            *("vocab", "min_count", "max_vocab"),
        )
    listed = Vocabulary.read(settings.vocab)
    tokens = listed.tokens[len(SPECIALS) :]
    if settings.boundaries is Boundaries.LINES:
        return Vocabulary(token for token in tokens if token != tokenizer.newline)
    return listed if tokenizer.newline in listed else Vocabulary((*tokens, tokenizer.newline))


def _refuse_reserved(types: Sequence[str], tokenizer: Tokenizer, text: str, name: str) -> None:
    reserved = [token for token in (SPECIALS[BOS], SPECIALS[EOS]) if token in types]
    if not reserved:
        return
    for number, line in enumerate(text.split("\n"), start=1):
        for token in tokenizer.tokens(line):
            if token in reserved:
                raise DataError(
                    f"{name}, line {number}: the token {token} is reserved for the "
                    f"{'beginning' if token == SPECIALS[BOS] else 'end'} of a line; "
                    "remove or rename it"
                )


def _visible(character: str) -> str:
    if character == " ":
        return "␣"
    return character if character.isprintable() else repr(character)[1:-1]
