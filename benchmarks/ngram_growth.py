"""N-gram training against the length of the text, ours and lmplz, for `growth`.

Each text is drawn by `synthetic_text`; every point is one training, a whole process.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from benchmarks.measuring import Cost, SkippedError
from benchmarks.ngram_large import Large, written

ORDER = 5
SIZES = (100_000, 300_000, *(10**6, 3 * 10**6), *(10**7, 3 * 10**7), *(10**8, 3 * 10**8))
SIZE = SIZE_LABEL = "tokens"
TICKS = False  # powers of ten will do
SECONDS, SECONDS_SCALE = "wall time (s)", 1
TITLE = "A 5-gram with modified Kneser-Ney, text file to saved model"
OURS, CAPPED, PEER = "lm train ngram", "lm train ngram --memory 1G", "lmplz -S 4G + build_binary"
PROGRAMS = (OURS, CAPPED, PEER)
HAS_FILES = True


def measure(tokens: int) -> Iterator[tuple[str, Cost]]:
    """Each program, and what it took."""
    with tempfile.TemporaryDirectory(prefix="lm-growth-") as name:
        folder = Path(name)
        large = Large(written(folder / "text.txt", tokens), folder, ORDER, None)
        programs = {
            OURS: large.ours,
            CAPPED: replace(large, memory="1G").ours,
            PEER: replace(large, memory="4G").peers,
        }
        for program, train in programs.items():
            try:
                yield program, train()
            except SkippedError as reason:
                print(f"{program}, {tokens:,} tokens: skipped: {reason}")
