"""From text to arrays of ids and back: a tokenizer, a vocabulary and the meaning of a line end."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmsuite.errors import DataError, ModelFileError, UsageError
from lmsuite.files.disk_arrays import DiskArray
from lmsuite.files.stored_text import Text
from lmsuite.text.cutting import (
    END,
    distinct,
    end_type,
    in_lines,
    in_sequences,
    refuse_reserved,
)
from lmsuite.text.long_texts import LONG, counted, numbered, to_learn_from
from lmsuite.text.registry import make_tokenizer, tokenizer_from
from lmsuite.text.settings import Boundaries as Boundaries
from lmsuite.text.settings import TextSettings as TextSettings
from lmsuite.text.tokenizer import Joiner, Tokenizer
from lmsuite.text.vocabulary import BOS, EOS, SPECIALS, Vocabulary
from lmsuite.types import IntArray

PROMPT_END = 1 << 15
"""Characters of a prompt that are enough for every model whose memory has an end, nearly always."""

_BACKWARD = "backward"

# A text of so many characters is encoded token by token: numpy would take longer to begin.
_SHORT = 1000


@dataclass(frozen=True)
class Token:
    """One token of a text: the form in which every command shows it to programs."""

    token: str
    """The text that it stands for, exactly; of an unknown word, too. A part of a character is shown
    by its bytes, as ``\\xe2``, and has `bytes`."""
    id: int
    start: int
    """Where it begins in its line, or in its document if the text has some, in characters."""
    end: int
    """Where it ends. A part of a character ends with the character."""
    bytes: tuple[int, ...] | None = None
    """Of a part of a character; None for all others."""

    def as_json(self) -> dict[str, Any]:
        """The fields that say something."""
        fields = {"token": self.token, "id": self.id, "start": self.start, "end": self.end}
        return fields if self.bytes is None else fields | {"bytes": list(self.bytes)}


@dataclass(frozen=True)
class TextEncoder:
    """Turns text into ids, always in the same way."""

    tokenizer: Tokenizer
    vocabulary: Vocabulary
    boundaries: Boundaries
    backward: bool = False
    """Whether the text is read from right to left: `turned`."""

    @property
    def forward(self) -> TextEncoder:
        """The encoder that makes the same tokens, in reading order."""
        return replace(self, backward=False) if self.backward else self

    @classmethod
    def train(
        cls,
        text: Text,
        settings: TextSettings,
        *,
        tokenizer: Tokenizer | None = None,
        name: str = "the text",
    ) -> tuple[TextEncoder, IntArray]:
        """The encoder for this training text, and the ids of the text, as from `encode`.

        Args:
            text: the training text. From a long one, ``bpe`` learns its tokens from a part.
            settings: which tokenizer, vocabulary and boundaries.
            tokenizer: one that is there already, instead of that of the settings.
            name: what error messages call the text.

        Raises:
            DataError: the text has no tokens, or one that is reserved; the vocabulary file is bad.
            UsageError: the settings contradict each other.
        """
        boundaries = settings.boundaries
        tokenizer = tokenizer or cls._tokenizer(text, settings)
        if len(text) > LONG:
            counted_text = counted(text, tokenizer, boundaries, name)
            if not len(counted_text.numbers):
                raise DataError(f"{name} has no tokens for the tokenizer {tokenizer.name}")
            vocabulary = vocabulary_of(tokenizer, counted_text.counts, settings)
            encoder = cls(tokenizer, vocabulary, boundaries, settings.backward)
            return encoder, encoder._directed(counted_text.ids(vocabulary), text)
        text = str(text)
        types, index = distinct(tokenizer, boundaries, text)
        refuse_reserved(types, tokenizer, boundaries, text, name)
        if not types:
            raise DataError(f"{name} has no tokens for the tokenizer {tokenizer.name}")
        counts = dict(zip(types, np.bincount(index, minlength=len(types)).tolist(), strict=True))
        counts.pop(end_type(tokenizer, boundaries), None)
        vocabulary = vocabulary_of(tokenizer, counts, settings)
        encoder = cls(tokenizer, vocabulary, boundaries, settings.backward)
        ids = encoder._sequences(types, index)
        return encoder, turned(ids) if encoder.backward else ids

    @staticmethod
    def _tokenizer(text: Text, settings: TextSettings) -> Tokenizer:
        """The tokenizer, which learns from the text if it is bpe."""
        if settings.tokenizer != "bpe":
            return make_tokenizer(settings.tokenizer)
        lines = in_lines(to_learn_from(text), settings.boundaries)
        return make_tokenizer("bpe", lines, settings.bpe_size)

    def encode(self, text: Text, *, name: str = "the text") -> IntArray:
        """The ids of a text, int32 (N,); those of a stored text stay on disk.

        In STREAM mode the tokens alone; in LINES mode ``<s> tokens </s>`` for each line, in
        DOCUMENTS mode for each document. Lines end at ``"\\n"``, documents at `DOCUMENT_END`; one
        at the end of the text opens no further line or document. A text without any, as an empty
        file is, has no ids: for the empty sentence see `encode_sentence`. A backward encoder gives
        the `turned` ids.

        Raises:
            DataError: the text holds a token ``<s>`` or ``</s>`` (tokenizer whitespace only); the
                message names `name` and the line.
        """
        if len(text) > LONG:
            numbers = numbered(text, self.tokenizer, self.boundaries, self.vocabulary.ids, name)
            return self._directed(numbers, text)
        if self.backward:
            return turned(self.forward.encode(text, name=name))
        text = str(text)
        if len(text) <= _SHORT:
            sequence, end, rest = text.partition(self.boundaries.end)
            if not rest:
                return self._sequence(sequence, bool(end), name)
        return self._sequences(*self._distinct(text, name))

    def encode_sentence(self, text: str) -> IntArray:
        """The ids of a sentence or document, int32 (N,); of several, if the text has several.

        As `encode`, but an empty text is the empty sentence, ``<s> </s>``, where sequences have an
        end. So it has the probability of its end, where an empty file has none.

        Raises:
            DataError: as `encode`.
        """
        ids = self.encode(text, name="the sentence")
        if self.boundaries.has_sequences and not ids.size:
            return np.array([BOS, EOS], np.int32)
        return ids

    def encode_prompt(self, text: str, last: int | None = None) -> IntArray:
        """The ids of the beginning of a text that is to be continued, int32 (N,).

        As `encode`, but the last line or document is not closed, and the ``<s>`` before the first
        is left out: it is the state in which every model starts. For a backward encoder the text is
        the end of one, of which the beginning is to be found.

        Args:
            text: the beginning.
            last: how many of the last ids are needed. Of a long text no more than its end is
                encoded: from a place where it can be cut, those ids and some before them.

        Raises:
            DataError: as `encode`, of the part that is encoded.
        """
        if self.backward:  # the beginning, which is read last, is what is needed
            return turned(self.forward._encode_prompt(text))
        reach = PROMPT_END
        while last is not None and reach < len(text):
            begin = self.tokenizer.cut_before(text, len(text) - reach)
            ids = self._encode_prompt(text[begin:])
            if len(ids) >= last:
                return ids
            reach *= 4
        return self._encode_prompt(text)

    def encode_lines(self, text: str, *, name: str = "the text") -> tuple[IntArray, IntArray]:
        """Every line as a text of its own: ids (N,), and how many tokens (L,) each line predicts.

        The ids are those of `encode` with a ``<s>`` before each line, in STREAM mode too, where it
        leads back to the state in which every text starts. A line's own end belongs to it. In
        DOCUMENTS mode these are documents. A backward encoder gives the lines in their order, each
        `turned`.

        Raises:
            DataError: as `encode`.
        """
        if self.backward:
            ids, lengths = self.forward.encode_lines(text, name=name)
            lines = np.split(ids, np.flatnonzero(ids == BOS)[1:])
            bos = lines[0][:1]  # of a stream, whose lines have no </s> to become <s>
            turned_lines = [
                turned(line) if self.boundaries.has_sequences else np.append(bos, line[:0:-1])
                for line in lines
            ]
            return np.concatenate(turned_lines), lengths
        if self.boundaries.has_sequences:
            ids = self.encode(text, name=name)
            ends = np.flatnonzero(ids[ids != BOS] == EOS) + 1
            return ids, np.diff(ends, prepend=0)
        types, index = self._distinct(text, name)
        newline = self.tokenizer.newline
        is_end = index == (types.index(newline) if newline in types else -1)
        ends = np.flatnonzero(is_end) + 1
        if index.size and not is_end[-1]:
            ends = np.append(ends, index.size)
        ids = self._ids(types, index)
        starts = np.concatenate(([0], ends[:-1])) if ends.size else ends
        return np.insert(ids, starts, np.int32(BOS)), np.diff(ends, prepend=0)

    def located(self, text: str) -> Iterator[Token]:
        """Every predicted token of a text, its id, and where it lies in its line or document."""
        known, newline, boundaries = self.vocabulary, self.tokenizer.newline, self.boundaries
        line_start = end = 0
        is_end = True
        for token, start, end in self.tokenizer.located(in_lines(text, boundaries)):
            part = self.tokenizer.part_of_character(token)
            place = (start - line_start, end - line_start)
            is_end = token == newline and text[start] == boundaries.end
            if is_end and boundaries.has_sequences:
                yield Token(SPECIALS[EOS], EOS, *place)
            elif part is not None:
                shown = part.decode("utf-8", "backslashreplace")
                yield Token(shown, known.id(token), *place, tuple(part))
            else:
                yield Token(text[start:end], known.id(token), *place)
            if is_end:
                line_start = end
        if boundaries.has_sequences and not is_end:
            yield Token(SPECIALS[EOS], EOS, len(text) - line_start, len(text) - line_start)

    def tokens(self, text: str) -> list[str]:
        """The tokens of a text as strings, one for each log-probability of `LanguageModel.score`.

        Each is the text that it stands for, of an unknown word, too; ``</s>`` ends every line or
        document that is a sequence. `located` tells where they lie, in reading order.

        Raises:
            DataError: as `encode`.
        """
        ids = self.encode(text)
        tokens = [token.token for token in self.located(text)]
        if not self.backward:
            return tokens
        placed = zip(self.reading_order(ids).tolist(), tokens, strict=True)
        return [token for _, token in sorted(placed)]

    def reading_order(self, ids: IntArray) -> NDArray[np.int64]:
        """The places (M,) of the predicted tokens of a text from left to right.

        Of a backward encoder's ids (N,) all but ``<s>`` are predicted, and the ``</s>`` that was
        found at a line's beginning stands for the line's end.
        """
        predicted = ids[ids != BOS]
        if not self.backward:
            return np.arange(len(predicted))
        places = np.arange(len(predicted))[::-1]
        starts = np.flatnonzero(predicted[places] == EOS)
        if not self.boundaries.has_sequences or not len(starts):
            return places
        order = np.append(places[1:], -1)
        order[np.append(starts[1:] - 1, len(order) - 1)] = places[starts]
        return order

    def id(self, token: str) -> int:
        """The id of the token that stands for this text; 0, of ``<unk>``, if there is none."""
        return self.vocabulary.id(self._known(token))

    def __contains__(self, token: object) -> bool:
        """Whether a text is one token, and known."""
        return isinstance(token, str) and self._known(token) in self.vocabulary

    def _known(self, token: str) -> str:
        """The token of this text as the vocabulary has it."""
        return token if token in SPECIALS else self.tokenizer.token_of(token)

    def text(self, ids: int | Iterable[int] | IntArray) -> str:
        """The text of one id or of several, as `decode` gives it.

        Raises:
            DataError: an id is outside the vocabulary.
        """
        return self.decode([int(ids)] if isinstance(ids, int | np.integer) else ids)

    def _encode_prompt(self, text: str) -> IntArray:
        ids = self._ids(*self._distinct(text, "the prompt"))
        ends = np.flatnonzero(ids == END)
        ids[ends] = EOS
        return np.insert(ids, ends + 1, BOS)

    def _directed(self, ids: DiskArray, text: Text) -> IntArray:
        """The ids of a text: in memory, unless the text itself is not."""
        if isinstance(text, str):
            return turned(ids.read()) if self.backward else ids.read()
        if not self.backward:
            return ids.mapped()
        backward = DiskArray(np.int32)
        for end in range(len(ids), 0, -LONG):
            backward.append(turned(ids.read(max(0, end - LONG), end)))
        return backward.mapped()

    def _distinct(self, text: str, name: str) -> tuple[list[str], IntArray]:
        """As the function `distinct`; a reserved token is refused."""
        types, index = distinct(self.tokenizer, self.boundaries, text)
        refuse_reserved(types, self.tokenizer, self.boundaries, text, name)
        return types, index

    def _ids(self, types: Sequence[str], index: IntArray) -> IntArray:
        """The ids of tokens given as from `distinct`, with `END` where a sequence ends."""
        ids_of_types = self.vocabulary.ids(types)
        end = end_type(self.tokenizer, self.boundaries)
        if end in types:
            ids_of_types[types.index(end)] = END
        return ids_of_types[index]

    def _sequence(self, text: str, ended: bool, name: str) -> IntArray:
        """As `encode`, of a text that holds no end, or one as its last character."""
        tokens = self.tokenizer.tokens(text)
        refuse_reserved(tokens, self.tokenizer, self.boundaries, text, name)
        if not self.boundaries.has_sequences:
            tokens += [self.tokenizer.newline] * ended
        elif tokens or ended:
            tokens = [SPECIALS[BOS], *tokens, SPECIALS[EOS]]
        return self.vocabulary.ids(tokens)

    def _sequences(self, types: Sequence[str], index: IntArray) -> IntArray:
        ids = self._ids(types, index)
        if not self.boundaries.has_sequences or not ids.size:
            return ids
        if ids[-1] != END:
            ids = np.concatenate((ids, [END]), dtype=np.int32)
        return in_sequences(ids)

    def decode(self, ids: Iterable[int] | IntArray) -> str:
        """The text of the ids: ``<s>`` is dropped, ``</s>`` ends a line or document.

        Raises:
            DataError: an id is outside the vocabulary.
        """
        if self.backward:
            return self.forward.decode(turned(_with_starts(ids)))
        decoder = self.decoder()
        return "".join(map(decoder.push, ids)) + decoder.finish()

    def decoder(self) -> StreamDecoder:
        """A decoder that is given one id at a time, from left to right."""
        return StreamDecoder(self)

    @property
    def lossless(self) -> bool:
        """Whether every character of a text shows in its ids, provided no token is unknown."""
        return self.tokenizer.lossless

    @property
    def impossible(self) -> IntArray:
        """The ids that no text continues with, to which every model gives probability zero."""
        return np.array([BOS] if self.boundaries.has_sequences else [BOS, EOS], np.int32)

    def describe(self) -> dict[str, Any]:
        """JSON values from which `restore`, given also `arrays`, makes an equal encoder."""
        described = {"tokenizer": self.tokenizer.describe(), "boundaries": self.boundaries.value}
        return described | ({"direction": _BACKWARD} if self.backward else {})

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
        direction = description.get("direction")
        if direction not in (None, _BACKWARD):
            raise ModelFileError(
                f"the direction {direction!r} of the text is unknown; the model file is damaged"
            )
        known = Vocabulary.from_array(vocabulary)
        restored = cls(tokenizer_from(tokenizer), known, boundaries, direction == _BACKWARD)
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
        return visible(self.tokenizer.visible(self.vocabulary.tokens[token_id]))


class StreamDecoder:
    """Decodes ids as they come; the texts of all `push` and of `finish` make `decode`'s text."""

    def __init__(self, encoder: TextEncoder) -> None:
        self._encoder = encoder
        self._joiner: Joiner = encoder.tokenizer.joiner()

    def copy(self) -> StreamDecoder:
        """A decoder that has been given the same ids."""
        copied = StreamDecoder(self._encoder)
        copied._joiner = deepcopy(self._joiner)
        return copied

    def push(self, token_id: int) -> str:
        """The text that has become certain with this id; may be empty.

        Raises:
            DataError: the id is outside the vocabulary.
        """
        if token_id == BOS:
            return ""
        if token_id == EOS:
            ended = self._joiner.push(self._encoder.tokenizer.newline)
            return ended.removesuffix("\n") + self._encoder.boundaries.end
        tokens = self._encoder.vocabulary.tokens
        if not 0 <= token_id < len(tokens):
            raise DataError(
                f"the id {token_id} is no token; the vocabulary has 0 to {len(tokens) - 1}"
            )
        return self._joiner.push(tokens[token_id])

    def finish(self) -> str:
        """What is left to write after the last id."""
        return self._joiner.finish()


