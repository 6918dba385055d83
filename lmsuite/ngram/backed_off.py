"""A distribution over the next word as a back-off table has it: few numbers for V words."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from lmsuite.types import Float64Array, FloatArray, IntArray

Context: TypeAlias = tuple[float, IntArray, FloatArray, tuple[int, int]]
"""A stored context: the log back-off weight of words that were not seen after it; the K words that
were, rising; their log-probabilities (K,); and a key that no other context of the table has."""


class BackedOff(NamedTuple):
    """The log-probabilities after one history, in nats."""

    unigrams: FloatArray
    """(V,) after no context."""
    contexts: list[Context]
    """The stored contexts, the shortest first."""

    def dense(self, out: Float64Array) -> Float64Array:
        """The log-probabilities (V,) of all words, written to `out`."""
        out[:] = self.unigrams
        for log_backoff, words, log_probs, _ in self.contexts:
            out += log_backoff
            out[words] = log_probs
        return out

    def item(self, word: int) -> float:
        """The log-probability of one word: to the bit the item of `dense`."""
        log_backoffs = []
        for log_backoff, words, log_probs, _ in reversed(self.contexts):
            at = words.searchsorted(words.dtype.type(word)).item()
            if at < len(words) and words[at] == word:
                log_prob = log_probs.item(at)
                break
            log_backoffs.append(log_backoff)
        else:
            log_prob = self.unigrams.item(word)
        while log_backoffs:
            log_prob += log_backoffs.pop()
        return log_prob
