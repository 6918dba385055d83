"""Where the spaces go when words and punctuation marks become text again.

The rules are those of English typesetting: a comma clings to the word before it, a bracket to what
it holds, a dash to both sides. A quotation mark that looks the same at both ends (``"`` and ``'``)
opens if none is open, and closes otherwise.
"""

from __future__ import annotations

# Whether a space stands before and after a mark. Words, and marks not listed, have both.
_CLOSING = (False, True)
_OPENING = (True, False)
_JOINING = (False, False)

_SPACING = {
    **dict.fromkeys(",.;:?!)]}%‰°’”»›…‚", _CLOSING),
    **dict.fromkeys("([{“‘«‹„¿¡$£€¥§#`", _OPENING),
    **dict.fromkeys("—–‐‑/\\@~^|", _JOINING),
    **dict.fromkeys("。、，．！？；：「」『』（）【】《》・", _JOINING),
}

_SYMMETRIC = frozenset("\"'_")


class Typesetter:
    """A `Joiner` of words: knows only what it has written, so text can appear as it is made."""

    def __init__(self) -> None:
        self._at_line_start = True
        self._clings = True  # the next token to what has been written
        self._open: set[str] = set()

    def push(self, token: str) -> str:
        """The token, with a space before it if one belongs there."""
        if token == "\n":
            if self._at_line_start:
                # An empty line ends a paragraph or a speech, and what was quoted in it.
                self._open.clear()
            self._at_line_start = self._clings = True
            return token
        before, after = self._spacing(token)
        space = " " if before and not self._clings else ""
        self._at_line_start = False
        self._clings = not after
        return space + token

    def finish(self) -> str:
        """Nothing: no token waits for the next."""
        return ""

    def _spacing(self, token: str) -> tuple[bool, bool]:
        if token in _SYMMETRIC:
            # A quotation ends with its last line, never at the beginning of the next.
            if token in self._open and not self._at_line_start:
                self._open.remove(token)
                return _CLOSING
            self._open.add(token)
            return _OPENING
        if token.startswith("--"):
            return _JOINING
        if token.startswith(".."):
            return _CLOSING
        return _SPACING.get(token, (True, True))
