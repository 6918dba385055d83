"""Is a sample new, or copied from the training text?

There are two measures. One is the longest run of tokens that the sample and the text share. The
other is, for several n, the share of the sample's n-grams that the text does not have. Neither a
run nor an n-gram crosses a line start ``<s>``.

The method follows only the windows that sample *and* text have. Each window of the sample has a
*rank*; equal windows have equal ranks. A window of the text has the rank of an equal window of the
sample, or -1 if there is none. From the ranks of adjacent windows of lengths a and b follow ranks
for windows of length a + b (prefix doubling, Karp, Miller and Rosenberg 1972). So the length of the
longest run is found in steps that double and then halve: O((N + M) log run) array operations for a
text of N tokens and a sample of M.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lmsuite.text.vocabulary import BOS
from lmsuite.types import IntArray

ORDERS = range(3, 9)

_Ranks = NDArray[np.int64]


@dataclass(frozen=True)
class Novelty:
    """How much of the sample is new, and what is copied."""

    tokens: int  # of the sample
    copied: IntArray  # ids of the longest run that the text has too; of equal ones, the first
    novel: dict[int, float | None]  # order -> share of new n-grams; None if the sample is too short


@dataclass(frozen=True)
class _Windows:
    """All windows of one length that text and sample have in common.

    Entry i is the rank of the window that begins at token i. It is -1 if that window crosses a line
    start, reaches beyond the end, or is only in the sample or only in the text.
    """

    length: int
    text: _Ranks  # (N,)
    sample: _Ranks  # (M,)


def novelty(samples: Sequence[IntArray], text: IntArray) -> Novelty:
    """Compare `samples`, the ids of each, with `text`, ids (N,) of the same encoder."""
    # A line start before every sample: no run crosses from one sample to the next.
    joined = np.concatenate([np.zeros(0, np.int32), *(np.append(BOS, ids) for ids in samples)])
    single = _single(joined.astype(np.int64), text.astype(np.int64))
    begins = joined != BOS
    windows, novel = single, {}
    for order in range(2, max(ORDERS) + 1):
        windows = _longer(windows, single)
        if order in ORDERS:
            novel[order] = _share_novel(windows, begins)
    start, length = _longest_run(single)
    return Novelty(int(begins.sum()), joined[start : start + length].astype(np.int32), novel)


def _single(sample: _Ranks, text: _Ranks) -> _Windows:
    """Windows of one token."""
    sample = np.where(sample == BOS, -1, sample)
    return _shared(1, text, sample)


def _longer(first: _Windows, second: _Windows) -> _Windows:
    """Windows of a + b tokens: a window of `first` (a tokens), then one of `second` (b tokens)."""
    size = 1 + max(second.text.max(initial=-1), second.sample.max(initial=-1))

    def side_by_side(left: _Ranks, right: _Ranks) -> _Ranks:
        follows = np.full(len(left), -1, np.int64)
        follows[: max(len(left) - first.length, 0)] = right[first.length :]
        return np.where((left < 0) | (follows < 0), -1, left * size + follows)

    return _shared(
        first.length + second.length,
        side_by_side(first.text, second.text),
        side_by_side(first.sample, second.sample),
    )


def _shared(length: int, text: _Ranks, sample: _Ranks) -> _Windows:
    """The windows that text and sample share, ranked among the sample's.

    Equal windows are given by equal numbers, of any size; -1 stands for no window.
    """
    numbers = np.unique(sample[sample >= 0])
    text, sample = _ranked(text, numbers), _ranked(sample, numbers)
    in_text = np.zeros(len(numbers) + 1, bool)  # the last entry is for -1
    in_text[text] = True
    in_text[-1] = False
    return _Windows(length, text, np.where(in_text[sample], sample, -1))


def _ranked(windows: _Ranks, numbers: _Ranks) -> _Ranks:
    """The index of each window's number in the sorted `numbers`; -1 if it is not there."""
    ranks = np.full(len(windows), -1, np.int64)
    if not len(numbers):
        return ranks
    known = np.flatnonzero(windows >= 0)
    nearest = np.searchsorted(numbers, windows[known]).clip(max=len(numbers) - 1)
    found = numbers[nearest] == windows[known]
    ranks[known[found]] = nearest[found]
    return ranks


def _share_novel(windows: _Windows, begins: NDArray[np.bool_]) -> float | None:
    """The share of the sample's windows that the text does not have."""
    starts = np.concatenate(([0], np.cumsum(~begins)))  # number of line starts before each token
    whole = np.flatnonzero(starts[windows.length :] == starts[: -windows.length])
    return float((windows.sample[whole] < 0).mean()) if len(whole) else None


def _longest_run(single: _Windows) -> tuple[int, int]:
    """The start of the longest shared window in the sample, and its length."""
    powers = [single]
    while (powers[-1].sample >= 0).any():
        powers.append(_longer(powers[-1], powers[-1]))
    longest = None
    for power in reversed(powers[:-1]):
        tried = power if longest is None else _longer(longest, power)
        if (tried.sample >= 0).any():
            longest = tried
    if longest is None:
        return 0, 0
    return int(np.argmax(longest.sample >= 0)), longest.length
