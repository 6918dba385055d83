"""The work of ``lm train ffnn`` and ``lm train rnn``: settings, `fit_network`, printed results."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import typer

from lmsuite.cli.options import StartOptions, TrainingOptions
from lmsuite.cli.preparing import PreparedText, finish, prepare, resuming
from lmsuite.cli.settings_options import Given
from lmsuite.cli.streams import note
from lmsuite.cli.training_progress import reporter_for
from lmsuite.errors import ModelFileError
from lmsuite.settings import declarations

if TYPE_CHECKING:
    from lmsuite.models.neural import NeuralModel
    from lmsuite.training.loop import TrainingFiles
    from lmsuite.training.settings import TrainingSettings


def train_network(
    context: typer.Context,
    common: TrainingOptions,
    training: Given,
    kind: type[NeuralModel],
    architecture: Given,
    going_on: StartOptions,
    *,
    resume: bool,
) -> None:
    """Train a network as the options say, save it, and compare it with an n-gram model.

    Args:
        context: of the command.
        common: the text and where the model goes.
        training: settings of the training that the user gave.
        kind: the class of the model.
        architecture: settings of the model that the user gave.
        going_on: the model to go on from, if any.
        resume: continue the training of the checkpoint.
    """
    from lmsuite.training.fit import fit_network
    from lmsuite.training.loop import TrainingFiles

    began = time.monotonic()
    prepared = prepare(context, common, kind=kind.kind, going_on=going_on)
    folder, name, quiet = prepared.folder, prepared.name, prepared.quiet
    files = TrainingFiles(folder.checkpoint_path(name), folder.history_path(name))
    with _saying_how_to_resume(prepared):
        fitted = fit_network(
            prepared.ready,
            kind,
            training,
            architecture,
            start=cast("NeuralModel | None", prepared.start),
            began=began,
            files=files,
            resume=resume and _may_resume(prepared, files),
            reporting=lambda: reporter_for(quiet=quiet),
            announce=lambda model, settings: _announce(prepared, model, settings),
            say=lambda message: note(message, quiet=quiet and not message.startswith("note")),
        )
    finish(
        prepared,
        fitted.model,
        seconds=fitted.result.progress.seconds,
        network=fitted,
        checkpoint=files.checkpoint,
    )


def _announce(prepared: PreparedText, model: NeuralModel, settings: TrainingSettings) -> None:
    """Print the network and its settings before training, so that a user can change them."""
    declared = declarations(type(model.settings))
    options = {}
    for name, value in model.settings_dict().items():
        option = declared[name].option
        if option is not None and value is not False:
            options[option.partition("/")[0]] = value
    if settings.epochs is not None:
        options["--epochs"] = round(settings.epochs, 2)
    options |= {"--batch": settings.batch, "--lr": settings.learning_rate}
    options["--threads"] = settings.threads
    network = " ".join(
        name if value is True else f"{name} {_typed(value)}" for name, value in options.items()
    )
    note(
        f"{prepared.read}: {len(prepared.ready.ids):,} tokens, "
        f"{len(prepared.ready.encoder.vocabulary):,} in the vocabulary\n"
        f"{model.kind}: {len(model.parameters):,} parameters, {network}",
        quiet=prepared.quiet,
    )


def _typed(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _may_resume(prepared: PreparedText, files: TrainingFiles) -> bool:
    """Whether there is a checkpoint; a training killed before its first one begins again.

    Raises:
        ModelFileError: the training is finished.
    """
    if files.checkpoint.exists():
        return True
    path = prepared.folder.path(prepared.name)
    if path.exists():
        raise ModelFileError(
            f"nothing to resume: {path} is finished; without --resume it is trained anew"
        )
    note("nothing to resume yet: beginning at the start", quiet=prepared.quiet)
    return False


@contextmanager
def _saying_how_to_resume(prepared: PreparedText) -> Iterator[None]:
    """Add the command that resumes the training to the message of an interruption."""
    from lmsuite.training.interrupts import TrainingInterruptedError

    try:
        yield
    except TrainingInterruptedError as error:
        command = resuming(prepared.command)
        message = f"{error}; go on, with {prepared.read} as before: {command}"
        raise TrainingInterruptedError(message, error.number) from None
