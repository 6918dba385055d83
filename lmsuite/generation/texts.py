"""Texts that a model writes: whole, or piece by piece when the caller asks.

The seed of a call makes a random generator. Text k draws from the k-th child of this generator
(``numpy.random.Generator.spawn``), one number a token. So text k depends only on the seed and on k,
not on the other texts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np

from lmsuite.errors import LmError, UsageError
from lmsuite.generation.batch import Batch, Continuation
from lmsuite.generation.batch import Piece as Piece
from lmsuite.models.interface import LanguageModel
from lmsuite.sampling import SamplingSettings
from lmsuite.types import IntArray

Seed: TypeAlias = int | np.random.Generator | None
"""The same integer gives the same text. With a generator, each call gives the next texts. None
gives a new text at every call."""


@dataclass
class Sample:
    """One text drawn, without the prompt."""

    text: str = ""
    ids: list[int] = field(default_factory=list)
    """The ids of its tokens, including those of the stop text at which it stopped."""
    log_probs: list[float] = field(default_factory=list)
    """The log-probability of each token in nats, the model's own, before any filter."""


def sample(
    model: LanguageModel,
    prompt: str | IntArray = "",
    settings: SamplingSettings = SamplingSettings(),
    seed: Seed = None,
    *,
    samples: int = 1,
    **changes: Any,
) -> list[Sample]:
    """`samples` texts that continue a prompt, drawn side by side.

    After ``</s>`` a text begins anew in the model's start state, so a model of lines writes line
    after line. A text of a model of documents is one document, and ends there.

    Args:
        model: of any family.
        prompt: the beginning, as text or as ids (N,).
        settings: how tokens are drawn, and when to stop.
        seed: decides the texts; see `Seed`.
        samples: the number of texts.
        changes: settings by name, such as ``temperature=0.8, max_tokens=40``.

    Raises:
        UsageError: a setting is out of bounds, or `samples` is below 1.
        DataError: the prompt holds a reserved token, or an id out of range.
        LmError: the model gives no token any probability.
    """
    if samples < 1:
        raise UsageError(f"{samples} samples: at least 1 is needed")
    settings = replace(settings, **changes)
    texts = [Sample() for _ in range(samples)]
    for pieces in _side_by_side(model, prompt_ids(model, prompt), settings, seed, samples):
        for text, piece in zip(texts, pieces, strict=True):
            if piece is not None:
                text.text += piece.text
                text.ids.append(piece.id)
                text.log_probs.append(piece.log_prob)
    return texts


def stream(
    model: LanguageModel,
    prompt: str | IntArray = "",
    settings: SamplingSettings = SamplingSettings(),
    seed: Seed = None,
    **changes: Any,
) -> Iterator[Piece]:
    """One text that continues a prompt, one `Piece` a token, drawn when the caller asks for it.

    Joined, the texts of the pieces are the text that `sample` gives with the same seed. A piece
    holds only characters that are certain: a character waits until all its bytes are there, and
    characters that may begin a stop text wait until it is clear that they do not.

    The arguments and the errors are those of `sample`.
    """
    settings = replace(settings, **changes)
    ids = prompt_ids(model, prompt)
    return (piece for (piece,) in _side_by_side(model, ids, settings, seed, 1) if piece)


def prompt_ids(model: LanguageModel, prompt: str | IntArray) -> IntArray:
    """The ids (N,) of a prompt. Of a long text, only the end that the model needs is encoded.

    Raises:
        UsageError, DataError: the prompt is neither text nor ids, or holds a reserved token.
    """
    if isinstance(prompt, str):
        return model.encoder.encode_prompt(prompt, last=model.reach)
    return model.checked(prompt)


def _side_by_side(
    model: LanguageModel, prompt: IntArray, settings: SamplingSettings, seed: Seed, samples: int
) -> Iterator[list[Piece | None]]:
    """The next pieces of all texts, until the last text ends; None for texts that have ended."""
    texts = [
        Continuation(model.encoder, prompt, settings, rng)
        for rng in np.random.default_rng(seed).spawn(samples)
    ]
    if not settings.max_tokens:
        return
    batch, going = Batch(model), list(range(samples))
    batch.join(texts, model.select(model.read(model.start(1), prompt), np.zeros(samples, np.intp)))
    while True:
        pieces: list[Piece | None] = [None] * samples
        staying = []
        for row, piece in enumerate(batch.draw()):
            if isinstance(piece, LmError):
                raise piece
            pieces[going[row]] = piece
            if piece.finish_reason is None:
                staying.append(row)
        yield pieces
        if not staying:
            return
        batch.read(staying)
        going = [going[row] for row in staying]
