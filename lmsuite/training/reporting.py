"""Who is told how a training goes."""

from __future__ import annotations

from typing import Protocol

from lmsuite.store.history import HistoryRow


class Reporter(Protocol):
    """Who is told how the training goes."""

    def stepped(self, progress: float, tokens: int, loss: float, rate: float) -> None:
        """After every step: share done, tokens read by it, its mean loss, its learning rate."""

    def validated(self, row: HistoryRow, *, best: bool) -> None:
        """After every validation."""

    def said(self, message: str) -> None:
        """Something that the user should know."""


class Silent:
    """A reporter that keeps everything to itself."""

    def stepped(self, progress: float, tokens: int, loss: float, rate: float) -> None:
        pass

    def validated(self, row: HistoryRow, *, best: bool) -> None:
        pass

    def said(self, message: str) -> None:
        pass
