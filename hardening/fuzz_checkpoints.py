"""Fuzz the files beside a model: checkpoints, learning curves, validation texts.

    python -m hardening.fuzz_checkpoints --runs 100000 --seed 1

An input's first byte chooses the file; the rest is its content. The training of an accepted
checkpoint is resumed and finished, and the resulting model must give numbers.
"""

from __future__ import annotations

import gzip
import json
import math
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from hardening.fuzzing import main
from hardening.mutators import (
    Safetensors,
    damaged,
    dumped,
    edited,
    json_value,
    nested,
    packed_again,
    with_damaged_arrays,
    with_lies,
)
from lmsuite.files.stored_text import sha256_of
from lmsuite.models.feedforward import FeedForward, FeedForwardSettings
from lmsuite.models.neural import NeuralModel
from lmsuite.models.recurrent import Recurrent, RecurrentSettings
from lmsuite.report.model_charts import TrainedModel, learning_curves
from lmsuite.report.terminal import lines_as_text
from lmsuite.store.history import HistoryRow, read_history
from lmsuite.store.validation_text import load_validation_text
from lmsuite.text.encoding import Boundaries, TextEncoder, TextSettings
from lmsuite.training.checkpoint import ENTRY, load_checkpoint
from lmsuite.training.loop import TrainingFiles, train
from lmsuite.training.reporting import Silent
from lmsuite.training.settings import TrainingSettings
from lmsuite.types import Array, IntArray

TEXT = "the cat sat on the mat,\nand the dog sat on the cat.\n\nthe cat ate the mat; a dog!\n" * 2
VALID = "the dog ate\nthe mat, a cat\n"
FILES = TrainingFiles(Path("m.checkpoint"), Path("m.history.jsonl"))
VALID_TEXT = Path("m.valid.txt.gz")
CURVE, TEXT_BESIDE = 254, 255  # first bytes; those below are places in `trainings`
LEFT = 2  # steps that a checkpoint has before it


@dataclass(frozen=True)
class Training:
    """A short training, and its checkpoint a few steps before the end."""

    model: NeuralModel
    ids: IntArray
    valid_ids: IntArray
    settings: TrainingSettings
    checkpoint: bytes
    identity: dict[str, Any]
    arrays: dict[str, Array]  # to be filled from a checkpoint


def target(data: bytes) -> None:
    """Read the file as the commands would; go on with a training."""
    which, content = (data[0] if data else 0), data[1:]
    if which == CURVE:
        _curve(content)
    elif which == TEXT_BESIDE:
        VALID_TEXT.write_bytes(content)
        load_validation_text(VALID_TEXT, sha256_of(VALID))
    else:
        _resumed(trainings()[which % len(trainings())], content)


def _resumed(training: Training, content: bytes) -> None:
    FILES.checkpoint.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # What is refused here is refused alike when all has been made ready for the training.
        load_checkpoint(FILES.checkpoint, training.identity, training.arrays)
        result = train(
            training.model,
            training.ids,
            training.valid_ids,
            training.settings,
            files=FILES,
            resume=True,
        )
        scores = result.model.score(training.valid_ids)
        assert not np.isnan(scores).any(), "a score that is no number"
        for row in read_history(FILES.history):
            assert math.isfinite(row.valid_loss)


def _curve(content: bytes) -> None:
    FILES.history.write_bytes(content)
    trained = TrainedModel("m", trainings()[0].model, None, read_history(FILES.history))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        chart = learning_curves([trained])
        if chart is not None:
            lines_as_text(chart)


@cache
def trainings() -> tuple[Training, ...]:
    """Short trainings of both families, with all that a checkpoint can hold."""
    stream, ids = TextEncoder.train(TEXT, TextSettings())
    lines, line_ids = TextEncoder.train(TEXT, TextSettings(boundaries=Boundaries.LINES))
    rng = np.random.default_rng(1)
    forward = FeedForward.initial(lines, FeedForwardSettings(2, 3, (4,)), rng)
    recurrent = Recurrent.initial(
        stream, RecurrentSettings("lstm", layers=2, hidden=3, embed=2, dropout=0.1), rng
    )
    common: dict[str, Any] = {"epochs": 6, "minutes": None, "batch": 4, "learning_rate": 0.01}
    plain = TrainingSettings(**common, checkpoint_every=0.0)
    rich = TrainingSettings(
        **common,
        bptt=5,
        checkpoint_every=0.0,
        optimizer="sgd",
        then="adam",
        schedule="plateau",
        warmup=0.1,
    )
    return (
        _training(forward, line_ids, lines.encode(VALID), plain),
        _training(recurrent, ids, stream.encode(VALID), rich),
        _training(recurrent, ids, stream.encode(VALID), plain),
    )


