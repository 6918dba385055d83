"""The tokens nearest to a token in a model's embedding: the model treats them alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lmsuite.errors import DataError, UsageError
from lmsuite.models.interface import LanguageModel
from lmsuite.models.mixture import Mixture
from lmsuite.text.vocabulary import UNK


@dataclass(frozen=True)
class Neighbour:
    """A token, and how near it is to the given token."""

    text: str
    id: int
    cosine: float  # of the angle between the two vectors: 1 the same direction, 0 unrelated


def neighbours(model: LanguageModel, token: str, count: int, *, name: str) -> list[Neighbour]:
    """The `count` tokens nearest to `token`, by falling cosine, ties by id.

    Args:
        model: a model that has an embedding.
        token: a text that is one token for the model, and known to it.
        count: how many; impossible tokens such as ``<s>`` are left out.
        name: how messages name the model.

    Raises:
        UsageError: the model has no embedding.
        DataError: the text is not one known token.
    """
    vectors = model.embedding()
    if vectors is None:
        raise UsageError(_without_embedding(model, name))
    wanted = _id(model, token, name)
    lengths = np.linalg.norm(vectors, axis=1)  # (V,)
    products = vectors @ vectors[wanted]  # (V,)
    cosines = products / np.maximum(lengths * lengths[wanted], np.finfo(np.float32).tiny)
    cosines[model.encoder.impossible] = -np.inf
    cosines[wanted] = -np.inf
    ranked = np.argsort(-cosines, kind="stable")[:count].tolist()
    return [
        Neighbour(model.encoder.token_text(other), other, float(cosines[other]))
        for other in ranked
        if cosines[other] > -np.inf
    ]


def _without_embedding(model: LanguageModel, name: str) -> str:
    if isinstance(model, Mixture):
        having = [
            n for n, m in zip(model.names, model.members, strict=True) if m.embedding() is not None
        ]
        if having:
            return f"{name} is a mixture and has no embedding of its own; ask {' or '.join(having)}"
    return (
        f"{name} ({model.kind}) has no embedding: only feed-forward and recurrent networks learn "
        "vectors of tokens (lm train ffnn, lm train rnn)"
    )


def _id(model: LanguageModel, token: str, name: str) -> int:
    ids = model.encoder.encode_prompt(token).tolist()
    if len(ids) != 1:
        pieces = " ".join(map(model.encoder.token_text, ids))
        what = f"is {len(ids)} tokens: {pieces}" if ids else "holds no token"
        raise DataError(f"for {name} {token!r} {what}; give one token")
    if ids[0] == UNK and token != model.encoder.token_text(UNK):
        raise DataError(f"{name} does not know {token!r}; lm info shows what its tokens are")
    return int(ids[0])
