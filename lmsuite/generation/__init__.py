"""Text from a model, one token after another.

The steps, a file each: from a distribution to a token (`filters`), from ids to the characters that
are certain (`writing`), from both to texts side by side (`batch`). Three ways to have the texts:
whole or piece by piece as the caller asks for them (`texts`), or made by a thread for many readers
at once (`batcher`).
"""

from __future__ import annotations

from lmsuite.generation.filters import Filter, SamplingSettings, draw_ids, filtered_probs
from lmsuite.generation.texts import Piece, Sample, sample, stream

__all__ = [
    "Filter",
    "Piece",
    "Sample",
    "SamplingSettings",
    "draw_ids",
    "filtered_probs",
    "sample",
    "stream",
]
