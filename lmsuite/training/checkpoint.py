"""An unfinished training on disk: all that is needed to resume it as if it had never stopped.

Batches and dropout are functions of the seed and the step, so no random generator is saved: the
step is the position. The file is a safetensors file of the arrays. Its metadata holds the rest as
JSON, with a checksum of the arrays. It is replaced as a whole, never half written.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lmsuite import __version__
from lmsuite.errors import ModelFileError
from lmsuite.files import records
from lmsuite.files.atomic import replacing
from lmsuite.files.header import read_header
from lmsuite.files.records import Count, MaybeInfinite, brief
from lmsuite.files.tensors import checksum, mapped, write
from lmsuite.store.artefact import make_folder
from lmsuite.store.history import HistoryRow
from lmsuite.types import Array

ENTRY = "lmsuite-checkpoint"

_DAMAGED = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)


@dataclass
class Progress:
    """The state of a training, without its arrays."""

    step: Count = 0  # batches read
    phase: Count = 0  # 0 for the first optimizer, 1 for the second
    update: Count = 0  # updates of this optimizer since its moments were last zero
    rate: float = 0.0  # learning rate of the last step
    rate_scale: float = 1.0  # factor of the learning rate; falls when the loss explodes
    returns: Count = 0  # how often the loss exploded and training went back
    seconds: float = 0.0  # of training, summed over all sessions
    loss_sum: float = 0.0  # over the steps since the last validation
    loss_steps: Count = 0
    best_loss: MaybeInfinite = float("inf")
    best_step: Count = 0
    waited: Count = 0  # validations since the best validation
    schedule: dict[str, MaybeInfinite] = field(default_factory=dict)
    history: list[HistoryRow] = field(default_factory=list)

    def __post_init__(self) -> None:
        infinite = [name for name, value in self.schedule.items() if math.isinf(value)]
        if set(infinite) - {"best"}:  # the loss of a plateau before its first validation
            raise ValueError(f"the schedule's {infinite[0]!r} cannot be infinite")


def save_checkpoint(
    path: Path, identity: Mapping[str, Any], progress: Progress, arrays: Mapping[str, Array]
) -> None:
    """Replace the checkpoint at `path`.

    Args:
        path: the file; its folder is made if it is missing.
        identity: the facts, by name, that must be the same when the training is resumed.
        progress: the state of the training.
        arrays: the weights, moments and states.

    Raises:
        ModelFileError: the file cannot be written; the previous checkpoint is unchanged.
    """
    document = {
        "version": __version__,
        "identity": dict(identity),
        "progress": records.as_json(progress),
        "checksum": checksum(arrays),
    }
    make_folder(path.parent)
    with replacing(path) as stream:
        write(stream, arrays, {ENTRY: json.dumps(document)})  # without a copy of them in memory


def load_checkpoint(
    path: Path, identity: Mapping[str, Any], arrays: Mapping[str, Array]
) -> Progress:
    """Fill `arrays` from the checkpoint at `path`, and return its progress.

    Raises:
        ModelFileError: the file is damaged, is no checkpoint, or has another version, or differs
            from `identity` in model, text or a setting; the message names the difference. No array
            was changed.
    """
    header = read_header(path)
    entry = header.metadata.get(ENTRY)
    if entry is None:
        raise ModelFileError(f"{path} is no checkpoint of a training")
    try:
        document = json.loads(entry)
        version, found = document["version"], document["identity"]
        if version != __version__:
            raise ModelFileError(
                f"{path} is a checkpoint of lmsuite {version}, this is {__version__}: "
                "finish it there, or train anew without {resume}",
                "resume",
            )
        _refuse_other(path, identity, found)
        stored = mapped(path, header)
        _refuse_shapes(path, arrays, stored)
        if checksum(stored) != document["checksum"]:
            raise ValueError("its arrays do not match their checksum")
        progress = records.read(Progress, document["progress"])
    except (OSError, *_DAMAGED) as error:
        raise ModelFileError(f"the checkpoint {path} is damaged: {brief(error)}") from error
    for name, array in arrays.items():
        array[...] = stored[name]
    return progress


_NO_SETTINGS = ("kind of model", "vocabulary", "training text", "validation text")
"""The entries of an identity that are not settings of the model or of the training."""


def _refuse_other(path: Path, wanted: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    # `found` comes from JSON, where a tuple has become a list: compare both as JSON.
    ours = json.loads(json.dumps(dict(wanted)))
    for name in [*ours, *(found.keys() - ours.keys())]:
        if ours.get(name) != found.get(name):
            field = name.removeprefix("--").replace("-", " ").replace(" ", "_")
            named = name if name in _NO_SETTINGS else f"{{{field}}}"
            raise ModelFileError(
                f"the checkpoint {path} is of another training: its {named} is "
                f"{found.get(name)}, here it is {ours.get(name)}; give the same options and text, "
                "or train anew without {resume}",
                *(field, "resume"),
                value=ours.get(name),
            )


def _refuse_shapes(path: Path, ours: Mapping[str, Array], stored: Mapping[str, Array]) -> None:
    for name in ours.keys() | stored.keys():
        if name not in ours or name not in stored:
            raise ModelFileError(f"the checkpoint {path} is damaged: array '{name}' does not fit")
        here, there = ours[name], stored[name]
        if here.shape != there.shape or here.dtype != there.dtype:
            raise ModelFileError(
                f"the checkpoint {path} is damaged: array '{name}' is {there.dtype}"
                f"{list(there.shape)}, not {here.dtype}{list(here.shape)}"
            )
