"""The log-probability of every line or document of a text: each alone, or in its context."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from lmsuite.text.encoding import TextEncoder
from lmsuite.text.vocabulary import BOS, UNK
from lmsuite.types import IntArray


class Scorer(Protocol):
    """The part of a `LanguageModel` that is needed to score lines."""

    encoder: TextEncoder
    remembers_text: bool

    def score(self, ids: IntArray) -> NDArray[np.float64]:
        """As `LanguageModel.score`."""


class Sentence(NamedTuple):
    """One line of a text, scored; of a text of documents, one document."""

    text: str
    """The line as it was given, without its end."""
    end: str
    """What ends the line or document; empty if the text ends without it."""
    ids: IntArray
    """(M,) the predicted tokens, with the token of the line's end."""
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


def score_sentences(
    model: Scorer, text: str, *, in_context: bool = False, name: str = "the text"
) -> Iterator[Sentence]:
    """Every line of a text, with its log-probability; of a text of documents, every document.

    Args:
        model: any model.
        text: the lines; each ends with a newline, which the last may lack. The same holds for
            documents and their ends.
        in_context: the lines before a line are its context, as in `evaluate`. Otherwise each line
            is scored as if it were the only line of a text.
        name: how error messages name the text.

    Raises:
        DataError: the text holds a reserved token.
    """
    ids, lengths = model.encoder.encode_lines(text, name=name)
    predicted = ids[ids != BOS]
    if in_context:
        log_probs = model.score(_running(model.encoder, ids))
    elif model.remembers_text:
        log_probs = _scores_alone(model, ids)
    else:
        log_probs = model.score(ids)
    stops = np.cumsum(lengths).tolist()
    # White space after the last line end has no tokens: it is not a line.
    unit_end = model.encoder.boundaries.end
    for line, stop, length in zip(_units(text, unit_end), stops, lengths.tolist(), strict=False):
        tokens = slice(stop - length, stop)
        end = unit_end if line.endswith(unit_end) else ""
        yield Sentence(line.removesuffix(unit_end), end, predicted[tokens], log_probs[tokens])


def _running(encoder: TextEncoder, ids: IntArray) -> IntArray:
    """The ids of the running text: a stream has no ``<s>`` between its lines."""
    return ids if encoder.boundaries.has_sequences else ids[ids != BOS]


def _scores_alone(model: Scorer, ids: IntArray) -> NDArray[np.float64]:
    """Line by line, for a model that keeps a memory of the text beyond ``<s>``."""
    starts = np.flatnonzero(ids == BOS)
    scores = [model.score(line) for line in np.split(ids, starts[1:])]
    return np.concatenate(scores) if scores else np.zeros(0)


def _units(text: str, unit_end: str) -> Iterator[str]:
    """The lines or documents, each with its end."""
    begin = 0
    while begin < len(text):
        end = text.find(unit_end, begin) + 1 or len(text)
        yield text[begin:end]
        begin = end
