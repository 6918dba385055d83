"""The step before a training from counts: read the files of counts, and join what they hold."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lmsuite.cli.options import TrainingOptions
from lmsuite.cli.preparing import Prepared, validation
from lmsuite.cli.saving import command_line, reserve
from lmsuite.cli.streams import piped_input
from lmsuite.errors import DataError, UsageError
from lmsuite.store.folder import ModelsFolder

if TYPE_CHECKING:
    import typer

    from lmsuite.ngram.text_counts import JoinedCounts, TextCounts
    from lmsuite.text.encoding import TextEncoder

_STDIN = "-"


@dataclass(frozen=True, kw_only=True)
class PreparedCounts(Prepared):
    """The counts of a text made ready to train from."""

    counts: JoinedCounts


def prepare_counts(
    context: typer.Context, options: TrainingOptions, *, kind: str, order: int, on_disk: bool
) -> PreparedCounts:
    """As `prepare`, but the texts of the options are files of counts, which are joined.

    There is no validation text unless --valid names one. With `on_disk`, counts listed as text are
    kept on disk.

    Raises:
        UsageError: as `prepare`; or no file is named, or --valid asks for a share of the text.
        DataError: a file cannot be read, or has no counts of this order, or others than the options
            say.
        ModelFileError: as `prepare`; or a file of counts is damaged.
    """
    from lmsuite.ngram.text_counts import joined
    from lmsuite.sources.corpus import Corpus
    from lmsuite.text.vocabulary import EOS

    folder = ModelsFolder(options.models)
    name = options.name or kind
    reserve(context, folder.new_path(name))
    files = options.texts or []
    if not files:
        raise UsageError("{counts} needs files of counts; make one: lm count -o FILE", "counts")
    like = _like(options)
    parts = [_read(file, options, like, on_disk=on_disk) for file in files]
    counts = joined(parts, order, options.text_settings, like)
    boundaries = counts.encoder.boundaries
    held_out = validation(options, boundaries, otherwise="0")
    if isinstance(held_out.valid, float) and held_out.valid:
        raise UsageError(
            f"{{valid}} {options.valid} is a share of the text, and {{counts}} hold no text; name "
            "a file, or leave it out",
            *("valid", "counts"),
        )
    digests = {file: _sha256(file) for file in files if file != _STDIN}
    return PreparedCounts(
        name=name,
        folder=folder,
        corpus=Corpus("", ", ".join(files), _sha256_of_all(digests), digests),
        split=held_out.divide("", boundaries),
        tokens=int(
            counts.unigrams.sum() + counts.unigrams[EOS]
        ),  # with each <s>, which has no count
        command=command_line(context),
        quiet=options.quiet,
        as_json=options.as_json,
        counts=counts,
    )


def _like(options: TrainingOptions) -> TextEncoder | None:
    """The encoder of the model of --like."""
    from lmsuite.store.opening import open_model

    if options.like is None:
        return None
    if options.text_settings:
        given = min(options.text_settings)
        raise UsageError(
            f"{{like}} takes the tokens of {options.like}; leave out {{{given}}}", "like", given
        )
    return open_model(options.models, options.like).model.encoder


def _read(
    file: str, options: TrainingOptions, like: TextEncoder | None, *, on_disk: bool
) -> TextCounts:
    from lmsuite.ngram.count_files import listed_counts, read_counts

    if file != _STDIN:
        return read_counts(Path(file), options.text_settings, like, on_disk=on_disk)
    stdin = piped_input()
    if stdin is None:
        raise DataError("standard input (`-`) is not piped in; name a file")
    return listed_counts(stdin, "standard input", options.text_settings, like, on_disk=on_disk)


def _sha256(file: str) -> str:
    with Path(file).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sha256_of_all(digests: dict[str, str]) -> str:
    """The digest itself of a single file, and one of the digests of several."""
    if len(digests) == 1:
        return next(iter(digests.values()))
    return hashlib.sha256("".join(digests.values()).encode()).hexdigest()
