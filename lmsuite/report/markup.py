"""HTML by function calls: whatever a model or a corpus holds comes out as text.

`Markup` is the type of what may stand in a page as it is; every plain string is escaped on its way
in, so that forgetting to escape is not possible, and escaping twice neither.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator
from typing import TypeAlias

# Line feed and tab are layout. Everything else without a shape of its own is spelled out: control
# characters, surrogates, marks that turn the direction of writing around, invisible separators.
# The joiners U+200C and U+200D stay, since Persian, Hindi and emoji are written with them.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff"
    "\ud800-\udfff\ufff0-\uffff]"
)
_CONTROL_PICTURES = 0x2400
_DELETE, _PICTURE_OF_DELETE = 0x7F, "\u2421"
_VOID = frozenset({"br", "col", "hr", "link", "meta"})


class Markup(str):
    """HTML, safe to put into a page as it is."""

    __slots__ = ()


Content: TypeAlias = "str | Iterable[Content] | None"
"""What an element may hold: text (escaped), `Markup` (as it is), any number of them, nothing."""


def escaped(text: str) -> Markup:
    """`text` as HTML that shows it, with every unseen character made visible."""
    return Markup(html.escape(visible(text)))


def visible(text: str) -> str:
    """`text` with control characters as pictures (␀), other unseen ones by number (‹U+202E›)."""
    return _UNSEEN.sub(_spelled_out, text)


def _spelled_out(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code < ord(" "):
        return chr(_CONTROL_PICTURES + code)
    return _PICTURE_OF_DELETE if code == _DELETE else f"‹U+{code:04X}›"


def element(tag: str, *content: Content, **attributes: str | bool | None) -> Markup:
    """The element `tag`; attributes that are None or False are left out.

    A trailing underscore in an attribute's name is dropped (``class_``), others become hyphens.
    """
    written = "".join(
        f" {name.rstrip('_').replace('_', '-')}"
        + ("" if value is True else f'="{escaped(str(value))}"')
        for name, value in attributes.items()
        if value is not None and value is not False
    )
    if tag in _VOID:
        return Markup(f"<{tag}{written}>")
    return Markup(f"<{tag}{written}>{together(*content)}</{tag}>")


def together(*content: Content) -> Markup:
    """The pieces of `content` one after the other."""
    return Markup("".join(_pieces(content)))


def _pieces(content: Iterable[Content]) -> Iterator[Markup]:
    for piece in content:
        if isinstance(piece, Markup):
            yield piece
        elif isinstance(piece, str):
            yield escaped(piece)
        elif piece is not None:
            yield from _pieces(piece)


def quoted(text: str, **attributes: str | bool | None) -> Markup:
    """A text from outside, its direction of writing kept to itself."""
    return element("bdi", text, **attributes)
