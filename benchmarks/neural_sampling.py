"""Drawing characters from an LSTM, one text and 64 side by side, against PyTorch's LSTMCell.

    python -m benchmarks --only neural_sampling

Ours is what ``lm sample`` does, in-process, with no filter and temperature 1. The peer has the same
weights and does the same work: embedding, cell, output, draw, and the text of the ids in the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.alternating import compare
from benchmarks.apart import Apart
from benchmarks.measuring import Options, Row, rate_row, require
from benchmarks.neural_models import trained
from lmsuite.generation import SamplingSettings, sample, stream
from lmsuite.store.artefact import load_model

OURS, PEER = "benchmarks.neural_sampling:our_sampling", "benchmarks.torch_peers:sampling"
HIDDEN = 512
SIZES = ((1, 4000, 2.5), (64, 500, 1.2))
"""How many texts of how many characters, and the ratio to reach."""


def rows(options: Options) -> Iterator[Row]:
    """In characters a second."""
    require("torch")
    model = trained(options, HIDDEN)
    for streams, length, reach in SIZES[:1] if options.quick else SIZES:
        work = (model.path, streams, length)
        with Apart(OURS, *work) as ours, Apart(PEER, *work) as peer:
            found = compare(
                f"sample characters, LSTM H={HIDDEN}, {_shown(streams)}",
                peer.about,
                ours,
                peer,
                repeats=options.repeats,
            )
        commands = (model.command,)
        yield rate_row(found, streams * length, "characters/s", reach=reach, commands=commands)


def _shown(streams: int) -> str:
    return "one stream" if streams == 1 else f"{streams} streams"


def our_sampling(path: Path, streams: int, length: int) -> Iterator[list[str]]:
    """`streams` texts of `length` characters a run: the side of a comparison."""
    model = load_model(path)
    settings = SamplingSettings(max_tokens=length)
    rng = np.random.default_rng(7)
    texts: list[str] = []
    while True:
        yield texts
        if streams == 1:
            texts = ["".join(piece.text for piece in stream(model, "", settings, rng))]
        else:
            texts = [drawn.text for drawn in sample(model, "", settings, rng, samples=streams)]
