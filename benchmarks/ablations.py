"""What each part of a recipe is worth: a network by its recipe, and with one part changed.

All read the text as often, in one process, so the figures do not depend on the machine. Each change
is an option of `lm train`, so whoever doubts a row can type it.

    python -m benchmarks.ablations words-rnn --epochs 20
    python -m benchmarks.ablations words-rnn --epochs 20 --change "no weight drop=--weight-drop 0"
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measuring import ROOT, lm, process

TEXTS = ROOT.parent / "shared" / "corpora"
WORDS = "--tokenizer whitespace --lines"
TINY = "tinyshakespeare"
ENOUGH = "1000"  # minutes: for the recipe of a long training; the epochs end it


@dataclass(frozen=True)
class Subject:
    """A network, its texts below the folder of the corpora, and the changes of its recipe."""

    kind: str
    train: str
    valid: str
    reading: str
    changes: dict[str, str]


SUBJECTS = {
    "words-rnn": Subject(
        *("rnn", f"{TINY}/train.words.txt", f"{TINY}/valid.words.txt", WORDS),
        {
            "no weight drop": "--weight-drop 0",
            "smaller": "--hidden 192 --dropout 0.5 --weight-drop 0",
        },
    ),
    "words-ffnn": Subject(
        *("ffnn", f"{TINY}/train.words.txt", f"{TINY}/valid.words.txt", WORDS),
        {
            "not tied": "--untied --embed 100 --hidden 200 --dropout 0.4 --batch 128 --lr 0.001",
            "less dropout": "--dropout 0.4 --embed-dropout 0.5",
            "smaller": "--hidden 200 --dropout 0.5 --embed-dropout 0.5 --lr 0.003",
        },
    ),
    "characters-rnn": Subject(
        *("rnn", f"{TINY}/train.txt", f"{TINY}/valid.txt", "--tokenizer char"),
        {
            "no n-gram features": "--ngram-features 0",
            "dropout instead of weight drop": "--dropout 0.4 --weight-drop 0",
        },
    ),
}


@dataclass(frozen=True)
class Result:
    """What came of one training."""

    loss: float  # in nats a token, at the best validation
    epoch: float  # of that
    seconds: float


def trained(subject: Subject, texts: Path, epochs: str, change: str) -> Result:
    """Train once."""
    with tempfile.TemporaryDirectory() as folder:
        command = lm("train", subject.kind, texts / subject.train, "--valid", texts / subject.valid)
        command += [*shlex.split(subject.reading), "--minutes", ENOUGH, "--epochs", epochs]
        command += ["--threads", "1", "--models", folder, "-q", *shlex.split(change)]
        seconds = process(command).seconds
        history = Path(folder, f"{subject.kind}.history.jsonl").read_text("utf-8")
    best = min(map(json.loads, history.splitlines()), key=lambda row: row["valid_loss"])
    return Result(best["valid_loss"], best["epoch"], seconds)


def rows(
    subject: Subject, texts: Path, epochs: str, changes: dict[str, str]
) -> Iterator[tuple[str, str, Result]]:
    """The recipe itself, and each change: its name, its options, what came of it."""
    for name, change in {"the recipe": "", **changes}.items():
        yield name, change, trained(subject, texts, epochs, change)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ablations", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("subject", choices=SUBJECTS)
    parser.add_argument("--epochs", default="20", help="how often each reads the text")
    parser.add_argument(
        "--change", action="append", metavar="NAME=OPTIONS", help="these alone, not all"
    )
    parser.add_argument("--texts", type=Path, default=TEXTS, help="the folder of the corpora")
    given = parser.parse_args()
    subject = SUBJECTS[given.subject]
    changes = subject.changes
    if given.change:
        changes = dict(change.split("=", 1) for change in given.change)
    print("| change | options | nats | perplexity | best epoch | seconds |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, change, result in rows(subject, given.texts, given.epochs, changes):
        print(
            f"| {name} | `{change}` | {result.loss:.4f} | {math.exp(result.loss):.2f} "
            f"| {result.epoch:.1f} | {result.seconds:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
