"""Training throughput against PyTorch: the same model, batch, window, Adam and clipping.

    python -m benchmarks --only neural_training [--shape 'LSTM V=65']

Both sides use all cores: PyTorch by its threads, this package by its processes. A measurement is
some updates, each forward, backward, clipping and Adam; each side has a process of its own.

The last rows hold the arithmetic of a training against what the machine can do: the rate of large
square products, by as many processes of one BLAS thread as there are cores, or by one process of
as many threads, whichever is more. What is counted are the multiply-adds of the *model's*
equations, 4H(E + H) + HV a token forward and twice that backward (`neural_shapes`), which PyTorch
needs as well. Ours forms the inputs' part once for each character instead of for each token, so
the row after that leaves 4HE out.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import numpy as np

from benchmarks.alternating import compare, seconds
from benchmarks.apart import Apart
from benchmarks.measuring import Options, Row, rate_row, require
from benchmarks.neural_shapes import CLIP, RATE, SHAPES, Shape, lstm
from lmsuite.models.feedforward import FeedForward, FeedForwardSettings
from lmsuite.models.neural import NeuralModel
from lmsuite.models.recurrent import Recurrent
from lmsuite.text.encoding import TextEncoder, TextSettings
from lmsuite.training.engine import Engine, Order
from lmsuite.training.loop import make_batches
from lmsuite.training.settings import TrainingSettings
from lmsuite.training.workers import available_cores

OURS, PEER = "benchmarks.neural_training:our_training", "benchmarks.torch_peers:training"
SGEMM = "benchmarks.neural_training:sgemm"
SQUARE = 2048
PRODUCTS = 8
"""The products of SQUARE by SQUARE matrices that are timed."""


def rows(options: Options) -> Iterator[Row]:
    """A row a shape, in tokens a second; their mean; the share of the machine's peak."""
    require("torch")
    shapes = [shape for shape in SHAPES if options.shape in shape.name]
    found = []
    for shape in shapes[:1] if options.quick else shapes:
        with Apart(OURS, shape) as ours, Apart(PEER, shape) as peer:
            work = f"train: {shape.name}"
            compared = compare(work, "PyTorch", ours, peer, repeats=options.repeats)
        found.append(rate_row(compared, shape.steps * shape.tokens, "tokens/s", reach=1.2))
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


def our_training(shape: Shape) -> Iterator[None]:
    """Ours, the side of a comparison: `shape.steps` updates a run."""
    with our_engine(shape) as engine:
        while True:
            yield
            for step in range(shape.steps):
                engine.step(Order(step, 0, step + 1, RATE))


def our_engine(shape: Shape) -> Engine:
    """Ours, on random text of as many tokens as the vocabulary needs."""
    rng = np.random.default_rng(1)
    words = [f"w{i}" for i in range(shape.vocabulary - 3)]
    drawn = rng.integers(len(words), size=2 * shape.steps * shape.tokens)
    text = " ".join(words + [words[i] for i in drawn])
    encoder, ids = TextEncoder.train(text, TextSettings(tokenizer="whitespace"))
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
        threads=available_cores(),
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
    product = 2.0 * SQUARE**3 * PRODUCTS
    peaks = {
        f"{cores} BLAS threads": [product / taken for taken in by_threads],
        f"{cores} processes of one BLAS thread": [cores * product / t for t in by_processes],
    }
    name, peak = max(peaks.items(), key=lambda item: statistics.median(item[1]))
    row = Row(
        f"train: {shape.name}: arithmetic of the model",
        f"sgemm {SQUARE} x {SQUARE}, {name}",
        "GFLOP/s",
        tuple(shape.steps * shape.flops() / taken / 1e9 for taken in trained),
        tuple(rate / 1e9 for rate in peak),
        reach=0.7,
        more_is_better=True,
        facts={"peaks": peaks},
    )
    yield row
    share = shape.flops(of_inputs=False) / shape.flops()
    rest = tuple(rate * share for rate in row.ours)
    yield replace(row, work="the same without the inputs' products", ours=rest, reach=None)


def sgemm(threads: int) -> Iterator[None]:
    """Large products, the side of a comparison."""
    from threadpoolctl import threadpool_limits

    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((2, SQUARE, SQUARE), dtype=np.float32)
    product = np.empty_like(a)
    with threadpool_limits(threads, user_api="blas"):
        while True:
            yield
            for _ in range(PRODUCTS):
                np.matmul(a, b, out=product)
