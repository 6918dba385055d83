"""``NAME.valid.txt.gz``: the text set aside in a training, kept for every later comparison."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lmsuite.errors import DataError, LmError, ModelFileError
from lmsuite.files.atomic import replacing
from lmsuite.files.plain import unpacked
from lmsuite.store.artefact import read_manifest
from lmsuite.store.folder import valid_path_beside


def text_sha256(text: str) -> str:
    """The SHA-256 of a text's UTF-8 bytes, hexadecimal."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@contextmanager
def beside_new_model(model: Path, text: str) -> Iterator[None]:
    """Write a validation text, while the block writes the file `model` that it belongs to.

    Two files cannot be replaced at once. So the new text is first written beside the old one, and
    takes its place when the model is there; whoever reads in between, or after a process that was
    killed in between, finds the text that belongs to the model that there is.

    Args:
        model: the model file; its folder is there.
        text: gzipped beside it, the same text to the same bytes; if empty, none is kept.

    Raises:
        ModelFileError: the folder is not writable or the disk is full; the old text is unharmed.
    """
    path = valid_path_beside(model)
    coming = _coming(path)
    if coming.exists():
        _settle(model, path, coming)
    before = _inode(model)
    try:
        if text:
            _write(coming, text, path)
        yield
    except BaseException:
        if _inode(model) != before:  # Ctrl-C came after the new model had taken its place
            _settle(model, path, coming)
        with suppress(OSError):
            coming.unlink()
        raise
    try:
        if text:
            coming.replace(path)
        else:
            path.unlink(missing_ok=True)
            coming.unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ModelFileError(f"cannot write {path}: {reason}; the model is saved") from error


def _write(coming: Path, text: str, path: Path) -> None:
    try:
        with replacing(coming) as stream:
            stream.write(gzip.compress(text.encode("utf-8", "surrogatepass"), 6, mtime=0))
    except ModelFileError as error:
        raise ModelFileError(str(error).replace(str(coming), str(path))) from error


def _inode(model: Path) -> int | None:
    try:
        return model.stat().st_ino
    except OSError:
        return None


def _settle(model: Path, path: Path, coming: Path) -> None:
    """Let `coming` take its place, if the process that wrote it got as far as the model."""
    with suppress(OSError, LmError):
        wanted = read_manifest(model).provenance.validation.sha256
        if text_sha256(_unpacked(coming)) == wanted:
            coming.replace(path)


def _coming(path: Path) -> Path:
    return path.with_name(f".{path.name}.next")


def load_validation_text(path: Path, sha256: str) -> str:
    """The text in `path`, whose `text_sha256` is known from the model's provenance.

    Raises:
        DataError: it is missing, damaged, or that of another training.
    """
    problem = DataError()
    # A text that is just coming takes the old one's place: then it is there the second time.
    for place in (path, _coming(path), path):
        try:
            text = _unpacked(place)
        except DataError as error:
            problem = error
            continue
        if text_sha256(text) == sha256:
            return text
        problem = DataError(f"{path} is the validation text of another training")
    raise problem


def _unpacked(path: Path) -> str:
    try:
        packed = path.read_bytes()
        return unpacked(packed, "it").decode("utf-8", "surrogatepass")
    except (OSError, ValueError, DataError) as error:
        raise DataError(f"cannot read the validation text {path}: {error}") from error
