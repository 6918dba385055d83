"""``lm eval``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lmsuite.cli.options import (
    DEFAULT_FOLDER,
    JsonOption,
    ModelArguments,
    ModelsOption,
    SeedOption,
    TextOption,
)
from lmsuite.cli.streams import given_text, left_out, note, write_json
from lmsuite.cli.tables import Column, show_remark, show_table
from lmsuite.errors import LmError
from lmsuite.models.settings import AdaptationSettings
from lmsuite.sources.settings import ReadingSettings

if TYPE_CHECKING:
    from lmsuite.analysis.comparability import Comparable
    from lmsuite.analysis.evaluation import Evaluation
    from lmsuite.files.stored_text import Text

_JSON_KEYS = (
    "model",
    "kind",
    "tokens",
    "oov",
    "cross_entropy",
    "perplexity",
    "perplexity_without_oov",
    "chars",
    "bits_per_char",
    "seconds",
    "tokens_per_second",
)


def evaluate(
    models: ModelArguments = None,
    text: TextOption = None,
    *,
    block: Annotated[
        int | None,
        typer.Option(
            "--block",
            min=1,
            metavar="N",
            help="Predict in blocks of N tokens; a block has no context before it.",
            show_default=False,
        ),
    ] = None,
    adapt: Annotated[
        bool,
        typer.Option(
            "--adapt",
            help="Dynamic evaluation: let the networks learn from the text as they read it.",
        ),
    ] = False,
    adaptation: AdaptationSettings,
    seed: SeedOption = 0,
    folder: ModelsOption = DEFAULT_FOLDER,
    reading: ReadingSettings,
    as_json: JsonOption = False,
) -> None:
    """Compare models on a text: perplexity in one table.

    \b
    Examples:
      lm eval
      lm eval ngram --text tests.txt --json
      lm eval rnn --adapt

    Cross-entropy is in nats a token. The first perplexity gives each OOV token the probability of
    <unk>; the second leaves OOV tokens out. ± is half of the 95 % interval, from a bootstrap over
    lines or blocks of tokens. Bits per character compare models with different tokens. With --adapt
    (Krause et al. 2018) a network takes a small training step after each few tokens, which it has
    predicted by then; the model file does not change.
    """
    from lmsuite.analysis.comparability import cautions
    from lmsuite.store.opening import boundaries_of, model_names
    from lmsuite.text.settings import Boundaries

    names = model_names(folder, models)
    boundaries = boundaries_of(folder, names)
    given = given_text(text, reading, boundaries)
    has_documents = Boundaries.DOCUMENTS in boundaries
    rows: list[Comparable] = []
    for name in names:
        try:
            row = _row(
                folder, name, given, has_documents, block, adaptation if adapt else None, seed
            )
            rows.append(row)
        except LmError as error:
            if models:
                raise
            left_out(error)
    if not rows:
        raise LmError(f"none of the models in {folder} could be evaluated")
    if as_json:
        adapted = {"adapted": True} if adapt else {}
        write_json(
            [{key: getattr(row.result, key) for key in _JSON_KEYS} | adapted for row in rows]
        )
    else:
        _show(rows)
        if adapt:
            show_remark(
                "the networks learned from the text as they read it (--adapt): "
                "do not compare these figures with those of models as they are"
            )
    for caution in cautions(rows):
        if as_json:
            note(caution)
        else:
            show_remark(caution)


def _row(
    folder: Path,
    name: str,
    given: Text | None,
    has_documents: bool,
    block: int | None,
    adapt: AdaptationSettings | None,
    seed: int,
) -> Comparable:
    """A model's figures on the given text, of documents or not, or on its validation text."""
    import numpy as np

    from lmsuite.analysis.comparability import Comparable
    from lmsuite.analysis.evaluation import evaluate as evaluate_model
    from lmsuite.store.opening import open_model

    opened = open_model(folder, name)
    text = opened.validation_text() if given is None else given
    if given is not None and has_documents:
        text = opened.model.encoder.boundaries.reads(given)
    rng = np.random.default_rng(seed)  # the same text has the same interval
    result = evaluate_model(opened.model, text, name=opened.name, block=block, adapt=adapt, rng=rng)
    return Comparable.of(
        result, opened.model, text if given is None else given, is_tuned=opened.is_tuned_on(text)
    )


def _show(rows: Sequence[Comparable]) -> None:
    """Print the table."""
    from lmsuite.analysis.comparability import same_tokens

    mark = "" if same_tokens(row.encoder for row in rows) else " *"
    columns = [
        Column("model"),
        Column("kind"),
        Column("tokens", number=True),
        Column("OOV", number=True),
        Column("nats", number=True),
        Column("perplexity", number=True),
        Column("w/o OOV", number=True),
        Column(f"bits/char{mark}", number=True),
        Column("tokens/s", number=True),
    ]
    show_table(columns, [_cells(row.result) for row in rows])


def _cells(result: Evaluation) -> list[str]:
    return [
        result.model,
        result.kind,
        f"{result.tokens:,}",
        f"{result.oov:,}",
        f"{result.cross_entropy:.4f}",
        _perplexity(result.perplexity) + _plus_minus(result.perplexity_interval),
        _perplexity(result.perplexity_without_oov),
        f"{result.bits_per_char:.3f}",
        f"{result.tokens_per_second:,.0f}",
    ]


def _perplexity(value: float) -> str:
    """Two decimals, or three digits for a number that is too long for a column."""
    return f"{value:.2f}" if not 1e7 <= value < float("inf") else f"{value:.2e}"


def _plus_minus(interval: tuple[float, float] | None) -> str:
    """Half the width of an interval, in two digits."""
    if interval is None:
        return ""
    half = (interval[1] - interval[0]) / 2
    return f" ±{half:.2g}" if half < 10 else f" ±{half:,.0f}"
