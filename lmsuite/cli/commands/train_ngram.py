"""``lm train ngram``."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from lmsuite.cli.options import MemoryOption, TrainingOptions, WorkersOption
from lmsuite.cli.preparing import Prepared, finish, prepare
from lmsuite.cli.preparing_counts import prepare_counts
from lmsuite.cli.streams import note
from lmsuite.executors import limit_threads
from lmsuite.ngram.settings import NgramSettings, check_trainable

if TYPE_CHECKING:
    from lmsuite.models.ngram import NgramModel


def train_ngram(
    context: typer.Context,
    *,
    settings: NgramSettings,
    memory: MemoryOption = None,
    counts: Annotated[
        bool,
        typer.Option(
            "--counts", help="The files hold counts of texts (`lm count`) instead of text."
        ),
    ] = False,
    threads: WorkersOption = None,
    common: TrainingOptions,
) -> None:
    """Train an n-gram model.

    \b
    Examples:
      lm train ngram --n 5
      lm train ngram play.txt --n 7 --tokenizer char --name chars

    It prints the perplexity on the validation text, where the model was saved, and what to do next.

    --counts a.counts b.counts makes the model that the texts, in this order, make with --valid 0;
    --valid FILE validates it. Counts listed as text do not say how a text is read: then it is by
    --tokenizer (default: whitespace), or as --like MODEL, and if the counts have <s> and </s>, line
    by line unless --documents is given.
    """
    from lmsuite.models.ngram import NgramModel, fit_counts
    from lmsuite.ngram.memory import bytes_of
    from lmsuite.ngram.settings import check_counted, check_partitioned

    check_trainable(settings)
    allowed = None if memory is None else bytes_of(memory)
    if counts:
        check_counted(settings)
        if memory is not None:
            check_partitioned(settings)
        given = prepare_counts(context, common, kind=NgramModel.kind, order=settings.order)
        _train(given, lambda: fit_counts(given.counts, settings, memory=allowed, threads=threads))
        return
    if memory is not None:
        check_partitioned(settings)
    limit_threads(threads)  # of the encoding, too
    prepared = prepare(context, common, kind=NgramModel.kind)
    ready = prepared.ready
    _train(
        prepared,
        lambda: NgramModel.fit(ready.encoder, ready.ids, settings, memory=allowed),
    )


def _train(prepared: Prepared, fit: Callable[[], NgramModel]) -> None:
    """Make the model and save it."""
    note(f"{prepared.corpus.name}: {prepared.tokens:,} tokens", quiet=prepared.quiet)
    began = time.perf_counter()
    model = fit()
    for message in model.messages:
        note(f"note: {message}")
    finish(prepared, model, seconds=time.perf_counter() - began)
