"""From a text to a good model: all that ``lm train`` does, except that it saves nothing.

1. A part of the text is set aside for validation; the rest makes the encoder.
2. A recipe chooses the settings that the user did not give, by the size of the text (`recipes`).
3. A network learns a probability for unknown words (`unknown`), and its output bias starts at the
   log-frequencies of the tokens.
4. An n-gram model gives the perplexity that a network should beat (`baseline`).
5. The work is made to fit into the minutes (`time_budget`), and the network is trained (`loop`).
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
from numpy.typing import NDArray

from lmsuite.errors import UsageError
from lmsuite.executors.cores import available_cores
from lmsuite.files.stored_text import Text
from lmsuite.models.feedforward import FeedForward
from lmsuite.models.interface import LanguageModel
from lmsuite.models.neural import NeuralModel
from lmsuite.models.ngram import NgramModel, NgramSettings
from lmsuite.models.recurrent import Recurrent
from lmsuite.ngram.memory import machine_bytes
from lmsuite.ngram.settings import check_counted
from lmsuite.ngram.text_counts import OF_VOCABULARY, TextCounts
from lmsuite.settings import declarations
from lmsuite.sources.splitting import HeldOut
from lmsuite.store.records import TrainingRecord
from lmsuite.text.settings import Boundaries, TextSettings
from lmsuite.training.baseline import Baseline
from lmsuite.training.clusters import SoftmaxCost
from lmsuite.training.continuing import (
    continued,
    continued_settings,
    count_text,
    fit_kept,
    grown,
    require_kind,
    settings_after,
    with_another_text,
)
from lmsuite.training.loop import TrainingFiles, TrainingResult, train
from lmsuite.training.recipes import (
    Recipe,
    feature_rows,
    feedforward_recipe,
    peak_rate,
    recurrent_recipe,
)
from lmsuite.training.reporting import Reporter, Silent
from lmsuite.training.settings import TrainingSettings
from lmsuite.training.time_budget import TimeBudget, sample_of
from lmsuite.training.training_text import TrainingText, Validation, make_ready
from lmsuite.training.unknown import expected_counts, unknown_share

_OWN_TOKENS = 20_000  # without a validation text, so many training tokens are used in its place
_MOST_PARAMETERS = 10**30  # larger numbers are shown as this one
_BYTES_A_PARAMETER = 8  # its value and its gradient; what an optimizer keeps is not counted

RECIPES: dict[type[NeuralModel], Callable[[int, int, float | None], Recipe]] = {
    FeedForward: feedforward_recipe,
    Recurrent: recurrent_recipe,
}
"""For each kind of network, the function that makes a recipe from tokens, vocabulary, minutes."""


@dataclass(frozen=True)
class FittedNetwork:
    """A trained network, with the facts of its training."""

    model: NeuralModel
    result: TrainingResult
    settings: TrainingSettings
    baseline: Baseline | None
    validated_share: float
    """The share of the validation text that can be read in the remaining time."""

    def record(self) -> TrainingRecord:
        """The record of the training for the model file."""
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
    text: Text,
    *,
    valid: float | Text = 0.1,
    valid_by: HeldOut | str | None = None,
    lines: bool = False,
    like: LanguageModel | None = None,
    start: LanguageModel | None = None,
    grow_vocab: bool = False,
    weight: int = 1,
    keep_counts: bool = False,
    reporter: Reporter = Silent(),  # noqa: B008
    **settings: Any,
) -> LanguageModel:
    """Train a model on a text, as ``lm train`` does with the same settings.

    Args:
        kind: ``"ngram"``, ``"ffnn"`` or ``"rnn"``.
        text: the text.
        valid: the share of the text that is set aside for validation, 0 for none; or another text.
        valid_by: ``"end"`` (the default) sets aside the end of the text, ``"random"`` lines from
            all over it.
        lines: every line is a sequence of its own.
        like: read the text as this model does, so that the two can be mixed.
        start: go on from this model of the same kind. A network keeps its weights, and may read the
            same text or another. An n-gram model needs `keep_counts`, and a second text.
        grow_vocab: new tokens of the text join the vocabulary of the network `start`; with
            ``min_count``, those that are at least so frequent.
        weight: how many times the second text counts for an n-gram model.
        keep_counts: an n-gram model keeps the counts of its text, to go on from them.
        reporter: its methods are called in the course of a network's training.
        settings: those of `TextSettings`, of the model (`NgramSettings`, `FeedForwardSettings` or
            `RecurrentSettings`), and of `TrainingSettings`; ``n`` stands for an n-gram model's
            order. Settings that are not given are chosen by the size of the text.

    Raises:
        UsageError: a setting is unknown, out of bounds, or contradicts another.
        DataError: the text has no tokens.
        TrainingError: the text is too short, no step fits into the minutes, or the loss explodes.
        TrainingInterruptedError: a signal came; the error holds the best parameters so far.
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
    _check_going_on(model, of_text, like, start, grow_vocab=grow_vocab, weight=weight)
    if not issubclass(model, NgramModel):
        if keep_counts:
            raise UsageError("{keep_counts} is for n-gram models", "keep_counts")
        reading = start or like
        by = TextSettings(**of_text) if reading is None else reading.encoder
        ready = make_ready(text, Validation(valid, valid_by), by)
        if isinstance(start, NeuralModel) and grow_vocab:
            ready = with_new_tokens(ready, of_text.get("min_count", 1))
        [training] = of_training
        fitted = fit_network(
            ready,
            model,
            training,
            of_model,
            start=start if isinstance(start, NeuralModel) else None,
            reporting=lambda: nullcontext(reporter),
        )
        return fitted.model
    if isinstance(start, NgramModel):
        held_out = Validation(valid, valid_by)
        second = held_out.divide(text, start.encoder.boundaries).training
        both = with_another_text(start, second, weight, names=("the model", "the text"))
        made = fit_kept(both, settings_after(start, both, of_model), keep=keep_counts)
    else:
        by = TextSettings(**of_text) if like is None else like.encoder
        ready = make_ready(text, Validation(valid, valid_by), by)
        of_ngram = NgramSettings(**of_model)
        if keep_counts:
            made = fit_kept(counts_to_keep(ready, of_text, of_ngram), of_ngram, keep=True)
        else:
            made = NgramModel.fit(ready.encoder, ready.ids, of_ngram)
    made.table.make_flat()
    return made


