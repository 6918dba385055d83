"""``lm train ngram``."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from lmsuite.cli.options import TrainingOptions
from lmsuite.cli.preparing import finish, prepare
from lmsuite.cli.streams import note
from lmsuite.ngram.settings import NgramSettings, check_trainable


def train_ngram(
    context: typer.Context,
    *,
    settings: NgramSettings,
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
    common: TrainingOptions,
) -> None:
    """Train an n-gram model.

    \b
    Examples:
      lm train ngram --n 5
      lm train ngram play.txt --n 7 --tokenizer char --name chars

    It prints the perplexity on the validation text, where the model was saved, and what to do next.
    """
    from lmsuite.models.ngram import NgramModel
    from lmsuite.ngram.memory import bytes_of
    from lmsuite.ngram.settings import check_partitioned

    check_trainable(settings)
    if memory is not None:
        check_partitioned(settings)
    allowed = None if memory is None else bytes_of(memory)
    prepared = prepare(context, common, kind=NgramModel.kind)
    note(f"{prepared.corpus.name}: {len(prepared.ready.ids):,} tokens", quiet=prepared.quiet)
    began = time.perf_counter()
    model = NgramModel.fit(prepared.ready.encoder, prepared.ready.ids, settings, memory=allowed)
    for message in model.messages:
        note(f"note: {message}")
    finish(prepared, model, seconds=time.perf_counter() - began)
