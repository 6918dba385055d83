"""How text is to become ids: the choices, without what carries them out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lmsuite.files.plain import DOCUMENT_END
from lmsuite.files.stored_text import Text, TextWriter, blocks
from lmsuite.settings import check, setting

TOKENIZERS = ("char", "word", "whitespace", "treebank", "bpe")
SPECIAL_TOKENS = 3  # <unk>, <s>, </s>
BYTES = 256  # that bpe begins with


class Boundaries(StrEnum):
    """What a text consists of, what a sequence is, and so what a line end is."""

    STREAM = "stream"
    """The whole text is one sequence without end; a newline is a token like any other."""

    LINES = "lines"
    """Every line is a sequence of its own, between ``<s>`` and ``</s>``."""

    DOCUMENTS = "documents"
    """Every document is a sequence of its own, between ``<s>`` and ``</s>``; a newline is a token
    like any other. In a text, `DOCUMENT_END` ends each document, as a line end does a line."""

    @property
    def has_sequences(self) -> bool:
        """Whether a text is cut into sequences, each between ``<s>`` and ``</s>``."""
        return self is not Boundaries.STREAM

    @property
    def unit(self) -> str:
        """What a text consists of: lines, of a stream too, or documents."""
        return "document" if self is Boundaries.DOCUMENTS else "line"

    @property
    def end(self) -> str:
        """The character that ends a unit."""
        return DOCUMENT_END if self is Boundaries.DOCUMENTS else "\n"

    def reads(self, documents: Text) -> Text:
        """A text of documents as it is read with these boundaries: else each ends as a line."""
        writer = TextWriter()
        for block in blocks(documents):
            writer.write(block.replace(DOCUMENT_END, self.end))
        return writer.text()


@dataclass(frozen=True)
class TextSettings:
    """How text is to become ids.

    Raises:
        UsageError: a setting is out of bounds or none of its choices.
    """

    tokenizer: str = setting("word", choices=TOKENIZERS, help="What a token is.")
    boundaries: Boundaries = setting(
        Boundaries.STREAM,
        option="--lines/--stream/--documents",
        help="Every line is a sequence of its own, or the whole text is one, or every document "
        "is one: a record, or a file of plain text.",
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
    """The newline token, which is not usually listed, is added, but left out in LINES mode."""
    bpe_size: int = setting(
        2000,
        minimum=BYTES,
        help="How many tokens `bpe` learns from the text, the single bytes included.",
    )
    backward: bool = setting(
        False, help="Read the text from right to left: each token is predicted from those after it."
    )

    def __post_init__(self) -> None:
        check(self)
