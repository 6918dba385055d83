"""How an estimation is cut into parts, for a given amount of memory."""

from __future__ import annotations

from dataclasses import dataclass

from lmsuite.errors import UsageError
from lmsuite.ngram.memory import resident_bytes, with_unit
from lmsuite.ngram.packing import Packing

_IN_CACHE = 1 << 20  # n-grams that are worked on fast: larger parts save no time
_MOST_PARTS = 1 << 10  # but every range reads from every block and from every range
_FEWEST = 1 << 16  # n-grams that a part may be limited to
_MOST_RANGES = 1 << 15  # numbers of ranges have 16 bits
_BYTES_A_WORD = 100  # of the vocabulary
_BYTES_AN_NGRAM = 150  # for a block or a range while it is worked on
_BYTES_A_COLUMN = 24  # more, for each column of keys


@dataclass(frozen=True)
class Plan:
    """How the work is cut."""

    workers: int
    """Processes that share the work."""
    part: int
    """Positions of a block, and n-grams of a range."""


def planned(
    memory: int, tokens: int, packing: Packing, threads: int, least_workers: int = 1
) -> Plan:
    """The plan for so much memory, in bytes; it may have fewer workers than threads.

    Raises:
        UsageError: the memory is too little for this text.
    """
    resident = resident_bytes()
    of_words = _BYTES_A_WORD * packing.vocabulary_size
    of_ngram = _BYTES_AN_NGRAM + _BYTES_A_COLUMN * len(packing.words_of_column)
    fewest = max(_FEWEST, tokens // _MOST_RANGES)
    for workers in range(threads, least_workers - 1, -1):
        processes = workers + 1 if workers > 1 else 1  # each has what this process has now
        left = memory - of_words - resident * processes
        ngrams = left // (of_ngram * workers)
        if ngrams >= fewest:
            part = min(ngrams, max(_IN_CACHE, tokens // _MOST_PARTS))
            return Plan(workers, part)
    processes = least_workers + 1 if least_workers > 1 else 1
    least = resident * processes + of_words + fewest * of_ngram * least_workers
    raise UsageError(
        f"{{memory}} {with_unit(memory)} is too little for a text of {tokens:,} tokens; "
        f"give {with_unit(least)} or more",
        "memory",
        value=memory,
    )
