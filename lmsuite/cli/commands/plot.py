"""``lm plot``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lmsuite.cli.options import (
    DEFAULT_FOLDER,
    JsonOption,
    ModelArguments,
    ModelsOption,
)
from lmsuite.cli.streams import left_out, note, read_texts, say, write_json
from lmsuite.errors import LmError, UsageError
from lmsuite.sources.settings import ReadingSettings

if TYPE_CHECKING:
    from lmsuite.report.linechart import LineChart
    from lmsuite.report.vectors import VectorMap
    from lmsuite.store.opening import OpenedModel


def plot(
    models: ModelArguments = None,
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Where the picture goes: a .png or .svg file.",
            show_default="curves.png, orders.png or embedding.png",
        ),
    ] = None,
    orders: Annotated[
        bool,
        typer.Option(
            "--by-order", help="Perplexity of n-gram models that use contexts of growing length."
        ),
    ] = False,
    embedding: Annotated[
        bool,
        typer.Option(
            "--embedding", help="A map of the vectors that one neural model learned of its tokens."
        ),
    ] = False,
    tokens: Annotated[
        int, typer.Option("--tokens", min=3, help="How many tokens the map shows.")
    ] = 150,
    data: Annotated[
        str | None,
        typer.Option(
            "--on",
            metavar="TEXT",
            help="The text that --by-order predicts, as for `lm train`.",
            show_default="the validation text of each model",
        ),
    ] = None,
    as_text: Annotated[
        bool,
        typer.Option(
            "--text",
            help="Draw with letters, here, instead of a picture; with --json, its numbers.",
        ),
    ] = False,
    folder: ModelsOption = DEFAULT_FOLDER,
    reading: ReadingSettings,
    as_json: JsonOption = False,
) -> None:
    """Draw learning curves, perplexity by order, or a map of an embedding.

    \b
    Examples:
      lm plot rnn ffnn -o curves.png
      lm plot ngram --by-order --text

    The map shows the most frequent tokens along the first two principal components of their
    vectors. Pictures need matplotlib: pip install 'lmsuite[plot]'.
    """
    from lmsuite.store.opening import open_models

    if orders and embedding:
        raise UsageError("--by-order and --embedding are two pictures: ask for one at a time")
    if data is not None and not orders:
        raise UsageError("--on is for --by-order")
    opened = open_models(folder, models, left_out)
    if embedding:
        drawing: LineChart | VectorMap = _vector_map(opened, tokens)
        path = output or Path("embedding.png")
    elif orders:
        drawing, path = _order_chart(opened, data, reading), output or Path("orders.png")
    else:
        drawing, path = _curves(opened), output or Path("curves.png")
    if not as_text:
        _write(path, _picture(drawing, _format_of(path)), as_json=as_json)
    elif as_json:
        write_json(asdict(drawing))
    else:
        say(_in_letters(drawing))


def _curves(opened: list[OpenedModel]) -> LineChart:
    from lmsuite.report.subject import Subject, learning_curves

    subjects = [Subject.of(each, left_out) for each in opened]
    chart = learning_curves(subjects)
    if chart is None:
        raise LmError(
            "none of these models has a learning curve; lm train rnn and lm train ffnn leave one "
            "beside the model (for n-gram models: lm plot --by-order)"
        )
    drawn = {line.label for line in chart.series}
    for subject in subjects:
        if subject.name not in drawn:
            note(f"left out: {subject.name} has no learning curve, and other validation text")
    return chart


def _order_chart(
    opened: list[OpenedModel], data: str | None, reading: ReadingSettings
) -> LineChart:
    from lmsuite.models.ngram import NgramModel
    from lmsuite.report.orders import by_order, order_chart
    from lmsuite.report.subject import Subject

    boundaries = [each.model.encoder.boundaries for each in opened]
    text = None if data is None else read_texts([data], reading, boundaries).text
    rows = {}
    for each in opened:
        if not isinstance(each.model, NgramModel):
            note(f"left out: {each.name} ({each.model.kind}) is no n-gram model")
            continue
        predicted = each.validation_text() if text is None else text
        if text is not None and "documents" in boundaries:
            predicted = each.model.encoder.boundaries.reads(text)
        rows[each.name] = by_order(each.model, predicted)
    chart = order_chart([Subject.of(each, left_out) for each in opened], rows)
    if chart is None:
        raise LmError("perplexity by order is of n-gram models, and none of these is one")
    return chart


def _vector_map(opened: list[OpenedModel], tokens: int) -> VectorMap:
    from lmsuite.report.vectors import vector_map

    having = [each for each in opened if each.model.embedding() is not None] or opened
    if len(having) > 1:
        names = ", ".join(each.name for each in having)
        raise UsageError(f"--embedding draws the map of one model: which one of {names}?")
    return vector_map(having[0].name, having[0].model, tokens)


def _in_letters(drawing: LineChart | VectorMap) -> str:
    from lmsuite.report.linechart import LineChart
    from lmsuite.report.terminal import lines_as_text, map_as_text

    return lines_as_text(drawing) if isinstance(drawing, LineChart) else map_as_text(drawing)


def _picture(drawing: LineChart | VectorMap, format: str) -> bytes:
    from lmsuite.report.figures import draw_lines, draw_map
    from lmsuite.report.linechart import LineChart

    if isinstance(drawing, LineChart):
        return draw_lines(drawing, format)
    return draw_map(drawing, format)


def _format_of(path: Path) -> str:
    """The picture's format, which the file's name ends in.

    Raises:
        UsageError: it is no format of pictures.
    """
    suffix = path.suffix.lower().removeprefix(".")
    if suffix not in ("png", "svg"):
        raise UsageError(f"{path}: a picture is a .png or .svg file")
    return suffix


def _write(path: Path, content: bytes, *, as_json: bool) -> None:
    from lmsuite.files.atomic import replacing

    with replacing(path) as stream:
        stream.write(content)
    if as_json:
        write_json({"file": str(path), "bytes": len(content)})
    else:
        say(f"saved {path}")
