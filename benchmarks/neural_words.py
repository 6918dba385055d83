"""Training with a large vocabulary: our adaptive softmax against PyTorch's, and our full one.

    python -m benchmarks --only neural_words [--shape 'V=17000']

The ids are drawn by Zipf's law, as words are. PyTorch has `nn.AdaptiveLogSoftmaxWithLoss` with the
cut-offs that `lm train` chooses, the same batch, Adam and clipping. Ours, PyTorch's and our full
softmax take turns, a few updates at a time, so that what else the machine does falls on all alike.
They are measured twice: the time on all cores; and the processor's time of one process of one
thread, which other work on the machine changes little.
"""

from __future__ import annotations

import pkgutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from benchmarks.alternating import seconds
from benchmarks.apart import Apart
from benchmarks.measuring import Options, Row, require
from benchmarks.neural_shapes import WORDS, Shape
from benchmarks.neural_training import OURS, PEER

ONE_CORE = "benchmarks.neural_words:on_one_core"
TO_REACH = {17_000: 4.0, 50_000: 8.0}
"""Times faster than our full softmax, by the size of the vocabulary."""


def rows(options: Options) -> Iterator[Row]:
    """Four rows a shape, in tokens a second."""
    require("torch")
    shapes = [shape for shape in WORDS if options.shape in shape.name]
    for shape in shapes[:1] if options.quick else shapes:
        adaptive = shape.adaptive
        sides = [(OURS, adaptive), (PEER, adaptive), (OURS, shape)]
        tokens = [each.steps * each.tokens for _, each in sides]
        with ExitStack() as stack:
            together = [stack.enter_context(Apart(*side)) for side in sides]
            alone = [stack.enter_context(Apart(ONE_CORE, *side)) for side in sides]
            turns = [
                ([seconds(side) for side in together], [side() for side in alone])
                for _ in range(1 + options.repeats)
            ][1:]
        of_all_cores, of_one = zip(*turns, strict=True)
        again = f"python -m benchmarks --only neural_words --shape '{shape.name}'"
        common: dict[str, Any] = {"more_is_better": True, "commands": (again,)}
        cutoffs = ",".join(map(str, adaptive.settings.cutoffs))
        for what, taken in (("", of_all_cores), (", processor's time", of_one)):
            ours, peer, full = (
                tuple(count / time for time in times)
                for count, times in zip(tokens, zip(*taken, strict=True), strict=True)
            )
            work = f"train: {shape.name}, adaptive {cutoffs}{what}"
            yield Row(work, "PyTorch, adaptive", "tokens/s", ours, peer, reach=1.3, **common)
            reach = TO_REACH[shape.vocabulary]
            yield Row(work, "ours, full", "tokens/s", ours, full, reach=reach, **common)


def on_one_core(side: str, shape: Shape) -> Iterator[float]:
    """A side in one process of one thread; it tells the processor's seconds of each run."""
    work = pkgutil.resolve_name(side)(replace(shape, processes=1))
    next(work)
    taken = 0.0
    while True:
        yield taken
        begin = time.process_time()
        next(work)
        taken = time.process_time() - begin
