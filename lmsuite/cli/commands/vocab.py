"""``lm vocab``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from lmsuite.cli.options import DEFAULT_FOLDER, JsonOption, ModelArgument, ModelsOption
from lmsuite.cli.streams import json_line, write_all
from lmsuite.errors import UsageError

if TYPE_CHECKING:
    from lmsuite.models.interface import LanguageModel
    from lmsuite.types import IntArray


def vocab(
    model: ModelArgument,
    *,
    counts: Annotated[
        bool,
        typer.Option(
            "--counts",
            help="Add a tab and how often the token occurs in the training text; for n-gram models "
            "that were trained with --keep-counts.",
        ),
    ] = False,
    arpa: Annotated[
        bool,
        typer.Option(
            "--arpa",
            help="Spell tokens as ARPA files do, which have a space as <0x20>: for lmplz and for "
            "decoders.",
        ),
    ] = False,
    folder: ModelsOption = DEFAULT_FOLDER,
    as_json: JsonOption = False,
) -> None:
    """Print the vocabulary of a model, a token a line.

    \b
    Examples:
      lm vocab ngram > words.txt
      lm vocab ngram --arpa | tail -n 5

    It is what `lm train --vocab words.txt` reads, and what lmplz takes as --limit_vocab_file. The
    marks <unk>, <s> and </s>, which every model has, are left out. A line end is written as \\n.
    With --json each line is an object; it has the count, if the model knows it.
    """
    from lmsuite.store.opening import open_model

    opened = open_model(folder, model)
    known = _counts(opened.model)
    if counts and known is None:
        raise UsageError(
            f"{opened.name} does not know how often its tokens occur; train it again with "
            "{keep_counts}, or count the text: lm count --n 1",
            "keep_counts",
        )
    if as_json:
        write_all(_as_json(opened.model, known))
        return
    write_all(_lines(opened.model, known if counts else None, arpa=arpa))


def _counts(model: LanguageModel) -> IntArray | None:
    """How often each token occurs (V,), if the model knows it."""
    from lmsuite.models.ngram import NgramModel, kept_counts

    counts = kept_counts(model) if isinstance(model, NgramModel) else None
    return None if counts is None else counts.longest.unigrams(len(model.encoder.vocabulary))


def _lines(model: LanguageModel, counts: IntArray | None, *, arpa: bool) -> Iterator[str]:
    from lmsuite.ngram.arpa import escaped
    from lmsuite.text.vocabulary import SPECIALS, in_file

    spelled = escaped if arpa else in_file
    tokens = model.encoder.vocabulary.tokens
    for number in range(len(SPECIALS), len(tokens)):
        count = "" if counts is None else f"\t{counts[number]}"
        yield f"{spelled(tokens[number])}{count}\n"


def _as_json(model: LanguageModel, counts: IntArray | None) -> Iterator[str]:
    for number, token in enumerate(model.encoder.vocabulary.tokens):
        count = {} if counts is None else {"count": int(counts[number])}
        yield json_line({"token": token, "id": number, **count})
