"""Texts that are better not held in memory: encoded, evaluated, scored; time and peak memory.

The memory is that of all processes together. The peer of the encoding is what is usually typed to
count the words of a file, ``Counter(text.split())``: it finds the types, but no ids, and holds the
text. `python -m benchmarks --only long_texts` takes a quarter of an hour.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measuring import Cost, Options, Row, lm, process, shown_command, turn_about
from benchmarks.synthetic_text import write_text

_ENCODE = """
import sys
from lmsuite.sources.corpus import read_corpus
from lmsuite.text.encoding import TextEncoder, TextSettings
path, tokenizer, boundaries = sys.argv[1:]
text = read_corpus(path).text
encoder, ids = TextEncoder.train(text, TextSettings(tokenizer, boundaries))
"""
_COUNT = """
import sys
from collections import Counter
print(len(Counter(open(sys.argv[1], encoding="utf-8").read().split())))
"""


def rows(options: Options) -> Iterator[Row]:
    """Rates in tokens a second, line ends included, and megabytes."""
    words = 3_000_000 if options.quick else 60_000_000
    text = options.folder / "long.txt"
    with text.open("wb") as stream:
        write_text(words, stream)
    data = text.read_bytes()
    tokens, size = len(data.split()) + data.count(b"\n"), f"{len(data) / 1e6:.0f} MB"
    del data
    repeats = 1 if options.quick else min(options.repeats, 3)
    peer = [sys.executable, "-c", _COUNT, text]
    for tokenizer, rate in (("whitespace", 20e6), ("word", 4e6)):
        ours = [sys.executable, "-c", _ENCODE, text, tokenizer, "lines"]
        costs, peers = turn_about(lambda ours=ours: process(ours), lambda: process(peer), repeats)
        work = f"types and ids of {size}, {tokenizer}"
        yield _rates(work, "Counter(text.split())", tokens, costs, peers, rate)
        yield _memory(work, "Counter(text.split())", costs, peers, 300)
    yield from _reading_with_a_model(options, text, size, tokens, repeats)


def _reading_with_a_model(
    options: Options, text: Path, size: str, tokens: int, repeats: int
) -> Iterator[Row]:
    models = options.folder / "models"
    train = lm("train", "ngram", "play", "--lines", "--tokenizer", "whitespace", "--n", "3")
    process([*train, "--models", models, "-q"])
    for command in (
        lm("eval", "ngram", "--text", text, "--models", models),
        lm("score", "ngram", text, "--models", models),
    ):
        costs = tuple(process(command) for _ in range(repeats))
        work = f"lm {command[3]} of {size}, 3-gram"
        yield Row(
            work,
            "",
            "tokens/s",
            tuple(tokens / cost.seconds for cost in costs),
            more_is_better=True,
            commands=(shown_command(command),),
        )
        yield _memory(work, "", costs, (), 500)


def _rates(
    work: str,
    peer: str,
    tokens: int,
    ours: tuple[Cost, ...],
    theirs: tuple[Cost, ...],
    wanted: float,
) -> Row:
    rates = tuple(tokens / cost.seconds for cost in ours)
    return Row(
        work,
        peer,
        "tokens/s",
        rates,
        tuple(tokens / cost.seconds for cost in theirs),
        more_is_better=True,
        remark=f"{statistics.median(rates) / wanted:.2f} of {wanted:,.0f}",
    )


def _memory(
    work: str, peer: str, ours: tuple[Cost, ...], theirs: tuple[Cost, ...], most: float
) -> Row:
    megabytes = tuple(cost.peak / 1e6 for cost in ours)
    beside = f"; {peer} {max(cost.peak for cost in theirs) / 1e6:.0f} MB" if theirs else ""
    return Row(f"{work}: peak memory", "", "MB", megabytes, reach=most, remark=beside)
