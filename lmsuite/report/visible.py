"""Make invisible characters visible."""

from __future__ import annotations

import re

# Line feed and tab are layout. Everything else without a shape of its own is spelled out: control
# characters, surrogates, marks that turn the direction of writing around, invisible separators.
# The joiners U+200C and U+200D stay, since Persian, Hindi and emoji are written with them.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff"
    "\ud800-\udfff\ufff0-\uffff]"
)
_CONTROL_PICTURES = 0x2400
_DELETE, _PICTURE_OF_DELETE = 0x7F, "\u2421"


def visible(text: str) -> str:
    """`text` with control characters as pictures (␀) and other invisible ones as ‹U+202E›."""
    return _INVISIBLE.sub(_spelled_out, text)


def _spelled_out(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code < ord(" "):
        return chr(_CONTROL_PICTURES + code)
    return _PICTURE_OF_DELETE if code == _DELETE else f"‹U+{code:04X}›"
