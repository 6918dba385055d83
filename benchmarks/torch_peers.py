"""What ours is held against, in PyTorch, on the CPU: training, sampling, evaluating.

`training`, `sampling`, `evaluation` are sides of comparisons (`apart`). PyTorch is as it comes;
where there are several ways of doing the same, and for networks that are only used also where one
thread may do better than all, each is tried beforehand and the fastest is the one compared.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence

from benchmarks.neural_shapes import BATCHES, CLIP, RATE, Shape
from lmsuite.executors.cores import available_cores
from lmsuite.models.feedforward import FeedForwardSettings
from lmsuite.models.interface import LanguageModel
from lmsuite.models.recurrent import RecurrentSettings
from lmsuite.store.artefact import load_model
from lmsuite.text.encoding import Boundaries
from lmsuite.text.vocabulary import BOS, UNK

TRIED = 2
"""How often each way is tried; its best time counts."""
WINDOWS = (256, 4096)
"""Steps of a long text that are read in one call."""
LANES = 64
"""Lines that are read side by side."""
PADDING = -1


class Recurrent(nn.Module):
    """The peer of our `Recurrent`."""

    def __init__(self, vocabulary: int, settings: RecurrentSettings) -> None:
        super().__init__()
        kind = {"lstm": nn.LSTM, "gru": nn.GRU, "elman": nn.RNN}[settings.cell]
        self.embedding = nn.Embedding(vocabulary, settings.embed)
        self.layers = kind(settings.embed, settings.hidden, settings.layers)
        self.output = nn.Linear(settings.hidden, vocabulary)

    def hidden_vectors(self, ids: Tensor, state: object) -> tuple[Tensor, object]:
        return self.layers(self.embedding(ids), state)  # type: ignore[no-any-return]

    def forward(self, ids: Tensor, state: object) -> tuple[Tensor, object]:
        hidden, state = self.hidden_vectors(ids, state)
        return self.output(hidden), state


class FeedForward(nn.Module):
    """The peer of our `FeedForward`."""

    def __init__(self, vocabulary: int, settings: FeedForwardSettings) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, settings.embed)
        self.hidden = nn.Linear(settings.context * settings.embed, settings.hidden[0])
        self.output = nn.Linear(settings.hidden[0], vocabulary)

    def hidden_vectors(self, ids: Tensor, state: object) -> tuple[Tensor, object]:
        return torch.tanh(self.hidden(self.embedding(ids).flatten(1))), state

    def forward(self, ids: Tensor, state: object) -> tuple[Tensor, object]:
        hidden, state = self.hidden_vectors(ids, state)
        return self.output(hidden), state


def adaptive(model: Recurrent | FeedForward, shape: Shape) -> None:
    """Give the model PyTorch's adaptive softmax with the cut-offs of ours."""
    inputs = model.output.in_features
    model.output = nn.AdaptiveLogSoftmaxWithLoss(  # type: ignore[assignment]
        inputs, shape.vocabulary, list(shape.settings.cutoffs)
    )


def training(shape: Shape) -> Iterator[None]:
    """`shape.steps` updates a run, on random ids; the state is carried, without its gradient."""
    torch.set_num_threads(shape.processes or available_cores())
    torch.manual_seed(1)
    settings = shape.settings
    model: Recurrent | FeedForward
    if isinstance(settings, FeedForwardSettings):
        model = FeedForward(shape.vocabulary, settings)
        inputs, targets = (shape.batch, settings.context), (shape.batch,)
    else:
        model = Recurrent(shape.vocabulary, settings)
        inputs = targets = (shape.bptt, shape.batch)
    if settings.cutoffs:
        adaptive(model, shape)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    rng = np.random.default_rng(1)
    ids = torch.from_numpy(shape.ids(rng, BATCHES, *inputs))
    following = torch.from_numpy(shape.ids(rng, BATCHES, *targets))
    while True:
        yield
        state = None
        for step in range(shape.steps):
            batch = step % BATCHES
            hidden, state = model.hidden_vectors(ids[batch], state)
            if state is not None:
                state = tuple(s.detach() for s in state) if len(state) == 2 else state.detach()
            if settings.cutoffs:
                loss = model.output(hidden.flatten(0, -2), following[batch].reshape(-1)).loss
            else:
                logits = model.output(hidden).reshape(-1, shape.vocabulary)
                loss = cross_entropy(logits, following[batch].reshape(-1))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
            loss.item()


