"""``lm train ngram``."""

from __future__ import annotations

import time
from enum import StrEnum
from typing import Annotated

import typer

from lmsuite.cli.option_groups import expanded
from lmsuite.cli.options import TrainingOptions
from lmsuite.cli.preparing import finish, prepare
from lmsuite.cli.streams import note
from lmsuite.errors import UsageError


class Smoothing(StrEnum):
    """The choices of ``--smoothing``: `lmsuite.models.ngram.SMOOTHINGS`, known without it."""

    MODIFIED_KNESER_NEY = "modified-kneser-ney"
    KNESER_NEY = "kneser-ney"
    ABSOLUTE = "absolute"
    WITTEN_BELL = "witten-bell"
    JELINEK_MERCER = "jelinek-mercer"
    KATZ = "katz"
    ADD_K = "add-k"
    MLE = "mle"
    STUPID_BACKOFF = "stupid-backoff"


@expanded
def train_ngram(
    context: typer.Context,
    *,
    order: Annotated[
        int, typer.Option("--n", min=1, max=32, help="The order: tokens in an n-gram.")
    ] = 3,
    smoothing: Annotated[
        Smoothing, typer.Option("--smoothing", help="How unseen n-grams get their share.")
    ] = Smoothing.MODIFIED_KNESER_NEY,
    k: Annotated[
        float | None,
        typer.Option("--k", help="What add-k adds to each count.", show_default="1, Laplace"),
    ] = None,
    discount: Annotated[
        float | None,
        typer.Option(
            "--discount",
            help="What absolute and kneser-ney take off each count.",
            show_default="from the counts of counts",
        ),
    ] = None,
    interpolate_unigrams: Annotated[
        bool,
        typer.Option(
            help="Mix the words' own probabilities with the uniform distribution; without, <unk> "
            "alone gets what discounting leaves, as `lmplz --interpolate_unigrams 0` has it.",
        ),
    ] = True,
    prune: Annotated[
        str,
        typer.Option(
            "--prune",
            metavar="COUNTS",
            help="Drop n-grams that occur so often or less, by order: 0,0,1 drops trigrams that "
            "occur once (the last number holds for all higher orders).",
            show_default=False,
        ),
    ] = "",
    entropy_prune: Annotated[
        float,
        typer.Option(
            "--entropy-prune",
            min=0.0,
            metavar="THRESHOLD",
            help="Drop n-grams whose loss raises the relative entropy by less than this.",
            show_default=False,
        ),
    ] = 0.0,
    quantize: Annotated[
        bool,
        typer.Option(
            "--quantize",
            help="Round probabilities by a few per cent, so that each takes one byte of the file.",
        ),
    ] = False,
    memory: Annotated[
        str | None,
        typer.Option(
            "--memory",
            metavar="AMOUNT",
            help="Keep to so much memory, as 1G or 800M, with temporary files for what does not "
            "fit (in TMPDIR); the model is the same.",
            show_default="as much as it takes",
        ),
    ] = None,
    common: TrainingOptions,
) -> None:
    """Train an n-gram model.

    \b
    Examples:
      lm train ngram --n 5
      lm train ngram play.txt --n 7 --tokenizer char --name chars

    It prints the perplexity on the validation text, where the model was saved, and what to do next.
    """
    from lmsuite.models.ngram import NgramModel, NgramSettings
    from lmsuite.ngram.memory import bytes_of
    from lmsuite.ngram.settings import check, check_partitioned

    if k is not None and smoothing is not Smoothing.ADD_K:
        raise UsageError(f"--k is for --smoothing add-k, not {smoothing.value}")
    settings = NgramSettings(
        order=order,
        smoothing=smoothing.value,
        k=1.0 if k is None else k,
        prune=cut_offs(prune, "--prune"),
        entropy_prune=entropy_prune,
        discount=discount,
        interpolate_unigrams=interpolate_unigrams,
        quantize=quantize,
    )
    check(settings)
    if memory is not None:
        check_partitioned(settings)
    allowed = None if memory is None else bytes_of(memory)
    prepared = prepare(context, common, kind=NgramModel.kind)
    note(f"{prepared.corpus.name}: {len(prepared.ids):,} tokens", quiet=prepared.quiet)
    began = time.perf_counter()
    model = NgramModel.fit(prepared.encoder, prepared.ids, settings, memory=allowed)
    for message in model.messages:
        note(f"note: {message}")
    finish(prepared, model, seconds=time.perf_counter() - began)


def cut_offs(counts: str, option: str) -> tuple[int, ...]:
    """What a user gave as `option`: counts by order, joined by commas.

    Raises:
        UsageError: they are no whole numbers.
    """
    try:
        return tuple(int(count) for count in counts.split(",")) if counts else ()
    except ValueError:
        raise UsageError(
            f"{option} takes counts joined by commas, as 0,0,1, not {counts}"
        ) from None
