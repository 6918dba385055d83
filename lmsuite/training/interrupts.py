"""Signals that end a training: at once where nothing is lost by that, else a moment later."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

from lmsuite.errors import LmError
from lmsuite.executors.cores import SIGNALS
from lmsuite.types import FloatArray


class TrainingInterruptedError(LmError):
    """The user ended a training early; a training with files has written its checkpoint."""

    exit_code = 130

    def __init__(
        self, message: str, number: int = signal.SIGINT, best: FloatArray | None = None
    ) -> None:
        """`number` is the signal's; `best` (P,) are the best parameters so far."""
        super().__init__(message)
        self.number = number
        self.exit_code = 128 + number
        self.best = best


class AbandonedError(Exception):
    """A signal came, and the present step or validation was abandoned."""


class Interrupts:
    """Within this context a signal is noted in `requested`, and raises only where that is safe.

    A step or a validation can be abandoned until it changes what a checkpoint holds; the rest of a
    training is short. Python delivers signals to the main thread only: in others this does nothing.
    """

    def __init__(self) -> None:
        self.requested = 0  # the number of the first signal
        self._may_raise = False
        self._before: dict[int, Any] = {}

    @contextmanager
    def abandonable(self) -> Iterator[None]:
        """Within this context a signal raises at once.

        Raises:
            AbandonedError: a signal came, now or earlier.
        """
        self._may_raise = True
        try:
            if self.requested:
                raise AbandonedError
            yield
        finally:
            self._may_raise = False

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:  # set by nohup or &
                    self._before[number] = signal.signal(number, self._request)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.requested = self.requested or number
        if self._may_raise:
            self._may_raise = False
            raise AbandonedError
