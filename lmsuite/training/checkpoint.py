"""An unfinished training on disk: all that is needed to go on as if it had never stopped.

Batches and dropout are functions of the seed and the step, so there is no generator to save: the
position is the step. The file is a safetensors file of the arrays, with the rest as JSON in its
metadata, a checksum of the arrays among it; it is replaced at once, never half written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from lmsuite import __version__
from lmsuite.errors import ModelFileError
from lmsuite.files.atomic import replacing
from lmsuite.files.header import read_header
from lmsuite.files.tensors import write
from lmsuite.store.artefact import brief, checksum, make_folder
from lmsuite.training.history import HistoryRow, history_row
from lmsuite.types import Array

ENTRY = "lmsuite-checkpoint"

_DAMAGED = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)
_LARGEST = 1e15  # of steps, seconds, losses


@dataclass
class Progress:
    """Where a training stands, but for its arrays."""

    step: int = 0  # batches read
    phase: int = 0  # which of the optimizers is at work
    update: int = 0  # updates this optimizer has made since it was last set to zero
    rate: float = 0.0  # of the last step
    rate_scale: float = 1.0  # falls when the loss explodes
    returns: int = 0  # how often it did
    seconds: float = 0.0  # of training, over all sittings
    loss_sum: float = 0.0  # of the steps since the last validation
    loss_steps: int = 0
    best_loss: float = float("inf")
    best_step: int = 0
    waited: int = 0  # validations since the best one
    schedule: dict[str, float] = field(default_factory=dict)
    history: list[HistoryRow] = field(default_factory=list)


def save_checkpoint(
    path: Path, identity: Mapping[str, Any], progress: Progress, arrays: Mapping[str, Array]
) -> None:
    """Replace the checkpoint at `path`.

    Args:
        path: the file; its folder is made if need be.
        identity: what a training must have in common with this one to go on with it, by name.
        progress: where it stands.
        arrays: the weights, moments and states.

    Raises:
        ModelFileError: it cannot be written; the checkpoint before is unharmed.
    """
    document = {
        "version": __version__,
        "identity": dict(identity),
        "progress": asdict(progress),
        "checksum": checksum(arrays),
    }
    make_folder(path.parent)
    with replacing(path) as stream:
        write(stream, arrays, {ENTRY: json.dumps(document)})  # without a copy of them in memory


def load_checkpoint(
    path: Path, identity: Mapping[str, Any], arrays: Mapping[str, Array]
) -> Progress:
    """Fill `arrays` from the checkpoint at `path`; where it stood.

    Raises:
        ModelFileError: it is damaged or none, or of another version, model, text or setting than
            `identity` says; the message names what differs. No array was changed.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    entry = read_header(path).metadata.get(ENTRY)
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
        stored = load_file(path)
        _refuse_shapes(path, arrays, stored)
        if checksum(stored) != document["checksum"]:
            raise ValueError("its arrays do not match their checksum")
        progress = _progress(document["progress"])
    except (SafetensorError, OSError, *_DAMAGED) as error:
        raise ModelFileError(f"the checkpoint {path} is damaged: {brief(error)}") from error
    for name, array in arrays.items():
        array[...] = stored[name]
    return progress


_NO_SETTINGS = ("kind of model", "vocabulary", "training text", "validation text")
"""What an identity holds beside the settings of the model and of the training."""


def _refuse_other(path: Path, wanted: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    # What was written as JSON is compared as JSON: a tuple comes back as a list.
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


def _progress(document: Mapping[str, Any]) -> Progress:
    """The progress that was saved.

    Raises:
        LookupError, TypeError, ValueError: none was.
    """
    values = {entry.name: document[entry.name] for entry in fields(Progress)}
    for entry in fields(Progress):
        value = values[entry.name]
        if entry.type == "int" and not (type(value) is int and 0 <= value < _LARGEST):
            raise ValueError(f"{entry.name} cannot be {value!r:.50}")
        if entry.type == "float" and not _is_sound(value, entry.name == "best_loss"):
            raise ValueError(f"{entry.name} cannot be {value!r:.50}")
    schedule = values["schedule"]
    if not all(_is_sound(value, name == "best") for name, value in schedule.items()):
        raise ValueError("its schedule is damaged")
    values["history"] = [history_row(row) for row in values["history"]]
    return Progress(**values)


def _is_sound(value: object, may_be_infinite: bool) -> bool:
    """Whether it is a number that a training can be at; the best loss so far may be none yet."""
    if type(value) not in (int, float):
        return False
    assert isinstance(value, int | float)
    return -_LARGEST < value < _LARGEST or (may_be_infinite and value == float("inf"))
