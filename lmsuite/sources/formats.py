"""From a file to records: plain text, JSON lines, CSV, TSV, Parquet.

Each reader takes an open file and gives `Piece`s of text. A further format is a member of `Format`,
its endings in `finding.ENDINGS`, and a reader in `_READERS`.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import chain
from typing import IO, Any, NamedTuple, NoReturn, TypeAlias

from lmsuite.errors import DataError, TextWarning
from lmsuite.files.compression import RATIO, UNPACKED, packing_of, unpacked_pieces
from lmsuite.files.plain import check_encoding, decoded, decoded_pieces, with_line_ends
from lmsuite.files.stored_text import whole_units
from lmsuite.progress import Work
from lmsuite.sources.finding import File
from lmsuite.sources.foreign import BEGINNING, without_foreign
from lmsuite.sources.settings import Errors, Format, ReadingSettings

_CHUNK = 1 << 20  # bytes read at a time
_ROWS = 64  # of a table at a time
_MOST_NAMED = 20  # fields that a message names
_LONGEST_FIELD = 1 << 30  # characters, of CSV


class Piece(NamedTuple):
    """A part of a record, or what is left of it."""

    text: str
    ends: bool
    """Whether the record ends here. The line end that ends a record is no part of its text."""


class _Opened:
    """A file that is being read."""

    def __init__(self, file: IO[bytes], name: str, work: Work | None) -> None:
        self.file, self.name = file, name
        self._work = work
        self.is_packed = False  # as far as is known
        self._digest = hashlib.sha256()

    @property
    def checksum(self) -> str:
        """The SHA-256, hexadecimal, of the bytes read so far."""
        return self._digest.hexdigest()

    def raw(self) -> Iterator[bytes]:
        """The bytes as they are."""
        size: int | None = BEGINNING  # by which it is known what the file is
        while chunk := self._read(size):
            size = None
            self._digest.update(chunk)
            if self._work is not None:
                self._work.advance(len(chunk))
            yield chunk

    def _read(self, size: int | None = None) -> bytes:
        """So many bytes; without a size, those that a slow pipe has now."""
        read = self.file.read if size else getattr(self.file, "read1", self.file.read)
        try:
            return read(size or _CHUNK)
        except Exception as error:  # every service that a URL leads to has its own
            raise DataError(f"{self.name}: cannot be read ({_reason(error)})") from None

    def unpacked(self) -> Iterator[bytes]:
        """The bytes, unpacked if they are compressed."""
        pieces = self.raw()
        first = next(pieces, b"")
        self.is_packed = packing_of(first) is not None
        return unpacked_pieces(chain([first], pieces), self.name)

    @contextmanager
    def unpacked_file(self) -> Iterator[IO[bytes]]:
        """The bytes, unpacked, as a file to be read in any order."""
        if self.file.seekable():
            packing = packing_of(self.file.read(BEGINNING))
            self.file.seek(0)
            if packing is None:
                yield self.file
                self.file.seek(0)  # so that all of it has a part in the checksum
                return
        with tempfile.TemporaryFile() as copy:
            for piece in self.unpacked():
                self._write(copy, piece)
            copy.seek(0)
            yield copy

    def _write(self, copy: IO[bytes], piece: bytes) -> None:
        try:
            copy.write(piece)
        except OSError as error:
            raise DataError(
                f"{self.name}: no room for its copy in {tempfile.gettempdir()} "
                f"({_reason(error)}); set TMPDIR to a folder that has room"
            ) from None

    def texts(self) -> Iterator[bytes]:
        """The bytes, unpacked, of a file that is to hold text.

        Raises:
            DataError: it holds something else.
        """
        return without_foreign(self.unpacked(), self.name)


Reader: TypeAlias = Callable[[_Opened, ReadingSettings], Iterator[Piece]]


def pieces_of(
    file: File,
    settings: ReadingSettings,
    checksums: dict[str, str] | None = None,
    work: Work | None = None,
) -> Iterator[Piece]:
    """The text of a file, record by record.

    Args:
        file: the file.
        settings: how it is read.
        checksums: is given the SHA-256 of the file's bytes, by its name, when all were read.
        work: is told of the bytes read.

    Raises:
        DataError: it cannot be read, is damaged, or holds no text of this kind; the message says
            where.
        UsageError: there is no such encoding.
    """
    with _reading(file) as stream:
        opened = _Opened(stream, file.name, work)
        yield from _READERS[settings.format or file.format](opened, settings)
        if checksums is not None:
            for _ in opened.raw():  # what a reader may leave unread
                pass
            checksums[file.name] = opened.checksum


def _reading(file: File) -> AbstractContextManager[IO[bytes]]:
    """The file, opened.

    Raises:
        DataError: it cannot be.
    """
    try:
        return file.open()
    except FileNotFoundError:
        raise DataError(f"{file.name}: no such file") from None
    except OSError as error:
        raise DataError(f"{file.name}: cannot be read ({_reason(error)})") from None


def records_of(parts: Iterable[str], delimiter: str | None) -> Iterator[Piece]:
    """A plain text, of one record, or of those between lines that are the delimiter.

    What is empty between two delimiters, or before the first or after the last, is no record.
    """
    if delimiter is None:
        line_end = ""  # one that may be the last
        for part in filter(None, parts):
            whole = line_end + part
            line_end = "\n" if whole.endswith("\n") else ""
            yield Piece(whole.removesuffix(line_end), False)
        if line_end:
            yield Piece("", True)
        return
    is_open, is_ended = False, False
    for part in whole_units(parts, "\n"):
        lines = part.split("\n")
        is_ended = not lines[-1]
        record = [""] if is_open else []  # the line end between two parts of a record
        for line in lines[:-1] if is_ended else lines:
            if line != delimiter:
                record.append(line)
                is_open = True
            elif is_open:
                yield Piece("\n".join(record), True)
                record, is_open = [], False
        if is_open:
            yield Piece("\n".join(record), False)
    if is_open:
        yield Piece("", is_ended)


def _plain_text(opened: _Opened, settings: ReadingSettings) -> Iterator[Piece]:
    texts = opened.texts()
    first = next(texts, b"")
    inside = " of its unpacked contents" if opened.is_packed else ""
    pieces = decoded_pieces(
        chain([first], texts), opened.name, settings.encoding, settings.errors, inside
    )
    parts = with_line_ends(pieces, opened.name)
    if settings.skip_symbols:  # none is to be cut
        parts = whole_units(parts, "\n")
    return records_of(parts, settings.delimiter)


class _Stream(io.RawIOBase):
    """Pieces of bytes as a file."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


