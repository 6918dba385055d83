"""``lm embed``."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lmsuite.cli.options import (
    DEFAULT_FOLDER,
    JsonOption,
    ModelsAndText,
    ModelsOption,
    models_then_text,
)
from lmsuite.cli.streams import json_line, note, read_texts, write_all
from lmsuite.errors import UsageError
from lmsuite.sources.settings import ReadingSettings

if TYPE_CHECKING:
    from lmsuite.analysis.vectors import Vectors

_ENDING = ".npz"


class Of(StrEnum):
    """What has a vector."""

    TOKEN = "token"
    LINE = "line"


def embed(
    models_and_text: ModelsAndText,
    *,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="The file to write, named .npz; numpy.load opens it.",
            show_default=False,
        ),
    ] = None,
    layer: Annotated[
        list[int] | None,
        typer.Option(
            "--layer",
            metavar="N",
            help="0 is the embedding, 1 the first hidden layer, -1 the last; can be repeated.",
            show_default="all",
        ),
    ] = None,
    of: Annotated[
        Of, typer.Option("--of", help="A vector for each token, or the mean of each line.")
    ] = Of.TOKEN,
    folder: ModelsOption = DEFAULT_FOLDER,
    reading: ReadingSettings,
    as_json: JsonOption = False,
) -> None:
    """Write the hidden vectors of a text's tokens in their context.

    \b
    Examples:
      lm embed rnn play.txt -o vectors.npz
      lm embed forward backward play.txt -o elmo.npz
      echo "My lord" | lm embed rnn --layer -1 --json

    The file has an array `layer0`, `layer1`, ... for each layer, with a row for each token (or
    line), and for the rows `text`, `line`, `start` and `end`: the place in the line. With --json
    these are the fields of a line for each row. The text is read as it stands, so the context of a
    token is all that the model has read before it; a model of lines reads line by line. Two models,
    of which one is trained with --backward, have their vectors side by side, as in ELMo.
    """
    if out is None and not as_json:
        raise UsageError("give a file with -o vectors.npz, or --json")
    if out is not None and out.suffix != _ENDING:
        raise UsageError(f"{out}: the name must end in {_ENDING}")
    names, source = models_then_text(models_and_text, folder)
    if len(names) > 2:
        raise UsageError(f"{len(names)} models: one has vectors, or two side by side")
    found = _vectors(names, source, folder, reading)
    if layer:
        found = found.only(layer)
    if of is Of.LINE:
        found = found.of_lines()
    if out is not None:
        _write(found, out)
        sizes = ", ".join(
            f"layer{number} {len(vectors):,} × {vectors.shape[1]:,}"
            for number, vectors in found.layers.items()
        )
        note(f"saved {out}: {sizes}")
    if as_json:
        write_all(_lines(found))


def _vectors(names: list[str], source: str, folder: Path, reading: ReadingSettings) -> Vectors:
    """The vectors of one model, or of two side by side."""
    from lmsuite.analysis.vectors import side_by_side, vectors
    from lmsuite.store.opening import open_model

    opened = [open_model(folder, name) for name in names]
    boundaries = {one.model.encoder.boundaries for one in opened}
    if len(boundaries) > 1:
        raise UsageError(f"{' and '.join(names)} cut a text into different sequences")
    text = str(read_texts([source], reading, boundaries).text)
    first, *others = (vectors(one.model, text, name=one.name) for one in opened)
    return side_by_side(first, others[0]) if others else first


def _write(found: Vectors, out: Path) -> None:
    import numpy as np

    from lmsuite.files.atomic import replacing

    arrays: dict[str, Any] = {f"layer{number}": each for number, each in found.layers.items()}
    arrays |= {"text": np.array(found.texts, np.str_), "line": found.lines}
    arrays |= {"start": found.starts, "end": found.ends}
    with replacing(out) as stream:
        np.savez(stream, **arrays)


def _lines(found: Vectors) -> Iterator[str]:
    rows = zip(found.texts, found.lines, found.starts, found.ends, strict=True)
    for row, (text, line, start, end) in enumerate(rows):
        fields: dict[str, Any] = {"text": text, "line": int(line)}
        fields |= {"start": int(start), "end": int(end)}
        layers = {f"layer{n}": vectors[row].tolist() for n, vectors in found.layers.items()}
        yield json_line(fields | layers)
