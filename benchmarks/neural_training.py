"""Training throughput against PyTorch: the same model, batch, window, Adam and clipping.

    python -m benchmarks --only neural_training [--shape 'GRU V=65']

Both sides use all cores: PyTorch by its threads, this package by its processes. A measurement is
some updates, each forward, backward, clipping and Adam; each side has a process of its own.

The last rows hold the arithmetic of a training against what the machine can do: the rate of large
square products, by as many processes of one BLAS thread as there are cores, or by one process of
as many threads, whichever is more. What is counted are multiply-adds of matrix products, for a
token 4HH + HV forward and twice that backward, and nothing of what else ours multiplies: the
inputs' part, 4HE, is formed once for each character instead of for each token. The row after that
counts it as the equations have it, which is what PyTorch has to do; so it can pass 1.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

import numpy as np

from benchmarks.alternating import compare, seconds
from benchmarks.apart import Apart
from benchmarks.measuring import Options, Row, rate_row, require
from benchmarks.neural_shapes import BATCHES, CLIP, RATE, SHAPES, Shape, lstm
from lmsuite.executors.cores import available_cores
from lmsuite.models.feedforward import FeedForward, FeedForwardSettings
from lmsuite.models.neural import NeuralModel
from lmsuite.models.recurrent import Recurrent
from lmsuite.text.encoding import TextEncoder, TextSettings
from lmsuite.training.engine import Engine, Update
from lmsuite.training.loop import make_batches
from lmsuite.training.settings import TrainingSettings

OURS, PEER = "benchmarks.neural_training:our_training", "benchmarks.torch_peers:training"
SGEMM = "benchmarks.neural_training:sgemm"
SQUARES = (512, 1024, 2048)
"""Sizes of the matrices whose products are tried; those of the fastest are timed."""
PRODUCTS = 4
"""How many of the largest are timed, or as much of others."""


def rows(options: Options) -> Iterator[Row]:
    """A row a shape, in tokens a second; their mean; the share of the machine's peak."""
    require("torch")
    shapes = [shape for shape in SHAPES if options.shape in shape.name]
    found = []
    for shape in shapes[:1] if options.quick else shapes:
        with Apart(OURS, shape) as ours, Apart(PEER, shape) as peer:
            work = f"train: {shape.name}"
            compared = compare(work, "PyTorch", ours, peer, repeats=options.repeats)
        again = f"python -m benchmarks --only neural_training --shape '{shape.name}'"
        tokens = shape.steps * shape.tokens
        found.append(rate_row(compared, tokens, "tokens/s", reach=1.2, commands=(again,)))
        yield found[-1]
    if len(found) > 1:
        yield mean_row(found)
    largest = lstm(512)
    if largest in shapes and not options.quick:
        yield from _share_of_peak(largest, options.repeats)


def mean_row(found: list[Row]) -> Row:
    """The geometric mean of the ratios."""
    mean = statistics.geometric_mean([row.ratio for row in found if row.ratio is not None])
    work = f"train: geometric mean of these {len(found)} ratios"
    return Row(work, "", "", (mean,), reach=1.7, more_is_better=True)


def our_training(shape: Shape) -> Iterator[int]:
    """Ours, the side of a comparison: `shape.steps` updates a run. It tells its processes."""
    with our_engine(shape) as engine:
        while True:
            yield engine.processes
            for step in range(shape.steps):
                engine.step(Update(step % BATCHES, 0, step + 1, RATE))


def our_engine(shape: Shape) -> Engine:
    """Ours, on random text of as many tokens as the vocabulary needs."""
    rng = np.random.default_rng(1)
    words = [f"w{i}" for i in range(shape.vocabulary - 3)]
    encoder, _ = TextEncoder.train(" ".join(words), TextSettings(tokenizer="whitespace"))
    ids = shape.ids(rng, 2 * BATCHES * shape.tokens).astype(np.int32)
    ids[ids < 3] = shape.vocabulary - 1  # such a text has no special tokens
    kind: type[NeuralModel] = (
        FeedForward if isinstance(shape.settings, FeedForwardSettings) else Recurrent
    )
    settings = TrainingSettings(
        epochs=1,
        minutes=None,
        batch=shape.batch,
        bptt=shape.bptt,
        learning_rate=RATE,
        clip=CLIP,
        threads=shape.processes or available_cores(),
    )
    model = kind.initial(encoder, shape.settings, rng)
    return Engine(model, make_batches(model, ids, settings), settings, [])


def _share_of_peak(shape: Shape, repeats: int) -> Iterator[Row]:
    """Our operations a second, over those of the machine's products, turn about."""
    cores = available_cores()
    with ExitStack() as stack:
        training = stack.enter_context(Apart(OURS, shape))
        threaded = stack.enter_context(Apart(SGEMM, cores))
        crew = [stack.enter_context(Apart(SGEMM, 1)) for _ in range(cores)]

        def together() -> None:
            for member in crew:
                member.begin()
            for member in crew:
                member.finish()

        sides = (training, threaded, together)
        times = [[seconds(side) for side in sides] for _ in range(1 + repeats)][1:]
    trained, by_threads, by_processes = zip(*times, strict=True)
    products = 2.0 * PRODUCTS * SQUARES[-1] ** 3
    peaks = {
        f"{cores} BLAS threads": [products / taken for taken in by_threads],
        f"{cores} processes of one BLAS thread": [cores * products / t for t in by_processes],
    }
    name, peak = max(peaks.items(), key=lambda item: statistics.median(item[1]))
    flops = shape.flops(of_inputs=False)
    row = Row(
        f"train: {shape.name}: arithmetic, without the inputs' part",
        f"sgemm, {name}",
        "GFLOP/s",
        tuple(shape.steps * flops / taken / 1e9 for taken in trained),
        tuple(rate / 1e9 for rate in peak),
        reach=0.7,
        more_is_better=True,
        facts={"peaks": peaks, "matrices": [threaded.about, crew[0].about]},
    )
    yield row
    whole = tuple(rate * shape.flops() / flops for rate in row.ours)
    yield replace(row, work="the same with the inputs' part", ours=whole, reach=None)


def sgemm(threads: int) -> Iterator[int]:
    """Large products of the size with the best rate, the side of a comparison; says the size."""
    from threadpoolctl import threadpool_limits

    rng = np.random.default_rng(1)

    def multiply(size: int) -> None:
        a, b, product = matrices[size]
        for _ in range(PRODUCTS * (SQUARES[-1] // size) ** 3):
            np.matmul(a, b, out=product)

    with threadpool_limits(threads, user_api="blas"):
        matrices = {size: rng.random((3, size, size), dtype=np.float32) for size in SQUARES}
        times = {size: min(seconds(partial(multiply, size)) for _ in range(2)) for size in SQUARES}
        best = min(times, key=times.__getitem__)
        while True:
            yield best
            multiply(best)