def _check_going_on(
    kind: type[LanguageModel],
    of_text: Mapping[str, Any],
    like: LanguageModel | None,
    start: LanguageModel | None,
    *,
    grow_vocab: bool,
    weight: int,
) -> None:
    """Refuse settings that contradict `like` or `start`, or need a `start`."""
    if start is not None:
        require_kind(start, kind.kind)
        if like is not None:
            raise UsageError("{start} says how text is read; leave out {like}", "start", "like")
    elif grow_vocab or weight != 1:
        name = "grow_vocab" if grow_vocab else "weight"
        raise UsageError(f"{{{name}}} is for a model that goes on from {{start}}", name, "start")
    if grow_vocab and not issubclass(kind, NeuralModel):
        raise UsageError(
            "{grow_vocab} is for networks; the vocabulary of an n-gram model grows by itself",
            "grow_vocab",
        )
    if weight != 1 and issubclass(kind, NeuralModel):
        raise UsageError("{weight} is for n-gram models", "weight")
    decides = "like" if like is not None else "start"
    if like is not None or start is not None:
        for name in sorted(of_text.keys() - ({"min_count"} if grow_vocab else set())):
            raise UsageError(
                f"{{{decides}}} decides how text is read; leave out {{{name}}}", decides, name
            )


def with_new_tokens(ready: TrainingText, min_count: int, *, name: str = "the text") -> TrainingText:
    """The training text, encoded anew after its new tokens have joined the vocabulary.

    Raises:
        DataError, UsageError: as `grown`.
    """
    encoder = grown(ready.encoder, ready.split.training, min_count, name=name)
    return TrainingText(encoder, encoder.encode(ready.split.training, name=name), ready.split)


def counts_to_keep(
    ready: TrainingText,
    of_text: Mapping[str, Any],
    settings: NgramSettings,
    *,
    grows: bool = True,
    name: str = "the text",
) -> TextCounts:
    """The counts of a training text, for a model that keeps them.

    Args:
        ready: the text.
        of_text: the settings of the text that the user gave, by name: if one of them limits the
            vocabulary, this does not grow.
        settings: of the model.
        grows: whether the vocabulary is that of the text, and not another model's.
        name: what messages call the text.

    Raises:
        TrainingError: the text is too long to be counted in memory.
        UsageError: the smoothing needs the text itself.
    """
    check_counted(settings)
    is_free = grows and not of_text.keys() & set(OF_VOCABULARY)
    return count_text(
        ready.split.training, ready.encoder, ready.ids, settings.order, grows=is_free, name=name
    )


