"""The model file: one ``.safetensors`` file, complete by itself, never code.

The arrays are stored by name, the encoder's below ``text.`` and the model's below ``model.``; the
metadata entry ``lmsuite`` holds the manifest as JSON. Any reader of safetensors can open it.
"""

from __future__ import annotations

import json
import sys
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from lmsuite import __version__
from lmsuite.errors import LmError, ModelFileError, UsageError
from lmsuite.files import AnyPath
from lmsuite.files.atomic import replacing
from lmsuite.files.disk import make_folders
from lmsuite.files.header import Header, read_header
from lmsuite.files.tensors import let_go, mapped, raw_bytes, write
from lmsuite.models.interface import LanguageModel
from lmsuite.models.registry import model_class
from lmsuite.sources.splitting import SplitRule
from lmsuite.text.encoding import TextEncoder

FORMAT_VERSION = 1

_ENTRY = "lmsuite"  # the manifest, in the metadata
_TEXT, _MODEL = "text.", "model."
_VALIDATION_TEXTS = {"split", "sha256"}
_VALIDATION_NUMBERS = {
    *("tokens", "oov", "cross_entropy", "perplexity", "perplexity_without_oov", "bits_per_char"),
}
_MOST_LEVELS = 50  # of JSON within JSON; a mixture takes three for each mixture among its members
_LONGEST_MESSAGE = 500  # characters
_CHECKED_AT_ONCE = 1 << 26  # bytes; they take about 50 ms


@dataclass(frozen=True)
class Provenance:
    """How a model came to be; empty where a program that calls the library did not say."""

    command: str = ""
    version: str = __version__  # of lmsuite
    corpus: str = ""
    corpus_sha256: str = ""
    created: str = ""  # ISO 8601, UTC
    validation: dict[str, Any] = field(default_factory=dict)  # empty: none was set aside
    training: dict[str, Any] = field(default_factory=dict)  # steps, minutes, threads, …


@dataclass(frozen=True)
class Manifest:
    """What a model file says of itself; readable without loading the model."""

    kind: str
    settings: dict[str, Any]
    text: dict[str, Any]  # TextEncoder.describe()
    checksum: int  # CRC-32 of the arrays' bytes, in the order of their names
    provenance: Provenance


def save_model(
    path: AnyPath,
    model: LanguageModel,
    provenance: Provenance = Provenance(),
) -> None:
    """Write `model` to `path`, making its folder if need be; a file there is replaced at once.

    Raises:
        ModelFileError: the folder is not writable or the disk is full; an old model is unharmed.
    """
    path = Path(path)
    arrays = _named(_TEXT, model.encoder.arrays()) | _named(_MODEL, model.arrays())
    manifest = Manifest(
        kind=model.kind,
        settings=model.settings_dict(),
        text=model.encoder.describe(),
        checksum=checksum(arrays),
        provenance=provenance,
    )
    document = {"format": FORMAT_VERSION, **asdict(manifest)}
    make_folder(path.parent)
    with replacing(path) as stream:
        write(stream, arrays, {_ENTRY: json.dumps(document, ensure_ascii=False)})


def open_model_file(path: AnyPath) -> tuple[LanguageModel, Manifest]:
    """The model in the file `path`, as it was saved, and its manifest.

    The file is mapped into memory, and read as the model is used. The checksum of a file of more
    than 64 MiB is left to `verify`: it would have all of it read.

    Raises:
        ModelFileError: the file is missing, damaged, cut short, no model, or of a newer version;
            the message names the file and what is wrong with it.
    """
    path = Path(path)
    header = read_header(path)
    manifest = _manifest(path, header)
    arrays = mapped(path, header)
    if header.data_size <= _CHECKED_AT_ONCE:
        _require_checksum(path, manifest, arrays)
    try:
        text = TextEncoder.restore(manifest.text, _below(_TEXT, arrays))
        model = model_class(manifest.kind).restore(text, manifest.settings, _below(_MODEL, arrays))
    except (LmError, LookupError, TypeError, ValueError, ArithmeticError) as error:
        raise ModelFileError(f"{path} cannot be used: {brief(error)}") from error
    return model, manifest


def load_model(path: AnyPath) -> LanguageModel:
    """The model in the file `path`, as it was saved.

    Raises:
        ModelFileError: as `open_model_file`.
    """
    return open_model_file(path)[0]


