"""From a text to a model that is as good as it can be: all that ``lm train`` does, but the saving.

1. A part of the text is set aside for validation; the rest makes the encoder.
2. A recipe chooses what the user did not, by the size of the text (`recipes`).
3. A network learns what an unknown word is (`unknown`), and its output begins at the frequencies of
   the tokens.
4. An n-gram model says what a network has to beat (`baseline`).
5. Everything fits into the minutes (`time_budget`), and the loop trains (`loop`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from math import prod
from typing import Any

import numpy as np

from lmsuite.errors import UsageError
from lmsuite.models.feedforward import FeedForward
from lmsuite.models.interface import LanguageModel
from lmsuite.models.neural import NeuralModel
from lmsuite.models.ngram import NgramModel, NgramSettings
from lmsuite.models.recurrent import Recurrent
from lmsuite.ngram.memory import machine_bytes
from lmsuite.settings import declarations
from lmsuite.sources.splitting import HeldOut
from lmsuite.store.records import TrainingRecord
from lmsuite.text.settings import Boundaries, TextSettings
from lmsuite.training.baseline import Baseline
from lmsuite.training.loop import TrainingFiles, TrainingResult, train
from lmsuite.training.recipes import Recipe, feedforward_recipe, peak_rate, recurrent_recipe
from lmsuite.training.reporting import Reporter, Silent
from lmsuite.training.settings import TrainingSettings
from lmsuite.training.time_budget import TimeBudget, sample_of
from lmsuite.training.training_text import TrainingText, Validation, make_ready
from lmsuite.training.unknown import expected_counts, unknown_share
from lmsuite.training.workers import available_cores

_OWN_TOKENS = 20_000  # of the training text that stand in where there is no validation text
_MOST_PARAMETERS = 10**30  # that are told apart
_BYTES_A_PARAMETER = 8  # its value and its gradient, whatever the optimizer keeps beside them

RECIPES: dict[type[NeuralModel], Callable[[int, int, float | None], Recipe]] = {
    FeedForward: feedforward_recipe,
    Recurrent: recurrent_recipe,
}
"""How each kind of network trains well: a recipe from tokens, vocabulary and minutes."""


@dataclass(frozen=True)
class FittedNetwork:
    """A trained network, and what there is to say of it."""

    model: NeuralModel
    result: TrainingResult
    settings: TrainingSettings
    baseline: Baseline | None
    validated_share: float
    """How much of the validation text can be read in the time that is left."""

    def record(self) -> TrainingRecord:
        """What the model file says of the training."""
        progress = self.result.progress
        return TrainingRecord(
            settings=asdict(self.settings),
            processes=self.result.processes,
            steps=progress.step,
            best_step=progress.best_step,
            seconds=round(progress.seconds, 1),
            stopped_early=self.result.stopped_early,
        )


Say = Callable[[str], None]


def fit(
    kind: str,
    text: str,
    *,
    valid: float | str = 0.1,
    valid_by: HeldOut | str | None = None,
    lines: bool = False,
    like: LanguageModel | None = None,
    reporter: Reporter = Silent(),  # noqa: B008
    **settings: Any,
) -> LanguageModel:
    """Train a model of a text, as ``lm train`` does with the same settings.

    Args:
        kind: ``"ngram"``, ``"ffnn"`` or ``"rnn"``.
        text: the text.
        valid: the share of it that is set aside for validation, 0 for none; or another text.
        valid_by: whether the share is the end of the text (``"end"``, the default), or lines from
            everywhere (``"random"``).
        lines: every line is a sequence of its own.
        like: read the text as this model does, so that the two can be mixed.
        reporter: is told how the training of a network goes.
        settings: of `TextSettings`, of the model (`NgramSettings`, whose order may be called ``n``,
            `FeedForwardSettings` or `RecurrentSettings`), and of `TrainingSettings`. What is not
            given is chosen by the size of the text.

    Raises:
        UsageError: a setting is unknown, out of bounds, or contradicts another.
        DataError: the text has no tokens.
        TrainingError: the text is too short, no step fits into the minutes, or the loss explodes.
        TrainingInterruptedError: a signal came; it holds the parameters that did best until then.
    """
    kinds: dict[str, type[NgramModel] | type[NeuralModel]] = {
        model.kind: model for model in (NgramModel, FeedForward, Recurrent)
    }
    if kind not in kinds:
        raise UsageError(f"{{kind}} must be one of {', '.join(kinds)}, not {kind!r}", "kind")
    chosen = dict(settings)
    if lines:
        chosen["boundaries"] = Boundaries.LINES
    if "n" in chosen:
        chosen["order"] = chosen.pop("n")
    model = kinds[kind]
    architecture = NgramSettings if issubclass(model, NgramModel) else model.settings_type
    groups = [TextSettings, architecture]
    groups += [] if issubclass(model, NgramModel) else [TrainingSettings]
    of_text, of_model, *of_training = _shared_out(chosen, groups)
    if like is not None and of_text:
        raise UsageError(
            f"{{like}} brings the tokens; leave out {{{min(of_text)}}}", *("like", min(of_text))
        )
    text_settings = TextSettings(**of_text)
    reading = text_settings if like is None else like.encoder
    ready = make_ready(text, Validation(valid, valid_by), reading)
    if issubclass(model, NgramModel):
        fitted_ngram = NgramModel.fit(ready.encoder, ready.ids, NgramSettings(**of_model))
        fitted_ngram.table.make_flat()
        return fitted_ngram
    [training] = of_training
    fitted = fit_network(ready, model, training, of_model, reporting=lambda: nullcontext(reporter))
    return fitted.model


def fit_network(
    ready: TrainingText,
    kind: type[NeuralModel],
    training: Mapping[str, Any],
    architecture: Mapping[str, Any],
    *,
    began: float | None = None,
    files: TrainingFiles | None = None,
    resume: bool = False,
    reporting: Callable[[], AbstractContextManager[Reporter]] = lambda: nullcontext(Silent()),
    announce: Callable[[NeuralModel, TrainingSettings], None] = lambda model, settings: None,
    say: Say = lambda message: None,
) -> FittedNetwork:
    """Train a network on a text that is ready.

    Args:
        ready: the text.
        kind: the class of the network.
        training: settings of the training that the user gave, by name.
        architecture: those of the network.
        began: when all this began, by `time.monotonic`, which counts towards the minutes.
        files: where to keep the checkpoint and the learning curve.
        resume: go on with the checkpoint.
        reporting: makes the reporter when the training itself begins.
        announce: is given the untrained network and the settings before anything takes time.
        say: is told what the user should know.

    Raises:
        UsageError, TrainingError, TrainingInterruptedError, ModelFileError: as `fit` and `train`.
    """
    budget = TimeBudget(training.get("minutes"), time.monotonic() if began is None else began)
    encoder, ids, valid = ready.encoder, ready.ids, ready.split.valid
    valid_ids = ready.valid_ids
    if not len(valid_ids):
        say("note: no validation text, so the training sees its own text alone, and may overfit")
    recipe = RECIPES[kind](len(ids), len(encoder.vocabulary), training.get("minutes"))
    settings = _training_settings(training, recipe)
    chosen = _architecture(ready, recipe, architecture, kind)
    _refuse_too_large(kind, len(encoder.vocabulary), chosen)
    model = kind.initial(encoder, chosen, np.random.default_rng(settings.seed))
    model.begin_at(expected_counts(ids, encoder, model.settings.unknown_share))
    announce(model, settings)
    rate = budget.scoring_rate(model, valid_ids)
    share = budget.validation_share(rate, len(valid_ids))
    if share < 1:
        say(f"note: validated on {share:.1%} of the validation text, so that it fits the time")
    baseline = None
    if valid:  # both are judged by the same text
        baseline = Baseline.train(encoder, ids, sample_of(valid, share), budget.for_baseline)
        beaten = f"to beat: {baseline}"
        say(beaten if baseline else "note: an n-gram baseline does not fit the time")
    tokens_a_step = settings.batch * (settings.bptt if "bptt" in recipe.training else 1)
    limits = budget.limits(model, rate, share * len(valid_ids), tokens_a_step)
    with reporting() as reporter:
        result = train(
            model,
            ids,
            valid_ids if len(valid_ids) else ids[:_OWN_TOKENS],
            settings,
            reporter,
            files=files,
            resume=resume,
            limits=limits,
        )
    return FittedNetwork(result.model, result, settings, baseline, share)


def _shared_out(settings: Mapping[str, Any], groups: list[type[Any]]) -> list[dict[str, Any]]:
    """The settings of each of these dataclasses.

    Raises:
        UsageError: one belongs to none of them.
    """
    known = {name: group for group in groups for name in declarations(group)}
    for name in settings:
        if name not in known:
            near = get_close_matches(name, known, 1)
            advice = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise UsageError(f"no setting is called {name}; {advice}")
    return [
        {name: value for name, value in settings.items() if known[name] is group}
        for group in groups
    ]


def _training_settings(training: Mapping[str, Any], recipe: Recipe) -> TrainingSettings:
    rate = peak_rate(recipe, training.get("optimizer", TrainingSettings.optimizer))
    own = {"minutes": None, "threads": available_cores()}
    return TrainingSettings(**own | recipe.training | {"learning_rate": rate} | dict(training))


def _architecture(
    ready: TrainingText, recipe: Recipe, chosen: Mapping[str, Any], kind: type[NeuralModel]
) -> Any:
    settings = recipe.model | dict(chosen)
    if settings.get("tied") and "tied" not in chosen:
        # The recipe ties embeddings of the hidden layer's size; other sizes cannot be tied.
        settings["embed"] = chosen.get("embed", settings["hidden"])
        settings["tied"] = settings["embed"] == settings["hidden"]
    return kind.settings_type(**settings, unknown_share=unknown_share(ready.ids, ready.encoder))


def _refuse_too_large(kind: type[NeuralModel], vocabulary: int, settings: Any) -> None:
    """Say so, before any memory is taken, if this machine cannot hold such a network.

    Raises:
        UsageError: it cannot.
    """
    parameters = min(sum(map(prod, kind.shapes(vocabulary, settings).values())), _MOST_PARAMETERS)
    needed, there = parameters * _BYTES_A_PARAMETER, machine_bytes()
    if needed > there:
        raise UsageError(
            f"a network of {parameters:.3g} parameters needs {needed / 1e9:,.3g} GB to be trained, "
            f"and this machine has {there / 1e9:,.3g}: give smaller sizes ({{hidden}}, {{embed}}, "
            "...)",
            *("hidden", "embed"),
        )
