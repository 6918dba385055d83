"""A distribution over the next word as a back-off table has it: few numbers for V words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from lmsuite.types import Float64Array, FloatArray, IntArray


class Known(NamedTuple):
    """A stored context: the last words of a history."""

    log_backoff: float
    """The weight of words that were not seen after it, in nats."""
    words: IntArray
    """(K,) the words seen after it, rising."""
    log_probs: FloatArray
    """(K,) of these words, in nats."""
    key: tuple[int, int]
    """Its order and index: another key in the same table is another context."""


@dataclass(frozen=True, slots=True)
class BackedOff:
    """The log-probabilities after one history, in nats."""

    unigrams: FloatArray
    """(V,) after no context."""
    contexts: list[Known]
    """The stored contexts, the shortest first."""

    def dense(self, out: Float64Array) -> Float64Array:
        """The log-probabilities (V,) of all words, written to `out`."""
        out[:] = self.unigrams
        for log_backoff, words, log_probs, _ in self.contexts:
            out += log_backoff
            out[words] = log_probs
        return out

    def item(self, word: int) -> float:
        """The log-probability of one word: to the bit ``dense().item(word)``."""
        for length in range(len(self.contexts), 0, -1):
            _, words, log_probs, _ = self.contexts[length - 1]
            at = words.searchsorted(words.dtype.type(word)).item()
            if at < len(words) and words[at] == word:
                log_prob = log_probs.item(at)
                break
        else:
            length, log_prob = 0, self.unigrams.item(word)
        for context in self.contexts[length:]:
            log_prob += context.log_backoff
        return log_prob
