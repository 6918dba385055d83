"""Long work on standard error: a bar on a terminal, in a pipe or a log file a line a minute."""

from __future__ import annotations

import sys
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from lmsuite.cli.streams import note
from lmsuite.terminal import unguarded

if TYPE_CHECKING:
    from lmsuite.progress import Listener, Work

_LONG = 2.0  # seconds; what is done sooner shows nothing
_REDRAW = 0.1  # seconds
_A_LINE = 60.0  # seconds
_BAR = "{desc} {percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt}{unit}, {remaining} left{postfix}"
_OPEN = "{desc} {n_fmt}{unit} in {elapsed}{postfix}"  # of unknown length


def listener() -> Listener:
    """What shows the progress of work on standard error."""
    return Bars() if sys.stderr.isatty() else Lines()


class _Watch:
    """When each work that is not yet done began, and when it was last shown."""

    def __init__(self, first: float, then: float) -> None:
        self._first, self._then = first, then
        self._began: dict[Work, float] = {}
        self._shown: dict[Work, float] = {}

    def is_due(self, work: Work) -> bool:
        """Whether it is time to show this work."""
        now = time.monotonic()
        began = self._began.setdefault(work, now)
        last = self._shown.get(work)
        due = now - began >= self._first if last is None else now - last >= self._then
        if due:
            self._shown[work] = now
        return due

    def seconds(self, work: Work) -> float:
        """Since it began."""
        return max(time.monotonic() - self._began[work], 1e-9)

    def forget(self, work: Work) -> None:
        """It is done."""
        self._began.pop(work, None)
        self._shown.pop(work, None)


class Bars:
    """A bar for each work that takes longer than two seconds; it vanishes with the work."""

    def __init__(self) -> None:
        self._watch = _Watch(_LONG, _REDRAW)
        self._bars: dict[Work, Any] = {}

    def advanced(self, work: Work) -> None:
        """As `Listener.advanced`."""
        if not self._watch.is_due(work):
            return
        bar = self._bars.get(work)
        if bar is None:
            bar = self._bars[work] = self._bar(work)
        bar.n = work.done
        if work.tokens:
            bar.set_postfix_str(_rate(work, self._watch.seconds(work)), refresh=False)
        bar.refresh()

    def _bar(self, work: Work) -> Any:
        from tqdm import tqdm

        tqdm.monitor_interval = 0  # its monitor would be a second thread, and processes are forked
        bar = tqdm(
            desc=work.name,
            total=work.total,
            unit=work.unit if work.unit == "B" else f" {work.unit}",
            unit_scale=True,
            bar_format=_BAR if work.total else _OPEN,
            file=unguarded(sys.stderr),
            dynamic_ncols=True,
            leave=False,
        )
        bar.start_t -= self._watch.seconds(work)
        return bar

    def ended(self, work: Work) -> None:
        """As `Listener.ended`."""
        self._watch.forget(work)
        if (bar := self._bars.pop(work, None)) is not None:
            bar.close()


class Lines:
    """A line a minute."""

    def __init__(self) -> None:
        self._watch = _Watch(_A_LINE, _A_LINE)

    def advanced(self, work: Work) -> None:
        """As `Listener.advanced`."""
        if self._watch.is_due(work):
            note(line(work, self._watch.seconds(work)))

    def ended(self, work: Work) -> None:
        """As `Listener.ended`."""
        self._watch.forget(work)


def line(work: Work, seconds: float) -> str:
    """The state of work that has taken so many seconds, in a line."""
    facts = [f"{work.name}: {_amount(work.done, work.unit)}"]
    if work.total:
        facts[0] += f" of {_amount(work.total, work.unit)} ({work.done / work.total:.0%})"
        if work.done:
            left = seconds * (work.total - work.done) / work.done
            facts.append(f"{timedelta(seconds=round(max(left, 0)))} left")
    if work.tokens:
        facts.append(_rate(work, seconds))
    return ", ".join(facts)


def _amount(amount: int, unit: str) -> str:
    return f"{amount / 1e6:,.1f} MB" if unit == "B" else f"{amount:,} {unit}"


def _rate(work: Work, seconds: float) -> str:
    return f"{work.tokens / seconds:,.0f} tokens/s"
