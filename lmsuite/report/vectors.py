"""A map of learned token vectors: their first two principal components."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lmsuite.errors import UsageError
from lmsuite.models.interface import LanguageModel
from lmsuite.text.vocabulary import SPECIALS


@dataclass(frozen=True)
class Place:
    """Where a token stands on the map."""

    label: str
    x: float
    y: float


@dataclass(frozen=True)
class VectorMap:
    """Tokens in the plane, the most frequent first."""

    model: str
    places: Sequence[Place]
    shares: tuple[float, float]  # of the tokens' variance that lies along x and along y


def vector_map(name: str, model: LanguageModel, tokens: int) -> VectorMap:
    """The map of the `tokens` most frequent tokens of `model`, special ones left out.

    The components are those of the tokens shown: rare tokens' vectors are mostly what they were
    initialised to. Signs are fixed, so that the same vectors always give the same map.

    Raises:
        UsageError: the model has no vectors, or too few tokens to spread over a plane.
    """
    table = model.embedding()
    if table is None:
        raise UsageError(
            f"{name} ({model.kind}) has no embedding: only ffnn and rnn learn vectors of tokens"
        )
    first = len(SPECIALS)  # ids go by falling frequency after these
    vectors = table[first : first + tokens].astype(np.float64)  # (N, E)
    if min(vectors.shape) < 2:
        raise UsageError(f"{name} has too few tokens or dimensions for a map")
    centred = vectors - vectors.mean(axis=0)
    left, strengths, _ = np.linalg.svd(centred, full_matrices=False)
    plane = left[:, :2] * strengths[:2]  # (N, 2)
    plane *= np.where(plane[np.abs(plane).argmax(axis=0), [0, 1]] < 0, -1.0, 1.0)
    variances = strengths**2 / max(float((strengths**2).sum()), np.finfo(np.float64).tiny)
    places = [
        Place(model.encoder.token_text(first + at), float(x), float(y))
        for at, (x, y) in enumerate(plane)
    ]
    return VectorMap(name, places, (float(variances[0]), float(variances[1])))
