"""Files of counts: a ``.safetensors`` layout of arrays, as model files have, named ``.counts``.

The arrays are those of `TextCounts`, and the vocabulary. The metadata entry ``lmsuite-counts``
holds a `CountsRecord` as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from lmsuite import __version__
from lmsuite.errors import DataError, LmError, ModelFileError, UsageError
from lmsuite.files import records
from lmsuite.files.atomic import replacing
from lmsuite.files.compression import unpacked_pieces
from lmsuite.files.header import Header, read_header
from lmsuite.files.plain import opened
from lmsuite.files.records import Count
from lmsuite.files.tensors import checksum, mapped, write
from lmsuite.ngram.count_lines import read_count_lines
from lmsuite.ngram.settings import COUNTS_SUFFIX
from lmsuite.ngram.text_counts import TextCounts
from lmsuite.text.encoding import TextEncoder
from lmsuite.text.registry import make_tokenizer
from lmsuite.text.settings import Boundaries
from lmsuite.text.vocabulary import SPECIALS, Vocabulary

FORMAT_VERSION = 1

_ENTRY = "lmsuite-counts"
_KIND = "file of counts"
_PIECE = 1 << 20  # bytes of text that are read at once
_MOST_LEVELS = 10  # of JSON within JSON


@dataclass(frozen=True)
class CountsRecord:
    """What a file of counts says of them, beside its arrays."""

    text: dict[str, Any]
    """`TextEncoder.describe`."""
    grows: bool
    is_open: bool
    checksum: Count
    """CRC-32 of the arrays."""
    corpus: str = ""
    corpus_sha256: str = ""
    command: str = ""
    version: str = __version__
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))


def save_counts(
    path: Path, counts: TextCounts, *, corpus_sha256: str = "", command: str = ""
) -> None:
    """Write a file of counts, and replace an old file at once.

    Raises:
        ModelFileError: the folder is not writable or the disk is full; an old file is unchanged.
    """
    arrays = {**counts.encoder.arrays(), **counts.arrays()}
    record = CountsRecord(
        counts.encoder.describe(),
        counts.grows,
        counts.is_open,
        checksum(arrays),
        counts.name,
        corpus_sha256,
        command,
    )
    said = {"format": FORMAT_VERSION, **records.as_json(record)}
    entry = json.dumps(said, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()
    with replacing(path) as stream:
        write(stream, arrays, {_ENTRY: entry})


def is_counts_file(path: Path) -> bool:
    """Whether a file is to be opened with `open_counts`: by its name, or by how it begins."""
    if path.name.endswith(COUNTS_SUFFIX):
        return True
    try:
        with path.open("rb") as stream:
            return stream.read(9)[8:] == b"{"  # after the header's length, its JSON
    except OSError:
        return False


def open_counts(path: Path) -> TextCounts:
    """The counts in a file.

    Raises:
        ModelFileError: the file is missing, damaged, cut short, no file of counts, or of a newer
            version; the message names the file and its fault.
    """
    header = read_header(path, _KIND)
    record = _record(path, header)
    arrays = mapped(path, header)
    if checksum(arrays) != record.checksum:
        raise ModelFileError(f"{path} is damaged: its arrays do not match their checksum")
    try:
        encoder = TextEncoder.restore(record.text, arrays)
        return TextCounts.from_arrays(
            str(path), encoder, arrays, grows=record.grows, is_open=record.is_open
        )
    except (LmError, LookupError, TypeError, ValueError) as error:
        raise ModelFileError(f"{path} cannot be used: {records.brief(error)}") from error


def read_counts(
    path: Path, chosen: Mapping[str, Any], like: TextEncoder | None, *, on_disk: bool = False
) -> TextCounts:
    """The counts in a file of counts, or in a text that lists them (`count_lines`), perhaps packed.

    Args:
        path: the file.
        chosen: ``tokenizer`` and ``boundaries``, as in `TextSettings`, as far as a user chose them.
            A text does not say them; `listed_counts` tells what holds otherwise.
        like: an encoder that tells both instead.
        on_disk: whether counts that a text lists are kept on disk.

    Raises:
        DataError: the text lists no counts, or others than of such a tokenizer and boundaries.
        ModelFileError: as `open_counts`.
        UsageError: a file of counts has another tokenizer, or other boundaries, than chosen.
    """
    if not is_counts_file(path):
        with opened(path) as stream:
            return listed_counts(stream, str(path), chosen, like, on_disk=on_disk)
    counts = open_counts(path)
    encoder = counts.encoder
    has = {"tokenizer": encoder.tokenizer.name, "boundaries": encoder.boundaries}
    for name in has.keys() & chosen.keys():
        if chosen[name] != has[name]:
            raise UsageError(
                f"{path} has the {name} {has[name]}, not {chosen[name]}; leave that choice out",
                name,
                value=chosen[name],
            )
    return counts


def listed_counts(
    stream: BinaryIO,
    name: str,
    chosen: Mapping[str, Any],
    like: TextEncoder | None,
    *,
    on_disk: bool = False,
) -> TextCounts:
    """The counts in a text, called `name`, that lists them; arguments and errors as `read_counts`.

    Without a choice the tokenizer is whitespace; and the sequences are lines, if there are any.
    """
    pieces = unpacked_pieces(iter(partial(stream.read, _PIECE), b""), name)
    listed = read_count_lines(pieces, name, on_disk=on_disk)
    otherwise = Boundaries.LINES if listed.has_sequences else Boundaries.STREAM
    boundaries = like.boundaries if like else Boundaries(chosen.get("boundaries", otherwise))
    if boundaries.has_sequences != listed.has_sequences:
        has, are = ("", "lines or documents") if listed.has_sequences else ("no ", "stream")
        raise DataError(
            f"{name} has {has}<s> and </s>, so its boundaries are {are}, not {boundaries}",
            "boundaries",
            value=boundaries,
        )
    tokenizer = like.tokenizer if like else make_tokenizer(chosen.get("tokenizer", "whitespace"))
    vocabulary = Vocabulary(listed.tokens[len(SPECIALS) :])
    nothing = np.zeros(0, np.int32)
    encoder = TextEncoder(tokenizer, vocabulary, boundaries)
    return TextCounts(name, encoder, True, listed.longest, nothing, nothing, is_open=False)


def _record(path: Path, header: Header) -> CountsRecord:
    entry = header.metadata.get(_ENTRY)
    if entry is None:
        raise ModelFileError(f"{path} is a safetensors file, but none of counts (lm count -o)")
    return records.read_versioned(
        CountsRecord, entry, path, called="record", newest=FORMAT_VERSION, levels=_MOST_LEVELS
    )
