"""The counts of a text, and the counts of several texts that follow one another.

Texts may be counted one by one, each with a vocabulary of its own: n-grams are joined by their
words. Sequences (lines, documents) never cross the end of a text, so their counts are added. A
stream goes on, so n-grams across the joint are added, made of the last and the first words of the
two texts. Either way the result is what counting all texts as one gives.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from lmsuite.errors import DataError, TextWarning, UsageError
from lmsuite.files.stored_text import Text, blocks
from lmsuite.files.tensors import release_pages
from lmsuite.ngram.counting import NgramCounts
from lmsuite.ngram.longest import MOST_COUNT, NOTHING, LongestNgrams
from lmsuite.ngram.packing import Keys, Packing
from lmsuite.ngram.settings import MOST_ORDER
from lmsuite.progress import each
from lmsuite.text.encoding import TextEncoder, vocabulary_of
from lmsuite.text.settings import TextSettings
from lmsuite.text.vocabulary import BOS, EOS, SPECIALS, Vocabulary
from lmsuite.types import Array, IntArray

OF_VOCABULARY = ("vocab", "min_count", "max_vocab")
"""The settings of a text that limit its vocabulary, which then does not grow."""

_AT_ONCE = 1 << 20  # n-grams that are checked
_DTYPES = {"ngrams": np.int32, "count": np.int64, "head": np.int32, "tail": np.int32}


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

    def times(self, weight: int) -> Self:
        """The counts of this many copies of the text; n-grams from copy to copy are left out.

        Raises:
            UsageError: the weight is not above 0, or counts become too large.
        """
        if weight < 1 or int(self.longest.count.max(initial=0)) * weight >= MOST_COUNT:
            raise UsageError(
                f"{{weight}} must be a whole number of at least 1 with which counts stay below "
                f"{MOST_COUNT:g}, not {weight}; to give the first text more weight, begin with "
                "the other one",
                "weight",
                value=weight,
            )
        longest = LongestNgrams(self.longest.ngrams, self.longest.count * weight)
        return replace(self, longest=longest)

    def alone(self, order: int) -> JoinedCounts:
        """The same, as the counts of one text, of n-grams up to this order."""
        return JoinedCounts(
            name=self.name,
            encoder=self.encoder,
            grows=self.grows,
            order=order,
            parts=[(self.longest, np.arange(len(self.encoder.vocabulary), dtype=np.int32))],
            seams=LongestNgrams.sum([LongestNgrams.at(self.head[:0], 0, order)]),
            head=self.head[: order - 1],
            tail=self.tail[max(len(self.tail) - order + 1, 0) :],
            is_open=self.is_open,
        )

    def arrays(self) -> dict[str, Array]:
        """All that `from_arrays` needs besides the encoder and the two flags, by name."""
        return {
            "ngrams": self.longest.ngrams,
            "count": self.longest.count,
            "head": self.head.astype(np.int32),
            "tail": self.tail.astype(np.int32),
        }

    @classmethod
    def from_arrays(
        cls,
        name: str,
        encoder: TextEncoder,
        arrays: Mapping[str, Array],
        *,
        grows: bool,
        is_open: bool,
    ) -> Self:
        """The counts whose `arrays` these are; there may be other arrays among them.

        Raises:
            ValueError: they are no such arrays; the message says why.
        """
        _check(arrays, encoder)
        longest = LongestNgrams(arrays["ngrams"], arrays["count"])
        return cls(name, encoder, grows, longest, arrays["head"], arrays["tail"], is_open)

    @property
    def end(self) -> tuple[str, ...]:
        """The tokens that come after the text if another text follows."""
        if not self.is_open:
            return ()
        encoder = self.encoder
        return SPECIALS[1:] if encoder.boundaries.has_sequences else (encoder.tokenizer.newline,)


@dataclass(frozen=True, kw_only=True)
class JoinedCounts:
    """The counts of texts that follow one another; a `blocks.Source`, so they may stay on disk.

    Name, encoder, `grows`, `is_open`, head and tail are those of all texts together, as in
    `TextCounts`.
    """

    name: str
    encoder: TextEncoder
    grows: bool
    head: IntArray
    tail: IntArray
    is_open: bool
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
        return self.whole().longest.counts(self.encoder.vocabulary.tokens)

    def whole(self) -> TextCounts:
        """The counts of all texts as those of one, in memory."""
        longest = [part.shortened(self.order).renumbered(ids) for part, ids in self.parts]
        return TextCounts(
            *(self.name, self.encoder, self.grows, LongestNgrams.sum([*longest, self.seams])),
            head=self.head,
            tail=self.tail,
            is_open=self.is_open,
        )


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
    encoder = replace(first, vocabulary=vocabulary)
    seams: list[LongestNgrams] = []
    renumbered: list[tuple[LongestNgrams, IntArray]] = []
    head: IntArray = np.zeros(0, np.int32)
    tail, end = head, head
    for part in each("adding", parts, "counts"):
        ids = vocabulary.ids(part.encoder.vocabulary.tokens)
        renumbered.append((part.longest, ids))
        # At the last words of the text so far, other n-grams begin now.
        before = np.concatenate((tail, end))
        following = np.concatenate((before, ids[part.head][: order - 1]))
        seams.append(LongestNgrams.at(following, len(before), order))
        seams.append(LongestNgrams.at(tail, len(tail), order, count=-1))
        if not first.boundaries.has_sequences:
            # A head of fewer words is the whole text so far.
            head = np.concatenate((head, end, ids[part.head]))[: order - 1]
            tail = np.concatenate((before, ids[part.tail]))
            tail = tail[len(tail) - min(order - 1, len(tail)) :]
        end = vocabulary.ids(part.end)
    return JoinedCounts(
        name=", ".join(part.name for part in parts),
        encoder=encoder,
        grows=like is None
        and not chosen.keys() & set(OF_VOCABULARY)
        and all(part.grows for part in parts),
        order=order,
        parts=renumbered,
        seams=LongestNgrams.sum(seams),
        head=head,
        tail=tail,
        is_open=parts[-1].is_open,
    )


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
    limits = [name for name in OF_VOCABULARY if name in chosen]
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


def _check(arrays: Mapping[str, Array], encoder: TextEncoder) -> None:
    """Refuse arrays that are not those of `TextCounts`.

    Raises:
        ValueError: they are not; the message says why.
    """
    for name, dtype in _DTYPES.items():
        if name not in arrays or arrays[name].dtype != dtype:
            raise ValueError(f"its array {name!r} is missing or is not {np.dtype(dtype)}")
    ngrams, count = arrays["ngrams"], arrays["count"]
    if ngrams.ndim != 2 or not 1 <= ngrams.shape[1] <= MOST_ORDER:
        raise ValueError(f"its n-grams are {ngrams.shape}, not rows of 1 to {MOST_ORDER} words")
    if count.shape != ngrams.shape[:1]:
        raise ValueError("it has not one count above 0 for each n-gram")
    edges = (arrays["head"], arrays["tail"])
    if any(edge.ndim != 1 or len(edge) >= ngrams.shape[1] for edge in edges):
        raise ValueError("the ends of its text are longer than its n-grams")
    size, is_stream = len(encoder.vocabulary), not encoder.boundaries.has_sequences
    for edge in edges:
        _require_ids(edge, 0, size)
    for begin in range(0, len(count), _AT_ONCE):
        piece = slice(begin, begin + _AT_ONCE)
        _check_rows(ngrams[piece], count[piece], size, is_stream=is_stream)
        release_pages(ngrams)


def _check_rows(ngrams: Array, count: Array, size: int, *, is_stream: bool) -> None:
    if not ((count > 0) & (count < MOST_COUNT)).all():
        raise ValueError("it has not one count above 0 for each n-gram")
    _require_ids(ngrams[:, :1], 0, size)
    _require_ids(ngrams, NOTHING, size)
    before, after = ngrams[:, :-1], ngrams[:, 1:]
    is_end = (before == NOTHING) | (before == EOS)
    if (after == BOS).any() or (is_end & (after != NOTHING)).any():
        raise ValueError("an n-gram goes on after the end of a sequence")
    if is_stream and ((ngrams == BOS) | (ngrams == EOS)).any():
        raise ValueError("its text is a stream, but has <s> or </s>")


def _require_ids(ids: Array, least: int, size: int) -> None:
    if ids.size and not (least <= ids.min() and ids.max() < size):
        raise ValueError("an n-gram has a word outside the vocabulary")
