"""Reporters show the user how a training goes."""

from __future__ import annotations

from typing import Protocol

from lmsuite.store.history import HistoryRow


class Reporter(Protocol):
    """The training calls these methods to report its progress."""

    def stepped(self, progress: float, tokens: int, loss: float, rate: float) -> None:
        """Called after every step: share done, the step's tokens, mean loss and learning rate."""

    def validated(self, row: HistoryRow, *, best: bool) -> None:
        """Called after every validation."""

    def said(self, message: str) -> None:
        """Called with a message for the user."""


class Silent:
    """A reporter that shows nothing."""

    def stepped(self, progress: float, tokens: int, loss: float, rate: float) -> None:
        pass

    def validated(self, row: HistoryRow, *, best: bool) -> None:
        pass

    def said(self, message: str) -> None:
        pass
