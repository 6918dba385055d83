"""Whether the end of a text stands for the rest, so that it may be held out for validation.

Two measures, both on samples of at most `_SAMPLE` characters:

* Lines are sorted if of those neighbours that differ, 19 in 20 come in the same order.
* The end is unlike the rest if it is much harder to predict from the rest than other parts of its
  size are. The measure is the cross-entropy of a bigram model of characters, 0.9 of the relative
  frequency and 0.1 of the unigram model, with the part's own counts left out. The end must exceed
  the second highest of the others by `_MARGIN`; one other part may be odd, as that where the change
  begins.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from lmsuite.files.stored_text import Text

_SAMPLE = 1 << 18
_WINDOWS = 64
_FEWEST_LINES = 20
_SORTED = 0.95
_FEWEST_HELD_OUT = 2000  # characters; the cross-entropy of fewer is chance
_FEWEST_PARTS = 4
_MOST_PARTS = 10
_MARGIN = 0.4  # bits a character


def why_unlike(training: Text, valid: Text) -> str | None:
    """Why `valid`, which followed `training` in a text, may mislead; None if nothing is odd."""
    if not training or not valid:
        return None
    share = len(valid) / (len(training) + len(valid))
    rest, end = _sample(training, int(_SAMPLE * (1 - share))), _sample(valid, int(_SAMPLE * share))
    if _is_sorted(rest):
        return "the lines come sorted, so the end may be unlike the rest"
    if len(end) < _FEWEST_HELD_OUT:
        return None
    last, *others = _cross_entropies(rest + end, len(end))
    if len(others) + 1 < _FEWEST_PARTS:
        return None
    usual = sorted(others)[-2]
    if last - usual < _MARGIN:
        return None
    return (
        f"the end is unlike the rest (by pairs of characters, {last:.1f} bits a character against "
        f"{usual:.1f} and less for other parts of its size)"
    )


def _sample(text: Text, size: int) -> str:
    """About so many characters from everywhere in the text, in whole lines if they are short."""
    if len(text) <= size:
        return str(text)
    width, step = size // _WINDOWS, len(text) // _WINDOWS
    windows = (str(text[start : start + width]) for start in range(0, step * _WINDOWS, step))
    return "".join(map(_whole_lines, windows))


def _whole_lines(window: str) -> str:
    first, last = window.find("\n") + 1, window.rfind("\n") + 1
    return window[first:last] if first < last else window


def _is_sorted(text: str) -> bool:
    lines = [line.casefold() for line in text.split("\n") if line and not line.isspace()]
    pairs = list(pairwise(lines))
    rising = sum(one < other for one, other in pairs)
    falling = sum(one > other for one, other in pairs)
    differing = rising + falling
    return differing >= _FEWEST_LINES and max(rising, falling) >= _SORTED * differing


def _cross_entropies(text: str, width: int) -> list[float]:
    """For the last `width` characters and the parts before, backwards: bits a character."""
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")  # (N,)
    types, character = np.unique(points, return_inverse=True)  # (V,), (N,)
    pairs, pair = np.unique(
        character[:-1].astype(np.int64) * len(types) + character[1:], return_inverse=True
    )  # (P,), (N - 1,)
    single = np.bincount(character[1:], minlength=len(types))  # (V,)
    before = np.bincount(character[:-1], minlength=len(types))  # (V,)
    double = np.bincount(pair, minlength=len(pairs))  # (P,)
    entropies = []
    for part in _parts_from_the_end(len(pair), width):
        one, next_one, both = character[:-1][part], character[1:][part], pair[part]
        rest = single - np.bincount(next_one, minlength=len(types))
        unigram = (rest[next_one] + 1.0) / (rest.sum() + len(types))
        history = (before - np.bincount(one, minlength=len(types)))[one]
        together = (double - np.bincount(both, minlength=len(pairs)))[both]
        bigram = together / np.maximum(history, 1)
        entropies.append(_mean_bits(0.9 * bigram + 0.1 * unigram))
    return entropies


def _mean_bits(probability: NDArray[np.float64]) -> float:
    return float(-np.log2(probability).mean())


def _parts_from_the_end(size: int, width: int) -> Iterator[slice]:
    for number in range(1, min(size // width, _MOST_PARTS) + 1):
        yield slice(size - number * width, size - (number - 1) * width)
