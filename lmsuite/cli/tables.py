"""Tables: drawn to the width of a terminal, plain and complete in a pipe."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lmsuite.cli.streams import printable, say
from lmsuite.terminal import unguarded


@dataclass(frozen=True)
class Column:
    """A heading, and whether the column holds numbers, which are aligned to the right."""

    heading: str
    number: bool = False


def show_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; a terminal too narrow for it gets a block of lines for each row instead."""
    columns = [replace(column, heading=printable(column.heading)) for column in columns]
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [
        max(len(line) for line in (column.heading, *(row[at] for row in rows)))
        for at, column in enumerate(columns)
    ]
    if not sys.stdout.isatty():
        for line in ([column.heading for column in columns], *rows):
            say(_aligned(line, widths, columns))
    elif sum(widths) + 2 * (len(widths) - 1) <= shutil.get_terminal_size().columns:
        _draw(columns, rows)
    else:
        for row in rows:
            show_facts(dict(zip([column.heading for column in columns], row, strict=True)))


def show_facts(facts: dict[str, str]) -> None:
    """Print labelled values, a line each, and a blank line after them."""
    width = max(map(len, facts)) + 2
    for label, value in facts.items():
        show_fact(label, value, width)
    say()


def show_fact(label: str, value: str, width: int) -> None:
    """Print one labelled value, which begins at column `width`."""
    lines = [part for line in value.splitlines() for part in _wrapped(line, width)] or [""]
    for number, line in enumerate(lines):
        say(printable(f"{label if not number else '':<{width}}{line}").rstrip())


def show_remark(remark: str) -> None:
    """Print a sentence or two below a table."""
    for line in _wrapped(remark, 0):
        say(printable(line))


def _wrapped(line: str, taken: int) -> list[str]:
    """`line`, broken between words to fit a terminal beside `taken` columns; whole for a pipe."""
    if not sys.stdout.isatty():
        return [line]
    room = max(shutil.get_terminal_size().columns - taken, 10)
    return textwrap.wrap(line, room, break_long_words=False, break_on_hyphens=False)


def _aligned(line: Sequence[str], widths: Sequence[int], columns: Sequence[Column]) -> str:
    cells = (
        cell.rjust(width) if column.number else cell.ljust(width)
        for cell, width, column in zip(line, widths, columns, strict=True)
    )
    return "  ".join(cells).rstrip()


def _draw(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for column in columns:
        heading = Text(column.heading)
        table.add_column(heading, justify="right" if column.number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console(file=unguarded(sys.stdout), highlight=False).print(table)
