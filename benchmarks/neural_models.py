"""The trained networks that are sampled from and evaluated, made by ``lm train rnn``."""

from __future__ import annotations

from pathlib import Path

from benchmarks.measuring import Options, lm, process

EMBED = 128
MINUTES = 0.1
TRAINING, HELD_OUT = "tinyshakespeare/train.txt", "tinyshakespeare/valid.txt"


def trained(options: Options, hidden: int, *, lines: bool = False) -> Path:
    """The file of an LSTM of characters, trained for a few seconds the first time it is asked for.

    65 characters and the three special tokens are its vocabulary.
    """
    folder, name = options.folder / "networks", f"lstm-{hidden}{'-lines' if lines else ''}"
    path = folder / f"{name}.safetensors"
    if not path.exists():
        boundaries = "--lines" if lines else "--stream"
        sizes = ("--hidden", str(hidden), "--embed", str(EMBED))
        text = options.text(TRAINING)
        order = lm("train", "rnn", text, "--tokenizer", "char", boundaries, *sizes, "--valid", "0")
        process([*order, "--minutes", str(MINUTES), "--models", folder, "--name", name, "-q"])
    return path
