"""The steps before and after every training: read the text; save the model and print results.

A training command is three steps: `prepare`, the training itself, `finish`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lmsuite import __version__
from lmsuite.cli.options import StartOptions, TrainingOptions
from lmsuite.cli.saving import announce, command_line, facts_of, reserve
from lmsuite.cli.streams import note, piped_input, read_texts, say, write_json
from lmsuite.errors import DataError, ModelFileError, UsageError
from lmsuite.sources.splitting import SplitRule
from lmsuite.store.folder import ModelsFolder

if TYPE_CHECKING:
    import typer

    from lmsuite.models.interface import LanguageModel
    from lmsuite.sources.corpus import Corpus, Origin
    from lmsuite.store.opening import OpenedModel
    from lmsuite.store.records import Ancestor
    from lmsuite.text.settings import Boundaries
    from lmsuite.training.fit import FittedNetwork
    from lmsuite.training.training_text import Split, TrainingText, Validation

_DEFAULT_VALID = "0.1"
_MOST_FILES = 1000  # whose checksums a model file records: a tenth of a megabyte


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What a training starts from, and where its model goes."""

    name: str  # of the new model
    folder: ModelsFolder  # where to save it
    origin: Origin  # of the text
    split: Split
    tokens: int  # of the training part
    command: str
    quiet: bool
    as_json: bool
    ancestors: tuple[Ancestor, ...] | None = None  # of a training that goes on from a model

    @property
    def read(self) -> str:
        """What messages call all that the model is trained on."""
        return self.origin.name


@dataclass(frozen=True, kw_only=True)
class PreparedText(Prepared):
    """A text made ready to train on."""

    ready: TrainingText
    start: LanguageModel | None = None  # to go on from


def prepare(
    context: typer.Context,
    options: TrainingOptions,
    *,
    kind: str,
    going_on: StartOptions = StartOptions(),  # noqa: B008
    keep_text: bool = False,
) -> PreparedText:
    """Read the text, set the validation part aside, train or borrow the encoder, encode.

    Until the command ends, no other process can write a model of this name.

    Args:
        context: of the command.
        options: what the user asked for.
        kind: as `LanguageModel.kind`; the model's name unless the user gave one.
        going_on: the model to go on from, if any.
        keep_text: whether the training text is needed when it has been encoded.

    Raises:
        UsageError: options contradict each other.
        DataError: a text cannot be read, or has no tokens.
        ModelFileError: the models folder cannot be written, or another process writes the model;
            the model of ``--like`` cannot be used.
    """
    from lmsuite.sources.unlike import why_unlike
    from lmsuite.text.settings import TextSettings
    from lmsuite.training.training_text import make_ready

    folder = ModelsFolder(options.models)
    name = options.name or kind
    reserve(context, folder.new_path(name))
    start = None
    if going_on.start is not None:
        start, corpus, ready = _going_on(options, going_on.start, kind, grow=going_on.grow_vocab)
    elif going_on.grow_vocab:
        raise UsageError("{grow_vocab} needs {start} MODEL", "grow_vocab", "start")
    elif options.like is not None:
        corpus, ready = _encoded_as_another(options, options.like)
    else:
        text_settings = TextSettings(**options.text_settings)
        corpus = read_texts(options.texts or [], options.reading, [text_settings.boundaries])
        held_out = validation(options, text_settings.boundaries)
        ready = make_ready(corpus.text, held_out, text_settings, name=corpus.name)
        split = ready.split
        if split.is_end and (reason := why_unlike(split.training, split.valid)):
            note(f"note: {reason}; --valid-by random validates on lines from everywhere")
    if not keep_text:
        ready = ready.without_text()
    return PreparedText(
        name=name,
        folder=folder,
        origin=corpus.origin,
        split=ready.split,
        tokens=len(ready.ids),
        command=command_line(context),
        quiet=options.quiet,
        as_json=options.as_json,
        ancestors=None if start is None else start.provenance.lineage(start.name),
        ready=ready,
        start=None if start is None else start.model,
    )


def _going_on(
    options: TrainingOptions, name: str, kind: str, *, grow: bool
) -> tuple[OpenedModel, Corpus, TrainingText]:
    """Open the model to go on from, and read the text: its own, unless the options name one."""
    from lmsuite.store.opening import open_model
    from lmsuite.training.continuing import require_kind
    from lmsuite.training.fit import with_new_tokens
    from lmsuite.training.training_text import make_ready

    refuse_other_tokens(options, name, {"min_count"} if grow else set())
    start = open_model(options.models, name)
    require_kind(start.model, kind, start.name)
    encoder = start.model.encoder
    is_own = not options.texts and piped_input() is None
    corpus = _own_text(options, start) if is_own else None
    if corpus is None:
        corpus = read_texts(options.texts or [], options.reading, [encoder.boundaries])
        is_own = corpus.sha256 == start.provenance.corpus_sha256
    if is_own and options.valid is None and options.valid_by is None:
        held_out = _recorded(start)
    else:
        held_out = validation(options, encoder.boundaries)
    ready = make_ready(corpus.text, held_out, encoder, name=corpus.name)
    if grow:
        ready = with_new_tokens(ready, options.text_settings.get("min_count", 1), name=corpus.name)
        joined = len(ready.encoder.vocabulary) - len(encoder.vocabulary)
        note(f"{joined:,} new tokens join the vocabulary", quiet=options.quiet)
    return start, corpus, ready


def refuse_other_tokens(options: TrainingOptions, start: str, allowed: set[str]) -> None:
    """Refuse options that say how a text is read, for the model to go on from says it."""
    given = sorted(options.text_settings.keys() - allowed)
    given += ["like"] if options.like is not None else []
    if given:
        raise UsageError(
            f"{{start}} takes the tokens of {start}; leave out {{{given[0]}}}", "start", given[0]
        )


