"""What the two neural training commands do, once the model's own options are known."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from lmsuite.cli.options import TrainingOptions
from lmsuite.cli.preparing import Prepared, finish, prepare, resuming
from lmsuite.cli.settings_options import Given
from lmsuite.cli.streams import note
from lmsuite.cli.training_progress import reporter_for
from lmsuite.errors import ModelFileError, UsageError

if TYPE_CHECKING:
    from lmsuite.models.neural import NeuralModel
    from lmsuite.training.loop import TrainingFiles, TrainingResult
    from lmsuite.training.recipes import Recipe
    from lmsuite.training.settings import TrainingSettings
    from lmsuite.types import IntArray

_OWN_TOKENS = 20_000  # of the training text that stand in where there is no validation text
_MOST_PARAMETERS = 10**30  # that are told apart
_BYTES_A_PARAMETER = 8  # its value and its gradient, whatever the optimizer keeps beside them


def train_network(
    context: typer.Context,
    common: TrainingOptions,
    training: Given,
    kind: type[NeuralModel],
    recipe_for: Callable[[int, int, float | None], Recipe],
    architecture: Given,
    *,
    resume: bool,
) -> None:
    """Train a network as the options say, save it, and compare it with an n-gram model.

    Args:
        context: of the command.
        common: the text and where the model goes.
        training: settings of the training that the user gave.
        kind: the class of the model.
        recipe_for: its recipe from tokens, vocabulary and minutes.
        architecture: settings of the model that the user gave.
        resume: go on with the training that the checkpoint is of.
    """
    import numpy as np

    from lmsuite.training.baseline import Baseline
    from lmsuite.training.loop import train
    from lmsuite.training.time_budget import TimeBudget
    from lmsuite.training.unknown import expected_counts

    budget = TimeBudget(training.get("minutes"), time.monotonic())
    prepared = prepare(context, common, kind=kind.kind)
    valid_ids = _validation_ids(prepared)
    minutes = training.get("minutes")
    recipe = recipe_for(len(prepared.ids), len(prepared.encoder.vocabulary), minutes)
    settings = _training_settings(training, recipe)
    chosen = _architecture(prepared, recipe, architecture, kind)
    _refuse_too_large(kind, len(prepared.encoder.vocabulary), chosen)
    model = kind.initial(prepared.encoder, chosen, np.random.default_rng(settings.seed))
    model.begin_at(expected_counts(prepared.ids, prepared.encoder, model.settings.unknown_share))
    _announce(prepared, model, settings)
    files = _files(prepared)
    resume = resume and _may_resume(prepared, files)
    valid = prepared.split.valid
    baseline = None
    if valid:
        baseline = Baseline.train(prepared.encoder, prepared.ids, valid, budget.for_baseline)
        to_beat = "to beat: {}" if baseline else "note: an n-gram baseline does not fit the time"
        note(to_beat.format(baseline), quiet=prepared.quiet)
    rate = budget.scoring_rate(model, prepared.valid_ids)
    share = budget.validation_share(rate, len(prepared.valid_ids))
    if share < 1:
        note(f"note: validated on {share:.1%} of the validation text, so that it fits the time")
    tokens_a_step = settings.batch * (settings.bptt if "bptt" in recipe.training else 1)
    limits = budget.limits(model, rate, share * len(prepared.valid_ids), tokens_a_step)
    with reporter_for(quiet=prepared.quiet) as reporter, _saying_how_to_resume(prepared):
        result = train(
            model,
            prepared.ids,
            valid_ids,
            settings,
            reporter,
            files=files,
            resume=resume,
            limits=limits,
        )
    facts = _facts(result, settings)
    finish(
        prepared,
        result.model,
        seconds=result.progress.seconds,
        training=facts,
        checkpoint=files.checkpoint,
        validated_share=share,
        baseline=baseline,
    )


def _validation_ids(prepared: Prepared) -> IntArray:
    """What steers the training: the validation text, or without one what the training reads."""
    ids = prepared.valid_ids
    if len(ids):
        return ids
    note("note: no validation text, so the training sees its own text alone, and may overfit")
    return prepared.ids[:_OWN_TOKENS]


def _training_settings(training: Given, recipe: Recipe) -> TrainingSettings:
    from lmsuite.training.recipes import peak_rate
    from lmsuite.training.settings import TrainingSettings
    from lmsuite.training.workers import available_cores

    rate = peak_rate(recipe, training.get("optimizer", TrainingSettings.optimizer))
    own = {"minutes": None, "threads": available_cores()}
    return TrainingSettings(**own | recipe.training | {"learning_rate": rate} | training)


def _architecture(
    prepared: Prepared,
    recipe: Recipe,
    chosen: Given,
    kind: type[NeuralModel],
) -> Any:
    from lmsuite.training.unknown import unknown_share

    settings = recipe.model | chosen
    if settings.get("tied") and "tied" not in chosen:
        # The recipe ties embeddings of the hidden layer's size; other sizes cannot be tied.
        settings["embed"] = chosen.get("embed", settings["hidden"])
        settings["tied"] = settings["embed"] == settings["hidden"]
    share = unknown_share(prepared.ids, prepared.encoder)
    return kind.settings_type(**settings, unknown_share=share)


def _refuse_too_large(kind: type[NeuralModel], vocabulary: int, settings: Any) -> None:
    """Say so, before any memory is taken, if this machine cannot hold such a network.

    Raises:
        UsageError: it cannot.
    """
    from math import prod

    from lmsuite.ngram.memory import machine_bytes

    parameters = min(sum(map(prod, kind.shapes(vocabulary, settings).values())), _MOST_PARAMETERS)
    needed, there = parameters * _BYTES_A_PARAMETER, machine_bytes()
    if needed > there:
        raise UsageError(
            f"a network of {parameters:.3g} parameters needs {needed / 1e9:,.3g} GB to be trained, "
            f"and this machine has {there / 1e9:,.3g}: give smaller sizes (--hidden, --embed, ...)"
        )


def _announce(prepared: Prepared, model: NeuralModel, settings: TrainingSettings) -> None:
    """Say what is about to be trained, so that what was chosen can be changed."""
    facts = model.settings_dict()
    facts.pop("unknown_share")
    options = {name: value for name, value in facts.items() if value is not False}
    if settings.epochs is not None:
        options["epochs"] = round(settings.epochs, 2)
    options |= {"batch": settings.batch, "lr": settings.learning_rate, "threads": settings.threads}
    network = " ".join(
        f"--{name.replace('_', '-')} {_typed(value)}" for name, value in options.items()
    )
    note(
        f"{prepared.corpus.name}: {len(prepared.ids):,} tokens, "
        f"{len(prepared.encoder.vocabulary):,} in the vocabulary\n"
        f"{model.kind}: {len(model.parameters):,} parameters, {network}",
        quiet=prepared.quiet,
    )


def _typed(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _files(prepared: Prepared) -> TrainingFiles:
    from lmsuite.training.loop import TrainingFiles

    folder, name = prepared.folder, prepared.name
    return TrainingFiles(folder.checkpoint_path(name), folder.history_path(name))


def _may_resume(prepared: Prepared, files: TrainingFiles) -> bool:
    """Whether there is something to resume; a training killed at its very start begins again.

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
def _saying_how_to_resume(prepared: Prepared) -> Iterator[None]:
    """Complete the message of an interruption by the command that goes on."""
    from lmsuite.training.interrupts import TrainingInterruptedError

    try:
        yield
    except TrainingInterruptedError as error:
        command = resuming(prepared.command)
        message = f"{error}; go on, with {prepared.corpus.name} as before: {command}"
        raise TrainingInterruptedError(message, error.number) from None


def _facts(result: TrainingResult, settings: TrainingSettings) -> dict[str, Any]:
    """What the model file records of its training."""
    progress = result.progress
    return asdict(settings) | {
        "processes": result.processes,
        "steps": progress.step,
        "best_step": progress.best_step,
        "seconds": round(progress.seconds, 1),
        "stopped_early": result.stopped_early,
    }
