"""``lm mix``."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lmsuite.cli.options import (
    DEFAULT_FOLDER,
    JsonOption,
    ModelsOption,
    complete_models,
)
from lmsuite.cli.saving import announce, command_line, facts_of, reserve, write_arpa
from lmsuite.cli.streams import note, read_texts, say, write_json
from lmsuite.cli.tables import Column, show_table
from lmsuite.errors import DataError, UsageError
from lmsuite.sources.settings import ReadingSettings
from lmsuite.store.folder import SUFFIX, ModelsFolder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lmsuite.files.stored_text import Text
    from lmsuite.models.interface import LanguageModel
    from lmsuite.models.mixture import DifferentTokensError
    from lmsuite.store.opening import OpenedModel
    from lmsuite.store.records import Provenance
    from lmsuite.types import IntArray

_CACHE, _NEURAL_CACHE = "cache", "neural-cache"


def mix(
    context: typer.Context,
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL",
            help="Names in the models folder, or files; `cache` stands for a cache of recent "
            "tokens, `neural-cache` for one of the network before it.",
            autocompletion=complete_models,
        ),
    ],
    *,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="The mixture's name.", show_default="mixture"),
    ] = None,
    static: Annotated[
        bool,
        typer.Option(
            "--static",
            help="Make one table of n-gram models, also of different words and orders.",
        ),
    ] = False,
    log_linear: Annotated[
        bool,
        typer.Option(
            "--log-linear",
            help="Make that table by interpolating logarithms, as KenLM's `interpolate` does; for "
            "small vocabularies, unless --weights are given.",
        ),
    ] = False,
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE|NAME",
            help="Where a --static mixture goes: FILE.arpa, FILE.arpa.gz, or its name.",
            show_default=False,
        ),
    ] = None,
    by_context: Annotated[
        bool,
        typer.Option(
            "--by-context",
            help="Let the weights depend on how much the n-gram model knows of the context.",
        ),
    ] = False,
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights",
            metavar="W,W,...",
            help="One weight for each model, scaled to sum to one (log-linear ones are not).",
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
      lm mix rnn neural-cache ngram --by-context
      lm mix ngram other.arpa --static --weights 0.7,0.3 -o mixed.arpa

    The mixture is a model like any other, in one file. Expectation maximisation (Jelinek and Mercer
    1980) finds the weights that predict the text best. The cache gives a higher probability to
    recent tokens (Kuhn and De Mori 1990); how fast it forgets is chosen on the same text. A neural
    cache (Grave et al. 2017) gives it to tokens that came when the network was in a similar state.

    Models that know different words are mixed, too: each gives words that it lacks probability 0.
    Models with different tokenizers predict whole lines together (the product over their tokens);
    such a mixture is for lm eval, score and compare, and cannot sample. For one that can, train the
    models with --like.

    --static makes an n-gram model of n-gram models: for each n-gram of any of them, the probability
    is the weighted sum of theirs (that of backing off, where a model lacks it; zero, if it lacks
    the word), and back-off weights are computed anew, as by SRILM's `ngram -mix-lm`.
    """
    from lmsuite.models.context_mixture import ContextMixture
    from lmsuite.models.mixing import reads_differently, with_all_words
    from lmsuite.models.mixture import DifferentTokensError, Mixture, check_members, member_scores
    from lmsuite.store.opening import open_model

    arpa = _arpa(name, out, is_static=static or log_linear)
    name = name or (out.removesuffix(SUFFIX) if out and not arpa else "mixture")
    given = _weights(weights, len(models))
    asked = _Asked(context, given, text, reading, ModelsFolder(folder), name, as_json)
    asked.folder.new_path(name)  # refuses an impossible name before the work
    if given and (by_context or _NEURAL_CACHE in models):
        raise UsageError("--weights: a text chooses the weights by context and of a neural cache")
    if static or log_linear:
        if by_context:
            raise UsageError("--by-context needs the models side by side; leave out --static")
        _mix_static(asked, models, arpa, is_log_linear=log_linear)
        return
    opened = [open_model(folder, each) for each in models if each not in (_CACHE, _NEURAL_CACHE)]
    members = _members(models, opened)
    if len(members) == 1 and _NEURAL_CACHE in models:
        _add_neural_cache(asked, members, opened)
        return
    try:
        check_members(members)
    except DifferentTokensError as error:
        if reads_differently(members):
            if by_context or _NEURAL_CACHE in models:
                raise _remedy(error, opened) from error
            _mix_lines(asked, members, opened, error)
            return
        members = with_all_words(members)
        check_members(members)
    asked.reserve()
    given = asked.weights
    valid, rule = _text(text, reading, opened, optional=given is not None)
    ids = next(iter(members.values())).encoder.encode(valid)
    members = _with_fitted_caches(members, opened, ids)
    scores = member_scores(members, ids) if valid else {}
    # Without a text, a cache has the default half-life.
    mixture = Mixture.fit(members, ids, given, scores) if valid else Mixture(members, given or ())
    if by_context:
        mixture = ContextMixture.of(mixture, ids, [each.score(ids) for each in mixture.members])
    is_tuned = bool(valid) and (given is None or _CACHE in members)
    shown = _Members(mixture.names, mixture.members, mixture.weights.tolist(), scores)
    origin = _origin(opened, command_line(context), shown.by_name, is_tuned=is_tuned)
    if is_tuned:
        note(f"tuned on {len(ids):,} tokens: {_called(text, opened)}")
    asked.save(mixture, valid, rule, origin, shown)


