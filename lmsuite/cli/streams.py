"""Standard input, output and error: read piped texts; print results, notes and JSON."""

from __future__ import annotations

import json
import math
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, BinaryIO

import typer

from lmsuite.errors import LmError, TextWarning, UsageError
from lmsuite.terminal import shown, unguarded

if TYPE_CHECKING:
    from pathlib import Path

    from lmsuite.files.stored_text import Text
    from lmsuite.sources.corpus import Corpus
    from lmsuite.sources.settings import ReadingSettings
    from lmsuite.text.settings import Boundaries

_ESCAPES = {"n": "\n", "t": "\t", "\\": "\\"}


def unescaped(argument: str) -> str:
    """The text of an argument, in which ``\\n``, ``\\t`` and ``\\\\`` are read as escapes."""
    return re.sub(r"\\([nt\\])", lambda escape: _ESCAPES[escape[1]], argument)


def argument_or_piped(argument: str | None, encoding: str) -> str:
    """The text of an argument, with its escapes; without one, the piped text.

    Raises:
        UsageError: there is neither.
        DataError: the text is not in this encoding.
    """
    from lmsuite.files.plain import decode_text

    if argument is not None:
        return decode_text(unescaped(argument).encode("utf-8", "surrogateescape"), "the text")
    stdin = piped_input()
    if stdin is None:
        raise UsageError("no text: give one in quotes, or pipe it in")
    return decode_text(stdin.read(), "the text", encoding)


_quiet = ContextVar("quiet", default=False)


def be_quiet(quiet: bool = True) -> None:
    """Show no progress from now on; or, with False, show it again."""
    _quiet.set(quiet)


def is_quiet() -> bool:
    """Whether the user asked for no progress (option -q)."""
    return _quiet.get()


def piped_input() -> BinaryIO | None:
    """Standard input if something is piped in; None if it is a terminal or /dev/null."""
    from lmsuite.sources.corpus import is_piped

    if sys.stdin is None or not is_piped(sys.stdin.buffer):
        return None
    return sys.stdin.buffer


def given_text(
    text: str | None, reading: ReadingSettings, boundaries: Iterable[Boundaries]
) -> Text | None:
    """The text that the user named with --text or piped in; None if there is neither.

    Raises:
        DataError: it cannot be read, or is empty.
    """
    if text is None and piped_input() is None:
        return None
    return read_texts([text or "-"], reading, boundaries).text


def read_texts(
    sources: Sequence[str], reading: ReadingSettings, boundaries: Iterable[Boundaries]
) -> Corpus:
    """The text of these sources; without any, what is piped in, or the embedded play.

    Args:
        sources: as of `read_corpus`.
        reading: how they are read.
        boundaries: of those who will read the text. It is one of documents if any is.

    Raises:
        DataError: it cannot be read, or is empty.
    """
    from lmsuite.sources.corpus import read_corpus

    return read_corpus(sources, **_how_to_read(reading, boundaries))


def stream_texts(
    sources: Sequence[str], reading: ReadingSettings, boundaries: Iterable[Boundaries]
) -> tuple[str, Iterator[str]]:
    """What messages call the text of `read_texts`, and the parts of that text, as they are read."""
    from lmsuite.sources.corpus import stream_corpus

    return stream_corpus(sources, **_how_to_read(reading, boundaries))


def _how_to_read(reading: ReadingSettings, boundaries: Iterable[Boundaries]) -> dict[str, Any]:
    documents = any(each.unit == "document" for each in boundaries)
    how = {"documents": documents, "stdin": piped_input(), "quiet": is_quiet()}
    return how | vars(reading)


def printable(text: str) -> str:
    """`text` as standard output will show it, for code that counts its columns.

    On a terminal, control characters are spelled out (`lmsuite.terminal`). A pipe or a file gets
    the text as it is.
    """
    return shown(text) if sys.stdout.isatty() else text


def write(text: str) -> None:
    """Show text on standard output at once, without a line end of its own.

    Raises:
        BrokenPipeError: the reader of a pipe has gone.
        LmError: the text cannot be written for another reason.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise LmError(f"cannot write to standard output: {reason}") from error


def say(line: str = "") -> None:
    """Show a line on standard output at once."""
    write(f"{line}\n")


def say_in_bold(line: str) -> None:
    """Show a line on standard output at once, in bold if that is a terminal."""
    if sys.stdout.isatty():
        sys.stdout.flush()
        unguarded(sys.stdout).write(typer.style(shown(line), bold=True))
        line = ""
    say(line)


def note(message: str, *, quiet: bool = False) -> None:
    """Print a message beside the results, on standard error, unless `quiet`.

    If it cannot be printed, because the disk of a log file is full, the work goes on.
    """
    if not quiet:
        with suppress(OSError):
            sys.stderr.write(f"{message}\n")
            sys.stderr.flush()


def save_page(path: Path, page: str) -> None:
    """Write a page to a file, instead of a result on standard output, and say where it is."""
    from lmsuite.files.atomic import replacing

    with replacing(path) as stream:
        stream.write(page.encode("utf-8"))
    note(f"saved {path}")


def left_out(error: LmError) -> None:
    """Tell the user why something is missing from the results."""
    from lmsuite.cli.settings_options import spelled

    note(f"left out: {error.spelled(lambda field: spelled(field, {}))}")


@contextmanager
def warnings_as_notes() -> Iterator[None]:
    """Print each warning of the library about a text as a note of one line."""

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if issubclass(category, TextWarning):
            note(f"note: {message}")
        else:
            otherwise(message, category, *place, **more)

    with warnings.catch_warnings():
        warnings.simplefilter("always", TextWarning)
        otherwise = warnings.showwarning
        warnings.showwarning = show
        yield


_UNSAFE_IN_JSON = re.compile("[\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def write_json(value: Any) -> None:
    """Show a `json_line` on standard output at once."""
    write(json_line(value))


def json_line(value: Any) -> str:
    """One line of strict JSON; a number that is not finite is null.

    An example is the perplexity of a text with a token of probability zero. A terminal and a pipe
    get the same line: control characters are escaped, as JSON itself requires for C0.
    """
    text = json.dumps(json_ready(value), ensure_ascii=False, allow_nan=False)
    return _UNSAFE_IN_JSON.sub(lambda found: f"\\u{ord(found.group()):04x}", text) + "\n"


def write_all(lines: Iterable[str]) -> None:
    """Write lines to standard output: the first at once, the others many at a time.

    Each line brings its own line end. If the lines end with an error, those before it are written.
    """
    held: list[str] = []
    size, enough = 0, 1
    try:
        for line in lines:
            held.append(line)
            size += len(line)
            if size >= enough:
                text = "".join(held)
                held.clear()
                write(text)
                size, enough = 0, _AT_ONCE
    except LmError:
        write("".join(held))
        raise
    write("".join(held))


_AT_ONCE = 1 << 16  # characters


def json_ready(value: Any) -> Any:
    """`value` with null for every number that JSON cannot write."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: json_ready(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [json_ready(entry) for entry in value]
    return value
