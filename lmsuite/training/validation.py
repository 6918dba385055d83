"""The validation that steers a training: quick, of pieces that can be scored side by side."""

from __future__ import annotations

import numpy as np

from lmsuite.text.vocabulary import BOS
from lmsuite.training.batches import even_cuts
from lmsuite.types import IntArray

PIECE = 2000  # tokens; long enough that a piece's cold start hardly counts
MOST = 200_000  # tokens


def validation_pieces(ids: IntArray, *, lines: bool, most: int = MOST) -> list[IntArray]:
    """The text (N,) as pieces that each begin with ``<s>``: its lines, or stretches of a stream.

    Of a text longer than `most` tokens evenly spaced pieces are taken, so that validating stays
    cheap beside training.
    """
    if lines:
        pieces = np.split(ids, np.flatnonzero(ids == BOS)[1:])
    else:
        cuts = even_cuts(ids.size, min(PIECE, most))
        pieces = [np.insert(piece, 0, BOS) for piece in np.split(ids, cuts[1:-1])]
    pieces = [piece for piece in pieces if piece.size > 1]
    share = max(1.0, ids.size / most)
    return [pieces[int(i * share)] for i in range(max(1, int(len(pieces) / share)))]
