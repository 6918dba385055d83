"""``lm models``."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from lmsuite.cli.options import DEFAULT_FOLDER, JsonOption, ModelsOption
from lmsuite.cli.streams import note, write_json
from lmsuite.cli.tables import Column, show_table
from lmsuite.errors import ModelFileError
from lmsuite.store.folder import ModelsFolder

if TYPE_CHECKING:
    from pathlib import Path

_COLUMNS = (
    Column("model"),
    Column("kind"),
    Column("tokens"),
    Column("valid. perplexity", number=True),
    Column("MB", number=True),
    Column("made"),
)


def models(folder: ModelsOption = DEFAULT_FOLDER, as_json: JsonOption = False) -> None:
    """List the models in the models folder.

    \b
    Examples:
      lm models
      lm models --models demo --json
    """
    found = []
    for name in ModelsFolder(folder).names():
        try:
            found.append(_facts(name, ModelsFolder(folder).path(name)))
        except ModelFileError as error:
            note(f"left out: {error}")
    if as_json:
        write_json(found)
    elif found:
        show_table(_COLUMNS, [_cells(facts) for facts in found])
    else:
        note(f"no models in {folder}; make one: lm train ngram")


def _facts(name: str, path: Path) -> dict[str, Any]:
    from lmsuite.store.artefact import read_manifest

    manifest = read_manifest(path)
    tokenizer = manifest.text.get("tokenizer", {})
    return {
        "model": name,
        "kind": manifest.kind,
        "tokenizer": tokenizer.get("name") if isinstance(tokenizer, dict) else None,
        "boundaries": manifest.text.get("boundaries"),
        "perplexity": manifest.provenance.validation.perplexity,
        "bytes": path.stat().st_size,
        "created": manifest.provenance.created,
    }


def _cells(facts: dict[str, Any]) -> list[str]:
    perplexity = facts["perplexity"]
    return [
        facts["model"],
        facts["kind"],
        f"{facts['tokenizer']}, {facts['boundaries']}",
        "" if perplexity is None else f"{perplexity:.2f}",
        f"{facts['bytes'] / 1e6:.1f}",
        _local_time(facts["created"]),
    ]


def _local_time(created: str) -> str:
    try:
        return f"{datetime.fromisoformat(created).astimezone():%Y-%m-%d %H:%M}"
    except (ValueError, OverflowError, OSError):
        return created
