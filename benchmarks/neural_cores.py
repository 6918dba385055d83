"""Training by the number of processes, against PyTorch at as many threads.

    python -m benchmarks --only neural_cores [--shape 'LSTM V=65']

For each network: 1, 2, 4, 8, 16 processes, as far as the machine has cores. `crew_size` may start
fewer than are allowed; what a side says when it is ready is how many it started. The last row of a
network compares the best of both, and one says whether two processes are slower than one.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

from benchmarks.alternating import seconds
from benchmarks.apart import Apart
from benchmarks.measuring import Options, Row, require
from benchmarks.neural_shapes import MANY_CORES
from benchmarks.neural_training import OURS, PEER
from lmsuite.executors.cores import available_cores

COUNTS = (1, 2, 4, 8, 16)
NEVER_SLOWER = 0.97
"""Of two processes over one: as much as two measurements of the same may differ."""


def rows(options: Options) -> Iterator[Row]:
    """A row for each network and number of processes, in tokens a second; then the best."""
    require("torch")
    shapes = [shape for shape in MANY_CORES if options.shape in shape.name]
    counts = [count for count in COUNTS if count <= available_cores()]
    for shape in shapes[:1] if options.quick else shapes:
        with ExitStack() as stack:
            sides = [
                stack.enter_context(Apart(side, replace(shape, processes=count)))
                for side in (OURS, PEER)
                for count in counts
            ]
            tokens = shape.steps * shape.tokens
            turns = [[tokens / seconds(side) for side in sides] for _ in range(1 + options.repeats)]
        rates = list(zip(*turns[1:], strict=True))
        ours, theirs = rates[: len(counts)], rates[len(counts) :]
        again = f"python -m benchmarks --only neural_cores --shape '{shape.name}'"
        work = f"train: {shape.name}"
        for count, side, mine, peers in zip(counts, sides, ours, theirs, strict=False):
            name = f"{work}: {count} allowed, {side.about} started"
            yield Row(
                name, f"PyTorch, {count} threads", "tokens/s", mine, peers, more_is_better=True
            )
        best, best_peer = (max(each, key=statistics.median) for each in (ours, theirs))
        common = {"more_is_better": True, "commands": (again,)}
        yield Row(
            f"{work}: best", "PyTorch, best", "tokens/s", best, best_peer, reach=1.0, **common
        )  # type: ignore[arg-type]
        if len(counts) > 1:
            yield Row(
                f"{work}: two processes",
                "one",
                "tokens/s",
                *(ours[1], ours[0]),
                reach=NEVER_SLOWER,
                **common,
            )  # type: ignore[arg-type]
