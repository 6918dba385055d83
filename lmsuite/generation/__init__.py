"""Text from a model, one token after another.

Each step has a file: from a distribution to a token (`filters`, and `drawing`, which is quicker for
one text), from ids to the characters that are certain (`writing`), and from both to several texts
side by side (`batch`). What a text may become depends on the text so far: its `conditions`, a limit
on `copying`, the `phrases` that it must have, for which a `lookahead` is made. A `beam` gives the
most probable texts. There are three ways to get texts: whole, or piece by piece when the caller
asks (both in `texts`), or from a thread that serves many readers at once (`batcher`).
"""

from __future__ import annotations

from lmsuite.generation.filters import Filter, SamplingSettings, draw_ids, filtered_probs
from lmsuite.generation.texts import Piece, Sample, sample, sample_each, stream

__all__ = [
    "Filter",
    "Piece",
    "Sample",
    "SamplingSettings",
    "draw_ids",
    "filtered_probs",
    "sample",
    "sample_each",
    "stream",
]
