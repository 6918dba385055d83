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
    from lmsuite.report.charts import LineChart, TokenMap
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
            "--embedding", help="A map of the vectors that one neural model learned for its tokens."
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
            help="Draw with letters in the terminal, not a picture; with --json, as numbers.",
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
    vectors.
    """
    from lmsuite.store.opening import open_models

    if orders and embedding:
        raise UsageError("--by-order and --embedding are two pictures: ask for one at a time")
    if data is not None and not orders:
        raise UsageError("--on is for --by-order")
    opened = open_models(folder, models, left_out)
    if embedding:
        chart: LineChart | TokenMap = _token_map(opened, tokens)
        path = output or Path("embedding.png")
    elif orders:
        chart, path = _order_chart(opened, data, reading), output or Path("orders.png")
    else:
        chart, path = _curves(opened), output or Path("curves.png")
    if not as_text:
        _write(path, chart, as_json=as_json)
    elif as_json:
        write_json(asdict(chart))
    else:
        from lmsuite.report.terminal import chart_as_text

        say(chart_as_text(chart))


def _curves(opened: list[OpenedModel]) -> LineChart:
    from lmsuite.report.model_charts import TrainedModel, learning_curves

    models = [TrainedModel.of(each, left_out) for each in opened]
    chart = learning_curves(models)
    if chart is None:
        raise LmError(
            "none of these models has a learning curve; lm train rnn and lm train ffnn write one "
            "beside the model (for n-gram models: lm plot --by-order)"
        )
    drawn = {line.label for line in chart.series}
    for each in models:
        if each.name not in drawn:
            note(f"left out: {each.name} has no learning curve, and another validation text")
    return chart


def _order_chart(
    opened: list[OpenedModel], data: str | None, reading: ReadingSettings
) -> LineChart:
    from lmsuite.models.ngram import NgramModel
    from lmsuite.report.model_charts import TrainedModel, by_order, order_chart
    from lmsuite.text.settings import Boundaries

    boundaries = [each.model.encoder.boundaries for each in opened]
    text = None if data is None else read_texts([data], reading, boundaries).text
    rows = {}
    for each in opened:
        if not isinstance(each.model, NgramModel):
            note(f"left out: {each.name} ({each.model.kind}) is not an n-gram model")
            continue
        predicted = each.validation_text() if text is None else text
        if text is not None and Boundaries.DOCUMENTS in boundaries:
            predicted = each.model.encoder.boundaries.reads(text)
        rows[each.name] = by_order(each.model, str(predicted))
    chart = order_chart([TrainedModel.of(each, left_out) for each in opened], rows)
    if chart is None:
        raise LmError("--by-order needs an n-gram model, and none of these is one")
    return chart


def _token_map(opened: list[OpenedModel], tokens: int) -> TokenMap:
    from lmsuite.report.model_charts import token_map

    having = [each for each in opened if each.model.embedding() is not None] or opened
    if len(having) > 1:
        names = ", ".join(each.name for each in having)
        raise UsageError(f"--embedding draws the map of one model: which one of {names}?")
    return token_map(having[0].name, having[0].model, tokens)


def _write(path: Path, chart: LineChart | TokenMap, *, as_json: bool) -> None:
    from lmsuite.files.atomic import replacing
    from lmsuite.report.drawing import picture_file

    file_format = path.suffix.lower().removeprefix(".")
    if file_format not in ("png", "svg"):
        raise UsageError(f"{path}: a picture is a .png or .svg file")
    picture = picture_file(chart, file_format)
    with replacing(path) as stream:
        stream.write(picture)
    if as_json:
        write_json({"file": str(path), "bytes": len(picture)})
    else:
        say(f"saved {path}")
