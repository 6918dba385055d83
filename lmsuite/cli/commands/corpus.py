"""``lm corpus list``, ``lm corpus show`` and ``lm corpus fetch``."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Annotated

import typer

from lmsuite.cli.options import JsonOption
from lmsuite.cli.streams import (
    is_quiet,
    json_line,
    note,
    say,
    stream_texts,
    write,
    write_all,
    write_json,
)
from lmsuite.cli.tables import Column, show_facts, show_table
from lmsuite.errors import UsageError
from lmsuite.files.stored_text import whole_units
from lmsuite.sources.settings import ReadingSettings

if TYPE_CHECKING:
    from lmsuite.sources.catalogue import Entry


def complete_corpora(incomplete: str) -> list[str]:
    """The names of corpora that begin with `incomplete`, for the shell's completion."""
    from lmsuite.sources.catalogue import catalogue

    return [name for name in catalogue() if name.startswith(incomplete)]


def list_corpora(as_json: JsonOption = False) -> None:
    """List the texts that have a name.

    \b
    Examples:
      lm corpus list
      lm corpus list --json

    Type a name where a command expects a file: lm train ngram tinyshakespeare. A text that is not
    here yet is downloaded at its first use. CHECKSUM says whether the right checksum is known
    beforehand (pinned), or only that of the copy fetched first (unpinned).
    """
    from lmsuite.sources.catalogue import catalogue

    entries = catalogue().values()
    if as_json:
        write_json([_facts(entry) for entry in entries])
        return
    columns = [Column("name"), Column("here"), Column("checksum"), Column("title")]
    show_table(
        columns,
        [
            [entry.name, "yes" if entry.available else "no", entry.pin, entry.title]
            for entry in entries
        ],
    )


def show_corpus(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A name, as in `lm corpus list`; or any other text, as for `lm train`.",
            autocompletion=complete_corpora,
        ),
    ],
    *,
    text: Annotated[
        bool, typer.Option("--text", help="Print the text of a name, downloaded if need be.")
    ] = False,
    reading: ReadingSettings,
    as_json: JsonOption = False,
) -> None:
    """Show where a named text comes from, or how a text is read.

    \b
    Examples:
      lm corpus show tinyshakespeare
      lm corpus show play --text | head
      lm corpus show reviews.csv --field review | head

    A source that is not in the catalogue is printed as the text that `lm` reads there; with --json
    there is an object for each record.
    """
    from lmsuite.sources.catalogue import catalogue

    entry = catalogue().get(source)
    if entry is None:
        _print(source, reading, as_json=as_json)
    elif text and as_json:
        raise UsageError("--text prints the text as it is; leave out --json")
    elif text:
        write(entry.read(quiet=is_quiet()))
    elif as_json:
        write_json(_facts(entry))
    else:
        show_facts({label: str(value) for label, value in _facts(entry).items() if value != ""})


def _print(source: str, reading: ReadingSettings, *, as_json: bool) -> None:
    """Print a text, or its records."""
    from lmsuite.text.settings import Boundaries

    boundaries = Boundaries.DOCUMENTS if as_json else Boundaries.STREAM
    _, parts = stream_texts([source], reading, [boundaries])
    if not as_json:
        write_all(parts)
        return
    end = boundaries.end
    texts = (text.removesuffix(end).split(end) for text in whole_units(parts, end))
    write_all(json_line({"text": record}) for record in chain.from_iterable(texts))


def fetch_corpora(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME", help="As in `lm corpus list`.", autocompletion=complete_corpora
        ),
    ],
    force: Annotated[
        bool, typer.Option("--force", help="Download texts again that are here already.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Download named texts, to use later.

    \b
    Examples:
      lm corpus fetch tinyshakespeare
      lm corpus fetch shakespeare --force

    The texts are kept in the user's cache folder, or in the one that the environment variable
    LM_CACHE names.
    """
    from lmsuite.sources.catalogue import find_entry

    entries = [find_entry(name) for name in names]
    for entry in entries:
        if entry.files:
            note(f"{entry.name} needs no download", quiet=is_quiet())
            continue
        if entry.available and not force:
            note(f"{entry.name} is here already (--force downloads it again)", quiet=is_quiet())
        entry.fetch(force=force, quiet=is_quiet())
        if not as_json:
            say(str(entry.cached))
    if as_json:
        write_json([_facts(entry) for entry in entries])


def _facts(entry: Entry) -> dict[str, str | bool]:
    return {
        "name": entry.name,
        "title": entry.title,
        "licence": entry.licence,
        "origin": entry.origin,
        "checksum": entry.pin,
        "sha256": entry.checksum or "",
        "here": entry.available,
        "file": "" if entry.files else str(entry.cached),
    }
