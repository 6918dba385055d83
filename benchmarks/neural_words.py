"""Training with a large vocabulary: our adaptive softmax against PyTorch's, and our full one.

    python -m benchmarks --only neural_words [--shape 'V=17000']

The ids are drawn by Zipf's law, as words are. PyTorch has `nn.AdaptiveLogSoftmaxWithLoss` with the
cut-offs that `lm train` chooses, the same batch, Adam and clipping. All three take turns, a few
updates at a time, so that what else the machine does falls on all alike.
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.alternating import seconds
from benchmarks.apart import Apart
from benchmarks.measuring import Options, Row, require
from benchmarks.neural_shapes import WORDS
from benchmarks.neural_training import OURS, PEER

TURNS = 3
"""Times as many turns as elsewhere, each as short."""
TO_REACH = {17_000: 4.0, 50_000: 8.0}
"""Times faster than our full softmax, by the size of the vocabulary."""


def rows(options: Options) -> Iterator[Row]:
    """Two rows a shape: against PyTorch, and against our full softmax, in tokens a second."""
    require("torch")
    shapes = [shape for shape in WORDS if options.shape in shape.name]
    for shape in shapes[:1] if options.quick else shapes:
        adaptive = shape.adaptive
        with (
            Apart(OURS, adaptive) as ours,
            Apart(PEER, adaptive) as peer,
            Apart(OURS, shape) as full,
        ):
            sides = ((ours, adaptive), (peer, adaptive), (full, shape))
            rates = [
                [side.steps * side.tokens / seconds(run) for run, side in sides]
                for _ in range(1 + TURNS * options.repeats)
            ][1:]
        mine, theirs, by_full = zip(*rates, strict=True)
        cutoffs = ",".join(map(str, adaptive.settings.cutoffs))
        again = f"python -m benchmarks --only neural_words --shape '{shape.name}'"
        work = f"train: {shape.name}, adaptive {cutoffs}"
        common = {"more_is_better": True, "commands": (again,)}
        yield Row(work, "PyTorch, adaptive", "tokens/s", mine, theirs, reach=1.3, **common)  # type: ignore[arg-type]
        reach = TO_REACH[shape.vocabulary]
        yield Row(work, "ours, full", "tokens/s", mine, by_full, reach=reach, **common)  # type: ignore[arg-type]
