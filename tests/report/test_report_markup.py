"""Whatever a text holds comes out as text."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmsuite.report.markup import Markup, element, escaped, quoted, together, visible


class _Reader(HTMLParser):
    """Collects what a browser would take for elements and for text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def read(markup: str) -> _Reader:
    reader = _Reader()
    reader.feed(markup)
    reader.close()
    return reader


@given(st.text())
def test_any_text_is_one_piece_of_text(text: str) -> None:
    reader = read(element("p", text, title=text))
    assert reader.tags == ["p"]
    assert reader.text == visible(text)
    assert reader.attributes == [("title", visible(text))]


def test_text_is_escaped_once_and_markup_never() -> None:
    inner = element("b", "1 < 2 & 3")
    assert inner == "<b>1 &lt; 2 &amp; 3</b>"
    assert element("p", inner, "<b>") == f"<p>{inner}&lt;b&gt;</p>"
    assert isinstance(together(inner, [inner, "x"], None), Markup)


def test_attributes_are_named_as_in_html_and_left_out_if_not_set() -> None:
    written = element("td", class_="a", data_label='"q"', hidden=True, id=None, open=False)
    assert written == '<td class="a" data-label="&quot;q&quot;" hidden></td>'
    assert element("br") == "<br>"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x00\x1b[31m", "␀␛[31m"),
        ("\x7f", "␡"),
        ("\x85", "‹U+0085›"),
        ("abc\u202edcba", "abc‹U+202E›dcba"),
        ("\u2066a\u2069", "‹U+2066›a‹U+2069›"),
        ("\ud800", "‹U+D800›"),
        ("\ufeffa", "‹U+FEFF›a"),
        ("a\tb\nc", "a\tb\nc"),
        ("שלום · 👩\u200d🚀", "שלום · 👩\u200d🚀"),
    ],
)
def test_what_has_no_shape_is_spelled_out(text: str, shown: str) -> None:
    assert visible(text) == shown
    escaped(text).encode("utf-8")


def test_quoted_text_keeps_its_direction_to_itself() -> None:
    assert quoted("שלום", class_="t") == '<bdi class="t">שלום</bdi>'
