"""A passage of a text that is worth looking at closely."""

from __future__ import annotations

_LONGEST = 360  # characters
_SHORTEST = 200


def passage_of(text: str) -> str:
    """From the first paragraph that begins in `text`, a few hundred characters.

    A validation text mostly begins in the middle of a sentence; after its first blank line it does
    not. The passage ends with a paragraph if one ends in time, else with a line, else with a word.
    """
    _, found, rest = text.partition("\n\n")
    rest = rest.lstrip("\n")
    start = rest if found and len(rest) >= _SHORTEST else text.lstrip("\n")
    if len(start) <= _LONGEST:
        return start.rstrip("\n")
    ends = (start.rfind(mark, _SHORTEST, _LONGEST) for mark in ("\n\n", "\n", " "))
    return start[: next((end for end in ends if end >= 0), _LONGEST)].rstrip()
