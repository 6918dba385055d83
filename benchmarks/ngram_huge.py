"""The rows of `ngram_large` for 300 million words and order 5; once each, for it takes long."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.measuring import Options, Row
from benchmarks.ngram_large import QUICK_MANY, Large, written

HUGE = 300_000_000


def rows(options: Options) -> Iterator[Row]:
    """Time, memory and temporary files."""
    words = QUICK_MANY if options.quick else HUGE
    text = written(options.folder / "huge.txt", words)
    huge = Large(text, options.folder, 5, "4G")
    yield from huge.rows(f"{words / 1e6:g} M words, order 5, --memory 4G", 0.6, 1, 4.0)
