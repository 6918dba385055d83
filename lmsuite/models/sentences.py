"""The log-probability of every line or document of a text: each alone, or in its context."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lmsuite.errors import DataError
from lmsuite.files.stored_text import whole_units
from lmsuite.text.cutting import distinct, refuse_reserved
from lmsuite.text.encoding import TextEncoder
from lmsuite.text.vocabulary import BOS, UNK
from lmsuite.types import IntArray

LineScorer: TypeAlias = Callable[[str, IntArray, IntArray], NDArray[np.float64]]
"""Scores the whole lines (documents) of a text, part by part. It is given a part, and the ids (N,)
and lengths (L,) that `TextEncoder.encode_lines` makes of it, and gives the log-probabilities (M,)
of its tokens."""


class Scorer(Protocol):
    """The part of a `LanguageModel` that is needed to score lines."""

    encoder: TextEncoder
    remembers_text: bool

    def score(self, ids: IntArray) -> NDArray[np.float64]:
        """As `LanguageModel.score`."""

    def line_scorer(self, *, in_context: bool) -> LineScorer:
        """As `LanguageModel.line_scorer`."""


class Sentence(NamedTuple):
    """One line of a text, scored; of a text of documents, one document."""

    text: str
    """The line as it was given, without its end."""
    end: str
    """What ends the line or document; empty if the text ends without it."""
    ids: IntArray
    """(M,) the predicted tokens from left to right, with the token of the line's end."""
    log_probs: NDArray[np.float64]
    """(M,) in nats."""

    @property
    def log_prob(self) -> float:
        """The log-probability of the whole line, in nats."""
        return float(self.log_probs.sum())

    @property
    def oov(self) -> int:
        """How many of the tokens the model does not know."""
        return int((self.ids == UNK).sum())

    def has_end(self, encoder: TextEncoder) -> bool:
        """Whether the last token is the line's end: ``</s>``, or the newline of a stream."""
        return encoder.boundaries.has_sequences or bool(self.end)

    def without_end(self, encoder: TextEncoder) -> Sentence:
        """The sentence without the token of its end, and its score."""
        size = len(self.ids) - self.has_end(encoder)
        return self._replace(ids=self.ids[:size], log_probs=self.log_probs[:size])


def score_sentences(
    model: Scorer, parts: Iterable[str], *, in_context: bool = False, name: str = "the text"
) -> Iterator[Sentence]:
    """Every line of a text, with its log-probability; of a text of documents, every document.

    Some lines are read and scored at a time, so that a text may be of any length.

    Args:
        model: any model.
        parts: the lines, cut anywhere; each ends with a newline, which the last may lack. The same
            holds for documents and their ends.
        in_context: the lines before a line are its context, as in `evaluate`. Otherwise each line
            is scored as if it were the only line of a text.
        name: how error messages name the text.

    Raises:
        DataError: the text holds a reserved token.
    """
    encoder, unit_end = model.encoder, model.encoder.boundaries.end
    if encoder.backward and in_context:  # the end comes first
        yield from _backward_in_context(model, "".join(parts), name)
        return
    score = model.line_scorer(in_context=in_context)
    for text, ids, lengths in encoded_units(encoder, parts, name):
        log_probs = score(text, ids, lengths)
        predicted = ids[ids != BOS]
        stops = np.cumsum(lengths).tolist()
        # White space after the last line end has no tokens: it is not a line.
        lines = zip(_units(text, unit_end), stops, lengths.tolist(), strict=False)
        for line, stop, length in lines:
            tokens = slice(stop - length, stop)
            end = unit_end if line.endswith(unit_end) else ""
            own, scores = predicted[tokens], log_probs[tokens]
            if encoder.backward:
                order = encoder.reading_order(own)
                own, scores = own[order], scores[order]
            yield Sentence(line.removesuffix(unit_end), end, own, scores)


def _backward_in_context(model: Scorer, text: str, name: str) -> Iterator[Sentence]:
    """The sentences of a text that is read from its end, each in the context of those after it."""
    encoder, unit_end = model.encoder, model.encoder.boundaries.end
    ids = encoder.encode(text, name=name)
    order = encoder.reading_order(ids)
    predicted, log_probs = ids[ids != BOS][order], model.score(ids)[order]
    _, lengths = encoder.encode_lines(text, name=name)
    stop = 0
    for line, length in zip(_units(text, unit_end), lengths.tolist(), strict=False):
        tokens, stop = slice(stop, stop + length), stop + length
        end = unit_end if line.endswith(unit_end) else ""
        yield Sentence(line.removesuffix(unit_end), end, predicted[tokens], log_probs[tokens])


def encoded_units(
    encoder: TextEncoder, parts: Iterable[str], name: str
) -> Iterator[tuple[str, IntArray, IntArray]]:
    """A text in parts of whole lines (documents), each with its `TextEncoder.encode_lines`.

    Args:
        encoder: the encoder.
        parts: the text, cut anywhere.
        name: how error messages name the text.

    Raises:
        DataError: the text holds a reserved token.
    """
    tokenizer, boundaries = encoder.tokenizer, encoder.boundaries
    before = 0  # lines
    for part in whole_units(parts, boundaries.end):
        try:
            ids, lengths = encoder.encode_lines(part, name=name)
        except DataError:  # it counts the lines of the part
            types, _ = distinct(tokenizer, boundaries, part)
            refuse_reserved(types, tokenizer, boundaries, part, name, before)
            raise
        yield part, ids, lengths
        before += part.count(boundaries.end)


def running(encoder: TextEncoder, ids: IntArray) -> IntArray:
    """The ids of the running text: a stream has no ``<s>`` between its lines."""
    return ids if encoder.boundaries.has_sequences else ids[ids != BOS]


def scores_alone(model: Scorer, ids: IntArray) -> NDArray[np.float64]:
    """The scores of lines, each as if it were alone."""
    if not model.remembers_text:
        return model.score(ids)
    starts = np.flatnonzero(ids == BOS)
    scores = [model.score(line) for line in np.split(ids, starts[1:])]
    return np.concatenate(scores) if scores else np.zeros(0)


def line_sums(log_probs: NDArray[np.float64], lengths: IntArray) -> NDArray[np.float64]:
    """The sums (L,) of the log-probabilities (M,) of the tokens of each line; 0 without tokens."""
    lines = np.repeat(np.arange(len(lengths)), lengths)
    return np.bincount(lines, log_probs, len(lengths)).astype(np.float64)


def _units(text: str, unit_end: str) -> Iterator[str]:
    """The lines or documents, each with its end."""
    begin = 0
    while begin < len(text):
        end = text.find(unit_end, begin) + 1 or len(text)
        yield text[begin:end]
        begin = end
