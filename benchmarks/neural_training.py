"""Training throughput against PyTorch: the same model, batch, window, Adam and clipping.

Run with PyTorch 2.13 installed, on an otherwise idle machine:

    python -m benchmarks.neural_training [--repeats 7] [--only lstm]

Both sides use all cores: PyTorch by its threads, this package by its processes. A measurement is
`STEPS` updates, forward, backward, clipping and Adam, turn about after one that does not count.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from benchmarks.alternating import MARKDOWN_HEAD, compare
from benchmarks.measuring import Options, Row, rate_row
from lmsuite.models.feedforward import FeedForward, FeedForwardSettings
from lmsuite.models.neural import NeuralModel
from lmsuite.models.recurrent import Recurrent, RecurrentSettings
from lmsuite.text.encoding import TextEncoder, TextSettings
from lmsuite.training.engine import Engine, Order
from lmsuite.training.loop import make_batches
from lmsuite.training.settings import TrainingSettings
from lmsuite.training.workers import available_cores

STEPS = 10
CLIP = 0.5
RATE = 0.001


@dataclass(frozen=True)
class Shape:
    """A network and its batch."""

    settings: RecurrentSettings | FeedForwardSettings
    vocabulary: int
    batch: int
    bptt: int = 1

    @property
    def name(self) -> str:
        if isinstance(self.settings, FeedForwardSettings):
            return f"feed-forward h={self.settings.hidden[0]} V={self.vocabulary} B={self.batch}"
        cell, layers = self.settings.cell, self.settings.layers
        sizes = f"H={self.settings.hidden} V={self.vocabulary} B={self.batch} T={self.bptt}"
        return f"{layers}-layer {cell} {sizes}"


SHAPES = [
    *(
        Shape(RecurrentSettings(cell=cell, hidden=hidden, embed=embed), 65, batch, 64)
        for cell in ("lstm", "gru", "elman")
        for hidden, embed, batch in ((128, 64, 32), (512, 128, 64))
    ),
    Shape(FeedForwardSettings(context=5, embed=60, hidden=(100,)), 10_000, 256),
]


class TorchRecurrent(nn.Module):
    """The peer of `Recurrent`."""

    def __init__(self, shape: Shape, settings: RecurrentSettings) -> None:
        super().__init__()
        kind = {"lstm": nn.LSTM, "gru": nn.GRU, "elman": nn.RNN}[settings.cell]
        self.embedding = nn.Embedding(shape.vocabulary, settings.embed)
        self.layers = kind(settings.embed, settings.hidden, settings.layers)
        self.output = nn.Linear(settings.hidden, shape.vocabulary)

    def forward(self, ids: torch.Tensor, state: object) -> tuple[torch.Tensor, object]:
        hidden, state = self.layers(self.embedding(ids), state)
        return self.output(hidden), state


class TorchFeedForward(nn.Module):
    """The peer of `FeedForward`."""

    def __init__(self, shape: Shape, settings: FeedForwardSettings) -> None:
        super().__init__()
        self.embedding = nn.Embedding(shape.vocabulary, settings.embed)
        self.hidden = nn.Linear(settings.context * settings.embed, settings.hidden[0])
        self.output = nn.Linear(settings.hidden[0], shape.vocabulary)

    def forward(self, ids: torch.Tensor, state: object) -> tuple[torch.Tensor, object]:
        x = self.embedding(ids).flatten(1)
        return self.output(torch.tanh(self.hidden(x))), state


def torch_steps(shape: Shape) -> Callable[[], None]:
    """PyTorch's steps on random ids; the state is carried, without its gradient."""
    settings = shape.settings
    model: nn.Module
    if isinstance(settings, FeedForwardSettings):
        model = TorchFeedForward(shape, settings)
        inputs, targets = (shape.batch, settings.context), (shape.batch,)
    else:
        model = TorchRecurrent(shape, settings)
        inputs = targets = (shape.bptt, shape.batch)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    ids = torch.randint(shape.vocabulary, (STEPS, *inputs))
    following = torch.randint(shape.vocabulary, (STEPS, *targets))

    def run() -> None:
        state = None
        for step in range(STEPS):
            logits, state = model(ids[step], state)
            if state is not None:
                state = tuple(s.detach() for s in state) if len(state) == 2 else state.detach()
            loss = nn.functional.cross_entropy(
                logits.reshape(-1, shape.vocabulary), following[step].reshape(-1)
            )
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
            loss.item()

    return run


def our_engine(shape: Shape) -> Engine:
    """Ours, on random text of as many tokens as the vocabulary needs."""
    rng = np.random.default_rng(1)
    words = [f"w{i}" for i in range(shape.vocabulary - 3)]
    drawn = rng.integers(len(words), size=2 * STEPS * shape.batch * shape.bptt)
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


def our_steps(engine: Engine) -> Callable[[], None]:
    def run() -> None:
        for step in range(STEPS):
            engine.step(Order(step, 0, step + 1, RATE))

    return run


def rows(options: Options) -> Iterator[Row]:
    """A row a shape; rates."""
    torch.set_num_threads(available_cores())
    torch.manual_seed(1)
    for shape in SHAPES[:1] if options.quick else SHAPES:
        with our_engine(shape) as engine:
            ours, peer = our_steps(engine), torch_steps(shape)
            work = f"train: {shape.name}"
            found = compare(work, "PyTorch", ours, peer, repeats=options.repeats)
        yield rate_row(found, STEPS * shape.batch * shape.bptt, "tokens/s", reach=1.2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--only", default="", help="shapes whose name contains this")
    given = parser.parse_args()
    torch.set_num_threads(available_cores())
    torch.manual_seed(1)
    print(f"numpy {np.__version__}, PyTorch {torch.__version__}, {available_cores()} cores")
    print(MARKDOWN_HEAD)
    for shape in SHAPES:
        if given.only in shape.name:
            with our_engine(shape) as engine:
                ours, peer = our_steps(engine), torch_steps(shape)
                work = f"{STEPS} steps: {shape.name}"
                found = compare(work, "PyTorch", ours, peer, repeats=given.repeats)
            print(found.markdown_row(), flush=True)


if __name__ == "__main__":
    main()
