"""What becomes of a finished model: validated, saved with its validation text, and announced."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from lmsuite.cli.options import DEFAULT_FOLDER
from lmsuite.cli.streams import json_ready, say
from lmsuite.cli.tables import show_fact
from lmsuite.errors import DataError
from lmsuite.store.folder import ModelsFolder

if TYPE_CHECKING:
    from lmsuite.models.interface import LanguageModel
    from lmsuite.store.artefact import Provenance


@dataclass(frozen=True)
class Validation:
    """How a model does on the text that was set aside."""

    text: str  # empty: there is none
    recorded: dict[str, Any]  # what the model file keeps
    report: str  # the same in words


def validate(
    model: LanguageModel, text: str, *, name: str, rule: str, share: float = 1.0
) -> Validation:
    """Evaluate `model`, called `name`, on its validation text.

    Args:
        model: the finished model.
        text: what was set aside; empty if nothing was.
        name: of the model.
        rule: how the text was chosen: "0.1", the name of a file, "none".
        share: how much of it to read: a sample, if less than 1.

    Raises:
        DataError: the text has no tokens.
    """
    from lmsuite.analysis.evaluation import evaluate
    from lmsuite.store.validation_text import text_sha256
    from lmsuite.training.time_budget import sample_of

    recorded: dict[str, Any] = {"split": rule}
    if not text:
        if rule == "none":
            return Validation(text, recorded, "none (--valid 0.1 sets a tenth of the text aside)")
        return Validation(text, recorded, "none (the text is too short to set a part of it aside)")
    try:
        result = evaluate(model, sample_of(text, share), name=name)
    except DataError as error:
        raise DataError(f"the validation text {rule}: {error}") from error
    recorded |= {
        "sha256": text_sha256(text),
        "tokens": result.tokens,
        "oov": result.oov,
        "cross_entropy": result.cross_entropy,
        "perplexity": result.perplexity,
        "perplexity_without_oov": result.perplexity_without_oov,
        "bits_per_char": result.bits_per_char,
    }
    without = f" ({result.perplexity_without_oov:.2f} without {result.oov:,} OOV)"
    zeros = f"; {result.zero_tokens:,} tokens of probability zero" if result.zero_tokens else ""
    if share < 1:
        recorded["sample"] = share
    sample = f", a sample of {share:.1%}" if share < 1 else ""
    report = (
        f"perplexity {result.perplexity:.2f}{without if result.oov else ''}, "
        f"{result.bits_per_char:.3f} bits a character, {result.tokens:,} tokens{sample}{zeros}"
    )
    return Validation(text, json_ready(recorded), report)


def reserve(context: typer.Context, path: Path) -> None:
    """Be the only one who writes the model file `path` until the command ends.

    Raises:
        ModelFileError: another process writes it, or the folder cannot be written.
    """
    from lmsuite.store.writer_lock import only_writer

    context.with_resource(only_writer(path, command_line(context)))


def save(
    folder: ModelsFolder,
    name: str,
    model: LanguageModel,
    provenance: Provenance,
    validation: Validation,
) -> None:
    """Save the model and its validation text. Print nothing before: printing may fail.

    Raises:
        ModelFileError: the model cannot be saved; one that was there before is unharmed.
    """
    from lmsuite.store.artefact import make_folder, save_model
    from lmsuite.store.validation_text import beside_new_model

    make_folder(folder.root)
    path = folder.path(name)
    with beside_new_model(path, validation.text):
        save_model(path, model, provenance)


def announce(folder: ModelsFolder, name: str, validation: Validation) -> None:
    """Print how the model does, where it was saved, and what to do next."""
    path = folder.path(name)
    show_fact("validation", validation.report, width=12)
    say(f"saved       {path} ({path.stat().st_size / 1e6:.1f} MB)")
    say(f"next        {_next_command(folder.root, name)}")


def facts_of(
    folder: ModelsFolder, name: str, model: LanguageModel, validation: Validation
) -> dict[str, Any]:
    """What `announce` prints, as values: the same for every command that makes a model."""
    path = folder.path(name)
    return {
        "model": name,
        "kind": model.kind,
        "file": str(path),
        "bytes": path.stat().st_size,
        "validation": validation.recorded,
        "next": _next_command(folder.root, name),
    }


def _next_command(root: Path, name: str) -> str:
    words = ["lm", "sample", name]
    if root != DEFAULT_FOLDER:
        words += ["--models", str(root)]
    return shlex.join(words)


def new_provenance(
    command: str,
    corpus: str,
    corpus_sha256: str,
    validation: dict[str, Any] | None = None,
    training: dict[str, Any] | None = None,
) -> Provenance:
    """The provenance of a model made now, by this version."""
    from datetime import UTC, datetime

    from lmsuite import __version__
    from lmsuite.store.artefact import Provenance

    return Provenance(
        command=command,
        version=__version__,
        corpus=corpus,
        corpus_sha256=corpus_sha256,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        validation=validation or {},
        training=training or {},
    )


def command_line(context: typer.Context) -> str:
    """The command as the user typed it."""
    return shlex.join(["lm", *context.find_root().obj.arguments])