def turned(ids: IntArray) -> IntArray:
    """The ids (N,) of a text that is read from right to left, the last line first.

    The last word comes after ``<s>``, and ``</s>`` after the first one: each takes the other's
    place. Turned again, the ids are as before.
    """
    ids = ids[::-1].copy()
    begins, ends = ids == BOS, ids == EOS
    ids[begins], ids[ends] = EOS, BOS
    return ids


def _with_starts(ids: Iterable[int] | IntArray) -> IntArray:
    """The ids with an ``<s>`` after every ``</s>``, but the last, that has none."""
    array = np.fromiter(map(int, ids), np.int32)
    ends = np.flatnonzero(array[:-1] == EOS)
    return np.insert(array, ends[array[ends + 1] != BOS] + 1, np.int32(BOS))


def vocabulary_of(
    tokenizer: Tokenizer, counts: Mapping[str, int], settings: TextSettings
) -> Vocabulary:
    """The vocabulary of a training text with these counts, of line ends too if they are tokens.

    Raises:
        DataError: the vocabulary file is bad.
        UsageError: the settings contradict each other or the tokenizer.
    """
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


# Unprintable, but a part of how the characters beside them look: non-joiner, joiner, soft hyphen,
# and the tags of some flags.
SHAPING = frozenset("\u200c\u200d\xad") | {chr(tag) for tag in range(0xE0020, 0xE0080)}


def visible(token: str) -> str:
    """The text of a token as a table shows it: spaces and unprintable characters made visible."""
    if token.isprintable() and " " not in token:
        return token
    shown = frozenset() if SHAPING.issuperset(token) else SHAPING
    return "".join(each if each in shown else _visible(each) for each in token)


def _visible(character: str) -> str:
    if character == " ":
        return "␣"
    return character if character.isprintable() else repr(character)[1:-1]