def verify(path: AnyPath) -> None:
    """Read all of the model file `path`.

    Raises:
        ModelFileError: as `open_model_file`, or some byte of its arrays is not what was saved.
    """
    path = Path(path)
    header = read_header(path)
    _require_checksum(path, _manifest(path, header), mapped(path, header))


def read_manifest(path: AnyPath) -> Manifest:
    """What the model file `path` says of itself, without reading its arrays.

    Raises:
        ModelFileError: as `open_model_file`, for all that the head of the file shows.
    """
    path = Path(path)
    return _manifest(path, read_header(path))


def _manifest(path: Path, header: Header) -> Manifest:
    entry = header.metadata.get(_ENTRY)
    if entry is None:
        raise ModelFileError(f"{path} is a safetensors file, but no model of lmsuite")
    try:
        document = json.loads(entry)
        _require_shallow(document)
        version = document.pop("format")
        if type(version) is not int or version < 1:
            raise TypeError("its format is no version")
        if version > FORMAT_VERSION:
            raise ModelFileError(
                f"{path} was written by a newer lmsuite (format {version}, this one reads up to "
                f"{FORMAT_VERSION}): upgrade lmsuite to use it"
            )
        provenance = _restored(Provenance, document.pop("provenance"))
        _require_sound(provenance.validation)
        return _restored(Manifest, document | {"provenance": provenance})
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ModelFileError(f"{path} has a damaged manifest: {brief(error)}") from error


def _require_sound(validation: Mapping[str, Any]) -> None:
    """Refuse a validation result whose entries are not what commands take them for."""
    for name in _VALIDATION_TEXTS & validation.keys():
        if not isinstance(validation[name], str):
            raise TypeError(f"its validation has a {name} that is no text")
    for name in _VALIDATION_NUMBERS & validation.keys():
        value = validation[name]
        if value is not None and not (
            type(value) in (int, float) and abs(value) <= sys.float_info.max
        ):
            raise TypeError(f"its validation has a {name} that is no number")
    try:
        SplitRule.parse(validation.get("split", "none"))
    except UsageError:
        raise ValueError("its validation is of no share of a text") from None


def _require_shallow(document: Any, levels: int = _MOST_LEVELS) -> None:
    """Refuse JSON that is nested more deeply than who walks through it later has stack for."""
    entries = document.values() if isinstance(document, dict) else document
    for entry in entries:
        if isinstance(entry, dict | list):
            if not levels:
                raise ValueError("it is nested too deeply")
            _require_shallow(entry, levels - 1)


def brief(error: Exception) -> str:
    """What the error says, though it may quote a whole file."""
    message = str(error)
    return message if len(message) <= _LONGEST_MESSAGE else f"{message[:_LONGEST_MESSAGE]} …"


def make_folder(folder: Path) -> None:
    """Make `folder` and those above it, unless they are there.

    Raises:
        ModelFileError: it cannot be made.
    """
    try:
        make_folders(folder)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ModelFileError(f"cannot make the folder {folder}: {reason}") from error


def _named(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {prefix + name: np.asarray(array) for name, array in arrays.items()}


def _below(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }


def _require_checksum(path: Path, manifest: Manifest, arrays: Mapping[str, NDArray[Any]]) -> None:
    if checksum(arrays) != manifest.checksum:
        raise ModelFileError(f"{path} is damaged: its arrays do not match their checksum")


def checksum(arrays: Mapping[str, NDArray[Any]]) -> int:
    """CRC-32 of the arrays' names and bytes, in the order of their names."""
    total = 0
    for name in sorted(arrays):
        spelled = name.encode("utf-8", "surrogatepass")
        total = zlib.crc32(raw_bytes(arrays[name]), zlib.crc32(spelled, total))
        let_go(arrays[name])
    return total


_Record = TypeVar("_Record", Manifest, Provenance)

_JSON_TYPES = {"str": str, "int": int, "dict[str, Any]": dict, "Provenance": Provenance}


def _restored(record: type[_Record], values: Mapping[str, Any]) -> _Record:
    """The record of these values, after a check that each has the type its field declares."""
    declared = {entry.name: _JSON_TYPES[str(entry.type)] for entry in fields(record)}
    if declared.keys() != values.keys():
        difference = ", ".join(sorted(declared.keys() ^ values.keys()))
        raise ValueError(f"entries missing or unknown: {difference}")
    for name, kind in declared.items():
        if not isinstance(values[name], kind):
            raise TypeError(f"{name} is of type {type(values[name]).__name__}")
    return record(**values)
