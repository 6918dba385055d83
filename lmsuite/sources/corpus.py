"""The text that a user means: files, standard input, named corpora."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from lmsuite.errors import DataError, UsageError
from lmsuite.files import AnyPath
from lmsuite.files.plain import decode_text, read_text
from lmsuite.sources.catalogue import PLAY, catalogue, names_like

_PIECE = 1 << 20
_STDIN = "-"
_STDIN_NAME = "standard input"


@dataclass(frozen=True)
class Corpus:
    """A text and where it came from."""

    text: str
    name: str
    """What messages call it."""
    sha256: str
    """The checksum of the text in UTF-8, hexadecimal."""


def read_corpus(
    sources: AnyPath | Sequence[AnyPath],
    *,
    encoding: str = "utf-8",
    stdin: BinaryIO | None = None,
    quiet: bool = False,
) -> Corpus:
    """The text of all sources, in order.

    A source whose last line is not ended is given a newline if another source follows it.

    Args:
        sources: one or several, each a path, ``-`` for standard input, or a name from the
            catalogue (a file of that name goes first). None: standard input if it `is_piped`,
            else the embedded play.
        encoding: of files and standard input; the catalogue knows its own.
        stdin: instead of the process's own.
        quiet: show no progress bar while a named corpus is fetched.

    Raises:
        DataError: a source is missing, a directory, empty, damaged, or not in this encoding.
        UsageError: standard input is asked for twice, or there is no such encoding.
    """
    if stdin is None and sys.stdin is not None:
        stdin = sys.stdin.buffer
    given = [sources] if isinstance(sources, str | os.PathLike) else sources
    names = [os.fspath(source) for source in given]
    if not names:
        names = [_STDIN if stdin is not None and is_piped(stdin) else PLAY]
    if names.count(_STDIN) > 1:
        raise UsageError("standard input (`-`) can be read only once; name it once")
    texts: list[str] = []
    for source in names:
        if texts and not texts[-1].endswith("\n"):
            texts[-1] += "\n"
        text = (
            _read_stdin(stdin, encoding)
            if source == _STDIN
            else _read_source(source, encoding, quiet)
        )
        if not text:
            advice = f"give a text, or name one (`{PLAY}` is the embedded play)"
            raise DataError(f"{_called(source)} is empty; {advice}")
        texts.append(text)
    text = "".join(texts)
    return Corpus(text, ", ".join(map(_called, names)), _sha256(text))


def is_piped(stdin: BinaryIO) -> bool:
    """Whether someone has connected standard input: a pipe, a socket or a file.

    A terminal or another device, as ``/dev/null`` under cron or in a service, does not count.
    """
    try:
        mode = os.fstat(stdin.fileno()).st_mode
    except io.UnsupportedOperation:
        return True  # a Python object instead of a file, put there on purpose
    except (OSError, ValueError):
        return False  # closed
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISREG(mode)


def _sha256(text: str) -> str:
    digest = hashlib.sha256()
    for begin in range(0, len(text), _PIECE):  # the bytes of a long text are never there at once
        digest.update(text[begin : begin + _PIECE].encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _called(source: str) -> str:
    return _STDIN_NAME if source == _STDIN else source


def _read_stdin(stdin: BinaryIO | None, encoding: str) -> str:
    if stdin is None:
        raise DataError("standard input (`-`) is closed; name a file")
    return decode_text(stdin.read(), _STDIN_NAME, encoding)


def _read_source(source: str, encoding: str, quiet: bool) -> str:
    path = Path(source)
    if path.exists() and not path.is_dir():
        return read_text(path, encoding)
    entries = catalogue()
    if source in entries:
        return entries[source].read(quiet=quiet)
    if path.is_dir() or os.sep in source:
        return read_text(path, encoding)  # which says what is wrong with it
    raise DataError(f"{source}: no such file or corpus; {names_like(source, entries)}")
