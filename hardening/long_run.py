"""A long training beside other commands: memory stays flat, and every read sees a whole model.

    python -m hardening.long_run --minutes 30

A network is trained under the name of an existing model, with a checkpoint every five seconds.
Meanwhile that model is sampled, evaluated and checked, and an n-gram model in the same folder is
trained again and sampled. Memory is the training's own memory and its share of shared memory (PSS),
for all its processes, after the first two minutes. The program needs Linux.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from itertools import cycle
from pathlib import Path

from hardening.command import lm_process, started

TRAIN = ("train", "rnn", "--tokenizer", "char", "--name", "net", "-q")
UNTIL_THEN = ("--epochs", "1000000", "--patience", "0")  # it does not end before its minutes
READS = (
    ("sample", "net", "--max-tokens", "50"),
    ("eval", "net"),
    ("train", "ngram", "--name", "words", "-q"),
    ("sample", "words", "--max-tokens", "50"),
    ("check", "net"),
    ("models",),
)
WARM_UP = 120.0  # seconds, at most a quarter of the run
FLAT = 1.05


def memory_of(pid: int) -> int:
    """KiB of a process and its children."""
    total = 0
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            total += int(line.split()[1])
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return total + sum(memory_of(int(child)) for child in children)


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def run(folder: Path, minutes: float) -> int:
    """Prints the figures; 0 if memory was flat and no read failed."""
    assert lm_process(*TRAIN, "--minutes", "0.1", cwd=folder).done
    long = ("--minutes", minutes, *UNTIL_THEN, "--checkpoint-every", "5")
    training = started(*TRAIN, *long, cwd=folder, out=1, err=2)
    began, memory, reads, failures = time.monotonic(), [], 0, 0
    warm_up = min(WARM_UP, minutes * 60 / 4)
    for command in cycle(READS):
        read = lm_process(*command, cwd=folder)
        reads += 1
        if read.code:
            failures += 1
            say(f"lm {' '.join(command)}: {read.code}: {read.err.strip()}")
        if training.poll() is not None:
            break
        if time.monotonic() - began > warm_up:
            try:
                memory.append(memory_of(training.pid))
            except OSError:  # it has just ended
                continue
    third = max(1, len(memory) // 3)
    first, last = (statistics.median(part) for part in (memory[:third], memory[-third:]))
    say(
        f"{(time.monotonic() - began) / 60:.1f} minutes, exit code {training.returncode}; "
        f"{reads} commands beside it, {failures} failed; memory {first / 1024:.0f} MiB at first, "
        f"{last / 1024:.0f} MiB at last ({last / first:.3f}), at most {max(memory) / 1024:.0f}"
    )
    return int(bool(training.returncode or failures or last > FLAT * first))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return run(Path(folder), given.minutes)


if __name__ == "__main__":
    sys.exit(main())
