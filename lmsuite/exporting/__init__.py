"""Models for other programs: arrays for numpy and JSON, vectors for word2vec's readers, and ONNX.

Each form has a file; `export` chooses it by the ending of the name.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from lmsuite.errors import UsageError
from lmsuite.files import AnyPath
from lmsuite.files.atomic import replacing
from lmsuite.models.interface import LanguageModel

ENDINGS = (".npz", ".json", ".onnx", ".vec")
"""The endings of files that `export` writes."""


def export(model: LanguageModel, path: AnyPath, *, name: str = "the model") -> None:
    """Write a model for other programs; what is written depends on the ending of the path.

    ``.npz`` and ``.json`` hold its arrays, named as in its equations, its settings and vocabulary;
    ``.onnx`` one step of a network (the extra ``onnx``); ``.vec`` the word vectors as word2vec
    writes them.

    Args:
        model: the model.
        path: the file.
        name: how messages name the model.

    Raises:
        UsageError: the path has another ending.
        LmError: the model cannot be written in this form, or the extra ``onnx`` is not installed.
        ModelFileError: the file cannot be written; an older file is unchanged.
    """
    path = Path(path)
    write = _writer(path, name)
    with replacing(path) as stream:
        write(model, stream, name)


def _writer(path: Path, name: str) -> Callable[[LanguageModel, BinaryIO, str], None]:
    """What writes a file of this ending; its code is imported when it is used."""
    if path.suffix == ".npz":
        from lmsuite.exporting.arrays import write_npz

        return write_npz
    if path.suffix == ".json":
        from lmsuite.exporting.arrays import write_json

        return write_json
    if path.suffix == ".vec":
        from lmsuite.exporting.word_vectors import write_vectors

        return write_vectors
    if path.suffix == ".onnx":
        from lmsuite.exporting.onnx_graph import write_onnx

        return write_onnx
    raise UsageError(f"{path}: the name must end in {', '.join(ENDINGS)} to export {name}")
