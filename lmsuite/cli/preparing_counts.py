"""The step before a training from counts: read the files or texts, and join their counts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lmsuite.cli.options import TrainingOptions
from lmsuite.cli.preparing import Prepared, refuse_other_tokens, validation
from lmsuite.cli.saving import command_line, reserve
from lmsuite.cli.settings_options import Given
from lmsuite.cli.streams import piped_input, read_texts
from lmsuite.errors import DataError, UsageError
from lmsuite.store.folder import ModelsFolder

if TYPE_CHECKING:
    import typer

    from lmsuite.models.ngram import NgramModel
    from lmsuite.ngram.text_counts import JoinedCounts, TextCounts
    from lmsuite.sources.corpus import Origin
    from lmsuite.text.encoding import TextEncoder
    from lmsuite.types import IntArray

_STDIN = "-"


@dataclass(frozen=True, kw_only=True)
class PreparedCounts(Prepared):
    """The counts of a text made ready to train from."""

    counts: TextCounts

    @property
    def read(self) -> str:
        if self.ancestors is None:
            return self.origin.name
        return f"{self.origin.name} and the text of {self.ancestors[-1].model}"


@dataclass(frozen=True, kw_only=True)
class PreparedFiles(Prepared):
    """Files of counts made ready to train from."""

    counts: JoinedCounts


def prepare_counts(
    context: typer.Context, options: TrainingOptions, *, kind: str, order: int, on_disk: bool
) -> PreparedFiles:
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

    folder = ModelsFolder(options.models)
    name = options.name or kind
    reserve(context, folder.new_path(name))
    files = options.texts or []
    like = _like(options)
    parts = read_parts(files, options.text_settings, like, on_disk=on_disk)
    counts = joined(parts, order, options.text_settings, like)
    boundaries = counts.encoder.boundaries
    held_out = validation(options, boundaries, otherwise="0")
    if isinstance(held_out.valid, float) and held_out.valid:
        raise UsageError(
            f"{{valid}} {options.valid} is a share of the text, and {{counts}} hold no text; name "
            "a file, or leave it out",
            *("valid", "counts"),
        )
    return PreparedFiles(
        name=name,
        folder=folder,
        origin=origin_of(files),
        split=held_out.divide("", boundaries),
        tokens=tokens_of(counts.unigrams),
        command=command_line(context),
        quiet=options.quiet,
        as_json=options.as_json,
        counts=counts,
    )


def prepare_second(
    context: typer.Context, options: TrainingOptions, start: str, *, kind: str, weight: int
) -> tuple[PreparedCounts, NgramModel]:
    """The counts of the text of the n-gram model `start` and of a second text; and that model.

    Args:
        context: of the command.
        options: what the user asked for; the validation text is a part of the second text.
        start: the model.
        kind: as in `prepare`.
        weight: how many times the second text counts.

    Raises:
        UsageError, DataError, ModelFileError: as `prepare` and `with_another_text`; or there is no
            second text.
    """
    from lmsuite.models.ngram import NgramModel
    from lmsuite.store.opening import open_model
    from lmsuite.training.continuing import require_kind, with_another_text

    folder = ModelsFolder(options.models)
    name = options.name or kind
    reserve(context, folder.new_path(name))
    refuse_other_tokens(options, start, set())
    opened = open_model(options.models, start)
    require_kind(opened.model, kind, opened.name)
    assert isinstance(opened.model, NgramModel)
    if not options.texts and piped_input() is None:
        raise UsageError(
            f"{{start}} {start} adds a second text to that of the model; name the text", "start"
        )
    boundaries = opened.model.encoder.boundaries
    corpus = read_texts(options.texts or [], options.reading, [boundaries])
    split = validation(options, boundaries).divide(corpus.text, boundaries, name=corpus.name)
    counts = with_another_text(
        opened.model, split.training, weight, names=(opened.name, corpus.name)
    )
    prepared = PreparedCounts(
        name=name,
        folder=folder,
        origin=corpus.origin,
        split=split,
        tokens=tokens_of(counts.longest.unigrams(len(counts.encoder.vocabulary))),
        command=command_line(context),
        quiet=options.quiet,
        as_json=options.as_json,
        ancestors=opened.provenance.lineage(opened.name),
        counts=counts,
    )
    return prepared, opened.model


def tokens_of(unigrams: IntArray) -> int:
    """How many tokens were counted (V,), with each ``<s>``, which has no count."""
    from lmsuite.text.vocabulary import BOS, EOS

    unigrams[BOS] = 0
    return int(unigrams.sum() + unigrams[EOS])


def _like(options: TrainingOptions) -> TextEncoder | None:
    """The encoder of the model of --like."""
    from lmsuite.store.opening import open_model

    if "backward" in options.text_settings:
        raise UsageError(
            "{counts} are of text read forward; leave out {backward}", "counts", "backward"
        )
    if options.like is None:
        return None
    if options.text_settings:
        given = min(options.text_settings)
        raise UsageError(
            f"{{like}} takes the tokens of {options.like}; leave out {{{given}}}", "like", given
        )
    encoder = open_model(options.models, options.like).model.encoder
    if encoder.backward:
        raise UsageError(
            f"{{like}} {options.like} reads text backward, and {{counts}} are of text read forward",
            *("like", "counts"),
        )
    return encoder


def read_parts(
    files: Sequence[str], given: Given, like: TextEncoder | None = None, *, on_disk: bool = False
) -> list[TextCounts]:
    """The counts in each file; as `read_counts`.

    Raises:
        UsageError: no file is named.
        DataError, ModelFileError: a file cannot be read.
    """
    if not files:
        raise UsageError("{counts} needs files of counts; make one: lm count -o FILE", "counts")
    return [_read(file, given, like, on_disk=on_disk) for file in files]


def _read(file: str, given: Given, like: TextEncoder | None, *, on_disk: bool) -> TextCounts:
    from lmsuite.ngram.count_files import listed_counts, read_counts

    if file != _STDIN:
        return read_counts(Path(file), given, like, on_disk=on_disk)
    stdin = piped_input()
    if stdin is None:
        raise DataError("standard input (`-`) is not piped in; name a file")
    return listed_counts(stdin, "standard input", given, like, on_disk=on_disk)


def origin_of(files: Sequence[str]) -> Origin:
    """Where counts come from, of which these are the files."""
    from lmsuite.sources.corpus import Origin

    digests = {file: _sha256(file) for file in files if file != _STDIN}
    return Origin(", ".join(files), _sha256_of_all(digests), digests)


def _sha256(file: str) -> str:
    with Path(file).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sha256_of_all(digests: dict[str, str]) -> str:
    """The digest itself of a single file, and one of the digests of several."""
    if len(digests) == 1:
        return next(iter(digests.values()))
    return hashlib.sha256("".join(digests.values()).encode()).hexdigest()
