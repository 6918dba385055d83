"""Characters without a shape of their own."""

from __future__ import annotations

import pytest

from lmsuite.report.visible import visible


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
    visible(text).encode("utf-8")
