"""The progress of a training on standard error: a bar on a terminal, sparse lines in a pipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lmsuite.cli.streams import note
from lmsuite.terminal import shown, unguarded

if TYPE_CHECKING:
    from lmsuite.store.history import HistoryRow
    from lmsuite.training.reporting import Reporter

_REDRAW = 0.1  # seconds
_BAR = "{percentage:3.0f}% |{bar}| {elapsed}, {remaining} left{postfix}"


@contextmanager
def reporter_for(*, quiet: bool) -> Iterator[Reporter]:
    """The reporter for standard error: a bar on a terminal, lines in a pipe, messages if quiet."""
    if quiet:
        yield Messages()
    elif sys.stderr.isatty():
        with _bar() as bar:
            yield bar
    else:
        yield Lines()


class Messages:
    """Only the messages that the user must know."""

    def stepped(self, progress: float, tokens: int, loss: float, rate: float) -> None:
        pass

    def validated(self, row: HistoryRow, *, best: bool) -> None:
        pass

    def said(self, message: str) -> None:
        note(f"note: {message}")


class Lines(Messages):
    """A line for every validation."""

    def __init__(self) -> None:
        self._share = 0.0

    def stepped(self, progress: float, tokens: int, loss: float, rate: float) -> None:
        self._share = progress

    def validated(self, row: HistoryRow, *, best: bool) -> None:
        note(
            f"{self._share:4.0%}  epoch {row.epoch:.2f}  loss {row.train_loss:.4f}  "
            f"validation perplexity {row.valid_perplexity:.2f}{' *' if best else '  '}  "
            f"lr {row.learning_rate:.2g}  {row.tokens_per_second:,.0f} tokens/s"
        )


@contextmanager
def _bar() -> Iterator[Reporter]:
    from tqdm import tqdm

    # The monitor of tqdm would be a second thread in a process that is about to fork.
    tqdm.monitor_interval = 0
    with tqdm(total=1.0, bar_format=_BAR, file=unguarded(sys.stderr), dynamic_ncols=True) as bar:
        yield Bar(bar)


class Bar(Messages):
    """A bar that grows with the share done, followed by the latest figures."""

    def __init__(self, bar: Any) -> None:
        self._bar = bar
        self._loss: float | None = None  # smoothed
        self._share = 0.0
        self._perplexity = ""
        self._tokens, self._since = 0, time.monotonic()

    def stepped(self, progress: float, tokens: int, loss: float, rate: float) -> None:
        self._loss = loss if self._loss is None else 0.98 * self._loss + 0.02 * loss
        self._tokens += tokens
        self._share = progress
        now = time.monotonic()
        if now - self._since < _REDRAW:
            return
        if self._bar.n == 0:
            self._bar.initial = progress  # a resumed training does not begin at zero
        speed = self._tokens / (now - self._since)
        self._tokens, self._since = 0, now
        self._draw(speed, self._loss, rate)

    def validated(self, row: HistoryRow, *, best: bool) -> None:
        self._perplexity = f", validation perplexity {row.valid_perplexity:.2f}"
        self._draw(row.tokens_per_second, row.train_loss, row.learning_rate)

    def _draw(self, speed: float, loss: float, rate: float) -> None:
        figures = f"{speed:,.0f} tokens/s, loss {loss:.3f}{self._perplexity}, lr {rate:.2g}"
        self._bar.set_postfix_str(figures, refresh=False)
        self._bar.n = self._share
        self._bar.refresh()

    def said(self, message: str) -> None:
        self._bar.write(shown(f"note: {message}"), file=unguarded(sys.stderr))
