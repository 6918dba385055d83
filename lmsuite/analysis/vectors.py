"""The vectors of a text's tokens in their context: the hidden vectors of every layer of a network.

Layer 0 is the embedding, which does not depend on the context. Layer l of a token is the vector
that hidden layer l has when it has read the token, after all those before it; a backward model has
read those after it. The two side by side are the vectors of Peters et al. (2018), "Deep
contextualized word representations" (ELMo).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lmsuite.errors import DataError, LmError, UsageError
from lmsuite.models.interface import LanguageModel
from lmsuite.text.vocabulary import BOS, EOS
from lmsuite.types import FloatArray


@dataclass(frozen=True)
class Vectors:
    """A vector in each of some layers, for each token of a text, or each line."""

    texts: tuple[str, ...]
    """(R,) the text of each token or line."""
    lines: NDArray[np.int64]
    """(R,) the line (document), from 1."""
    starts: NDArray[np.int64]
    """(R,) where it begins in its line, in characters."""
    ends: NDArray[np.int64]
    """(R,) where it ends."""
    layers: dict[int, FloatArray]
    """By its number, (R, D) of each layer."""
    whole: tuple[str, ...]
    """The text of every line."""

    def only(self, layers: Sequence[int]) -> Vectors:
        """Those of some layers; -1 is the last layer.

        Raises:
            UsageError: there is no such layer.
        """
        last = max(self.layers)
        chosen = {}
        for number in layers:
            index = number if number >= 0 else last + 1 + number
            if index not in self.layers:
                raise UsageError(
                    f"{{layer}} {number}: there are the layers 0 (the embedding) to {last}",
                    "layer",
                    value=number,
                )
            chosen[index] = self.layers[index]
        return replace(self, layers=chosen)

    def of_lines(self) -> Vectors:
        """The mean over the tokens of each line but its end; NaN in a line without tokens."""
        count = len(self.whole)
        counted = np.array([text != "\n" for text in self.texts], bool)
        rows = self.lines[counted] - 1
        tokens = np.bincount(rows, minlength=count)[:, None]
        layers = {}
        for number, vectors in self.layers.items():
            sums = np.zeros((count, vectors.shape[1]))
            np.add.at(sums, rows, vectors[counted])
            with np.errstate(invalid="ignore"):
                layers[number] = (sums / tokens).astype(vectors.dtype)
        starts, ends = np.zeros(count, np.int64), np.array(list(map(len, self.whole)), np.int64)
        return Vectors(self.whole, np.arange(1, count + 1), starts, ends, layers, self.whole)


def vectors(model: LanguageModel, text: str, *, name: str = "the model") -> Vectors:
    """The vectors of every token of a text but ``</s>``, which is read as it stands.

    Args:
        model: a network.
        text: the text.
        name: how messages name the model.

    Raises:
        LmError: the model has no vectors.
        DataError: the text has no tokens, or a reserved one.
    """
    ids = model.encoder.encode(text)
    if not len(ids):
        raise DataError("no vectors: the text has no tokens")
    layers = model.layers(ids)
    if layers is None:
        raise LmError(
            f"{name} is of kind {model.kind}, which has no vectors of tokens; networks do"
        )
    order = model.encoder.reading_order(ids)
    kept = ids[ids != BOS][order] != EOS
    texts, lines, starts, ends, line = [], [], [], [], 1
    boundaries = model.encoder.boundaries
    for token in model.encoder.located(text):
        if token.id != EOS or not boundaries.has_sequences:
            texts.append(token.token)
            lines.append(line)
            starts.append(token.start)
            ends.append(token.end)
        if token.id == EOS or (not boundaries.has_sequences and token.token == "\n"):
            line += 1
    return Vectors(
        tuple(texts),
        np.array(lines, np.int64),
        np.array(starts, np.int64),
        np.array(ends, np.int64),
        {number: layer[ids != BOS][order][kept] for number, layer in enumerate(layers)},
        tuple(text.removesuffix(boundaries.end).split(boundaries.end)),
    )


def side_by_side(first: Vectors, second: Vectors) -> Vectors:
    """The vectors of two models for the same tokens, one after the other in every layer.

    Raises:
        DataError: the tokens differ, or the numbers of layers.
    """
    if first.texts != second.texts or not np.array_equal(first.lines, second.lines):
        raise DataError(
            "the two models cut the text into different tokens: train one with {like} the other, "
            "or with the same {tokenizer}",
            *("like", "tokenizer"),
        )
    if first.layers.keys() != second.layers.keys():
        raise DataError(
            f"one model has {len(first.layers) - 1} hidden layers, and the other "
            f"{len(second.layers) - 1}: choose one with {{layer}} that both have",
            "layer",
        )
    layers = {
        number: np.concatenate([vectors, second.layers[number]], axis=1)
        for number, vectors in first.layers.items()
    }
    return replace(first, layers=layers)
