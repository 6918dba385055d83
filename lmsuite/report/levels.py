"""The background of a token on a page: the more it surprised, the warmer."""

from __future__ import annotations

from bisect import bisect_right

LEVELS = (0.5, 1.0, 2.0, 4.0, 6.0, 9.0, 12.0)
"""The surprisal in bits at which each background, .h1 to .h7 in the style of pages, begins."""


def level(surprisal: float) -> int:
    """The number of a token's background, 0 to 7, from its surprisal in bits."""
    return bisect_right(LEVELS, surprisal)