def fit_network(
    ready: TrainingText,
    kind: type[NeuralModel],
    training: Mapping[str, Any],
    architecture: Mapping[str, Any],
    *,
    start: NeuralModel | None = None,
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
        training: the training settings that the user gave, by name.
        architecture: the network's settings that the user gave, by name.
        start: a network to go on from, with the encoder of the text, or with some of its tokens.
        began: the `time.monotonic` from which the minutes are counted; now, if it is None.
        files: where to keep the checkpoint and the learning curve.
        resume: go on from the checkpoint.
        reporting: makes the reporter when the training itself begins.
        announce: is called with the untrained network and the settings before the long work.
        say: is called with notes for the user.

    Raises:
        UsageError, TrainingError, TrainingInterruptedError, ModelFileError: as `fit` and `train`.
    """
    budget = TimeBudget(training.get("minutes"), time.monotonic() if began is None else began)
    encoder, ids, valid = ready.encoder, ready.ids, ready.split.valid
    valid_ids = ready.valid_ids
    if not len(valid_ids):
        say("note: no validation text; training text takes its place, so overfitting will not show")
    recipe = RECIPES[kind](len(ids), len(encoder.vocabulary), training.get("minutes"))
    settings = _training_settings(training, recipe)
    unknown = unknown_share(ids, encoder)
    tokens_a_step = settings.batch * (settings.bptt if "bptt" in recipe.training else 1)
    if start is None:
        counts = expected_counts(ids, encoder, unknown)
        sizes = _sizes(recipe, architecture, len(encoder.vocabulary))
        softmax = _softmax(sizes, counts, kind, tokens_a_step)
        chosen = kind.settings_type(**sizes | softmax, unknown_share=unknown)
        _refuse_too_large(kind, len(encoder.vocabulary), chosen)
        model = kind.initial(encoder, chosen, np.random.default_rng(settings.seed))
        model.set_output_bias(counts)
    else:
        chosen = continued_settings(start, architecture, unknown)
        _refuse_too_large(kind, len(encoder.vocabulary), chosen)
        model = continued(start, encoder, chosen, ids)
    announce(model, settings)
    rate = budget.scoring_rate(model, valid_ids)
    share = budget.validation_share(rate, len(valid_ids))
    if share < 1:
        say(f"note: validated on {share:.1%} of the validation text, so that it fits the time")
    baseline = None
    if valid:  # the network and the baseline are evaluated on the same text
        baseline = Baseline.train(encoder, ids, sample_of(valid, share), budget.for_baseline)
        beaten = f"to beat: {baseline}"
        say(beaten if baseline else "note: an n-gram baseline does not fit the time")
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
    """`settings` divided among these dataclasses: a dictionary for each.

    Raises:
        UsageError: a setting belongs to none of them.
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


def _sizes(recipe: Recipe, chosen: Mapping[str, Any], vocabulary: int) -> dict[str, Any]:
    """The network's settings: the recipe's, replaced by those that the user gave."""
    features = {"ngram_features", "feature_rows", "feature_dropout"}
    of_recipe = dict(recipe.model)
    is_adaptive = chosen.get("softmax") == "adaptive"
    if is_adaptive or chosen.keys() & {"hidden", "cutoffs", "ngram_features"}:
        # They belong to the recipe's network: one of the user's is as the user says.
        of_recipe = {name: value for name, value in of_recipe.items() if name not in features}
    settings = of_recipe | dict(chosen)
    if settings.get("tied") and "tied" not in chosen:
        # Embeddings can be tied only if they have the (last) hidden layer's size, as in the recipe.
        hidden = settings["hidden"]
        size = hidden[-1] if isinstance(hidden, tuple) else hidden
        settings["embed"] = chosen.get("embed", size)
        settings["tied"] = settings["embed"] == size and not settings.get("direct")
    if settings.get("ngram_features"):
        settings.setdefault("feature_rows", feature_rows(vocabulary))
    return settings


def _softmax(
    sizes: Mapping[str, Any],
    counts: NDArray[np.float64],
    kind: type[NeuralModel],
    tokens_a_step: int,
) -> dict[str, Any]:
    """The settings of the softmax, as far as the user gave none: by its cost (`clusters`)."""
    if sizes.get("cutoffs"):
        return {"softmax": sizes.get("softmax", "adaptive")}
    softmax = sizes.get("softmax")
    if sizes.get("ngram_features"):
        return {}
    if softmax not in (None, "adaptive"):
        return {}
    probe = kind.settings_type(**{name: sizes[name] for name in sizes if name != "softmax"})
    inputs = kind.output_inputs(probe)
    cost = SoftmaxCost(counts, inputs, tokens_a_step, tied=getattr(probe, "tied", False))
    cutoffs = cost.chosen() if softmax is None else cost.cheapest()
    if softmax == "adaptive" and not cutoffs:
        raise UsageError(
            f"a vocabulary of {counts.size} is too small to choose clusters for {{softmax}} "
            "adaptive; give {cutoffs}, or {softmax} full",
            *("softmax", "cutoffs"),
            value="adaptive",
        )
    return {"softmax": "adaptive", "cutoffs": cutoffs} if cutoffs else {}


def _refuse_too_large(kind: type[NeuralModel], vocabulary: int, settings: Any) -> None:
    """Refuse a network that does not fit into this machine's memory, before any memory is taken.

    Raises:
        UsageError: the network does not fit.
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
