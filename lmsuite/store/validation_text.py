"""``NAME.valid.txt.gz``: the validation text of a training, kept for later comparisons."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from lmsuite.errors import DataError, LmError, ModelFileError
from lmsuite.files.atomic import replacing
from lmsuite.files.compression import unpacked_pieces
from lmsuite.files.plain import decoded_pieces
from lmsuite.files.stored_text import Text, TextWriter, blocks, sha256_of
from lmsuite.store.artefact import read_manifest
from lmsuite.store.folder import valid_path_beside

_CHUNK = 1 << 20  # bytes


@contextmanager
def beside_new_model(model: Path, text: Text) -> Iterator[None]:
    """Write a validation text, while the block writes its model file, `model`.

    Two files cannot be replaced at once. So the new text is first written beside the old text, and
    replaces it after the block has written the model. A reader always finds the text of the model
    that is there, also between the two steps, and also if the process was killed between them.

    Args:
        model: the model file; its folder must exist.
        text: is written gzipped; equal texts give equal bytes. If empty, an old text is removed.

    Raises:
        ModelFileError: the folder is not writable or the disk is full; the old text is unchanged.
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
        if _inode(model) != before:  # Ctrl-C came after the model file was replaced
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


def _write(coming: Path, text: Text, path: Path) -> None:
    try:
        with replacing(coming) as stream:
            packer = zlib.compressobj(6, wbits=31)  # of gzip, without a time
            for block in blocks(text):
                stream.write(packer.compress(block.encode("utf-8", "surrogatepass")))
            stream.write(packer.flush())
    except ModelFileError as error:
        raise ModelFileError(str(error).replace(str(coming), str(path))) from error


def _inode(model: Path) -> int | None:
    try:
        return model.stat().st_ino
    except OSError:
        return None


def _settle(model: Path, path: Path, coming: Path) -> None:
    """Rename `coming` to `path`, if it is the text of the model that is there."""
    with suppress(OSError, LmError):
        wanted = read_manifest(model).provenance.validation.sha256
        if sha256_of(_unpacked(coming)) == wanted:
            coming.replace(path)


def _coming(path: Path) -> Path:
    return path.with_name(f".{path.name}.next")


def load_validation_text(path: Path, sha256: str) -> Text:
    """The text in `path`; `sha256` is its `sha256_of`, from the model's provenance.

    Raises:
        DataError: the text is missing, damaged, or that of another training.
    """
    problem = DataError()
    # The new text may be renamed between the first two tries; the third one then finds it.
    for candidate in (path, _coming(path), path):
        try:
            text = _unpacked(candidate)
        except DataError as error:
            problem = error
            continue
        if sha256_of(text) == sha256:
            return text
        problem = DataError(f"{path} is the validation text of another training")
    raise problem


def _unpacked(path: Path) -> Text:
    writer = TextWriter()
    try:
        with path.open("rb") as file:
            pieces = unpacked_pieces(iter(partial(file.read, _CHUNK), b""), "it")
            for part in decoded_pieces(pieces, "it", "utf-8", "surrogatepass"):
                writer.write(part)
    except (OSError, ValueError, DataError) as error:
        raise DataError(f"cannot read the validation text {path}: {error}") from error
    return writer.text()