def _lines(opened: _Opened, settings: ReadingSettings) -> Iterator[str]:
    """The lines of a file, each with its end."""
    encoding, errors = settings.encoding, settings.errors
    check_encoding(encoding)
    if "\n{".encode(encoding, "replace") == b"\n{":
        mark = "\ufeff"
        stream = io.BufferedReader(_Stream(opened.texts()), _CHUNK)
        for number, line in enumerate(stream, start=1):
            try:
                text = line.decode(encoding, errors)
            except ValueError:
                text = decoded(line, f"{opened.name}, line {number}", encoding, errors)
            yield text.removeprefix(mark) if number == 1 else text
    else:  # characters of two bytes or four
        pieces = decoded_pieces(opened.texts(), opened.name, encoding, errors)
        for number, text in enumerate(whole_units(pieces, "\n")):
            yield from io.StringIO(text if number else text.removeprefix("\ufeff"), newline="\n")


def _json_lines(opened: _Opened, settings: ReadingSettings) -> Iterator[Piece]:
    records = _Records(opened.name, "line", settings)
    for number, line in enumerate(_lines(opened, settings), start=1):
        if line.isspace():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(
                f"{records.place(number)}: no JSON ({error.msg} at character {error.pos}); it is "
                "to hold an object on every line, or is no jsonl: {format} text",
                "format",
            ) from None
        except (ValueError, RecursionError):  # a number of thousands of digits
            raise DataError(
                f"{records.place(number)}: no JSON that can be read: too long or too deep"
            ) from None
        if not isinstance(record, dict):
            raise DataError(f"{records.place(number)}: {_called(record)}, where an object is to be")
        if settings.field not in record:
            records.refuse_missing(records.place(number), list(record))
        if (piece := records.of(record[settings.field], number)) is not None:
            yield piece
    records.tell()


def _table(opened: _Opened, settings: ReadingSettings, **dialect: Any) -> Iterator[Piece]:
    """A table in text: the first row names the columns."""
    csv.field_size_limit(_LONGEST_FIELD)
    records = _Records(opened.name, "line", settings)
    rows = csv.reader(_lines(opened, settings), strict=True, **dialect)
    header: list[str] = []
    column = 0
    while True:
        number = rows.line_num + 1  # a row may have several lines
        try:
            row = next(rows, None)
        except csv.Error as error:
            raise DataError(f"{records.place(number)}: no row of a table ({error})") from None
        if row is None:
            break
        if not row:
            continue
        if not header:
            header = row
            if settings.field not in header:
                records.refuse_missing(records.place(number), header)
            column = header.index(settings.field)
        elif len(row) != len(header):
            raise DataError(
                f"{records.place(number)}: {_counted(row, 'field')}, where the first row has "
                f"{len(header)}"
            )
        elif (piece := records.of(row[column], number)) is not None:
            yield piece


def _csv(opened: _Opened, settings: ReadingSettings) -> Iterator[Piece]:
    return _table(opened, settings)