def sampling(path: Path, streams: int, length: int) -> Iterator[str | list[str]]:
    """`streams` texts of `length` tokens a run, with LSTMCell; says first how it draws."""
    torch.manual_seed(7)
    ours = load_model(path)
    source = _loaded(ours)
    source.output.bias[[UNK, *ours.encoder.impossible.tolist()]] = -torch.inf  # never drawn
    cell = nn.LSTMCell(source.layers.input_size, source.layers.hidden_size)
    for name, weights in source.layers.named_parameters():
        getattr(cell, name.removesuffix("_l0")).data = weights.data
    start = torch.full((streams,), BOS)

    def sample(draw: Callable[[Tensor], Tensor], length: int) -> list[str]:
        with torch.inference_mode():
            state = cell(source.embedding(start))
            drawn = []
            for _ in range(length):
                ids = draw(source.output(state[0]))
                drawn.append(ids)
                state = cell(source.embedding(ids), state)
            return [ours.encoder.decode(stream) for stream in torch.stack(drawn, 1).tolist()]

    best, threads = fastest(
        [
            (name, threads, lambda draw=draw: sample(draw, length // 10))
            for (name, draw), threads in product(DRAWS.items(), thread_counts())
        ]
    )
    yield f"PyTorch LSTMCell ({best}, {threads})"
    while True:
        yield sample(DRAWS[best], length)


def _by_multinomial(logits: Tensor) -> Tensor:
    return torch.multinomial(logits.softmax(1), 1)[:, 0]


def _by_race(logits: Tensor) -> Tensor:
    """Of exponential clocks with these rates, the one that rings first."""
    return (logits.softmax(1) / torch.empty_like(logits).exponential_()).argmax(1)


def _by_gumbel(logits: Tensor) -> Tensor:
    """The same race in logarithms, which needs no softmax."""
    return (logits - torch.empty_like(logits).exponential_().log_()).argmax(1)


DRAWS = {
    "torch.multinomial": _by_multinomial,
    "exponential race": _by_race,
    "Gumbel's trick": _by_gumbel,
}


def evaluation(path: Path, text: str) -> Iterator[str | float]:
    """The mean cross-entropy of a text a run, with nn.LSTM; says first how it reads."""
    ours = load_model(path)
    model = _loaded(ours)
    model.output.bias.data[ours.encoder.impossible.tolist()] = -torch.inf
    if ours.encoder.boundaries is Boundaries.LINES:
        ways = {"padded lines": _padded_lines, "packed lines": _packed_lines}
    else:
        ways = {
            f"windows of {window}": lambda model, ids, window=window: _stream(model, ids, window)
            for window in WINDOWS
        }

    def evaluate(way: str, text: str) -> float:
        with torch.inference_mode():
            ids = torch.from_numpy(ours.encoder.encode(text)).long()
            return ways[way](model, ids) / int((ids != BOS).sum())

    piece = text[: text.index("\n", len(text) // 4) + 1]
    best, threads = fastest(
        [
            (way, threads, lambda way=way: evaluate(way, piece))
            for way, threads in product(ways, thread_counts())
        ]
    )
    yield f"PyTorch nn.LSTM ({best}, {threads})"
    while True:
        yield evaluate(best, text)


def _stream(model: Recurrent, ids: Tensor, window: int) -> float:
    """The loss of one long text, read window by window; the state is carried on."""
    before = torch.cat((torch.tensor([BOS]), ids[:-1]))
    loss, state = 0.0, None
    for inputs, targets in zip(before.split(window), ids.split(window), strict=True):
        logits, state = model(inputs[:, None], state)
        loss += float(cross_entropy(logits[:, 0], targets, reduction="sum"))
    return loss


def _batches_of_lines(ids: Tensor) -> Iterator[tuple[list[Tensor], Tensor]]:
    """Lines of similar length with their lengths, the longest first."""
    starts = torch.nonzero(ids == BOS)[:, 0].tolist()
    ends = [*starts[1:], len(ids)]
    lines = [ids[start:end] for start, end in zip(starts, ends, strict=True)]
    lines.sort(key=len, reverse=True)
    for first in range(0, len(lines), LANES):
        batch = lines[first : first + LANES]
        yield batch, torch.tensor([len(line) - 1 for line in batch])


def _padded_lines(model: Recurrent, ids: Tensor) -> float:
    loss = 0.0
    for lines, _ in _batches_of_lines(ids):
        inputs = pad_sequence([line[:-1] for line in lines], padding_value=BOS)
        targets = pad_sequence([line[1:] for line in lines], padding_value=PADDING)
        logits, _ = model(inputs, None)
        loss += float(
            cross_entropy(
                logits.flatten(0, 1), targets.flatten(), reduction="sum", ignore_index=PADDING
            )
        )
    return loss


def _packed_lines(model: Recurrent, ids: Tensor) -> float:
    """Without the steps after a line's end."""
    loss = 0.0
    for lines, lengths in _batches_of_lines(ids):
        inputs = pad_sequence([line[:-1] for line in lines], padding_value=BOS)
        targets = pad_sequence([line[1:] for line in lines], padding_value=PADDING)
        vectors = pack_padded_sequence(model.embedding(inputs), lengths)
        hidden, _ = model.layers(vectors)
        packed = pack_padded_sequence(targets, lengths)
        loss += float(cross_entropy(model.output(hidden.data), packed.data, reduction="sum"))
    return loss


def thread_counts() -> tuple[int, ...]:
    return (1, available_cores()) if available_cores() > 1 else (1,)


def fastest(ways: list[tuple[str, int, Callable[[], object]]]) -> tuple[str, str]:
    """The name and the threads of the fastest of (name, threads, work); the threads are set."""
    times: dict[tuple[str, int], float] = {}
    for _ in range(1 + TRIED):  # the first is to warm up
        for name, threads, work in ways:
            torch.set_num_threads(threads)
            begin = time.perf_counter()
            work()
            taken = time.perf_counter() - begin
            times[name, threads] = min(taken, times.get((name, threads), taken))
    name, threads = min(times, key=times.__getitem__)
    torch.set_num_threads(threads)
    return name, "1 thread" if threads == 1 else f"{threads} threads"


def _loaded(model: LanguageModel) -> Recurrent:
    """A one-layer LSTM of ours, with the same weights; PyTorch has the gates in another order."""
    peer = Recurrent(len(model.encoder.vocabulary), model.settings)
    arrays = {name: torch.from_numpy(array.copy()) for name, array in model.arrays().items()}
    hidden = model.settings.hidden

    def gates(array: Tensor) -> Tensor:
        o, i, f, g = array.split(hidden, dim=-1)
        return torch.cat((i, f, g, o), dim=-1)

    with torch.no_grad():
        peer.embedding.weight.copy_(arrays["embedding.table"])
        peer.layers.weight_ih_l0.copy_(gates(arrays["layer.0.Wx"]).T)
        peer.layers.weight_hh_l0.copy_(gates(arrays["layer.0.Wh"]).T)
        peer.layers.bias_ih_l0.copy_(gates(arrays["layer.0.b"]))
        peer.layers.bias_hh_l0.zero_()
        peer.output.weight.copy_(arrays["output.W"].T)
        peer.output.bias.copy_(arrays["output.b"])
    return peer.requires_grad_(False).eval()
