"""What to do when the loss explodes: back to the last validation, with a lower rate."""

from __future__ import annotations

import math

from lmsuite.errors import TrainingError
from lmsuite.training.checkpoint import Progress
from lmsuite.training.engine import Engine
from lmsuite.types import FloatArray

RETURNS = 3  # to an earlier state before an exploding loss ends the training
SLOWER = 0.3  # factor of the rate after each


class Recovery:
    """Keeps the weights of the last validation, to go back to."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.good: FloatArray = engine.values.copy()  # (P,)

    def keep(self) -> None:
        """The weights as they are now are good."""
        self.good[:] = self._engine.values

    @staticmethod
    def exploded(loss: float, progress: Progress) -> bool:
        """Whether a loss is not finite, or far above the untrained model's.

        The first validation has only to be finite.
        """
        history = progress.history
        limit = 10 + 3 * history[0].valid_loss if history else math.inf
        return not loss < limit

    def go_back(self, progress: Progress) -> str:
        """Back to the last validation, with fresh moments and a lower rate; says so.

        Raises:
            TrainingError: it has been done too often.
        """
        exploded_at = progress.step
        if progress.returns == RETURNS or not progress.history:
            raise TrainingError(
                f"the loss exploded at step {exploded_at:,}, {progress.returns} lower learning "
                "rates notwithstanding; try a lower {learning_rate} or {clip}",
                *("learning_rate", "clip"),
            )
        self._engine.values[:] = self.good
        self._engine.forget()
        progress.returns += 1
        progress.rate_scale *= SLOWER
        progress.step, progress.update = progress.history[-1].step, 0
        progress.loss_sum, progress.loss_steps = 0.0, 0
        return (
            f"the loss exploded at step {exploded_at:,}: back to step {progress.step:,}, "
            f"with the learning rate times {progress.rate_scale:.2g}"
        )
