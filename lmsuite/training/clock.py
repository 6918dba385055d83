"""The share of a training that is done: by steps or by the wall clock, whichever is greater."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from lmsuite.errors import TrainingError
from lmsuite.training.batches import MOST_VALIDATED
from lmsuite.training.settings import TrainingSettings

VALIDATIONS = (8, 40)  # at least and at most; one after each epoch if that lies between
TIMED_VALIDATIONS = 12  # in a training with a time limit


@dataclass(frozen=True)
class TimeLimits:
    """What a training with a time limit must take into account."""

    overhead: float = 0.0
    """Seconds that pass before and after the training."""
    step: float = 0.0
    """Estimated seconds of the first step."""
    validation: int = MOST_VALIDATED
    """The most tokens that a validation reads."""


class Clock:
    """Says when a training ends, when it validates, and when it is saved."""

    def __init__(
        self,
        settings: TrainingSettings,
        steps_per_epoch: int,
        limits: TimeLimits,
        seconds: float,
    ) -> None:
        """A clock that starts now.

        Args:
            settings: `epochs` and `minutes`, which end the training, and `checkpoint_every`.
            steps_per_epoch: the steps of one reading of the text.
            limits: what a training with a time limit must take into account.
            seconds: how long the training has taken so far, in earlier sessions.
        """
        self._timed = settings.minutes is not None
        self._every = settings.checkpoint_every
        epochs = settings.epochs if settings.epochs is not None else float("inf")
        self._planned = epochs * steps_per_epoch
        if settings.minutes is None:
            self._planned = max(1, round(self._planned))
            pieces = min(max(settings.epochs or 0, VALIDATIONS[0]), VALIDATIONS[1])
            self._stride = max(1, math.ceil(self._planned / pieces))
        else:
            self._minutes, self._overhead = settings.minutes, limits.overhead
            self._budget = max(1e-9, 60 * settings.minutes - limits.overhead)
        self._began = time.monotonic() - seconds
        self._saved = time.monotonic()
        # Seconds of a step and of a validation: the longest so far, made shorter at each new one.
        self._step = limits.step
        self._steps = 0
        self._validation = 0.0
        self._validated_share = 0.0

    @property
    def seconds(self) -> float:
        """How long the training has taken, summed over all sessions."""
        return time.monotonic() - self._began

    def share(self, step: int) -> float:
        """The share of the training that is done before this step, from 0 to 1.

        A time limit includes the last step and the last validation: if another step would end too
        late, the share is 1.
        """
        share = step / self._planned
        if self._timed:
            left_for_steps = self._budget - self._validation - self._step
            share = max(share, self.seconds / max(1e-9, left_for_steps))
        return min(1.0, share)

    def stepped(self, seconds: float) -> None:
        """Note that a step took so many seconds."""
        self._step = max(seconds, 0.7 * self._step) if self._steps else seconds
        self._steps += 1

    def validation_due(self, step: int, steps_since: int) -> bool:
        """Whether to validate before this step, `steps_since` steps after the last validation."""
        if not steps_since:
            return False
        if self._timed:
            pieces = TIMED_VALIDATIONS
            return int(self.share(step) * pieces) > int(self._validated_share * pieces)
        return step % self._stride == 0

    def validated(self, step: int, seconds: float) -> None:
        """Note that a validation before this step took so many seconds."""
        self._validation = max(seconds, 0.7 * self._validation)
        self._validated_share = self.share(step)

    def save_due(self) -> bool:
        """Whether `checkpoint_every` seconds have passed since the last save."""
        return time.monotonic() - self._saved >= self._every

    def saved(self) -> None:
        """Note that the training was saved now, or that saving failed."""
        self._saved = time.monotonic()

    def require_a_step(self, step: int) -> None:
        """Refuse a training that ends before its first step.

        Raises:
            TrainingError: no step fits into the time limit; the message says how long it takes.
        """
        if step or not self._timed:
            return
        needed = self._overhead + self.seconds + self._step + self._validation
        raise TrainingError(
            f"no step of the training fits into {self._minutes:g} minutes: with reading, building "
            f"and validating, the first step ends after about {needed / 60:.2g}; give more "
            "{minutes}, a smaller network, or a smaller {max_vocab}",
            *("minutes", "max_vocab"),
            value=self._minutes,
        )
