"""When the loss explodes, training goes back to the last validation, with a lower rate."""

from __future__ import annotations

import math

from lmsuite.errors import TrainingError
from lmsuite.training.checkpoint import Progress
from lmsuite.training.engine import Engine
from lmsuite.types import FloatArray

RETURNS = 3  # how often training may go back; the next explosion ends it
SLOWER = 0.3  # factor of the learning rate at each return


class Recovery:
    """Keeps the weights of the last validation, to return to them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.good: FloatArray = engine.values.copy()  # (P,)

    def keep(self) -> None:
        """Keep the present weights as good ones."""
        self.good[:] = self._engine.values

    @staticmethod
    def exploded(loss: float, progress: Progress) -> bool:
        """Whether a loss is not finite, or far above the untrained model's.

        The loss of the first validation must only be finite.
        """
        history = progress.history
        limit = 10 + 3 * history[0].valid_loss if history else math.inf
        return not loss < limit

    def go_back(self, progress: Progress) -> str:
        """Go back to the last validation, with zero moments and a lower rate; return a message.

        Raises:
            TrainingError: training has gone back too often.
        """
        exploded_at = progress.step
        if progress.returns == RETURNS or not progress.history:
            raise TrainingError(
                f"the loss exploded at step {exploded_at:,}, even after the learning rate was "
                f"lowered {progress.returns} times; try a lower {{learning_rate}} or {{clip}}",
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
