"""``NAME.valid.txt.gz``: the text set aside in a training, kept for every later comparison."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

from lmsuite.errors import DataError
from lmsuite.storage.atomic import replacing


def text_sha256(text: str) -> str:
    """The SHA-256 of a text's UTF-8 bytes, hexadecimal."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def save_validation_text(path: Path, text: str) -> None:
    """Write `text` to `path`, gzipped; the same text gives the same bytes.

    Raises:
        ModelFileError: the folder is not writable or the disk is full.
    """
    with replacing(path) as stream:
        stream.write(gzip.compress(text.encode("utf-8", "surrogatepass"), 6, mtime=0))


def load_validation_text(path: Path, sha256: str) -> str:
    """The text in `path`, whose `text_sha256` is known from the model's provenance.

    Raises:
        DataError: it is missing, damaged, or that of another training.
    """
    try:
        text = gzip.decompress(path.read_bytes()).decode("utf-8", "surrogatepass")
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"cannot read the validation text {path}: {error}") from error
    if text_sha256(text) != sha256:
        raise DataError(f"{path} is the validation text of another training")
    return text