class _Collector(Silent):
    """Keeps the checkpoint that there is at every step."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.checkpoints: list[bytes] = []

    def stepped(self, progress: float, tokens: int, loss: float, rate: float) -> None:
        if self._path.exists():
            self.checkpoints.append(self._path.read_bytes())


def _training(
    model: NeuralModel, ids: IntArray, valid_ids: IntArray, settings: TrainingSettings
) -> Training:
    with tempfile.TemporaryDirectory() as folder:
        files = TrainingFiles(Path(folder) / "c", Path(folder) / "h")
        collector = _Collector(files.checkpoint)
        train(model, ids, valid_ids, settings, collector, files=files)
    checkpoint = collector.checkpoints[-LEFT]  # only a little is left to train
    file = Safetensors.parsed(checkpoint, ENTRY)
    resumed = replace(settings, checkpoint_every=60.0)
    identity = file.metadata["identity"]
    return Training(model, ids, valid_ids, resumed, checkpoint, identity, file.arrays)


@cache
def curve() -> bytes:
    """A learning curve."""
    rows = [HistoryRow(10 * k, k / 2, 1.5 * k, 3 - k / 9, 3 - k / 10, 0.01, 9e4) for k in range(9)]
    return b"".join(json.dumps(vars(row)).encode() + b"\n" for row in rows)


def sound_inputs() -> tuple[bytes, ...]:
    """Inputs that are accepted, one of every kind."""
    return (
        *(bytes([place]) + training.checkpoint for place, training in enumerate(trainings())),
        bytes([CURVE]) + curve(),
        bytes([TEXT_BESIDE]) + gzip.compress(VALID.encode(), mtime=0),
    )


def make_inputs(rng: Random) -> Iterator[bytes]:
    """Sound files with damage of every kind."""
    files = [training.checkpoint for training in trainings()]
    taken_apart = [Safetensors.parsed(data, ENTRY) for data in files]
    big = bombs()
    while True:
        kind = rng.random()
        which = rng.randrange(len(files))
        if kind < 0.1:
            yield bytes([CURVE]) + _damaged_curve(rng)
        elif kind < 0.13:
            packed = gzip.compress(rng.choice((VALID, "", "x" * 1000)).encode(), mtime=0)
            yield bytes([TEXT_BESIDE]) + damaged(rng, packed)
        elif kind < 0.132:
            yield rng.choice(big)
        elif kind < 0.25:
            yield bytes([which]) + damaged(rng, files[which], files)
        else:
            yield bytes([which]) + _with_contents_damaged(rng, taken_apart[which])


def _with_contents_damaged(rng: Random, file: Safetensors) -> bytes:
    told = None
    kind = rng.random()
    if kind < 0.4:
        file = with_damaged_arrays(rng, file)
    if kind > 0.3:
        file = file.copy()
        for _ in range(rng.choice((1, 1, 2, 4))):
            document = file.metadata
            if isinstance(document, dict) and "progress" in document and rng.random() < 0.8:
                document["progress"] = edited(rng, document["progress"])
            else:
                file.metadata = edited(rng, document)
    if rng.random() < 0.1:
        told = with_lies(rng, file.described())
    return sealed(file, told) if rng.random() < 0.95 else file.built(told=told)


def sealed(file: Safetensors, told: Any = None) -> bytes:
    """The file with the checksum that its contents have."""
    document = file.metadata
    if isinstance(document, dict) and "checksum" in document:
        document["checksum"] = file.checksum()
    return file.built(document, told)


def _damaged_curve(rng: Random) -> bytes:
    if rng.random() < 0.4:
        return damaged(rng, curve())
    rows = [json.loads(line) for line in curve().splitlines()]
    for _ in range(rng.choice((1, 1, 3))):
        place = rng.randrange(len(rows))
        rows[place] = edited(rng, rows[place]) if rng.random() < 0.9 else json_value(rng)
    return "\n".join(map(dumped, rows)).encode("utf-8", "surrogatepass")


@cache
def bombs() -> tuple[bytes, ...]:
    """Small files that would take all memory, all time or all stack, if they were believed."""
    return tuple(_bombs())


def _bombs() -> Iterator[bytes]:
    for place, training in enumerate(trainings()):
        which = bytes([place])
        file = Safetensors.parsed(training.checkpoint, ENTRY)
        progress = file.metadata["progress"]
        for name in progress:
            for value in (10**12, 2**63, 10**400, -1, 1e300, float("nan"), float("inf"), "1", None):
                changed = Safetensors(
                    file.metadata | {"progress": progress | {name: value}}, ENTRY, file.arrays
                )
                yield which + sealed(changed)
        for depth in (900, 20_000):
            yield which + file.built(file.metadata | {"identity": nested(depth, True)})
            yield which + file.built(file.metadata | {"progress": nested(depth, False)})
            yield which + file.built(nested(depth, True))
    for depth in (900, 20_000, 300_000):
        yield bytes([CURVE]) + dumped(nested(depth, True)).encode()
    yield bytes([CURVE]) + dumped({**json.loads(curve().splitlines()[0]), "step": 10**400}).encode()
    yield bytes([TEXT_BESIDE]) + packed_again(b"", bytes(1 << 24), 60)


trainings()  # before a process is forked, so that it is done once

if __name__ == "__main__":
    main("checkpoints", target, make_inputs)
