"""How a training is run, as opposed to what is trained."""

from __future__ import annotations

from dataclasses import dataclass

from lmsuite.errors import UsageError
from lmsuite.nn.optimizers import OPTIMIZERS
from lmsuite.nn.schedules import SCHEDULES

MOST_EPOCHS = 1e9  # more than anybody's time, and few enough to count the steps of


@dataclass(frozen=True)
class TrainingSettings:
    """The options of a training. It ends with `epochs` or `minutes`, whichever comes first.

    Raises:
        UsageError: a value is out of range or unknown, or neither end is given.
    """

    epochs: float | None
    minutes: float | None
    batch: int
    learning_rate: float  # the peak of the schedule
    bptt: int = 64  # steps of a window; a feed-forward model has none
    optimizer: str = "adam"
    then: str | None = None  # the optimizer of the last fifth
    schedule: str = "cosine"
    warmup: float = 0.0  # share of the training
    clip: float = 0.5  # of the gradient's global norm; 0 for none
    l1: float = 0.0
    l2: float = 0.0
    patience: int = 6  # validations without a new best; 0 for no early stop
    seed: int = 1
    threads: int = 1
    checkpoint_every: float = 60.0  # seconds

    def __post_init__(self) -> None:
        if self.epochs is None and self.minutes is None:
            raise UsageError("a training needs an end: --epochs or --minutes")
        for name in ("epochs", "minutes", "learning_rate"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise UsageError(f"--{_option(name)} {value}: more than 0 is needed")
        if self.epochs is not None and self.epochs > MOST_EPOCHS:
            raise UsageError(f"--epochs {self.epochs}: at most {MOST_EPOCHS:g} are possible")
        for name in ("batch", "bptt", "threads"):
            if getattr(self, name) < 1:
                raise UsageError(f"--{name} {getattr(self, name)}: at least 1 is needed")
        for name in ("clip", "l1", "l2", "patience", "seed", "checkpoint_every"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise UsageError(f"--{_option(name)} {getattr(self, name)}: 0 or more is needed")
        if not 0 <= self.warmup < 1:
            raise UsageError(f"--warmup {self.warmup}: at least 0 and below 1 is needed")
        _choose("optimizer", self.optimizer, OPTIMIZERS)
        _choose("schedule", self.schedule, SCHEDULES)
        if self.then is not None:
            _choose("then", self.then, OPTIMIZERS)


def _option(name: str) -> str:
    return "lr" if name == "learning_rate" else name.replace("_", "-")


def _choose(name: str, value: str, known: dict[str, type]) -> None:
    if value not in known:
        raise UsageError(f"--{name} {value}: choose from {', '.join(known)}")
