"""Save a finished model: reserve its file, and print its figures."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import typer

from lmsuite.cli.options import DEFAULT_FOLDER
from lmsuite.cli.streams import json_ready, say
from lmsuite.cli.tables import show_fact
from lmsuite.store.folder import ModelsFolder

if TYPE_CHECKING:
    from lmsuite.models.ngram import NgramModel
    from lmsuite.training.validated import ValidatedModel


def reserve(context: typer.Context, path: Path) -> None:
    """Make this process the only writer of the model file `path` until the command ends.

    Raises:
        ModelFileError: another process writes it, or the folder cannot be written.
    """
    from lmsuite.store.writer_lock import only_writer

    context.with_resource(only_writer(path, command_line(context)))


def write_arpa(model: NgramModel, out: Path) -> None:
    """Write an ARPA file, gzipped if its name ends in ``.gz``; an old file is replaced at once.

    Raises:
        ModelFileError: as `NgramModel.to_arpa`, or the folder cannot be written.
    """
    import gzip

    from lmsuite.files.atomic import replacing

    with replacing(out) as stream:
        if out.name.endswith(".gz"):
            with gzip.GzipFile(fileobj=stream, mode="wb", compresslevel=6, mtime=0) as packed:
                model.to_arpa(cast("BinaryIO", packed))
        else:
            model.to_arpa(stream)


def announce(folder: ModelsFolder, made: ValidatedModel) -> None:
    """Print how well the model predicts, where it was saved, and what to do next."""
    path = folder.path(made.name)
    show_fact("validation", _in_words(made), width=12)
    say(f"saved       {path} ({path.stat().st_size / 1e6:.1f} MB)")
    say(f"next        {_next_command(folder.root, made)}")


def facts_of(folder: ModelsFolder, made: ValidatedModel) -> dict[str, Any]:
    """The facts that `announce` prints, as values; the same for each command that makes a model."""
    path = folder.path(made.name)
    recorded = asdict(made.provenance.validation).items()
    return {
        "model": made.name,
        "kind": made.model.kind,
        "file": str(path),
        "bytes": path.stat().st_size,
        "validation": {name: json_ready(fact) for name, fact in recorded if fact is not None},
        "next": _next_command(folder.root, made),
    }


def _in_words(made: ValidatedModel) -> str:
    """The model's figures on its validation text, in words."""
    result, record = made.result, made.provenance.validation
    if result is None:
        if record.split == "none":
            return (
                "none (--valid 0.1 sets a tenth of the text aside, --valid FILE reads another text)"
            )
        return "none (the text is too short to set a part of it aside)"
    without = f" ({result.perplexity_without_oov:.2f} without {result.oov:,} OOV)"
    sample = f", a sample of {record.sample:.1%}" if record.sample else ""
    zeros = f"; {result.zero_tokens:,} tokens of probability zero" if result.zero_tokens else ""
    return (
        f"perplexity {result.perplexity:.2f}{without if result.oov else ''}, "
        f"{result.bits_per_char:.3f} bits a character, {result.tokens:,} tokens{sample}{zeros}"
    )


def _next_command(root: Path, made: ValidatedModel) -> str:
    words = ["lm", "eval" if made.model.predicts_lines else "sample", made.name]
    if root != DEFAULT_FOLDER:
        words += ["--models", str(root)]
    return shlex.join(words)


def command_line(context: typer.Context) -> str:
    """The command as the user typed it."""
    return shlex.join(["lm", *context.find_root().obj.arguments])
