"""Words become text that reads as typeset."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmsuite.text.words import WordTokenizer

TYPESET = [
    "Speak, speak. Resolved? No! I: he; so.",
    '"Is it so?" he said. "It is," said I.',
    "'Come in,' he said, 'my lord.'",
    "“Is it so?” he ‘said’ (softly) [thus] {so}.",
    "'Tis a lords' house o' th' town; don't.",
    "A well-known price: $5, 100%, 3,000.5 at 10:30.",
    "He went--as I said--home... and/or—so.",
    "The U.S. and, e.g., Mr. Smith &c.",
    "A _very_ good day",
    "First Citizen:\nStand off my heel,\n\nSecond Citizen:\nA cooper",
    '"Unclosed in one speech,\n\n"opens again in the next."',
    '"A quotation may\nend in the next line." So.',
    '"Line\n"again\n\n\nx "y"',
    "你好，世界。他说：「好」",
]


@pytest.mark.parametrize("text", TYPESET)
def test_typeset_text_comes_back(text: str) -> None:
    words = WordTokenizer()
    assert words.detokenize(words.tokens(text)) == text


def _spaces_before(text: str) -> list[str]:
    """For each character that is no white space, the white space before it."""
    spaces, before = [], ""
    for character in f"{text}.":
        if character.isspace():
            before += character
        else:
            spaces.append(before)
            before = ""
    return spaces


def _share_as_it_was(text: str) -> float:
    """The share of characters before which exactly the white space stands that stood there."""
    words = WordTokenizer()
    there, here = _spaces_before(text), _spaces_before(words.detokenize(words.tokens(text)))
    assert len(there) == len(here)
    return sum(a == b for a, b in zip(there, here, strict=True)) / len(there)


def test_the_play_comes_back(play: str) -> None:
    """99.95 %: what is lost are indented songs, and spaces around dashes."""
    assert _share_as_it_was(play) > 0.9994
    words = WordTokenizer()
    lines = zip(play.split("\n"), words.detokenize(words.tokens(play)).split("\n"), strict=True)
    changed = [line for line, typeset in lines if line != typeset]
    assert all(line.startswith("   ") or "--" in line for line in changed)


def test_tiny_shakespeare_comes_back(shared: Path) -> None:
    """99.98 %: what is lost is mostly single quotation marks whose partner looks like elision."""
    assert _share_as_it_was((shared / "corpora/tinyshakespeare/train.txt").read_text()) > 0.9997


@given(st.text(st.sampled_from("ab ,.\"'\n-()")))
def test_no_space_beside_a_newline_and_none_twice(text: str) -> None:
    words = WordTokenizer()
    typeset = words.detokenize(words.tokens(text))
    assert not any(wrong in typeset for wrong in ("  ", " \n", "\n ", " ,", " .", "( ", " )"))
    assert words.tokens(typeset) == words.tokens(words.detokenize(words.tokens(typeset)))
