"""The settings of a training; those of the model are in `lmsuite.models.settings`."""

from __future__ import annotations

from dataclasses import dataclass

from lmsuite.errors import UsageError
from lmsuite.settings import check, setting

OPTIMIZERS = (
    *("sgd", "momentum", "nesterov"),
    *("adagrad", "rmsprop", "adadelta"),
    *("adam", "nadam", "adamw"),
)
SCHEDULES = ("constant", "step", "exponential", "cosine", "plateau")

_MOST_EPOCHS = 1e9  # more than anybody needs, and few enough for a count of their steps
_CHOSEN = "by the size of the text"


@dataclass(frozen=True)
class TrainingSettings:
    """The options of a training, which ends after `epochs` or `minutes`, whichever comes first.

    Raises:
        UsageError: a value is out of bounds or unknown, or neither end is given.
    """

    epochs: float | None = setting(
        metavar="N",
        above=0,
        maximum=_MOST_EPOCHS,
        shown=_CHOSEN,
        help="Read the text N times; at most N times if minutes are given too.",
    )
    minutes: float | None = setting(
        metavar="M",
        above=0,
        shown=False,
        help="Fit the training, with all work before and after it, into M minutes.",
    )
    batch: int = setting(
        minimum=1, shown=_CHOSEN, help="Sequences (rnn) or tokens (ffnn) per update."
    )
    learning_rate: float = setting(
        option="--lr",
        above=0,
        shown=f"{_CHOSEN}; the optimizer's own unless it is adam",
        help="The highest learning rate.",
    )
    bptt: int = setting(64, minimum=1, shown=_CHOSEN, help="Steps of backpropagation through time.")
    """A feed-forward model does not use it."""
    optimizer: str = setting("adam", choices=OPTIMIZERS, help="How a gradient becomes an update.")
    then: str | None = setting(
        None,
        choices=OPTIMIZERS,
        shown=False,
        help="Another optimizer for the last fifth of the training, such as sgd.",
    )
    schedule: str = setting("cosine", choices=SCHEDULES, help="How the learning rate falls.")
    warmup: float = setting(
        0.02,
        minimum=0,
        below=1,
        help="Share of the training in which the rate rises from zero.",
    )
    clip: float = setting(
        0.5, minimum=0, help="Clip the gradient to at most this norm; 0 for no clipping."
    )
    l1: float = setting(0.0, minimum=0, help="The weight of the sum of |w| in the loss.")
    l2: float = setting(0.0, minimum=0, help="The weight of half the sum of w² in the loss.")
    patience: int = setting(
        8, minimum=0, help="Stop after this many validations without a new best; 0 for never."
    )
    seed: int = setting(1, minimum=0, help="The same seed gives the same result.")
    threads: int = setting(
        1,
        minimum=1,
        shown="all cores",
        help="Processes that share the work; the result depends on their number.",
    )
    checkpoint_every: float = setting(
        60.0, metavar="SECONDS", minimum=0, help="Seconds from one checkpoint to the next."
    )

    def __post_init__(self) -> None:
        check(self)
        if self.epochs is None and self.minutes is None:
            raise UsageError(
                "a training needs an end: {epochs} or {minutes}", *("epochs", "minutes")
            )
