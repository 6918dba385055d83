"""``lm report``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lmsuite.cli.options import (
    DEFAULT_FOLDER,
    JsonOption,
    ModelArguments,
    ModelsOption,
    SeedOption,
)
from lmsuite.cli.streams import is_quiet, left_out, note, read_texts, say, unescaped, write_json
from lmsuite.errors import UsageError
from lmsuite.sources.settings import ReadingSettings

if TYPE_CHECKING:
    from lmsuite.store.opening import OpenedModel


def report(
    context: typer.Context,
    models: ModelArguments = None,
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Where the page goes.")
    ] = Path("report.html"),
    text: Annotated[
        str | None,
        typer.Option(
            "--text",
            metavar="TEXT",
            help="The text to predict, as for `lm train`.",
            show_default="the models' validation text",
        ),
    ] = None,
    title: Annotated[
        str, typer.Option("--title", help="The heading.")
    ] = "Language models compared",
    prompt: Annotated[
        str,
        typer.Option("--prompt", help="The beginning of every sample; write \\n for a line end."),
    ] = "",
    seed: SeedOption = 1,
    folder: ModelsOption = DEFAULT_FOLDER,
    reading: ReadingSettings,
    as_json: JsonOption = False,
) -> None:
    """Write one page about models, to read and to show.

    \b
    Examples:
      lm report
      lm report ngram -o page.html --prompt "My lord,"

    The page holds the comparison with intervals, learning curves, perplexity by n-gram order, a
    passage with each token's surprisal under each model, samples, and how each model was made. The
    page is one file, needs no network and no script, and can be sent to anyone.
    """
    from lmsuite.analysis.comparability import Comparable, cautions
    from lmsuite.cli.saving import command_line
    from lmsuite.files.atomic import replacing
    from lmsuite.report.findings import gather
    from lmsuite.report.model_charts import TrainedModel
    from lmsuite.report.pages import report_page
    from lmsuite.store.opening import open_models

    opened = open_models(folder, models, left_out)
    _refuse_equal_names(opened)
    predicted, text_name = _text(opened, text, reading)
    findings = gather(
        [TrainedModel.of(each, left_out) for each in opened],
        predicted,
        text_name=text_name,
        prompt=unescaped(prompt),
        seed=seed,
        progress=lambda line: note(line, quiet=is_quiet()),
    )
    rows = [
        Comparable.of(result, each.model, predicted, is_tuned=each.is_tuned_on(predicted))
        for result, each in zip(findings.results, opened, strict=True)
    ]
    notes = cautions(rows)
    page = report_page(findings, title=title, notes=notes, made_by=command_line(context))
    with replacing(output) as stream:
        stream.write(page.encode("utf-8"))
    if as_json:
        write_json({"file": str(output), "bytes": output.stat().st_size})
        return
    say(f"saved {output} ({len(page.encode('utf-8')) / 1e6:.1f} MB): open it in a browser")


def _refuse_equal_names(opened: list[OpenedModel]) -> None:
    names = [each.name for each in opened]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"two of these models are called {twice}: rename a file")


def _text(opened: list[OpenedModel], text: str | None, reading: ReadingSettings) -> tuple[str, str]:
    """The text to predict and what it is called.

    Raises:
        DataError: none was given, and the models do not share a validation text.
    """
    from lmsuite.store.opening import shared_validation_text
    from lmsuite.text.settings import Boundaries

    if text is not None:
        boundaries = {each.model.encoder.boundaries for each in opened}
        if len(boundaries) > 1 and Boundaries.DOCUMENTS in boundaries:
            raise UsageError(
                "some of these models read documents and some do not: report on either"
            )
        corpus = read_texts([text], reading, boundaries)
        return str(corpus.text), corpus.name
    return str(shared_validation_text(opened)), "the validation text, which no model was trained on"
