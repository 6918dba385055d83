"""Scoring with a saved word 5-gram against the module `kenlm`: in-process, and a whole process.

python -m benchmarks --only ngram_scoring
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.alternating import compare
from benchmarks.measuring import (
    Options,
    Row,
    lm,
    process,
    rate_row,
    require,
    shown_command,
    turn_about,
)
from benchmarks.ngram_training import TINY, Contest

ONE_LINE = """\
import sys, kenlm
model = kenlm.Model(sys.argv[1])
print(model.score(open(sys.argv[2]).readline().strip()))
"""
OUR_LINE = """\
import sys
from lmsuite.mapped_ngram import MappedNgram
model = MappedNgram(sys.argv[1])
print(sum(model.score(open(sys.argv[2]).readline().split())))
"""


def rows(options: Options) -> Iterator[Row]:
    """In-process scoring, and loading a model to score one line."""
    require("kenlm")
    contest = Contest(options.text(TINY), options.folder, memory="2G")
    contest.costs(1)
    valid = options.text("tinyshakespeare/valid.words.txt")
    yield from _one_line(contest, valid, options)
    yield _in_process(contest, valid)


def _one_line(contest: Contest, valid: Path, options: Options) -> Iterator[Row]:
    """With the reader that is made for it, and with ``lm score``."""
    line = options.folder / "line.txt"
    line.write_text(valid.read_text("utf-8").partition("\n")[0] + "\n", "utf-8")
    with_kenlm, with_mapped = (
        options.folder / f"score_with_{name}.py" for name in ("kenlm", "mapped_ngram")
    )
    with_kenlm.write_text(ONE_LINE, "utf-8")
    with_mapped.write_text(OUR_LINE, "utf-8")
    theirs: list[str | Path] = [sys.executable, with_kenlm, contest.trie, line]
    mapped: list[str | Path] = [sys.executable, with_mapped, contest.ours, line]
    for name, ours, reach in (
        ("lmsuite.mapped_ngram", mapped, 2.0),
        ("lm score", lm("score", contest.ours, line), None),
    ):
        turn_about(lambda ours=ours: process(ours), lambda: process(theirs), 2)
        mine, peer = turn_about(
            lambda ours=ours: process(ours), lambda: process(theirs), 4 * options.repeats
        )
        yield Row(
            f"load the saved 5-gram and score one line, whole process: {name}",
            "python with kenlm on its trie",
            "s",
            tuple(cost.seconds for cost in mine),
            tuple(cost.seconds for cost in peer),
            reach,
            commands=(shown_command(ours), shown_command(theirs)),
        )


def _in_process(contest: Contest, valid: Path) -> Row:
    import kenlm

    from lmsuite.store.artefact import load_model

    model = load_model(contest.ours)
    peer = kenlm.Model(str(contest.trie))
    text = valid.read_text("utf-8")
    ids, lines = model.encoder.encode(text), text.splitlines()
    for _ in range(100):  # until looking up by hash table pays in every order
        model.score(ids)
    found = compare(
        "score held-out text in-process, 5-gram",
        "kenlm full_scores",
        lambda: model.score(ids),
        lambda: [score for line in lines for score in peer.full_scores(line)],
        repeats=15,
    )
    return rate_row(found, len(model.score(ids)), "tokens/s", reach=2.0)
