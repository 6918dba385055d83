"""Which line of its text each token belongs to: where models of different tokens meet."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lmsuite.text.encoding import Boundaries, TextEncoder
from lmsuite.text.vocabulary import BOS
from lmsuite.types import IntArray


def lines_of_tokens(encoder: TextEncoder, text: str, ids: IntArray) -> NDArray[np.int64]:
    """The line (M,), from 0, in which each predicted token of the text ends.

    Args:
        encoder: of the ids.
        text: the text.
        ids: (N,), ``encoder.encode(text)``; all but ``<s>`` are predicted.

    A line's own end, a newline or ``</s>``, belongs to it.
    """
    if encoder.boundaries is Boundaries.LINES:
        begun: NDArray[np.int64] = (np.cumsum(ids == BOS) - 1)[ids != BOS]
        return begun
    types, index = encoder.tokenizer.distinct(text)
    newline = encoder.tokenizer.newline
    ends_in = np.array([token.count(newline) for token in types], np.int64)
    closes = np.array([token.endswith(newline) for token in types], np.int64)
    read: NDArray[np.int64] = np.cumsum(ends_in[index]) - closes[index]
    return read