@dataclass(frozen=True)
class _Asked:
    """What the user asked for, whatever the kind of mixture."""

    context: typer.Context
    weights: list[float] | None
    text: str | None
    reading: ReadingSettings
    folder: ModelsFolder
    name: str
    as_json: bool

    def reserve(self) -> None:
        """Make this process the only writer of the mixture's file."""
        reserve(self.context, self.folder.path(self.name))

    def save(
        self,
        model: LanguageModel,
        valid: Text,
        rule: str,
        origin: Provenance,
        shown: _Members | None = None,
    ) -> None:
        """Evaluate the mixture, save it, and print the results, with those of its members."""
        from lmsuite.training.validated import ValidatedModel

        made = ValidatedModel.of(self.name, model, valid, origin, rule=rule)
        made.save(self.folder)
        if self.as_json:
            members = {} if shown is None else {"members": shown.facts()}
            write_json(facts_of(self.folder, made) | members)
            return
        if shown is not None:
            shown.show()
        announce(self.folder, made)


def _arpa(name: str | None, out: str | None, *, is_static: bool) -> Path | None:
    """The ARPA file to write, if that is asked for.

    Raises:
        UsageError: options contradict each other.
    """
    if out is None:
        return None
    if name is not None:
        raise UsageError("--out and --name both say where the mixture goes; leave out one")
    if not out.endswith((".arpa", ".arpa.gz")):
        return None
    if not is_static:
        raise UsageError(f"{out}: an ARPA file holds one table of n-grams; add --static", "static")
    return Path(out)


def _mix_static(asked: _Asked, names: list[str], arpa: Path | None, *, is_log_linear: bool) -> None:
    """Make one table of n-gram models, and save it as a model or as an ARPA file."""
    from lmsuite.models.static_mixture import StaticMixing
    from lmsuite.store.opening import open_model

    if _CACHE in names or _NEURAL_CACHE in names:
        raise UsageError("a cache is no table of n-grams; leave it out, or --static")
    opened = [open_model(asked.folder.root, each) for each in names]
    mixing = StaticMixing(_members(names, opened))
    if arpa is None:
        asked.reserve()
    given = asked.weights
    valid, rule = _text(asked.text, asked.reading, opened, optional=given is not None)
    ids = mixing.encoder.encode(valid)
    if given is None:
        found = mixing.log_linear_weights(ids) if is_log_linear else mixing.linear_weights(ids)
        given = found.tolist()
        note(f"tuned on {len(ids):,} tokens: {_called(asked.text, opened)}")
    model = mixing.model(given, is_log_linear=is_log_linear)
    if not is_log_linear:
        given = [weight / sum(given) for weight in given]
    scores = mixing.scores(ids) if valid else {}
    shown = _Members(list(mixing.members), list(mixing.members.values()), given, scores)
    if arpa is None:
        is_tuned = asked.weights is None
        origin = _origin(opened, command_line(asked.context), shown.by_name, is_tuned=is_tuned)
        asked.save(model, valid, rule, origin, shown)
        return
    write_arpa(model, arpa)
    if asked.as_json:
        facts = {"model": arpa.name, "kind": model.kind, "file": str(arpa)}
        write_json(facts | {"bytes": arpa.stat().st_size, "members": shown.facts()})
        return
    shown.show()
    say(f"saved       {arpa} ({arpa.stat().st_size / 1e6:.1f} MB)")


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
    from lmsuite.models.neural_cache import NeuralCache, NeuralCacheSettings, network_for_cache

    if not opened:
        raise UsageError("a cache alone knows no words: name a model to mix it with")
    models = iter(opened)
    cache: LanguageModel = CacheModel(opened[0].model.encoder, CacheSettings())
    members: dict[str, LanguageModel] = {}
    for typed in names:
        name, model = _CACHE, cache
        if typed == _NEURAL_CACHE:
            if not members:
                raise UsageError("a neural cache is of a network: name the network before it")
            of, network = members.popitem()
            settings = NeuralCacheSettings(network.kind)
            name, model = f"{of}+cache", NeuralCache(network_for_cache(network, of), settings)
        elif typed != _CACHE:
            one = next(models)
            name, model = one.name, one.model
        if name in members:
            raise UsageError(f"{name} is named twice; a model can be in a mixture once")
        members[name] = model
    return members


