"""A training step of an LSTM against the size of its hidden layer, ours and PyTorch, for `growth`.

65 characters, E 128, 64 sequences of 64 steps. Time is the least of three measurements, turn
about; memory is that of all processes of a training, interpreter and libraries with them: the most
that was seen in looking every few milliseconds during a measurement that is not timed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from benchmarks.alternating import seconds
from benchmarks.apart import Apart
from benchmarks.measuring import Cost, SkippedError, require
from benchmarks.neural_shapes import lstm
from benchmarks.neural_training import OURS, PEER

SIZES = (32, 64, 128, 256, 512, 1024)
SIZE, SIZE_LABEL = "hidden", "hidden size H"
TICKS = True
SECONDS, SECONDS_SCALE = "time of a training step (ms)", 1000
TITLE = "An LSTM of 65 characters, E = 128, 64 sequences of 64 steps"
NAMES = {"lmsuite": OURS, "PyTorch": PEER}
PROGRAMS = tuple(NAMES)
HAS_FILES = False
REPEATS = 3
LOOK_EVERY = 0.005  # seconds


def measure(hidden: int) -> Iterator[tuple[str, Cost]]:
    """Each program, and what a step took."""
    shape = lstm(hidden)
    with ExitStack() as stack:
        sides = {}
        for program, side in NAMES.items():
            try:
                if side == PEER:
                    require("torch")
                sides[program] = stack.enter_context(Apart(side, shape))
            except SkippedError as reason:
                print(f"{program}, H = {hidden}: skipped: {reason}")
        peaks = {program: peak_of(side) for program, side in sides.items()}
        times = [[seconds(side) for side in sides.values()] for _ in range(REPEATS)]
        for program, taken in zip(sides, zip(*times, strict=True), strict=True):
            yield program, Cost(min(taken) / shape.steps, peaks[program])


def peak_of(side: Apart) -> int:
    """The most memory of a side's processes during a run, in bytes."""
    done, most = threading.Event(), 0
    watched = threading.Thread(target=lambda: (side(), done.set()))
    watched.start()
    while not done.wait(LOOK_EVERY):
        most = max(most, memory_of(side.pid))
    watched.join()
    return most


def memory_of(process: int) -> int:
    """The bytes of a process and its descendants; pages that several share count once."""
    try:
        fields = Path(f"/proc/{process}/smaps_rollup").read_text("ascii").split()
        tasks = Path(f"/proc/{process}/task").iterdir()
        children = [child for task in tasks for child in (task / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(fields[fields.index("Pss:") + 1]) * 1024 + sum(map(memory_of, map(int, children)))
