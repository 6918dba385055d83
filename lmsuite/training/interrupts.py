"""Signals that end a training: heeded at once where nothing is lost by it, else a moment later."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

from lmsuite.errors import LmError
from lmsuite.types import FloatArray

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


class TrainingInterruptedError(LmError):
    """The user ended a training early; its checkpoint is written, if it has files."""

    exit_code = 130

    def __init__(
        self, message: str, number: int = signal.SIGINT, best: FloatArray | None = None
    ) -> None:
        """`best` are the parameters (P,) that did best until then."""
        super().__init__(message)
        self.number = number
        self.exit_code = 128 + number
        self.best = best


class AbandonedError(Exception):
    """What was being done can be left undone, and a signal asks for that."""


class Interrupts:
    """Within this context a signal is noted in `requested`, and raises only where that is safe.

    A step and a validation can be abandoned until they change what a checkpoint holds; the rest of
    a training is short. Away from the main thread, where signals cannot be caught, nothing changes.
    """

    def __init__(self) -> None:
        self.requested = 0  # the number of the first signal
        self._may_raise = False
        self._before: dict[int, Any] = {}

    @contextmanager
    def abandonable(self) -> Iterator[None]:
        """Within it a signal raises at once.

        Raises:
            AbandonedError: a signal came, now or before.
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
                if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup and & set it
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
