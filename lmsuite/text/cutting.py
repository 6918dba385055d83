"""A text cut into tokens, and the tokens into sequences: what every encoding is made of."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from lmsuite.errors import DataError
from lmsuite.text.settings import Boundaries
from lmsuite.text.tokenizer import Tokenizer
from lmsuite.text.vocabulary import BOS, EOS, SPECIALS
from lmsuite.types import IntArray

END = -1
"""Stands for the end of a sequence among ids, until it is known what becomes of it."""


def in_lines(text: str, boundaries: Boundaries) -> str:
    """The text with line ends for the ends of documents: so every tokenizer sees an end there."""
    return text.replace(boundaries.end, "\n") if boundaries is Boundaries.DOCUMENTS else text


def end_type(tokenizer: Tokenizer, boundaries: Boundaries) -> str:
    """What stands among the types of a text for the end of a sequence; empty if there is none."""
    if boundaries is Boundaries.DOCUMENTS:
        return boundaries.end
    return tokenizer.newline if boundaries.has_sequences else ""


def distinct(tokenizer: Tokenizer, boundaries: Boundaries, text: str) -> tuple[list[str], IntArray]:
    """As `Tokenizer.distinct`, but line ends and ends of documents are two types.

    Either is a token of its own to the tokenizer, so they come in the order of the text.
    """
    types, index = tokenizer.distinct(in_lines(text, boundaries))
    if boundaries is Boundaries.DOCUMENTS and boundaries.end in text:
        (places,) = np.nonzero(index == types.index(tokenizer.newline))
        is_end = [found == boundaries.end for found in _ENDS.findall(text)]
        index[places[is_end]] = len(types)
        types.append(boundaries.end)
    return types, index


_ENDS = re.compile(f"[\n{Boundaries.DOCUMENTS.end}]")


def in_sequences(ids: IntArray, *, is_open: bool = False) -> IntArray:
    """The ids (N,), with ``</s>`` for each `END`, and ``<s>`` before each sequence.

    Args:
        ids: a part of a text.
        is_open: whether it begins within a sequence.
    """
    ends = np.flatnonzero(ids == END)
    starts = np.concatenate(([] if is_open else [0], ends + 1)).astype(np.intp)
    if not ids.size or (starts.size and starts[-1] == ids.size):
        starts = starts[:-1]  # no further sequence begins here
    # Where each <s> comes to stand: this is np.insert, at a third of its cost.
    starts += np.arange(len(starts))
    sequences = np.full(len(ids) + len(starts), BOS, np.int32)
    is_token = np.ones(len(sequences), bool)
    is_token[starts] = False
    sequences[is_token] = np.where(ids == END, np.int32(EOS), ids)
    return sequences


def refuse_reserved(
    types: Sequence[str],
    tokenizer: Tokenizer,
    boundaries: Boundaries,
    text: str,
    name: str,
    before: int = 0,
) -> None:
    """Refuse a text, called `name`, if a reserved token is among its types.

    Raises:
        DataError: it is; the message counts the lines or documents, with so many `before` the text.
    """
    reserved = [token for token in (SPECIALS[BOS], SPECIALS[EOS]) if token in types]
    if not reserved:
        return
    for number, unit in enumerate(text.split(boundaries.end), start=before + 1):
        for token in tokenizer.tokens(unit):
            if token in reserved:
                raise DataError(
                    f"{name}, {boundaries.unit} {number}: the token {token} is reserved for the "
                    f"{'beginning' if token == SPECIALS[BOS] else 'end'} of a {boundaries.unit}; "
                    "remove or rename it"
                )
