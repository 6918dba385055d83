"""The trained networks that are sampled from and evaluated, made by ``lm train rnn``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.measuring import Options, lm, process, shown_command

EMBED = 128
MINUTES = 0.1
TRAINING, HELD_OUT = "tinyshakespeare/train.txt", "tinyshakespeare/valid.txt"


@dataclass(frozen=True)
class Trained:
    """An LSTM of characters, 65 and the three special tokens."""

    path: Path
    command: str
    """How it was made."""


def trained(options: Options, hidden: int, *, lines: bool = False) -> Trained:
    """The network of this size, trained for a few seconds the first time it is asked for."""
    folder, name = options.folder / "networks", f"lstm-{hidden}{'-lines' if lines else ''}"
    text, boundaries = options.text(TRAINING), "--lines" if lines else "--stream"
    command = [
        *lm("train", "rnn", text, "--tokenizer", "char", boundaries, "--valid", "0"),
        *("--hidden", str(hidden), "--embed", str(EMBED), "--minutes", str(MINUTES)),
        *("--models", folder, "--name", name, "-q"),
    ]
    path = folder / f"{name}.safetensors"
    if not path.exists():
        process(command)
    return Trained(path, shown_command(command))
