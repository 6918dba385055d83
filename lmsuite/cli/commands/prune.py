"""``lm prune``."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from lmsuite.cli.options import (
    DEFAULT_FOLDER,
    JsonOption,
    ModelArgument,
    ModelsOption,
)
from lmsuite.cli.saving import announce, command_line, facts_of, reserve
from lmsuite.cli.settings_options import Given, Only
from lmsuite.cli.streams import read_texts, say, write_json
from lmsuite.cli.tables import Column, show_table
from lmsuite.errors import DataError, LmError, UsageError
from lmsuite.ngram.settings import NgramSettings
from lmsuite.sources.settings import ReadingSettings
from lmsuite.store.folder import ModelsFolder

if TYPE_CHECKING:
    from lmsuite.files.stored_text import Text
    from lmsuite.models.ngram import NgramModel
    from lmsuite.store.opening import OpenedModel
    from lmsuite.store.records import ValidationRecord


_PRUNING = Only({"entropy_prune": "--entropy", "prune": "--counts"})


def prune(
    context: typer.Context,
    model: ModelArgument,
    *,
    pruning: Annotated[Given, NgramSettings, _PRUNING],
    training: Annotated[
        list[str] | None,
        typer.Option(
            "--train",
            metavar="TEXT",
            help="The text that the model was trained on, which --counts reads again; can be "
            "repeated.",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            "--name", metavar="NAME", help="The smaller model's name.", show_default="MODEL-small"
        ),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option(
            "--text",
            metavar="TEXT",
            help="The text to measure perplexity on, as for `lm train`.",
            show_default="the model's validation text",
        ),
    ] = None,
    folder: ModelsOption = DEFAULT_FOLDER,
    reading: ReadingSettings,
    as_json: JsonOption = False,
) -> None:
    """Make an n-gram model smaller.

    \b
    Examples:
      lm prune ngram --entropy 1e-7 --name small
      lm prune ngram --counts 0,1,1 --train play

    --entropy drops the n-grams whose loss changes the model least (Stolcke 1998) and fits the
    back-off weights to the rest; it needs only the model. A finished model keeps no counts, so
    --counts reads the training text again and estimates a new model without the rare n-grams. If
    both are given, the counts come first.
    """
    from lmsuite.analysis.evaluation import evaluate
    from lmsuite.store.opening import open_model
    from lmsuite.store.records import Provenance, TrainingRecord
    from lmsuite.training.validated import ValidatedModel

    opened = open_model(folder, model)
    before = _ngram_model(opened)
    counts, entropy = pruning.get("prune"), pruning.get("entropy_prune")
    if entropy is None and not counts:
        raise UsageError("nothing to prune by: give --entropy 1e-7, or --counts 0,0,1 with --train")
    target, chosen = ModelsFolder(folder), name or f"{opened.name}-small"
    path = target.new_path(chosen)
    if path.resolve() == opened.path.resolve():
        raise UsageError(f"the smaller model needs a name of its own, not {chosen}")
    reserve(context, path)
    after = before
    if counts:
        after = _refitted(opened, before, counts, training, reading)
    elif training:
        raise UsageError("--train is for --counts; --entropy needs no text")
    if entropy is not None:
        after = after.prune_entropy(entropy)
    valid, rule = _text(text, reading, opened)
    origin = Provenance(
        command=command_line(context),
        corpus=opened.provenance.corpus if opened.manifest else opened.name,
        corpus_sha256=opened.provenance.corpus_sha256,
        training=TrainingRecord(pruned_from=opened.name),
    )
    made = ValidatedModel.of(chosen, after, valid, origin, rule=rule)
    made.save(target)
    then = evaluate(before, valid, name=opened.name).perplexity if valid else math.inf
    if as_json:
        facts = facts_of(target, made) | {"pruned_from": opened.name}
        sizes = {"sizes_before": before.table.sizes, "sizes_after": after.table.sizes}
        write_json(facts | sizes | ({"perplexity_before": then} if valid else {}))
        return
    _show_sizes(before, after)
    if made.result:
        say(f"perplexity  {_shown(then)} before, {_shown(made.result.perplexity)} after")
    announce(target, made)


def _ngram_model(opened: OpenedModel) -> NgramModel:
    from lmsuite.models.ngram import NgramModel

    if not isinstance(opened.model, NgramModel):
        raise UsageError(f"{opened.name} is a {opened.model.kind} model; only n-grams are pruned")
    return opened.model


def _refitted(
    opened: OpenedModel,
    model: NgramModel,
    counts: tuple[int, ...],
    training: list[str] | None,
    reading: ReadingSettings,
) -> NgramModel:
    """The model, estimated again without the n-grams that the cut-offs exclude."""
    from lmsuite.models.ngram import NgramModel

    settings = replace(model.settings, prune=counts)
    if not training:
        raise UsageError("--counts needs the text that the model was trained on: --train TEXT")
    if opened.manifest is None:
        raise LmError(
            f"{opened.name} does not say what it was trained on; only --entropy can prune"
        )
    made = opened.provenance
    corpus = read_texts(training, reading, [model.encoder.boundaries])
    if corpus.sha256 != made.corpus_sha256:
        raise DataError(
            f"{opened.name} was trained on {made.corpus}, not on {corpus.name} (or that text has "
            "changed): its counts would differ"
        )
    ids = model.encoder.encode(_without_validation(corpus.text, made.validation, model))
    return NgramModel.fit(model.encoder, ids, settings)


def _without_validation(text: Text, validation: ValidationRecord, model: NgramModel) -> Text:
    """The part of the text that the model was trained on."""
    from lmsuite.sources.splitting import SplitRule
    from lmsuite.training.training_text import divided

    rule = SplitRule.parse(validation.split)
    if validation.sha256 is None or rule is None:  # no validation text, or one in its own file
        return text
    return divided(text, rule, model.encoder.boundaries)[0]


def _text(text: str | None, reading: ReadingSettings, opened: OpenedModel) -> tuple[Text, str]:
    """The text to measure perplexity on, empty if there is none, and its name in the model file."""
    if text is not None:
        corpus = read_texts([text], reading, [opened.model.encoder.boundaries])
        return corpus.text, corpus.name
    recorded = opened.provenance.validation
    if recorded.sha256 is None:
        return "", "none"
    return opened.validation_text(), recorded.split


def _show_sizes(before: NgramModel, after: NgramModel) -> None:
    columns = [Column("n-grams"), *(Column(h, number=True) for h in ("before", "after", "kept"))]
    pairs = list(zip(before.table.sizes, after.table.sizes, strict=True))
    rows = [[str(n), *_cells(*pair)] for n, pair in enumerate(pairs, start=1)]
    rows.append(["all", *_cells(sum(before.table.sizes), sum(after.table.sizes))])
    show_table(columns, rows)
    say()


def _cells(before: int, after: int) -> list[str]:
    return [f"{before:,}", f"{after:,}", f"{100 * after / before:.1f} %" if before else ""]


def _shown(perplexity: float) -> str:
    return f"{perplexity:.2f}" if math.isfinite(perplexity) else "infinite"
