"""The tokenizer of words: what a reader takes for one, and each punctuation mark by itself."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import cache
from typing import Any

from lmsuite.text.tokenizer import Joiner, Tokenizer
from lmsuite.text.typesetting import Typesetter

RULES = (1, 2)
"""The rules for what a token is, the oldest first; a model keeps that which it was trained with."""

# Words that begin with an apostrophe. At any other word it is a quotation mark.
_ELISIONS = (
    "bout|cause|d|em|er|fore|gainst|gins?|im|ld|ll|longs?|m|mid|midst|mong|mongst|n['’]|neath|"
    "pon|prentice[ds]?|re|s|sblood|scape[ds]?|sdeath|st|stead|swounds|t|til|till|tis|tisn['’]t|"
    "twas|tween|twere|twill|twixt|twould|un|ve|zounds|\\d\\ds?"
)


@cache
def word_pattern() -> str:
    """The regular expression whose matches, from left to right, are the tokens.

    NLTK's ``RegexpTokenizer`` given this pattern makes the same tokens (of characters on whose
    class its engine and `re` agree); the pattern is applied by `re` itself because importing NLTK
    takes a quarter of a second. Nothing but white space is left between the matches.
    """
    # Vowel signs and accents that are characters of their own; `re` has no class for them.
    marks = "".join(
        chr(point)
        for block in (range(0x300, 0x3100), range(0xA600, 0xAC00))
        for point in block
        if unicodedata.category(chr(point)).startswith("M")
    )
    letters = rf"[^\W_]+(?:[{marks}]+[^\W_]*)*"
    return "|".join(
        (
            r"\n",
            rf"['’](?i:{_ELISIONS})(?!\w)",  # 'tis, 'em, the '90s
            r"(?:[^\W\d_]\.){2,}",  # e.g., U.S.
            # salt-pans, don't, 3,000.5, 10:30; and the apostrophe that ends lords' and o'
            rf"{letters}(?:(?:['’_-]|[.,:](?<=\d.)(?=\d)){letters})*"
            r"(?:['’](?!\w)(?:(?<=[sS].)|(?<=ce.)|(?<=\b[AIOTYaioty].)|(?<=\b(?:th|ha|wi|gi|an).)))?",
            r"&[cC](?!\w)",
            r"-{2,}",
            r"\.{2,}",
            r"\S",
        )
    )


# What a word's own characters may be followed by without a break (UAX #29, WB4): combining marks,
# joiners and non-joiners, variation selectors, soft hyphens, skin tones, tags.
_EXTENDING = r"[\p{WB=Extend}\p{WB=Format}\p{WB=ZWJ}]"
_MID_LETTERS = "\u00b7\u0387\u055f\u05f4\u2027"  # UAX #29 MidLetter, but for the colons
_MID_NUMBERS = "\u066b\u066c"  # the Arabic decimal and thousands separators

# Characters of which the first rule already makes the tokens of the second: those of Latin, Greek,
# Cyrillic, Korean, Chinese and Japanese texts, but for the ones that extend or join others.
_USUAL = (
    "\\0-\xac\xae-\xb6\xb8-\u02ff\u0370-\u0386\u0388-\u03ff\u0400-\u0482\u048a-\u052f"
    "\u2010-\u2026\u2030-\u205e\u3000-\u3029\u3041-\u3096\u309b-\u30ff\u4e00-\u9fff\uac00-\ud7a3\uff01-\uff9d"
)


@cache
def unicode_word_pattern() -> str:
    """The tokens that `word_pattern` makes, but never torn where Unicode holds text together.

    For the engine `regex`. UAX #29 with these differences, on purpose: a hyphen within a word joins
    as an apostrophe does, a colon joins digits alone; an underscore joins only between letters;
    dashes and dots in a row are one token; runs of Chinese or Japanese characters are one
    token, for where their words end no rule says; white space is left out, newlines stay.
    """
    extending = _EXTENDING
    character = rf"[[\p{{Alphabetic}}\p{{N}}]--{extending}]"
    word = r"[\p{Alphabetic}\p{N}\p{M}_]"
    emoji = rf"\p{{Extended_Pictographic}}{extending}*"
    joined = rf"(?:(?<=\u200d){emoji})*"  # WB3c
    letters = rf"(?:{character}{extending}*)+{joined}"
    hebrew = r"\p{Script=Hebrew}"
    return "(?V1)" + "|".join(
        (
            r"\n",
            rf"['’](?i:{_ELISIONS})(?!{word})",
            rf"(?:[{character}--\d]{extending}*\.){{2,}}",
            rf"{letters}(?:(?:['’_\-]{extending}*|[{_MID_LETTERS}]{extending}*"  # WB6, WB7
            rf"|[.,:{_MID_NUMBERS}](?<=\d{extending}*.){extending}*(?=\d)"  # WB11, WB12
            rf"|\"(?<={hebrew}{extending}*\")(?={hebrew})){letters})*"  # WB7b, WB7c
            rf"(?:['’](?!{word})(?:(?<=[sS].)|(?<=ce.)|(?<=(?<!{word})[AIOTYaioty].)"
            rf"|(?<=(?<!{word})(?:th|ha|wi|gi|an).)|(?<={hebrew}{extending}*.)){extending}*)?",
            rf"&[cC](?!{word})",
            r"-{2,}",
            r"\.{2,}",
            rf"\p{{Regional_Indicator}}{extending}*\p{{Regional_Indicator}}{extending}*",  # WB15
            rf"[^\s\x1c-\x1f]{extending}*{joined}",
        )
    )


class WordTokenizer(Tokenizer):
    """Words with inner apostrophes and hyphens, numbers, punctuation marks, newlines.

    Models of version 0.1 were trained with rule 1 (`word_pattern`) and keep it. Rule 2
    (`unicode_word_pattern`) makes the same tokens of text in the usual characters of Latin, Greek,
    Cyrillic and East Asian scripts, and does not tear those of others, nor emoji.
    """

    name = "word"
    lossless = False

    def __init__(self, rule: int = RULES[-1]) -> None:
        self.rule = rule
        self._find = re.compile(word_pattern()).findall
        self._unusual = re.compile(f"[^{_USUAL}]").search

    def tokens(self, text: str) -> list[str]:
        find: Callable[[str], list[str]] = self._find
        if self.rule == 2 and not text.isascii() and self._unusual(text):
            find = _unicode_find()
        return find(text)

    def cut_before(self, text: str, position: int) -> int:
        # No token holds a space, and no rule looks back beyond one.
        return max(text.rfind(" ", 0, position), text.rfind("\n", 0, position)) + 1

    def joiner(self) -> Joiner:
        return Typesetter()

    @property
    def title(self) -> str:
        return self.name if self.rule == RULES[-1] else f"{self.name}, by the rule of version 0.1"

    def describe(self) -> dict[str, Any]:
        description = super().describe()
        return description if self.rule == 1 else description | {"rule": self.rule}


@cache
def _unicode_find() -> Callable[[str], list[str]]:
    import regex  # a fiftieth of a second, which most texts need not wait for

    find: Callable[[str], list[str]] = regex.compile(unicode_word_pattern()).findall
    return find
