"""Ctrl-C and SIGTERM as a request that the training heeds between two steps."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

from lmsuite.errors import LmError

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class TrainingInterruptedError(LmError):
    """The user ended a training early; its checkpoint is written."""

    exit_code = 130


class Interrupts:
    """Within this context a signal sets `requested` instead of raising, however often it comes.

    A second Ctrl-C cannot do better than the first: the step ends, the checkpoint is written. Away
    from the main thread, where signals cannot be caught, nothing changes.
    """

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
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
        self.requested = True