def _tsv(opened: _Opened, settings: ReadingSettings) -> Iterator[Piece]:
    return _table(opened, settings, delimiter="\t", quoting=csv.QUOTE_NONE)


def _parquet(opened: _Opened, settings: ReadingSettings) -> Iterator[Piece]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise DataError(
            f"{opened.name}: Parquet needs the package pyarrow: pip install 'lmsuite[parquet]'"
        ) from None
    records = _Records(opened.name, "row", settings)
    with opened.unpacked_file() as file:
        row = made = 0
        limit = max(UNPACKED, RATIO * file.seek(0, io.SEEK_END))
        file.seek(0)
        try:
            table = parquet.ParquetFile(file)
            if settings.field not in table.schema_arrow.names:
                records.refuse_missing(opened.name, table.schema_arrow.names)
            kind = table.schema_arrow.field(settings.field).type
            while pyarrow.types.is_dictionary(kind):
                kind = kind.value_type
            if not _is_text(pyarrow.types, kind):
                raise DataError(
                    f"{opened.name}: column {_named([settings.field])} is {kind}, not text; choose "
                    "one with {field}",
                    "field",
                )
            for batch in table.iter_batches(_ROWS, columns=[settings.field], use_threads=False):
                for text in batch.column(0).to_pylist():
                    row += 1
                    if (piece := records.of(text, row)) is not None:
                        made += len(piece.text)
                        if made > limit:
                            raise DataError(
                                f"{opened.name}: unpacks to more than {RATIO} times its size, "
                                "which no text does; if it is meant, write it as a plain text first"
                            )
                        yield piece
        except (pyarrow.ArrowException, OSError, UnicodeDecodeError, MemoryError) as error:
            where = f" after row {row}" if row else ""
            raise DataError(f"{opened.name}: damaged Parquet{where} ({_reason(error)})") from None
    records.tell()


def _is_text(types: Any, kind: Any) -> bool:
    return any(
        is_one(kind) for is_one in (types.is_string, types.is_large_string, types.is_string_view)
    )


_READERS: dict[Format, Reader] = {
    Format.TEXT: _plain_text,
    Format.JSONL: _json_lines,
    Format.CSV: _csv,
    Format.TSV: _tsv,
    Format.PARQUET: _parquet,
}


class _Records:
    """What the readers of records have in common."""

    def __init__(self, name: str, unit: str, settings: ReadingSettings) -> None:
        self._name, self._unit, self._settings = name, unit, settings
        self._without = 0

    def place(self, number: int) -> str:
        """What messages call the record that begins in this line or row."""
        return f"{self._name}, {self._unit} {number}"

    def of(self, text: object, number: int) -> Piece | None:
        """The record of this text; None if the field is null."""
        if text is None:
            self._without += 1
            return None
        if not isinstance(text, str):
            raise DataError(
                f"{self.place(number)}: field {_named([self._settings.field])} is "
                f"{_called(text)}, not text; choose one with {{field}}",
                "field",
            )
        whole = text if text.isascii() else self._whole(text, number)
        return Piece(whole.replace("\r\n", "\n").removesuffix("\n"), True)

    def _whole(self, text: str, number: int) -> str:
        """The text, if it has no half characters, which JSON can write."""
        try:
            text.encode()
        except UnicodeEncodeError as error:
            if self._settings.errors is Errors.REPLACE:
                return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            raise DataError(
                f"{self.place(number)}: half a character at character {error.start} of its text; "
                "to have it replaced: {errors} replace",
                "errors",
            ) from None
        return text

    def refuse_missing(self, where: str, fields: Sequence[str]) -> NoReturn:
        """Tells which fields there are.

        Raises:
            DataError: always.
        """
        raise DataError(
            f"{where}: no field {_named([self._settings.field])}; there are: {_named(fields)}; "
            "choose one with {field}",
            "field",
        )

    def tell(self) -> None:
        """Warns of records that were passed over."""
        if self._without:
            what = "record" if self._without == 1 else "records"
            warnings.warn(
                f"{self._name}: passed over {self._without:,} {what} whose text is null",
                TextWarning,
                stacklevel=3,
            )


def _reason(error: BaseException) -> str:
    """What an error says, in a line."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(said.split())[:200] or type(error).__name__


def _named(fields: Iterable[str]) -> str:
    """Names in a line."""
    names = [repr(str(field))[1:-1][:100] for field in fields]
    more = ", …" if len(names) > _MOST_NAMED else ""
    return (", ".join(names[:_MOST_NAMED]) or "none") + more


def _counted(items: Sequence[object], what: str) -> str:
    return f"{len(items)} {what}" if len(items) == 1 else f"{len(items)} {what}s"


def _called(value: object) -> str:
    """What a value of JSON is."""
    return {
        dict: "an object",
        list: "a list",
        bool: "true or false",
        int: "a number",
        float: "a number",
        str: "a text",
    }.get(type(value), "null")
