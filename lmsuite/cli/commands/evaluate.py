"""``lm eval``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lmsuite.cli.opening import (
    given_text,
    is_tuned_on,
    model_names,
    open_model,
    validation_text,
)
from lmsuite.cli.options import (
    DEFAULT_FOLDER,
    EncodingOption,
    JsonOption,
    ModelArguments,
    ModelsOption,
    SeedOption,
    TextOption,
)
from lmsuite.cli.streams import note, write_json
from lmsuite.cli.tables import show_remark
from lmsuite.errors import LmError

if TYPE_CHECKING:
    from lmsuite.cli.scoreboard import Row


def evaluate(
    models: ModelArguments = None,
    text: TextOption = None,
    block: Annotated[
        int | None,
        typer.Option(
            "--block",
            min=1,
            metavar="N",
            help="Predict in blocks of N tokens, with no context before them.",
            show_default=False,
        ),
    ] = None,
    seed: SeedOption = 0,
    folder: ModelsOption = DEFAULT_FOLDER,
    encoding: EncodingOption = "utf-8",
    as_json: JsonOption = False,
) -> None:
    """Compare models on a text: perplexity in one table.

    \b
    Examples:
      lm eval
      lm eval ngram --text tests.txt --json

    Cross-entropy is in nats a token. OOV tokens are charged the probability of <unk> in the first
    perplexity, and left out of the second; ± is half of the 95 % interval, by bootstrap over lines
    or blocks of tokens. Bits per character compare models of different tokens.
    """
    from lmsuite.cli.scoreboard import footnotes, json_rows, show

    given = given_text(text, encoding)
    rows: list[Row] = []
    for name in model_names(folder, models):
        try:
            rows.append(_row(folder, name, given, block, seed))
        except LmError as error:
            if models:
                raise
            note(f"left out: {error}")
    if not rows:
        raise LmError(f"none of the models in {folder} could be evaluated")
    if as_json:
        write_json(json_rows(rows))
    else:
        show(rows)
    for remark in footnotes(rows):
        if as_json:
            note(remark)
        else:
            show_remark(remark)


def _row(folder: Path, name: str, given: str | None, block: int | None, seed: int) -> Row:
    import numpy as np

    from lmsuite.analysis.evaluation import evaluate as evaluate_model
    from lmsuite.cli.scoreboard import Row

    opened = open_model(folder, name)
    text = validation_text(opened) if given is None else given
    rng = np.random.default_rng(seed)  # the same text has the same interval
    result = evaluate_model(opened.model, text, name=opened.name, block=block, rng=rng)
    return Row.of(result, opened.model, text, is_tuned=is_tuned_on(opened, text))
