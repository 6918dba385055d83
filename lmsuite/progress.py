"""How far long work has come: whoever does it says so, and whoever listens can show it.

The library says that it is `working`, as it warns: without asking whether anybody listens.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol, TypeVar

_Item = TypeVar("_Item")


@dataclass(eq=False)
class Work:
    """Something that may take long."""

    name: str
    """What is done, as "reading"."""
    total: int | None
    """How much there is to do; None if nobody knows."""
    unit: str
    """Of what: "B" for bytes, "characters", "tokens"."""
    done: int = 0
    tokens: int = 0
    """How many tokens were dealt with, where they are not the unit."""

    def advance(self, amount: int, tokens: int = 0) -> None:
        """Some more is done."""
        self.done += amount
        self.tokens += tokens
        if (listener := _listener.get()) is not None:
            listener.advanced(self)


class Listener(Protocol):
    """Is told of all work."""

    def advanced(self, work: Work) -> None:
        """Work has begun, or has come further."""

    def ended(self, work: Work) -> None:
        """It is done, or given up."""


_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def working(name: str, total: int | None, unit: str) -> Iterator[Work]:
    """Work that is done in this block; it is to call `Work.advance` now and then."""
    work = Work(name, total, unit)
    work.advance(0)
    try:
        yield work
    finally:
        if (listener := _listener.get()) is not None:
            listener.ended(work)


def each(name: str, items: Collection[_Item], unit: str) -> Iterator[_Item]:
    """The items, each a part of work of that name."""
    with working(name, len(items), unit) as work:
        for item in items:
            yield item
            work.advance(1)


def listen(listener: Listener | None) -> None:
    """Tell this listener of all work from now on; or with None, nobody."""
    _listener.set(listener)