def _own_text(options: TrainingOptions, start: OpenedModel) -> Corpus:
    """The text that the model was trained on.

    Raises:
        DataError: it is not there any more.
    """
    made = start.provenance
    advice = f"{start.name} was trained on {made.corpus or 'a text that its file does not name'}"
    corpus = None
    if made.corpus and "-" not in made.corpus.split(", "):
        try:
            boundaries = [start.model.encoder.boundaries]
            corpus = read_texts(made.corpus.split(", "), options.reading, boundaries)
        except DataError as error:
            raise DataError(f"{advice}: {error}; name a text to go on with") from error
    if corpus is None or corpus.sha256 != made.corpus_sha256:
        raise DataError(
            f"{advice}, which is not the same any more, or was read with other options "
            "({format}, {encoding}, ...): name the text to go on with",
            *("format", "encoding"),
        )
    return corpus


def _recorded(other: OpenedModel) -> Validation:
    """The split of another model's training; its validation text, if that was another text."""
    from lmsuite.training.training_text import Validation

    rule = other.provenance.validation.split if other.manifest else _DEFAULT_VALID
    is_text = rule != "none" and SplitRule.parse(rule) is None
    return Validation.recorded(rule, other.validation_text() if is_text else "")


def validation(
    options: TrainingOptions, boundaries: Boundaries, otherwise: str = _DEFAULT_VALID
) -> Validation:
    """The validation text that --valid and --valid-by ask for; without --valid `otherwise`."""
    from lmsuite.training.training_text import Validation

    asked = options.valid or otherwise
    try:
        return Validation(float(asked), options.valid_by)
    except ValueError:
        text = read_texts([asked], options.reading, [boundaries]).text
        return Validation(text, options.valid_by, name=asked)


def _encoded_as_another(options: TrainingOptions, like: str) -> tuple[Corpus, TrainingText]:
    """Read the text, and encode it with the encoder and the split of the model `like`."""
    from lmsuite.store.opening import open_model
    from lmsuite.training.training_text import make_ready

    chosen = [name for name in ("valid", "valid_by") if getattr(options, name) is not None]
    given = [*options.text_settings, *chosen]
    if given:
        raise UsageError(
            f"{{like}} takes the tokens and the split of {like}; leave out {{{given[0]}}}",
            *("like", given[0]),
        )
    other = open_model(options.models, like)
    encoder = other.model.encoder
    corpus = read_texts(options.texts or [], options.reading, [encoder.boundaries])
    made = other.provenance
    if other.manifest and made.corpus_sha256 != corpus.sha256:
        note(f"note: {other.name} was trained on another text ({made.corpus})")
    return corpus, make_ready(corpus.text, _recorded(other), encoder, name=corpus.name)


def finish(
    prepared: Prepared,
    model: LanguageModel,
    *,
    seconds: float,
    network: FittedNetwork | None = None,
    checkpoint: Path | None = None,
) -> None:
    """Evaluate the model on the validation text, save it, and print the results.

    Args:
        prepared: what it was trained on.
        model: the finished model.
        seconds: how long the training took.
        network: further results, if the model is a network.
        checkpoint: of the training; it is removed when the model is saved.

    Raises:
        ModelFileError: the model cannot be saved. An older model of this name is unharmed. The
            message says where the new model is.
    """
    from lmsuite.store.records import Provenance, TrainingRecord
    from lmsuite.training.validated import ValidatedModel

    origin, folder, split = prepared.origin, prepared.folder, prepared.split
    training = network.record() if network else TrainingRecord()
    made = ValidatedModel.of(
        prepared.name,
        model,
        split.valid,
        Provenance(
            prepared.command,
            __version__,
            origin.name,
            origin.sha256,
            training=training,
            corpus_files=dict(origin.files) if len(origin.files) <= _MOST_FILES else {},
            ancestors=prepared.ancestors,
        ),
        rule=split.rule,
        share=network.validated_share if network else 1.0,
    )
    try:
        made.save(folder)
    except ModelFileError as error:
        place = made.save_elsewhere()
        moved = f"the new model is in {place} instead, for you to move" if place else ""
        raise ModelFileError(f"{error}; {moved or _remedy(prepared, checkpoint)}") from error
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    baseline = network.baseline if network else None
    vocabulary = len(model.encoder.vocabulary)
    if prepared.as_json:
        facts = facts_of(folder, made) | {"corpus": origin.name, "tokens": prepared.tokens}
        facts |= {"vocabulary": vocabulary, "seconds": seconds}
        write_json(facts | ({"baseline": vars(baseline)} if baseline else {}))
        return
    say(
        f"trained     {prepared.tokens:,} tokens of {prepared.read}, "
        f"{vocabulary:,} in the vocabulary, {seconds:.1f} s"
    )
    announce(folder, made)
    if baseline and made.result:
        result = made.result
        verdict = baseline.against(result.perplexity, result.perplexity_without_oov)
        say(f"baseline    {verdict}")


def _remedy(prepared: Prepared, checkpoint: Path | None) -> str:
    """What to do about a model that could be saved nowhere, if anything can be done."""
    if checkpoint is None or not checkpoint.exists():
        return "the new model is lost: it cannot be saved in the folder for temporary files either"
    command = resuming(prepared.command)
    return f"the new model is in its checkpoint: make it possible to write there, then {command}"


def resuming(command: str) -> str:
    """The command that resumes the training that `command` began."""
    return command.removesuffix(" --resume") + " --resume"
