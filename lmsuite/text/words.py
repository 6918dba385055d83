"""The tokenizer of words: what a reader takes for one, and each punctuation mark by itself."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

from lmsuite.text.tokenizer import Joiner, Tokenizer
from lmsuite.text.typesetting import Typesetter

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


class WordTokenizer(Tokenizer):
    """Words with inner apostrophes and hyphens, numbers, punctuation marks, newlines."""

    name = "word"
    lossless = False

    def __init__(self) -> None:
        self._find = re.compile(word_pattern()).findall

    def tokens(self, text: str) -> list[str]:
        found: list[str] = self._find(text)
        return found

    def cut_before(self, text: str, position: int) -> int:
        # No token holds a space, and no rule looks back beyond one.
        return max(text.rfind(" ", 0, position), text.rfind("\n", 0, position)) + 1

    def joiner(self) -> Joiner:
        return Typesetter()
