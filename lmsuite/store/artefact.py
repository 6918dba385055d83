"""The model file: one ``.safetensors`` file, complete by itself, without any code.

The names of the encoder's arrays begin with ``text.``, those of the model's with ``model.``. The
metadata entry ``lmsuite`` holds the manifest as JSON. Any reader of safetensors can open the file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmsuite.errors import LmError, ModelFileError
from lmsuite.files import AnyPath, records
from lmsuite.files.atomic import replacing
from lmsuite.files.disk import make_folders
from lmsuite.files.header import Header, read_header
from lmsuite.files.tensors import checksum, mapped, write
from lmsuite.models.interface import LanguageModel
from lmsuite.models.registry import model_class
from lmsuite.store.records import UNSAID, Manifest, Provenance
from lmsuite.text.encoding import TextEncoder

FORMAT_VERSION = 1

_ENTRY = "lmsuite"  # the manifest, in the metadata
_TEXT, _MODEL = "text.", "model."
_MOST_LEVELS = 50  # of JSON within JSON; a mixture takes three for each mixture among its members
_CHECKED_AT_ONCE = 1 << 26  # bytes; they take about 50 ms


def save_model(
    path: AnyPath,
    model: LanguageModel,
    provenance: Provenance = UNSAID,
) -> None:
    """Write `model` to `path`: make its folder if it is missing, and replace an old file at once.

    Raises:
        ModelFileError: the folder is not writable or the disk is full; an old file is unchanged.
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
    said = {"format": FORMAT_VERSION, **records.as_json(manifest)}
    document = json.dumps(said, ensure_ascii=False)
    # A file's name may hold bytes that are not UTF-8. safetensors refuses them; JSON escapes them.
    entry = document.encode("utf-8", "backslashreplace").decode()
    make_folder(path.parent)
    with replacing(path) as stream:
        write(stream, arrays, {_ENTRY: entry})


def open_model_file(path: AnyPath) -> tuple[LanguageModel, Manifest]:
    """The model in the file `path`, as it was saved, and its manifest.

    The file is mapped into memory; its parts are read when the model uses them. The checksum needs
    the whole file. So for a file of more than 64 MiB, only `verify` compares it.

    Raises:
        ModelFileError: the file is missing, damaged, cut short, no model, or of a newer version;
            the message names the file and its fault.
    """
    path = Path(path)
    header = read_header(path)
    manifest = _manifest(path, header)
    arrays = mapped(path, header)
    if header.data_size <= _CHECKED_AT_ONCE:
        _require_checksum(path, manifest, arrays)
    try:
        encoder = TextEncoder.restore(manifest.text, _below(_TEXT, arrays))
        model = model_class(manifest.kind).restore(
            encoder, manifest.settings, _below(_MODEL, arrays)
        )
    except (LmError, LookupError, TypeError, ValueError, ArithmeticError) as error:
        raise ModelFileError(f"{path} cannot be used: {records.brief(error)}") from error
    return model, manifest


def load_model(path: AnyPath) -> LanguageModel:
    """The model in the file `path`, as it was saved.

    Raises:
        ModelFileError: as `open_model_file`.
    """
    return open_model_file(path)[0]


def verify(path: AnyPath) -> None:
    """Read the whole model file `path` and compare its checksum.

    Raises:
        ModelFileError: as `open_model_file`, or a byte of its arrays is not as it was saved.
    """
    path = Path(path)
    header = read_header(path)
    _require_checksum(path, _manifest(path, header), mapped(path, header))


def read_manifest(path: AnyPath) -> Manifest:
    """The manifest of the model file `path`; the arrays are not read.

    Raises:
        ModelFileError: as `open_model_file`, for the faults that show in the file's header.
    """
    path = Path(path)
    return _manifest(path, read_header(path))


def _manifest(path: Path, header: Header) -> Manifest:
    entry = header.metadata.get(_ENTRY)
    if entry is None:
        raise ModelFileError(f"{path} is a safetensors file, but no model of lmsuite")
    return records.read_versioned(
        Manifest, entry, path, called="manifest", newest=FORMAT_VERSION, levels=_MOST_LEVELS
    )


def make_folder(folder: Path) -> None:
    """Make `folder` and the folders above it, unless they exist.

    Raises:
        ModelFileError: a folder cannot be made.
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
