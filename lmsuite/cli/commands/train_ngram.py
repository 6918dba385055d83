"""``lm train ngram``."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from lmsuite.cli.options import TrainingOptions, complete_models
from lmsuite.cli.preparing import Prepared, finish, prepare
from lmsuite.cli.preparing_counts import prepare_counts, prepare_second
from lmsuite.cli.settings_options import Given
from lmsuite.cli.streams import note
from lmsuite.errors import UsageError
from lmsuite.executors import limit_threads
from lmsuite.ngram.settings import NgramSettings, check_trainable

if TYPE_CHECKING:
    from lmsuite.models.ngram import NgramModel


def train_ngram(
    context: typer.Context,
    *,
    chosen: Annotated[Given, NgramSettings],
    memory: Annotated[
        str | None,
        typer.Option(
            "--memory",
            metavar="AMOUNT",
            help="Use at most this much memory, such as 1G or 800M, and temporary files (in "
            "TMPDIR) for the rest; the model is the same.",
            show_default="as much as needed",
        ),
    ] = None,
    counts: Annotated[
        bool,
        typer.Option(
            "--counts", help="The files hold counts of texts (`lm count`) instead of text."
        ),
    ] = False,
    keep_counts: Annotated[
        bool,
        typer.Option(
            "--keep-counts",
            help="Keep the counts of the text in the model, so that --from can add another text.",
        ),
    ] = False,
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="MODEL",
            help="Make the model of the text of this model, which was trained with --keep-counts, "
            "and of TEXT; its settings hold unless others are given.",
            autocompletion=complete_models,
            show_default=False,
        ),
    ] = None,
    weight: Annotated[
        int | None,
        typer.Option(
            "--weight",
            min=1,
            metavar="W",
            help="With --from: how many times TEXT counts.",
            show_default="1",
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads",
            min=1,
            help="Processes that share the work on a long text; the model is the same.",
            show_default="all cores",
        ),
    ] = None,
    common: TrainingOptions,
) -> None:
    """Train an n-gram model.

    \b
    Examples:
      lm train ngram --n 5
      lm train ngram play.txt --n 7 --tokenizer char --keep-counts --name chars
      lm train ngram --from chars other.txt --weight 2 --name both

    It prints the perplexity on the validation text, where the model was saved, and what to do next.

    --counts a.counts b.counts makes the model that the texts, in this order, make with --valid 0;
    --valid FILE validates it. Counts listed as text do not say how a text is read: then it is by
    --tokenizer (default: whitespace), or as --like MODEL, and if the counts have <s> and </s>, line
    by line unless --documents is given.

    --from makes the model that both texts make, the second one --weight times; its validation text
    is a part of the second text.
    """
    from lmsuite.models.ngram import NgramModel
    from lmsuite.ngram.memory import bytes_of
    from lmsuite.ngram.settings import check_counted, check_partitioned
    from lmsuite.training.continuing import fit_kept, settings_after
    from lmsuite.training.fit import counts_to_keep

    settings = NgramSettings(**chosen)
    check_trainable(settings)
    if weight is not None and start is None:
        raise UsageError("{weight} needs {start} MODEL", "weight", "start")
    if start is not None and counts:
        raise UsageError("{start} adds a text, not {counts}; leave out one", "start", "counts")
    reason = "counts" if counts else "start" if start else "keep_counts" if keep_counts else ""
    if reason and memory is not None:
        raise UsageError(
            f"{{memory}} is for a text alone; with {{{reason}}} counts are held in memory",
            *("memory", reason),
        )
    if start is not None:
        limit_threads(threads)
        given, model = prepare_second(
            context, common, start, kind=NgramModel.kind, weight=weight or 1
        )
        settings = settings_after(model, given.counts, chosen)
        _train(given, lambda: fit_kept(given.counts, settings, keep=keep_counts))
        return
    if counts:
        check_counted(settings)
        if threads is not None:
            raise UsageError(
                "{threads} is for a text; {counts} are read into memory", "threads", "counts"
            )
        given = prepare_counts(context, common, kind=NgramModel.kind, order=settings.order)
        _train(given, lambda: fit_kept(given.counts, settings, keep=keep_counts))
        return
    if memory is not None:
        check_partitioned(settings)
    if keep_counts:
        check_counted(settings)
    limit_threads(threads)  # of the encoding, too
    allowed = None if memory is None else bytes_of(memory)
    prepared = prepare(context, common, kind=NgramModel.kind)
    ready, corpus = prepared.ready, prepared.corpus

    def fit() -> NgramModel:
        if not keep_counts:
            return NgramModel.fit(ready.encoder, ready.ids, settings, memory=allowed)
        grows = common.like is None
        kept = counts_to_keep(ready, common.text_settings, settings, grows=grows, name=corpus.name)
        return fit_kept(kept, settings, keep=True)

    _train(prepared, fit)


def _train(prepared: Prepared, fit: Callable[[], NgramModel]) -> None:
    """Make the model and save it."""
    note(f"{prepared.read}: {prepared.tokens:,} tokens", quiet=prepared.quiet)
    began = time.perf_counter()
    model = fit()
    for message in model.messages:
        note(f"note: {message}")
    finish(prepared, model, seconds=time.perf_counter() - began)
