"""N-gram training against the length of the text, ours and lmplz, for `growth`.

Each text is drawn by `synthetic_text`; every point is one training, a whole process.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measuring import Cost, SkippedError
from benchmarks.ngram_training import Contest
from benchmarks.synthetic_text import write_text

SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000, 20_000_000)
SIZE = SIZE_LABEL = "tokens"
TICKS = False  # powers of ten will do
SECONDS, SECONDS_SCALE = "wall time (s)", 1
TITLE = "A 5-gram with modified Kneser-Ney, text file to saved model"
OURS, CAPPED, PEER = "lm train ngram", "lm train ngram --memory 1G", "lmplz -S 4G + build_binary"
PROGRAMS = (OURS, CAPPED, PEER)


def measure(tokens: int) -> Iterator[tuple[str, float, int]]:
    """Program, seconds and bytes."""
    with tempfile.TemporaryDirectory(prefix="lm-growth-") as name:
        folder = Path(name)
        text = folder / "text.txt"
        with text.open("wb") as stream:
            write_text(tokens, stream)
        contest = Contest(text, folder, memory="4G")
        programs = {
            OURS: contest.train_ours,
            CAPPED: lambda: contest.train_ours("--memory", "1G"),
            PEER: contest.train_peer,
        }
        for program, train in programs.items():
            try:
                cost: Cost = train()
            except SkippedError as reason:
                print(f"{program}, {tokens:,} tokens: skipped: {reason}")
            else:
                yield program, cost.seconds, cost.peak
