"""``lm mix``."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lmsuite.cli.options import (
    DEFAULT_FOLDER,
    JsonOption,
    ModelsOption,
    complete_models,
)
from lmsuite.cli.saving import announce, command_line, facts_of, reserve
from lmsuite.cli.streams import note, read_texts, say, write_json
from lmsuite.cli.tables import Column, show_table
from lmsuite.errors import DataError, UsageError
from lmsuite.sources.settings import ReadingSettings
from lmsuite.store.folder import ModelsFolder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lmsuite.files.stored_text import Text
    from lmsuite.models.interface import LanguageModel
    from lmsuite.models.mixture import DifferentTokensError, Mixture
    from lmsuite.store.opening import OpenedModel
    from lmsuite.store.records import Provenance

_CACHE = "cache"


def mix(
    context: typer.Context,
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL",
            help="Names in the models folder, or files; `cache` stands for a cache of recent "
            "tokens.",
            autocompletion=complete_models,
        ),
    ],
    *,
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="The mixture's name.")] = (
        "mixture"
    ),
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights",
            metavar="W,W,...",
            help="One weight for each model, scaled to sum to one.",
            show_default="those that predict the text best",
        ),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option(
            "--text",
            metavar="TEXT",
            help="A text to choose the weights on, which no model was trained on; in any form that "
            "`lm train` takes.",
            show_default="the validation text of the models",
        ),
    ] = None,
    folder: ModelsOption = DEFAULT_FOLDER,
    reading: ReadingSettings,
    as_json: JsonOption = False,
) -> None:
    """Mix models: interpolate their probabilities.

    \b
    Examples:
      lm mix ngram rnn --name best
      lm mix ngram cache --weights 0.9,0.1

    The mixture is a model like any other, in one file. Expectation maximisation (Jelinek and Mercer
    1980) finds the weights that predict the text best. The cache gives a higher probability to
    recent tokens (Kuhn and De Mori 1990); how fast it forgets is chosen on the same text. The
    models must have the same tokens: train them with --like.
    """
    from lmsuite.models.mixture import DifferentTokensError, Mixture, check_members, member_scores
    from lmsuite.store.opening import open_model
    from lmsuite.training.validated import ValidatedModel

    target = ModelsFolder(folder)
    path = target.new_path(name)  # refuses an impossible name before the work
    given = _weights(weights, len(models))
    opened = [open_model(folder, model) for model in models if model != _CACHE]
    members = _members(models, opened)
    try:
        check_members(members)
    except DifferentTokensError as error:
        raise _remedy(error, opened) from error
    reserve(context, path)
    valid, rule = _text(text, reading, opened, optional=given is not None)
    ids = opened[0].model.encoder.encode(valid)
    scores = member_scores(members, ids) if valid else {}
    # Without a text, a cache has the default half-life.
    mixture = Mixture.fit(members, ids, given, scores) if valid else Mixture(members, given or ())
    is_tuned = bool(valid) and (given is None or _CACHE in members)
    origin = _origin(opened, command_line(context), mixture, is_tuned=is_tuned)
    made = ValidatedModel.of(name, mixture, valid, origin, rule=rule)
    if is_tuned:
        note(f"tuned on {len(ids):,} tokens: {_called(text, opened)}")
    made.save(target)
    if as_json:
        facts = facts_of(target, made)
        write_json(facts | {"members": _member_facts(mixture, scores)})
        return
    _show_members(mixture, scores)
    announce(target, made)


def _weights(weights: str | None, count: int) -> list[float] | None:
    if weights is None:
        return None
    try:
        numbers = [float(weight) for weight in weights.split(",")]
    except ValueError:
        raise UsageError(f"--weights takes numbers joined by commas, not {weights}") from None
    if len(numbers) != count:
        raise UsageError(f"--weights {weights}: give {count}, one for each model")
    return numbers


def _members(names: list[str], opened: list[OpenedModel]) -> dict[str, LanguageModel]:
    """The members by name, in the order in which they were typed."""
    from lmsuite.models.cache import CacheModel, CacheSettings

    if not opened:
        raise UsageError("a cache alone knows no words: name a model to mix it with")
    models = iter(opened)
    cache: LanguageModel = CacheModel(opened[0].model.encoder, CacheSettings())
    members: dict[str, LanguageModel] = {}
    for typed in names:
        name, model = _CACHE, cache
        if typed != _CACHE:
            one = next(models)
            name, model = one.name, one.model
        if name in members:
            raise UsageError(f"{name} is named twice; a model can be in a mixture once")
        members[name] = model
    return members


def _text(
    text: str | None, reading: ReadingSettings, opened: list[OpenedModel], *, optional: bool
) -> tuple[Text, str]:
    """The text to choose the weights on, and its name in the model file.

    The text is optional if the weights are given. Then it is empty if there is none.
    """
    if text is not None:
        corpus = read_texts([text], reading, [opened[0].model.encoder.boundaries])
        return corpus.text, corpus.name
    from lmsuite.store.opening import shared_validation_text

    try:
        valid = shared_validation_text(opened)
    except DataError:
        if optional:
            return "", "none"
        raise
    return valid, opened[0].provenance.validation.split


def _called(text: str | None, opened: list[OpenedModel]) -> str:
    return text or f"the validation text of {', '.join(one.name for one in opened)}"


def _remedy(error: DifferentTokensError, opened: list[OpenedModel]) -> DataError:
    """The error, with a command that trains the model again so that its tokens fit."""
    found = next(one for one in opened if one.name == error.other)
    command = shlex.split(found.provenance.command)
    if command[:2] != ["lm", "train"]:
        return error
    again = f"{shlex.join(_without_tokens(command))} --like {shlex.quote(error.reference)}"
    return DataError(f"{error.message}: {again}", *error.fields)


def _without_tokens(command: list[str]) -> list[str]:
    """A training command without the options that ``--like`` stands for."""
    flags = {"--lines", "--stream", "--documents"}
    valued = {
        *("--tokenizer", "--min-count", "--max-vocab", "--vocab", "--bpe-size"),
        *("--valid", "--like"),
    }
    kept, words = [], iter(command)
    for word in words:
        if word in valued:
            next(words, None)
        elif word not in flags and word.partition("=")[0] not in valued:
            kept.append(word)
    return kept


def _origin(
    opened: list[OpenedModel], command: str, mixture: Mixture, *, is_tuned: bool
) -> Provenance:
    from lmsuite.store.records import Provenance, TrainingRecord

    made = [one.provenance for one in opened if one.manifest]
    corpora = ", ".join(dict.fromkeys(each.corpus for each in made))
    checksums = {each.corpus_sha256 for each in made}
    weights = dict(zip(mixture.names, mixture.weights.tolist(), strict=True))
    return Provenance(
        command=command,
        corpus=corpora or "unknown",
        corpus_sha256=checksums.pop() if len(checksums) == 1 else "",
        training=TrainingRecord(weights=weights, tuned=is_tuned),
    )


def _member_facts(mixture: Mixture, scores: dict[str, NDArray[Any]]) -> list[dict[str, Any]]:
    """Each member with its weight and its own perplexity."""
    from lmsuite.analysis.evaluation import perplexity_of
    from lmsuite.models.cache import CacheModel

    facts: list[dict[str, Any]] = []
    for name, model, weight in zip(mixture.names, mixture.members, mixture.weights, strict=True):
        fact = {"member": name, "kind": model.kind, "weight": float(weight)}
        if name in scores:
            fact["perplexity"] = perplexity_of(-scores[name].mean())
        if isinstance(model, CacheModel):
            fact["half_life"] = model.settings.half_life
        facts.append(fact)
    return facts


def _show_members(mixture: Mixture, scores: dict[str, NDArray[Any]]) -> None:
    rows = []
    for fact in _member_facts(mixture, scores):
        alone = f"{fact['perplexity']:.2f}" if "perplexity" in fact else ""
        if "half_life" in fact:
            alone = f"half-life {fact['half_life']:g} tokens"
        rows.append([fact["member"], fact["kind"], f"{fact['weight']:.4f}", alone])
    columns = (Column("member"), Column("kind"), Column("weight", number=True), Column("alone"))
    show_table(columns, rows)
    say()
