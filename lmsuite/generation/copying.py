"""Never more than so many tokens in a row from a text."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmsuite.errors import UsageError
from lmsuite.generation.conditions import without
from lmsuite.text.vocabulary import BOS
from lmsuite.types import IntArray

_FACTOR = np.uint64(0x9E3779B97F4A7C15)


class MaxCopy:
    """A condition: no run of more than `most` tokens is also in a text, the prompt included.

    The runs of `most` tokens of the text are sorted by a hash. Those with the hash of the last
    tokens drawn are compared, and what follows them in the text is not drawn.
    """

    def __init__(self, most: int, text: IntArray) -> None:
        """The condition of a text with nothing before it.

        Args:
            most: the longest run.
            text: the ids (N,) of the text, as from `TextEncoder.encode`.

        Raises:
            UsageError: `most` is below 1.
        """
        if most < 1:
            raise UsageError(f"{{max_copy}} must be at least 1, not {most}", "max_copy", value=most)
        self._most, self._text = most, np.asarray(text)
        runs = max(0, len(text) - most)  # that another token follows
        hashes = _hashes(self._text, runs, most)
        self._order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[self._order]
        self._last: IntArray = np.empty(0, np.int32)

    def apply(self, log_probs: NDArray[Any]) -> NDArray[Any]:
        if len(self._last) < self._most:
            return log_probs
        [key] = _hashes(self._last, 1, self._most)
        begin, end = (int(self._hashes.searchsorted(key, side)) for side in ("left", "right"))
        places = self._order[begin:end]
        for back in range(self._most):
            places = places[self._text[places + back] == self._last[back]]
        following = np.unique(self._text[places + self._most])
        following = following[following != BOS]
        return without(log_probs, following) if len(following) else log_probs

    def push(self, token: int) -> None:
        # A line start ends a run; it is read after each </s>, and never drawn.
        self._last = np.append(self._last, np.int32(token))[-self._most :]


def _hashes(ids: IntArray, runs: int, length: int) -> NDArray[np.uint64]:
    """A hash of the `length` ids from each of the first `runs` places."""
    total = np.zeros(runs, np.uint64)
    for back in range(length):
        total = (total + ids[back : back + runs].astype(np.uint64) + np.uint64(1)) * _FACTOR
    return total