def _with_fitted_caches(
    members: dict[str, LanguageModel], opened: list[OpenedModel], ids: IntArray
) -> dict[str, LanguageModel]:
    """The members; the text `ids` chooses the numbers of the neural caches that are new."""
    from lmsuite.models.neural_cache import NeuralCache

    def fitted(model: LanguageModel) -> LanguageModel:
        if isinstance(model, NeuralCache) and all(one.model is not model for one in opened):
            return NeuralCache.fit(model.network, ids)
        return model

    return {name: fitted(model) for name, model in members.items()}


def _add_neural_cache(
    asked: _Asked, members: dict[str, LanguageModel], opened: list[OpenedModel]
) -> None:
    """Give a network alone its neural cache, and save that."""
    asked.reserve()
    valid, rule = _text(asked.text, asked.reading, opened, optional=False)
    ids = opened[0].model.encoder.encode(valid)
    ((_, model),) = _with_fitted_caches(members, opened, ids).items()
    origin = _origin(opened, command_line(asked.context), {}, is_tuned=True)
    note(f"tuned on {len(ids):,} tokens: {_called(asked.text, opened)}")
    asked.save(model, valid, rule, origin)


def _mix_lines(
    asked: _Asked,
    members: dict[str, LanguageModel],
    opened: list[OpenedModel],
    error: DifferentTokensError,
) -> None:
    """Mix models with different tokenizers over whole lines, and save the mixture."""
    from lmsuite.analysis.evaluation import evaluate
    from lmsuite.models.line_mixture import LineMixture, check_line_members

    if _CACHE in members:
        raise _remedy(error, opened)  # a cache predicts tokens
    check_line_members(members)
    asked.reserve()
    is_tuned = asked.weights is None
    valid, rule = _text(asked.text, asked.reading, opened, optional=not is_tuned)
    mixture = LineMixture.fit(members, valid, asked.weights)
    remedy = _remedy(error, opened).spelled(lambda field: f"--{field}")
    note(
        "note: these models have different tokens, so the mixture predicts whole lines: lm eval, "
        f"score and compare can use it. To mix them token by token: {remedy}"
    )
    if is_tuned:
        note(f"tuned on {len(valid):,} characters: {_called(asked.text, opened)}")
    alone = (
        {each: evaluate(one, valid, name=each).bits_per_char for each, one in members.items()}
        if valid
        else {}
    )
    shown = _Members(mixture.names, mixture.members, mixture.weights.tolist(), {}, alone)
    origin = _origin(opened, command_line(asked.context), shown.by_name, is_tuned=is_tuned)
    asked.save(mixture, valid, rule, origin, shown)


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
    opened: list[OpenedModel], command: str, weights: dict[str, float], *, is_tuned: bool
) -> Provenance:
    from lmsuite.store.records import Provenance, TrainingRecord

    made = [one.provenance for one in opened if one.manifest]
    corpora = ", ".join(dict.fromkeys(each.corpus for each in made))
    checksums = {each.corpus_sha256 for each in made}
    return Provenance(
        command=command,
        corpus=corpora or "unknown",
        corpus_sha256=checksums.pop() if len(checksums) == 1 else "",
        training=TrainingRecord(weights=weights, tuned=is_tuned),
    )


@dataclass(frozen=True)
class _Members:
    """The members of a mixture, as they are shown."""

    names: Sequence[str]
    models: Sequence[LanguageModel]
    weights: Sequence[float]
    scores: Mapping[str, NDArray[Any]]
    """The log-probabilities of the text of each member, by name; none of a cache."""
    bits_per_char: Mapping[str, float] = field(default_factory=dict)
    """Those of members with different tokens, by name."""

    @property
    def by_name(self) -> dict[str, float]:
        """The weight of each member."""
        return dict(zip(self.names, self.weights, strict=True))

    def facts(self) -> list[dict[str, Any]]:
        """Each member with its weight and its own perplexity."""
        from lmsuite.analysis.evaluation import perplexity_of
        from lmsuite.models.cache import CacheModel

        facts: list[dict[str, Any]] = []
        for name, model, weight in zip(self.names, self.models, self.weights, strict=True):
            fact = {"member": name, "kind": model.kind, "weight": float(weight)}
            if name in self.scores:
                fact["perplexity"] = perplexity_of(-self.scores[name].mean())
            if name in self.bits_per_char:
                fact["bits_per_char"] = self.bits_per_char[name]
            if isinstance(model, CacheModel):
                fact["half_life"] = model.settings.half_life
            facts.append(fact)
        return facts

    def show(self) -> None:
        """Print the table."""
        rows = []
        for fact in self.facts():
            alone = f"{fact['perplexity']:.2f}" if "perplexity" in fact else ""
            if "bits_per_char" in fact:
                alone = f"{fact['bits_per_char']:.3f} bits/char"
            if "half_life" in fact:
                alone = f"half-life {fact['half_life']:g} tokens"
            rows.append([fact["member"], fact["kind"], f"{fact['weight']:.4f}", alone])
        columns = (Column("member"), Column("kind"), Column("weight", number=True), Column("alone"))
        show_table(columns, rows)
        say()
