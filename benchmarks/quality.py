"""Nats a character on held-out text: a 7-gram, a recurrent network, and their mixture.

The weights of the mixture are tuned on the last twentieth of the training text, with members that
were not trained on it; the members that are mixed with those weights read the whole. Nothing is
chosen by the validation text. All of it is done by the commands that a user would type.

    python -m benchmarks.quality TRAIN VALID --minutes 1.2
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

HELD_OUT = 0.05
BLOCK = 256
MODELS = ("ngram", "rnn", "both")


def lm(*arguments: str | Path, folder: Path) -> str:
    command = [sys.executable, "-m", "lmsuite", *map(str, arguments), "--models", str(folder)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def train_both(text: Path, valid: str, minutes: str, folder: Path) -> None:
    """A 7-gram and a network of the characters of `text`, with the same validation split."""
    options = ["--tokenizer", "char", "--valid", valid, "-q"]
    lm("train", "ngram", text, "--n", "7", *options, folder=folder)
    lm("train", "rnn", text, "--minutes", minutes, *options, folder=folder)


def tuned_weights(text: Path, minutes: str, folder: Path) -> str:
    train_both(text, str(HELD_OUT), minutes, folder)
    lm("mix", "ngram", "rnn", "--name", "both", folder=folder)
    weights = json.loads(lm("info", "both", "--json", folder=folder))["training"]["weights"]
    return ",".join(str(weights[member]) for member in ("ngram", "rnn"))


def nats(valid: Path, folder: Path, *options: str) -> dict[str, float]:
    answer = lm("eval", *MODELS, "--text", valid, "--json", *options, folder=folder)
    return {row["model"]: row["cross_entropy"] for row in json.loads(answer)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("train", type=Path)
    parser.add_argument("valid", type=Path)
    parser.add_argument("--minutes", default="1.2", help="of each of the two network trainings")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        tuning, final = Path(name, "tuning"), Path(name, "final")
        weights = tuned_weights(arguments.train, arguments.minutes, tuning)
        train_both(arguments.train, "0", arguments.minutes, final)
        lm("mix", "ngram", "rnn", "--weights", weights, "--name", "both", folder=final)
        whole = nats(arguments.valid, final)
        blocks = nats(arguments.valid, final, "--block", str(BLOCK))
    print(f"weights of ngram, rnn: {weights}; {arguments.minutes} minutes a network\n")
    print(f"| model | nats a character | in blocks of {BLOCK} |\n| --- | --- | --- |")
    for model in MODELS:
        print(f"| {model} | {whole[model]:.4f} | {blocks[model]:.4f} |")


if __name__ == "__main__":
    main()
