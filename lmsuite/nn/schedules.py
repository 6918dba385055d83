"""The learning rate as a function of how much of the training is done.

Progress runs from 0 to 1. It is the part of the planned updates that are done, or the part of the
given minutes that have passed. A schedule gives a factor; the learning rate is the peak rate times
this factor.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import cos, pi


class Schedule(ABC):
    """A factor of the peak learning rate, from 0 to 1."""

    def __init__(self, warmup: float = 0.0) -> None:
        """Rise in a straight line from zero over the first `warmup` of the training (0 to 1).

        Raises:
            ValueError: `warmup` is not in [0, 1).
        """
        if not 0 <= warmup < 1:
            raise ValueError(f"a warm-up of {warmup}: it must be at least 0 and below 1")
        self.warmup = warmup

    def factor(self, progress: float) -> float:
        """The factor at `progress`. The decay begins after the warm-up and ends with training."""
        progress = min(max(progress, 0.0), 1.0)
        if progress < self.warmup:
            return progress / self.warmup * self._decay(0.0)
        return self._decay((progress - self.warmup) / (1 - self.warmup))

    def observe(self, validation_loss: float) -> None:  # noqa: B027
        """Take note of a validation. Only `Plateau` does."""

    def state(self) -> dict[str, float]:
        """The notes of validations, as plain numbers, for a checkpoint."""
        return {}

    def restore(self, state: dict[str, float]) -> None:  # noqa: B027
        """Continue from a `state`."""

    @abstractmethod
    def _decay(self, progress: float) -> float:
        """The factor after the warm-up; here, progress 0 is the end of the warm-up."""


class Constant(Schedule):
    """Always the peak rate."""

    def _decay(self, progress: float) -> float:
        return 1.0


class Step(Schedule):
    """Halved at each of several equally spaced points: 1, 1/2, 1/4, ... for `pieces` pieces."""

    pieces = 8

    def _decay(self, progress: float) -> float:
        return float(0.5 ** min(int(progress * self.pieces), self.pieces - 1))


class Exponential(Schedule):
    """Falls by the same ratio at every step, down to `final`: final^progress."""

    final = 0.01

    def _decay(self, progress: float) -> float:
        return float(self.final**progress)


class Cosine(Schedule):
    """Half a cosine down to zero, slow at both ends: Loshchilov and Hutter (2017)."""

    def _decay(self, progress: float) -> float:
        return 0.5 * (1 + cos(pi * progress))


class Plateau(Schedule):
    """Halved when `patience` validations in a row bring no new best loss."""

    patience = 2

    def __init__(self, warmup: float = 0.0) -> None:
        super().__init__(warmup)
        self._level = 1.0
        self._best = float("inf")
        self._waited = 0

    def observe(self, validation_loss: float) -> None:
        if validation_loss < self._best:
            self._best, self._waited = validation_loss, 0
            return
        self._waited += 1
        if self._waited >= self.patience:
            self._level, self._waited = self._level / 2, 0

    def state(self) -> dict[str, float]:
        return {"level": self._level, "best": self._best, "waited": self._waited}

    def restore(self, state: dict[str, float]) -> None:
        self._level, self._best = state["level"], state["best"]
        self._waited = int(state["waited"])

    def _decay(self, progress: float) -> float:
        return self._level


SCHEDULES: dict[str, type[Schedule]] = {
    "constant": Constant,
    "step": Step,
    "exponential": Exponential,
    "cosine": Cosine,
    "plateau": Plateau,
}
