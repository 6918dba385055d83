"""How what a source holds is read as text: the choices, without what carries them out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lmsuite.settings import check, setting


class Format(StrEnum):
    """What a file holds."""

    TEXT = "text"
    """Plain text: one record, or several parted by a delimiter."""
    JSONL = "jsonl"
    """An object of JSON on every line, each a record."""
    CSV = "csv"
    """Fields parted by commas, perhaps in quotes; the first row names the columns."""
    TSV = "tsv"
    """Fields parted by tabs, never in quotes; the first row names the columns."""
    PARQUET = "parquet"
    """A table of Apache Parquet."""


class Errors(StrEnum):
    """What becomes of bytes that are no text in the encoding."""

    STRICT = "strict"
    """They are refused."""
    REPLACE = "replace"
    """Each becomes U+FFFD."""


@dataclass(frozen=True)
class ReadingSettings:
    """How what a source holds is read as text.

    Raises:
        UsageError: a setting is none of its choices.
    """

    format: Format | None = setting(
        None,
        shown="by the ending",
        help="What the files hold: plain text, a record on every line (jsonl), or a table of "
        "records (csv, tsv, parquet).",
    )
    field: str = setting("text", metavar="NAME", help="The field or column that is the text.")
    delimiter: str | None = setting(
        None,
        metavar="LINE",
        shown=False,
        help="Plain text has several records, with this line between them.",
    )
    encoding: str = setting("utf-8", metavar="NAME", help="How the bytes of the text are read.")
    errors: Errors = setting(
        Errors.STRICT, help="Bytes that are no text are refused, or replaced by U+FFFD."
    )
    skip_symbols: bool = setting(
        False, help="<s>, </s> and <unk> between white space are white space, as for lmplz."
    )

    def __post_init__(self) -> None:
        check(self)
