"""Fit a training into the minutes given: measure its parts, and make them smaller if needed.

Everything counts: the start of the program, reading, building, the baseline, the validations,
saving. A validation during the training takes at most a fiftieth of the time. The last validation
and the baseline take at most a tenth each.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from lmsuite.files.stored_text import Text, TextWriter, blocks
from lmsuite.models.neural import NeuralModel
from lmsuite.training.batches import MOST_VALIDATED
from lmsuite.training.clock import TimeLimits
from lmsuite.types import IntArray

_START = 0.5  # seconds for the start of the interpreter
_BASELINE, _LAST_VALIDATION, _VALIDATION = 0.1, 0.1, 0.02  # shares of the time
_FEWEST = 200  # tokens of a validation
_TIMED_TOKENS = (20, 200, 2000)  # so many are scored in turn, until one scoring exceeds _QUICK
_QUICK = 0.1  # seconds; one-time work, such as loading a library, takes about as long
_BYTES_A_SECOND = 2e8  # written to the disk
_SAVED = 6  # arrays as large as the parameters that are saved, in checkpoint and model together
_STRETCHES = 20  # a sample takes a part of each of so many equal stretches of a text


@dataclass(frozen=True)
class TimeBudget:
    """The time of one training; without `minutes` everything fits."""

    minutes: float | None
    began: float
    """When the command began, by `time.monotonic`."""

    @property
    def _seconds(self) -> float:
        return math.inf if self.minutes is None else 60 * self.minutes

    @property
    def for_baseline(self) -> float:
        """Seconds that a baseline may take."""
        return _BASELINE * self._seconds

    def scoring_rate(self, model: NeuralModel, ids: IntArray) -> float:
        """The measured seconds that the model takes to score one token of ids (N,)."""
        if self.minutes is None or not len(ids):
            return 0.0
        rate = 0.0
        for tokens in _TIMED_TOKENS:
            began = time.monotonic()
            model.score(ids[:tokens])
            seconds = time.monotonic() - began
            rate = seconds / min(len(ids), tokens)
            if seconds > _QUICK and tokens > _TIMED_TOKENS[0]:
                break
        return rate

    def validation_share(self, rate: float, tokens: int) -> float:
        """The share of a validation text of so many tokens that the last validation can read."""
        if not rate * tokens:
            return 1.0
        return min(1.0, max(_FEWEST / tokens, _LAST_VALIDATION * self._seconds / (rate * tokens)))

    def limits(
        self, model: NeuralModel, rate: float, last: float, tokens_a_step: int
    ) -> TimeLimits:
        """What the training must take into account, from now on.

        Args:
            model: the model to be trained.
            rate: seconds to score a token.
            last: tokens of the last validation.
            tokens_a_step: tokens of a training step.
        """
        if self.minutes is None:
            return TimeLimits()
        size = model.parameters.values.nbytes
        after = rate * last + _SAVED * size / _BYTES_A_SECOND
        # A step computes three times as many products as scoring, but in larger batches, which take
        # less time for each.
        return TimeLimits(
            overhead=_START + time.monotonic() - self.began + after,
            step=2 * rate * tokens_a_step,
            validation=max(
                _FEWEST, int(min(MOST_VALIDATED, _VALIDATION * self._seconds / max(rate, 1e-9)))
            ),
        )


def sample_of(text: Text, share: float) -> Text:
    """Whole lines from all over a text, about this share of it."""
    if share >= 1:
        return text
    length = len(text) / _STRETCHES
    sample = TextWriter()
    end = 0
    for stretch in range(_STRETCHES):
        begin = max(end, text.rfind("\n", 0, int(stretch * length)) + 1)
        stop = begin + int(length * share)
        end = text.find("\n", stop) + 1 or len(text)
        for block in blocks(text[begin:end]):
            sample.write(block)
        if end == len(text):
            break
    return sample.text()
