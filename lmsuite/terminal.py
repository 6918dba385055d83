"""Protect a terminal: control characters in a text are spelled out, never sent.

A terminal obeys control characters: they move the cursor, change the title, paste, answer. A model
can write every character of its training text, and a file can have any name. So a terminal gets
control characters spelled out (``\\x1b``). A pipe or a file gets every text as it is.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Any, TextIO

# C0 without tab and newline, DEL, and C1. Then the marks that reverse the direction of writing
# (U+202A to U+202E, U+2066 to U+2069): with them a text can look different from what it says.
_CONTROLS = [code for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"]
_TURNS = [*range(0x202A, 0x202F), *range(0x2066, 0x206A)]

_ESCAPES = {code: f"\\x{code:02x}" for code in _CONTROLS}
_ESCAPES |= {code: f"\\u{code:04x}" for code in _TURNS}


def shown(text: str) -> str:
    """`text` with every character that a terminal would obey spelled out."""
    return text.translate(_ESCAPES)


class Guarded:
    """A text stream to a terminal that writes every text as `shown` spells it out.

    Everything else is passed on to the stream itself, which is ``unguarded``.
    """

    def __init__(self, stream: TextIO) -> None:
        self.unguarded = stream

    def write(self, text: str) -> int:
        """Write `shown(text)` and return the number of characters in `text`."""
        self.unguarded.write(shown(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write one text after the other."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.unguarded, name)


def guard() -> None:
    """Guard standard output and standard error where they are terminals.

    A stream that is closed is opened on the null device.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8"))
        elif not isinstance(stream, Guarded) and stream.isatty():
            setattr(sys, name, Guarded(stream))


def unguarded(stream: TextIO) -> TextIO:
    """The stream itself, for code that draws a bar or a bold heading.

    Such code may write only text that is known to be harmless, or that comes from `shown`.
    """
    return stream.unguarded if isinstance(stream, Guarded) else stream
