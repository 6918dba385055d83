"""The most probable tokens of a distribution, to be shown beside the one that came."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lmsuite.types import FloatArray


def most_probable(log_probs: FloatArray, count: int) -> tuple[NDArray[np.intp], FloatArray]:
    """The `count` most probable ids (R, K) of each row (R, V), and their log-probabilities.

    They fall in each row; of equals, the smaller id comes first. K is at most V.
    """
    if count == 1:
        ids = log_probs.argmax(axis=1)[:, None]
        return ids, np.take_along_axis(log_probs, ids, axis=1)
    count = min(count, log_probs.shape[1])
    least = -np.partition(-log_probs, count - 1, axis=1)[:, count - 1 : count]
    ids = np.empty((len(log_probs), count), np.intp)
    for row, (own, border) in enumerate(zip(log_probs, least, strict=True)):
        (candidates,) = np.nonzero(own >= border)
        ids[row] = candidates[np.argsort(-own[candidates], kind="stable")][:count]
    return ids, np.take_along_axis(log_probs, ids, axis=1)
