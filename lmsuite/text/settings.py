"""How text is to become ids: the choices, without what carries them out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lmsuite.settings import check, setting

TOKENIZERS = ("char", "word", "whitespace", "treebank", "bpe")
SPECIAL_TOKENS = 3  # <unk>, <s>, </s>
BYTES = 256  # that bpe begins with


class Boundaries(StrEnum):
    """What a sequence is, and so what a line end is."""

    STREAM = "stream"
    """The whole text is one sequence without end; a newline is a token like any other."""

    LINES = "lines"
    """Every line is a sequence of its own, between ``<s>`` and ``</s>``."""


@dataclass(frozen=True)
class TextSettings:
    """How text is to become ids.

    Raises:
        UsageError: a setting is out of bounds or none of its choices.
    """

    tokenizer: str = setting("word", choices=TOKENIZERS, help="What a token is.")
    boundaries: Boundaries = setting(
        Boundaries.STREAM,
        option="--lines/--stream",
        help="Every line is a sequence of its own, or the whole text is one.",
    )
    min_count: int = setting(1, minimum=1, help="Rarer tokens become <unk>.")
    max_vocab: int | None = setting(
        None,
        minimum=SPECIAL_TOKENS + 1,
        shown="all",
        help="Keep so many tokens, the most frequent ones, specials included.",
    )
    vocab: str | None = setting(
        None,
        metavar="FILE",
        shown=False,
        help="Take the vocabulary from a file, one token a line.",
    )
    """The newline token, which is not usually listed, is added in STREAM mode, and left out in
    LINES mode."""
    bpe_size: int = setting(
        2000,
        minimum=BYTES,
        help="How many tokens `bpe` learns from the text, the single bytes included.",
    )

    def __post_init__(self) -> None:
        check(self)
