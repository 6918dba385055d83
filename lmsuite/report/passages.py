"""A passage of a text that is worth looking at closely."""

from __future__ import annotations

_LONGEST = 360  # characters
_SHORTEST = 200


def passage_of(text: str) -> str:
    """From the first paragraph that begins in `text`, whole lines, a few hundred characters.

    A validation text mostly begins in the middle of a sentence; after its first blank line it does
    not. A line that is longer than all that is cut at a word.
    """
    _, found, rest = text.partition("\n\n")
    rest = rest.lstrip("\n")
    start = rest if found and len(rest) >= _SHORTEST else text.lstrip("\n")
    if len(start) <= _LONGEST:
        return start.rstrip("\n")
    end = start.rfind("\n", 0, _LONGEST)
    if end < _SHORTEST:
        end = start.rfind(" ", _SHORTEST, _LONGEST)
    return start[: end if end > 0 else _LONGEST].rstrip()
