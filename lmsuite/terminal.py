"""What a terminal may be sent: text, but no orders.

A terminal obeys control characters: they move the cursor, change the title, paste, answer. A model
writes whatever it was trained on, and a file may have any name; so on a terminal control characters
are shown (``\\x1b``), not sent. A pipe or a file gets every text as it is.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Any, TextIO

# C0 but tab and newline, DEL, C1; and the marks that turn the direction of writing around, with
# which a text can show something else than it says (U+202A to U+202E, U+2066 to U+2069).
_CONTROLS = [code for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"]
_TURNS = [*range(0x202A, 0x202F), *range(0x2066, 0x206A)]

_ESCAPES = {code: f"\\x{code:02x}" for code in _CONTROLS}
_ESCAPES |= {code: f"\\u{code:04x}" for code in _TURNS}


def shown(text: str) -> str:
    """`text` with every character that a terminal would obey spelled out."""
    return text.translate(_ESCAPES)


class Guarded:
    """A text stream to a terminal, for which every text is made harmless on its way.

    All else is that of the stream; ``unguarded`` is the stream itself.
    """

    def __init__(self, stream: TextIO) -> None:
        self.unguarded = stream

    def write(self, text: str) -> int:
        """Write what `shown` makes of `text`; the number of its characters."""
        self.unguarded.write(shown(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write one text after the other."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.unguarded, name)


def guard() -> None:
    """Guard standard output and standard error, each if it is a terminal; open them if closed."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8"))
        elif not isinstance(stream, Guarded) and stream.isatty():
            setattr(sys, name, Guarded(stream))


def unguarded(stream: TextIO) -> TextIO:
    """The stream for those who draw: a bar, a bold heading. What they are given is theirs to check.

    To be used for what is known to be harmless, or has been through `shown`.
    """
    return stream.unguarded if isinstance(stream, Guarded) else stream
