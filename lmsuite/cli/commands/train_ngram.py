"""``lm train ngram``."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from lmsuite.cli.options import MemoryOption, TrainingOptions, WorkersOption, complete_models
from lmsuite.cli.preparing import Prepared, finish, prepare, resuming
from lmsuite.cli.preparing_counts import prepare_counts, prepare_second
from lmsuite.cli.saving import command_line
from lmsuite.cli.settings_options import Given
from lmsuite.cli.streams import note
from lmsuite.errors import UsageError
from lmsuite.executors.cores import limit_threads
from lmsuite.ngram.settings import NgramSettings, check_trainable

if TYPE_CHECKING:
    from lmsuite.models.ngram import NgramModel
    from lmsuite.ngram.workplace import Workplace


def train_ngram(
    context: typer.Context,
    *,
    chosen: Annotated[Given, NgramSettings],
    memory: MemoryOption = None,
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
    threads: WorkersOption = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            "--cluster",
            metavar="ADDRESS",
            help="Work on the Dask cluster whose scheduler has this address (tcp://host:8786), or "
            "on one that is started here for the time (local); the model is the same. At an "
            "address, --memory holds for each worker.",
            show_default=False,
        ),
    ] = None,
    scratch: Annotated[
        str | None,
        typer.Option(
            "--scratch",
            metavar="FOLDER",
            help="Where temporary files go: a folder or a URL (s3://bucket/tmp), which all workers "
            "of a cluster share. The files are removed at the end.",
            show_default="a folder in TMPDIR",
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on with the work that an ended training left in --scratch."
        ),
    ] = False,
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

    A training that is interrupted, or fails, leaves its files in the folder of --scratch, if one is
    named and some stage of the work is complete; --resume goes on after that stage. Without
    --scratch it leaves nothing. A killed worker is replaced, and what it did is done again.
    """
    from lmsuite.models.ngram import NgramModel, fit_counts
    from lmsuite.ngram.memory import bytes_of
    from lmsuite.ngram.settings import check_counted, check_partitioned
    from lmsuite.ngram.workplace import workplace
    from lmsuite.training.continuing import fit_kept, settings_after
    from lmsuite.training.fit import counts_to_keep

    settings = NgramSettings(**chosen)
    check_trainable(settings)
    if weight is not None and start is None:
        raise UsageError("{weight} needs {start} MODEL", "weight", "start")
    if start is not None and counts:
        raise UsageError("{start} adds a text, not {counts}; leave out one", "start", "counts")
    limit_threads(threads)  # of the encoding, too
    allowed = None if memory is None else bytes_of(memory)
    is_placed = cluster is not None or scratch is not None or resume
    reason = "start" if start else "keep_counts" if keep_counts else ""
    for name, value in (
        *(("memory", memory), ("cluster", cluster)),
        *(("scratch", scratch), ("resume", resume or None)),
    ):
        if reason and value is not None:
            raise UsageError(
                f"{{{name}}} is for a text alone; with {{{reason}}} counts are held in memory",
                *(name, reason),
            )
    if start is not None:
        second, model = prepare_second(
            context, common, start, kind=NgramModel.kind, weight=weight or 1
        )
        settings = settings_after(model, second.counts, chosen)
        _train(second, lambda: fit_kept(second.counts, settings, keep=keep_counts))
        return
    if counts:
        check_counted(settings)
    if memory is not None or is_placed:
        check_partitioned(settings)
    if keep_counts:
        check_counted(settings)
    with ExitStack() as stack:
        place = None
        if is_placed:
            wanted = workplace(cluster_at=cluster, threads=threads, scratch=scratch, resume=resume)
            place = stack.enter_context(wanted)
            stack.push(partial(_tell_what_is_left, place, command_line(context)))
        if counts:
            on_disk = memory is not None or is_placed
            given = prepare_counts(
                context, common, kind=NgramModel.kind, order=settings.order, on_disk=on_disk
            )
            _train(
                given,
                lambda: (
                    fit_kept(given.counts.whole(), settings, keep=True)
                    if keep_counts
                    else fit_counts(given.counts, settings, memory=allowed, place=place)
                ),
            )
            return
        prepared = prepare(context, common, kind=NgramModel.kind, keep_text=keep_counts)
        ready = prepared.ready

        def fit() -> NgramModel:
            if not keep_counts:
                return NgramModel.fit(
                    ready.encoder, ready.ids, settings, memory=allowed, place=place
                )
            grows = common.like is None
            kept = counts_to_keep(
                ready, common.text_settings, settings, grows=grows, name=prepared.read
            )
            return fit_kept(kept, settings, keep=True)

        _train(prepared, fit)


def _tell_what_is_left(
    place: Workplace, command: str, failure: type[BaseException] | None, *_: object
) -> None:
    """After a failure, say how to go on."""
    if failure is not None and place.is_left:
        note(f"note: the work so far is in {place.scratch.place}; go on with: {resuming(command)}")


def _train(prepared: Prepared, fit: Callable[[], NgramModel]) -> None:
    """Make the model and save it."""
    note(f"{prepared.read}: {prepared.tokens:,} tokens", quiet=prepared.quiet)
    began = time.perf_counter()
    model = fit()
    for message in model.messages:
        note(f"note: {message}")
    finish(prepared, model, seconds=time.perf_counter() - began)
