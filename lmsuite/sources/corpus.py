"""The text that a user means: files, folders, patterns, URLs, standard input, named corpora."""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from lmsuite.errors import DataError, UsageError
from lmsuite.files import AnyPath
from lmsuite.files.plain import DOCUMENT_END
from lmsuite.files.stored_text import Text, TextWriter
from lmsuite.progress import Work, working
from lmsuite.sources.catalogue import PLAY, catalogue, names_like
from lmsuite.sources.finding import File, find
from lmsuite.sources.formats import Piece, pieces_of, records_of
from lmsuite.sources.settings import ReadingSettings

_STDIN = "-"
_STDIN_NAME = "standard input"


@dataclass(frozen=True)
class Origin:
    """Where a text came from."""

    name: str
    """What messages call the text."""
    sha256: str
    """The checksum of the text in UTF-8, hexadecimal."""
    files: Mapping[str, str] = field(default_factory=dict)
    """The checksum of each file's bytes, in the order in which they were read."""


@dataclass(frozen=True)
class Corpus:
    """A text and where it came from."""

    text: Text
    """Records and files follow one another, each ended by a line end, or in a text of documents by
    `DOCUMENT_END`. The last may lack its end."""
    origin: Origin

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.origin.name

    @property
    def sha256(self) -> str:
        """The checksum of the text in UTF-8, hexadecimal."""
        return self.origin.sha256


def read_corpus(
    sources: AnyPath | Sequence[AnyPath],
    *,
    documents: bool = False,
    stdin: BinaryIO | None = None,
    quiet: bool = False,
    **reading: Any,
) -> Corpus:
    """The text of all sources, in order.

    A file or record whose last line is not ended is given a line end if another one follows it.

    Args:
        sources: one or several, each a path, a folder, a pattern, a URL, ``-`` for standard input,
            or a name from the catalogue (a file of that name goes first). None: standard input if
            it `is_piped`, else the embedded play.
        documents: a record, and a file of plain text, is ended by `DOCUMENT_END` instead, which
            is a space if it stands in one.
        stdin: instead of the process's own.
        quiet: show no progress bar while something is fetched.
        reading: the `ReadingSettings`, by name: ``encoding``, ``format``, ``field`` and the others.
            The catalogue knows those of its texts.

    Raises:
        DataError: a source is missing, empty, damaged, holds no text, or not in this encoding.
        UsageError: standard input is asked for twice, or there is no such encoding or setting.
    """
    named = _Sources(sources, stdin, quiet, _settings(reading))
    writer, digest = TextWriter(), hashlib.sha256()
    for part in named.parts(documents):
        writer.write(part)
        digest.update(part.encode("utf-8", "surrogatepass"))
    return Corpus(writer.text(), Origin(named.title, digest.hexdigest(), named.checksums))


def stream_corpus(
    sources: AnyPath | Sequence[AnyPath],
    *,
    documents: bool = False,
    stdin: BinaryIO | None = None,
    quiet: bool = False,
    **reading: Any,
) -> tuple[str, Iterator[str]]:
    """What messages call the text of all sources, and the parts of that text, as they are read.

    Args and errors are those of `read_corpus`; a source is opened when its first part is asked for.
    """
    named = _Sources(sources, stdin, quiet, _settings(reading))
    return named.title, named.parts(documents)


class _Sources:
    """Some sources, and what they hold."""

    def __init__(
        self,
        sources: AnyPath | Sequence[AnyPath],
        stdin: BinaryIO | None,
        quiet: bool,
        settings: ReadingSettings,
    ) -> None:
        if stdin is None and sys.stdin is not None:
            stdin = sys.stdin.buffer
        given = [sources] if isinstance(sources, str | os.PathLike) else sources
        self._names = [os.fspath(source) for source in given]
        if not self._names:
            self._names = [_STDIN if stdin is not None and is_piped(stdin) else PLAY]
        if self._names.count(_STDIN) > 1:
            raise UsageError("standard input (`-`) can be read only once; name it once")
        self._stdin, self._quiet, self._settings = stdin, quiet, settings
        self.title = ", ".join(map(_called, self._names))
        self.checksums: dict[str, str] = {}
        """That of each file that has been read."""

    def parts(self, documents: bool) -> Iterator[str]:
        """The text, part by part."""
        found = [(name, self._find(name)) for name in self._names]
        sizes = [file.size for _, files in found for file in files or ()]
        known = [size for size in sizes if size is not None]
        total = sum(known) if len(known) == len(sizes) else None
        with working("reading", total, "B") as work:
            files = (file for each in found for file in self._files(*each, work))
            yield from joined(files, self._settings, documents=documents)

    def _find(self, source: str) -> list[File] | None:
        """The files of a source; None if it is a name of the catalogue."""
        if source == _STDIN:
            return _stdin(self._stdin)
        if _is_folder(source) and source in catalogue():
            return None
        found = find(source, any_ending=self._settings.format is not None, quiet=self._quiet)
        if found is None:
            _require_name(source)
        return found

    def _files(
        self, source: str, found: list[File] | None, work: Work
    ) -> Iterator[Iterable[Piece]]:
        """What the files of a source hold, of which not all may be empty."""
        is_empty = True

        def watched(pieces: Iterator[Piece]) -> Iterator[Piece]:
            nonlocal is_empty
            for first in pieces:
                is_empty = False
                yield first
                yield from pieces

        if found is None:
            text = catalogue()[source].read(quiet=self._quiet)
            yield watched(records_of([text], self._settings.delimiter))
        else:
            for file in found:
                yield watched(pieces_of(file, self._settings, self.checksums, work))
        if is_empty:
            advice = f"give a text, or name one (`{PLAY}` is the embedded play)"
            raise DataError(f"{_called(source)} is empty; {advice}")


def _settings(reading: Mapping[str, Any]) -> ReadingSettings:
    try:
        return ReadingSettings(**reading)
    except TypeError:
        known = ", ".join(ReadingSettings.__dataclass_fields__)
        raise UsageError(f"a text is read by {known}, not by {', '.join(reading)}") from None


def joined(
    files: Iterable[Iterable[Piece]], settings: ReadingSettings, *, documents: bool = False
) -> Iterator[str]:
    """The text of some files, piece by piece."""
    end = DOCUMENT_END if documents else "\n"
    is_open = False  # whether the last record lacks its end
    for pieces in files:
        between = end if is_open else ""
        for text, ends in pieces:
            if settings.skip_symbols:
                text = _SYMBOL.sub(" ", text)
            if documents:
                text = text.replace(DOCUMENT_END, " ")
            yield f"{between}{text}{end}" if ends else between + text
            between, is_open = "", not ends


# Between what `lmplz` takes for white space.
_SYMBOL = re.compile(r"(?<![^ \t\n\r\0])(?:<s>|</s>|<unk>)(?![^ \t\n\r\0])")


def _is_folder(source: str) -> bool:
    try:
        return Path(source).is_dir()
    except (OSError, ValueError):
        return False


def _stdin(stdin: BinaryIO | None) -> list[File]:
    if stdin is None:
        raise DataError("standard input (`-`) is closed; name a file")
    return [File(_STDIN_NAME, lambda: nullcontext(stdin))]  # others may read on


def _require_name(source: str) -> None:
    """Refuse what is no name of the catalogue."""
    entries = catalogue()
    if source in entries:
        return
    if os.sep in source:
        raise DataError(f"{source}: no such file")
    raise DataError(f"{source}: no such file or corpus; {names_like(source, entries)}")


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


def _called(source: str) -> str:
    return _STDIN_NAME if source == _STDIN else source
