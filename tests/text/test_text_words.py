"""The tokenizer of words against Unicode's own test, and its two rules against one another."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from lmsuite.errors import ModelFileError
from lmsuite.text.encoding import visible
from lmsuite.text.registry import tokenizer_from
from lmsuite.text.words import _USUAL, WordTokenizer, unicode_word_pattern, word_pattern

TOGETHER = [
    "می\u200cخواهم",  # Persian, at its non-joiner
    "ප්\u200dරකාශක",  # Sinhala, at its joiner
    "👨\u200d👩\u200d👧",  # a family
    "👍🏽",  # a skin tone
    "🇩🇪",  # a flag
    "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",  # a flag of tags
    "1️⃣",  # keycaps
    "#️⃣",
    "❤️",  # a variation selector
    "co\u00adoperate",  # a soft hyphen
    "l·lum",  # Catalan
    'צה"ל',  # Hebrew, at its quotation mark
    "ג'",
    "١٬٠٠٠٫٥",  # Arabic thousands and decimals
    "हिन्दी",
    "cafe\u0301",
]


@pytest.mark.parametrize("word", TOGETHER)
def test_what_unicode_holds_together_is_one_token(word: str) -> None:
    tokenizer = WordTokenizer()
    assert tokenizer.tokens(word) == [word]
    assert tokenizer.tokens(f"({word}, {word})") == ["(", word, ",", word, ")"]
    assert tokenizer.detokenize(tokenizer.tokens(f"a {word} b.")) == f"a {word} b."


@pytest.mark.parametrize("word", TOGETHER)
def test_it_is_shown_as_it_looks(word: str) -> None:
    assert visible(word) == word


def test_what_shapes_nothing_is_shown_by_its_number() -> None:
    assert visible("\u200d") == "\\u200d"
    assert visible("a\u202eb c") == "a\\u202eb␣c"


def test_two_flags_are_two_tokens() -> None:
    assert WordTokenizer().tokens("🇩🇪🇫🇷🇮") == ["🇩🇪", "🇫🇷", "🇮"]


def cases() -> list[tuple[str, set[int]]]:
    """Texts, and the places in them where Unicode has a break."""
    found = []
    lines = (Path(__file__).parent / "WordBreakTest.txt").read_text(encoding="utf-8").splitlines()
    for line in lines:
        if line.startswith("#"):
            continue
        text, breaks = "", set()
        for part in line.split():
            if part == "÷":
                breaks.add(len(text))
            elif part != "×":
                text += chr(int(part, 16))
        found.append((text, breaks))
    return found


def edges(text: str) -> tuple[set[int], set[int]]:
    """The places at the edges of our tokens, and the places within one."""
    inside: set[int] = set()
    ends: set[int] = set()
    for _, start, end in WordTokenizer().located(text):
        ends |= {start, end}
        inside |= set(range(start + 1, end))
    return ends, inside


def differs_on_purpose(text: str, place: int, *, joined: bool) -> bool:
    """Whether ours differs from Unicode at this place of a text, as `unicode_word_pattern` says."""
    around = text[max(0, place - 2) : place + 2]
    if text[place - 1].isspace() or text[place].isspace():
        return True  # white space is no token, and holds no mark
    if joined:  # lords' and rock 'n' roll; 10:30; dots in a row; Japanese
        return (
            "'" in text[max(0, place - 4) : place + 2]
            or ":" in around
            or text[place - 1 : place + 1] == ".."
            or "\u3031" in around
        )
    # Underscores and colons join nothing; U+2701 is no longer a pictograph.
    return "_" in around or ":" in around or "\u2701" in around


def test_breaks_are_those_of_unicode() -> None:
    checked = 0
    for text, breaks in cases():
        ends, inside = edges(text)
        for place in range(1, len(text)):
            if place not in breaks and not differs_on_purpose(text, place, joined=False):
                assert place not in ends, f"{text!r} is torn at {place}"
                checked += 1
            if place in breaks and not differs_on_purpose(text, place, joined=True):
                assert place not in inside, f"{text!r} is joined at {place}"
                checked += 1
    assert checked > 2000


USUAL = "".join(
    chr(point)
    for point in range(0x10000)
    if not 0xD800 <= point < 0xE000 and re.match(f"[{_USUAL}]", chr(point))
)


def test_the_rules_agree_on_every_usual_character() -> None:
    old, new = re.compile(word_pattern()).findall, regex.compile(unicode_word_pattern()).findall
    assert len(USUAL) > 30_000
    for context in ("{0}{0}", "a{0}b", "1{0}1", "'tis{0}", "e{0}e.", "s'{0}", "{0}'s", "th'{0}"):
        text = "\n".join(map(context.format, USUAL))
        assert old(text) == new(text)


@given(st.text(st.one_of(st.sampled_from("ab1.,:'’-_s \n&cth"), st.sampled_from(USUAL))))
def test_the_rules_agree_on_usual_text(text: str) -> None:
    found = regex.findall(unicode_word_pattern(), text)
    assert found == re.findall(word_pattern(), text)
    assert WordTokenizer(1).tokens(text) == WordTokenizer(2).tokens(text) == found


@given(st.text(st.sampled_from("ab' .\u200d\u00ad👨🇩·é\n")))
def test_a_text_is_tokenized_alike_in_pieces(text: str) -> None:
    """Whichever rule a piece is read by."""
    assert WordTokenizer().tokens(text) == regex.findall(unicode_word_pattern(), text)


def test_a_model_keeps_its_rule() -> None:
    old = tokenizer_from({"name": "word"})
    assert old.describe() == {"name": "word"}
    assert old.tokens("l·l") == ["l", "·", "l"]
    assert tokenizer_from(WordTokenizer().describe()).tokens("l·l") == ["l·l"]
    for description in ({"name": "word", "rule": 3}, {"name": "word", "rule": 2, "more": 1}):
        with pytest.raises(ModelFileError, match="newer version"):
            tokenizer_from(description)
