"""The counts of a text, and the counts of several texts that follow one another.

Texts may be counted one by one, each with a vocabulary of its own: n-grams are joined by their
words. Sequences (lines, documents) never cross the end of a text, so their counts are added. A
stream goes on, so n-grams across the joint are added, made of the last and the first words of the
two texts. Either way the result is what counting all texts as one gives.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from lmsuite.errors import DataError, TextWarning, UsageError
from lmsuite.files.stored_text import Text, blocks
from lmsuite.ngram.counting import NgramCounts
from lmsuite.ngram.longest import NOTHING, LongestNgrams
from lmsuite.ngram.packing import Keys, Packing
from lmsuite.progress import each
from lmsuite.text.encoding import TextEncoder, vocabulary_of
from lmsuite.text.settings import TextSettings
from lmsuite.text.vocabulary import BOS, EOS, SPECIALS, Vocabulary
from lmsuite.types import IntArray

_OF_VOCABULARY = ("vocab", "min_count", "max_vocab")


@dataclass(frozen=True)
class TextCounts:
    """The counts of a text, with all that it takes to add those of another text behind it."""

    name: str
    """What messages call it."""
    encoder: TextEncoder
    grows: bool
    """Whether words of another text join the vocabulary: it is all words of this text, not a
    vocabulary that was given or limited."""
    longest: LongestNgrams
    head: IntArray
    """The first n - 1 ids of a stream; none of a text in sequences, or if nobody knows them."""
    tail: IntArray
    """The last n - 1 ids of a stream, likewise."""
    is_open: bool
    """Whether the end that the last line or document lacks, and gets if another text follows, makes
    a difference: a line end in a stream; one more sequence, if there were only blanks so far."""

    @classmethod
    def of(
        cls,
        longest: LongestNgrams,
        text: Text,
        encoder: TextEncoder,
        ids: IntArray,
        *,
        grows: bool,
        name: str,
    ) -> Self:
        """The counts of a text, called `name`, whose ids (N,) the encoder has made."""
        is_stream = not encoder.boundaries.has_sequences
        edge = min(longest.order - 1, len(ids)) if is_stream else 0
        end = encoder.boundaries.end
        is_open = not text.endswith(end)
        if is_open and not is_stream:
            ends = sum(block.count(end) for block in blocks(text))
            is_open = ends == int(longest.unigrams(len(encoder.vocabulary))[EOS])
        return cls(
            *(name, encoder, grows, longest),
            head=np.array(ids[:edge]),
            tail=np.array(ids[len(ids) - edge :]),
            is_open=is_open,
        )

    @property
    def end(self) -> tuple[str, ...]:
        """The tokens that come after the text if another text follows."""
        if not self.is_open:
            return ()
        encoder = self.encoder
        return SPECIALS[1:] if encoder.boundaries.has_sequences else (encoder.tokenizer.newline,)


@dataclass(frozen=True)
class JoinedCounts:
    """The counts of texts that follow one another; a `blocks.Source`, so they may stay on disk."""

    encoder: TextEncoder
    """That of all texts together."""
    order: int
    parts: Sequence[tuple[LongestNgrams, IntArray]]
    """The longest n-grams of each text, of this order or a higher one, and the ids (V,) that their
    words have in the vocabulary of all."""
    seams: LongestNgrams
    """What the texts have together, and none has alone: n-grams across their joints."""

    @property
    def form(self) -> Rows:
        """Rows of words."""
        return Rows()

    @cached_property
    def unigrams(self) -> NDArray[np.int64]:
        """The count (V,) of each word, but for ``<s>``, which has none."""
        count = self.seams.unigrams(len(self.encoder.vocabulary))
        for longest, ids in self.parts:
            np.add.at(count, ids, longest.unigrams(len(ids)))
        count[BOS] = 0
        return count

    @property
    def total(self) -> int:
        """The sum of all counts, as if none were taken away."""
        return self.seams.total + sum(longest.total for longest, _ in self.parts)

    @property
    def identity(self) -> dict[str, Any]:
        """The number of rows of each text."""
        return {"counts": [len(longest.count) for longest, _ in self.parts]}

    @property
    def arrays(self) -> list[NDArray[Any]]:
        """The words and the counts of all."""
        of_parts = [
            array for longest, ids in self.parts for array in (longest.ngrams, longest.count, ids)
        ]
        return [*of_parts, self.seams.ngrams, self.seams.count]

    def __len__(self) -> int:
        return len(self.seams.count) + sum(len(longest.count) for longest, _ in self.parts)

    def block(self, begin: int, end: int, order: int) -> list[NDArray[Any]]:
        """The words of rows, side by side, and the counts of the rows, from `begin` to `end`."""
        rows, counts = [], []
        vocabulary = np.arange(len(self.encoder.vocabulary), dtype=np.int32)
        for longest, ids in (*self.parts, (self.seams, vocabulary)):
            if begin < len(longest.count) and end > 0:
                piece = slice(max(begin, 0), end)
                rows.append(np.append(ids, NOTHING)[longest.ngrams[piece, :order]])
                counts.append(np.array(longest.count[piece]))
                longest.release()
            begin, end = begin - len(longest.count), end - len(longest.count)
        return [np.concatenate(rows).astype(np.int32).ravel(), np.concatenate(counts)]

    def counts(self) -> NgramCounts:
        """The counts of every order, in memory.

        Raises:
            DataError: they lack the end of an n-gram that they have.
        """
        longest = [part.shortened(self.order).renumbered(ids) for part, ids in self.parts]
        everything = LongestNgrams.sum([*longest, self.seams])
        return everything.counts(self.encoder.vocabulary.tokens)


@dataclass(frozen=True)
class Rows:
    """The form of `JoinedCounts`."""

    @property
    def marks_openings(self) -> bool:
        """They follow from the counts."""
        return False

    def packed(
        self, block: list[NDArray[Any]], size: int, packing: Packing
    ) -> tuple[list[Keys], IntArray]:
        """The columns of n-grams, and their counts."""
        rows, count = block
        words = (rows.reshape(size, -1) - NOTHING).astype(np.uint64).T
        return packing.pack(words, np.zeros(size, dtype=bool)), count


def joined(
    parts: Sequence[TextCounts],
    order: int,
    chosen: dict[str, Any],
    like: TextEncoder | None = None,
) -> JoinedCounts:
    """The counts of the text of which these are the parts.

    The vocabulary is that of training on the whole text; but if all parts have the same one, which
    does not grow, they keep it.

    Args:
        parts: in the order of the text.
        order: of the counts.
        chosen: ``vocab``, ``min_count`` or ``max_vocab``, as in `TextSettings`: words outside the
            vocabulary become ``<unk>``.
        like: an encoder whose vocabulary is taken instead.

    Raises:
        DataError: the counts are of a lower order, or of different tokenizers or boundaries.
        UsageError: a vocabulary that does not grow is to be limited.
    """
    _require_alike(parts, order, like)
    first = parts[0].encoder
    vocabulary = like.vocabulary if like else _vocabulary(parts, chosen)
    encoder = TextEncoder(first.tokenizer, vocabulary, first.boundaries)
    seams: list[LongestNgrams] = []
    renumbered: list[tuple[LongestNgrams, IntArray]] = []
    tail: IntArray = np.zeros(0, np.int32)
    end = tail
    for part in each("adding", parts, "counts"):
        ids = vocabulary.ids(part.encoder.vocabulary.tokens)
        renumbered.append((part.longest, ids))
        # At the last words of the text so far, other n-grams begin now.
        before = np.concatenate((tail, end))
        following = np.concatenate((before, ids[part.head][: order - 1]))
        seams.append(LongestNgrams.at(following, len(before), order))
        seams.append(LongestNgrams.at(tail, len(tail), order, count=-1))
        if not first.boundaries.has_sequences:
            tail = np.concatenate((before, ids[part.tail]))
            tail = tail[len(tail) - min(order - 1, len(tail)) :]
        end = vocabulary.ids(part.end)
    return JoinedCounts(encoder, order, renumbered, LongestNgrams.sum(seams))


def _require_alike(parts: Sequence[TextCounts], order: int, like: TextEncoder | None) -> None:
    for part in parts:
        if part.longest.order < order:
            raise DataError(
                f"{part.name} has n-grams of at most {part.longest.order} words, and {{order}} is "
                f"{order}; count the text anew, or choose a lower order",
                "order",
                value=order,
            )
    first = parts[0]
    others = [(part.name, part.encoder) for part in parts[1:]]
    for name, encoder in others + ([("the model", like)] if like else []):
        if encoder.describe() != first.encoder.describe():
            raise DataError(
                f"{first.name} and {name} read text differently ({_reading(first.encoder)}; "
                f"{_reading(encoder)}), so their counts cannot be added; count one of the texts "
                "{like} the other",
                "like",
            )


def _reading(encoder: TextEncoder) -> str:
    return f"{encoder.tokenizer.title}, {encoder.boundaries}"


def _vocabulary(parts: Sequence[TextCounts], chosen: dict[str, Any]) -> Vocabulary:
    """The vocabulary of the whole text."""
    first = parts[0].encoder
    fixed = [part for part in parts if not part.grows]
    limits = [name for name in _OF_VOCABULARY if name in chosen]
    if fixed and limits:
        raise UsageError(
            f"{fixed[0].name} has a vocabulary that was chosen already; leave out {{{limits[0]}}}",
            limits[0],
        )
    if fixed and all(part.encoder.vocabulary == first.vocabulary for part in parts):
        return first.vocabulary
    if fixed:
        warnings.warn(
            f"the vocabulary of {fixed[0].name} was chosen: words that others know, and it does "
            "not, were counted there as <unk>",
            TextWarning,
            stacklevel=2,
        )
    frequency: Counter[str] = Counter()
    for part in parts:
        tokens = part.encoder.vocabulary.tokens
        unigrams = part.longest.unigrams(len(tokens)).tolist()
        frequency.update(dict(zip(tokens, unigrams, strict=True)))
    for before, _ in pairwise(parts):
        frequency.update(before.end)
    limited = {name: chosen[name] for name in limits}
    return vocabulary_of(
        first.tokenizer, +frequency, TextSettings(boundaries=first.boundaries, **limited)
    )
