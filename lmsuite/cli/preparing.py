"""What every training has in common: before it, the text; after it, the saving and the report.

A training command is then three steps: `prepare`, the training itself, `finish`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmsuite.cli.opening import open_model, validation_text
from lmsuite.cli.options import TrainingOptions
from lmsuite.cli.saving import (
    announce,
    command_line,
    facts_of,
    new_provenance,
    reserve,
    save,
    validate,
)
from lmsuite.cli.streams import note, say, write_json
from lmsuite.errors import DataError, ModelFileError, UsageError
from lmsuite.store.folder import ModelsFolder

if TYPE_CHECKING:
    import typer

    from lmsuite.cli.saving import Validation
    from lmsuite.models.interface import LanguageModel
    from lmsuite.sources.corpus import Corpus
    from lmsuite.store.artefact import Provenance
    from lmsuite.training.baseline import Baseline
    from lmsuite.training.training_text import Split, TrainingText

_DEFAULT_VALID = "0.1"


@dataclass(frozen=True)
class Prepared:
    """A text made ready to train on."""

    name: str  # of the model to be
    folder: ModelsFolder  # where it is to be saved
    corpus: Corpus
    ready: TrainingText
    command: str
    quiet: bool
    as_json: bool


def prepare(context: typer.Context, options: TrainingOptions, *, kind: str) -> Prepared:
    """Read the text, set the validation part aside, train or borrow the encoder, encode.

    Until the command ends, no other process can write a model of this name.

    Args:
        context: of the command.
        options: what the user asked for.
        kind: as `LanguageModel.kind`; the model's name unless the user gave one.

    Raises:
        UsageError: options contradict each other.
        DataError: a text cannot be read, or has no tokens.
        ModelFileError: the models folder cannot be written, or another process writes the model;
            the model of ``--like`` cannot be used.
    """
    from lmsuite.sources.corpus import read_corpus

    folder = ModelsFolder(options.models)
    name = options.name or kind
    reserve(context, folder.new_path(name))
    corpus = read_corpus(options.texts or [], encoding=options.encoding, quiet=options.quiet)
    if options.like is None:
        ready = _encoded_anew(corpus, options)
    else:
        ready = _encoded_as_another(corpus, options, options.like)
    command = command_line(context)
    return Prepared(name, folder, corpus, ready, command, options.quiet, options.as_json)


def _encoded_anew(corpus: Corpus, options: TrainingOptions) -> TrainingText:
    from lmsuite.sources.unlike import why_unlike
    from lmsuite.text.settings import Boundaries, TextSettings
    from lmsuite.training.training_text import make_ready

    settings = TextSettings(**options.text_settings)
    rule = _rule(options)
    split = _divided(corpus, options, rule, settings.boundaries is Boundaries.LINES)
    if _is_end(rule) and (reason := why_unlike(split.training, split.valid)):
        note(f"note: {reason}; --valid-by random validates on lines from everywhere")
    return make_ready(split, settings, name=corpus.name)


def _divided(corpus: Corpus, options: TrainingOptions, rule: str, whole_lines: bool) -> Split:
    from lmsuite.sources.corpus import read_corpus
    from lmsuite.sources.splitting import HeldOut, SplitRule
    from lmsuite.training.training_text import Split

    if rule == "none":
        return Split(corpus.text, "", rule)
    share = SplitRule.parse(rule)
    if share is None:
        valid = read_corpus([rule], encoding=options.encoding, quiet=options.quiet)
        return Split(corpus.text, valid.text, rule)
    training, valid_text = share.divide(corpus.text, whole_lines=whole_lines)
    if training.strip() and valid_text.strip():
        return Split(training, valid_text, rule)
    if share.by is HeldOut.RANDOM:
        raise DataError(
            f"{corpus.name} has too few different lines to hold {share.share} of it out at random; "
            "leave out --valid-by, or give more text"
        )
    return Split(corpus.text, "", rule)


def _rule(options: TrainingOptions) -> str:
    """What the model file records of --valid and --valid-by."""
    from lmsuite.sources.splitting import HeldOut, SplitRule

    asked = options.valid or _DEFAULT_VALID
    try:
        share = float(asked)
    except ValueError:
        share = None
    if share and not 0 < share < 1:
        raise UsageError(f"--valid takes a share from 0 to below 1, or a file, not {asked}")
    if share and options.valid_by is HeldOut.RANDOM:
        return str(SplitRule(share, HeldOut.RANDOM))
    if not share and options.valid_by is not None:
        raise UsageError(
            f"--valid-by {options.valid_by.value} says which share of the text is held out, but "
            f"--valid {asked} asks for none; leave out --valid-by"
        )
    return "none" if share == 0 else asked


def _is_end(rule: str) -> bool:
    from lmsuite.sources.splitting import HeldOut, SplitRule

    share = SplitRule.parse(rule)
    return share is not None and share.by is HeldOut.END


def _encoded_as_another(corpus: Corpus, options: TrainingOptions, like: str) -> TrainingText:
    """With the encoder and the split of the model `like`."""
    from lmsuite.sources.splitting import SplitRule
    from lmsuite.text.settings import Boundaries
    from lmsuite.training.training_text import Split, TrainingText

    chosen = [name for name in ("valid", "valid_by") if getattr(options, name) is not None]
    given = [*options.text_settings, *chosen]
    if given:
        raise UsageError(
            f"{{like}} takes the tokens and the split of {like}; leave out {{{given[0]}}}",
            *("like", given[0]),
        )
    other = open_model(options.models, like)
    made = other.manifest.provenance if other.manifest else None
    rule = made.validation.get("split", "none") if made else _DEFAULT_VALID
    if made and made.corpus_sha256 != corpus.sha256:
        note(f"note: {other.name} was trained on another text ({made.corpus})")
    encoder = other.model.encoder
    if rule != "none" and SplitRule.parse(rule) is None:
        split = Split(corpus.text, validation_text(other), rule)
    else:
        split = _divided(corpus, options, rule, encoder.boundaries is Boundaries.LINES)
    return TrainingText(encoder, encoder.encode(split.training, name=corpus.name), split)


def finish(
    prepared: Prepared,
    model: LanguageModel,
    *,
    seconds: float,
    training: dict[str, Any] | None = None,
    checkpoint: Path | None = None,
    validated_share: float = 1.0,
    baseline: Baseline | None = None,
) -> None:
    """Evaluate the model on the validation text, save it, and tell the user what there is now.

    Args:
        prepared: what it was trained on.
        model: the finished model.
        seconds: how long the training took.
        training: further facts of the training, for the model's provenance.
        validated_share: how much of the validation text to evaluate the model on.
        checkpoint: of the training, which is not needed any more when the model is saved.
        baseline: what a network must beat.

    Raises:
        ModelFileError: the model cannot be saved; one that was there before is unharmed. The
            message says where the model is instead.
    """
    split = prepared.ready.split
    validation = validate(
        model, split.valid, name=prepared.name, rule=split.rule, share=validated_share
    )
    provenance = new_provenance(
        prepared.command,
        prepared.corpus.name,
        prepared.corpus.sha256,
        validation.recorded,
        training,
    )
    try:
        save(prepared.folder, prepared.name, model, provenance, validation)
    except ModelFileError as error:
        place = _saved_elsewhere(prepared.name, model, provenance, validation)
        raise ModelFileError(f"{error}; {place or _way_on(prepared, checkpoint)}") from error
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    recorded = validation.recorded
    against = baseline and baseline.against(
        recorded["perplexity"], recorded["perplexity_without_oov"]
    )
    if prepared.as_json:
        facts = facts_of(prepared.folder, prepared.name, model, validation)
        facts |= {"corpus": prepared.corpus.name, "tokens": len(prepared.ready.ids)}
        facts |= {"vocabulary": len(model.encoder.vocabulary), "seconds": seconds}
        write_json(facts | ({"baseline": vars(baseline)} if baseline else {}))
        return
    say(
        f"trained     {len(prepared.ready.ids):,} tokens of {prepared.corpus.name}, "
        f"{len(model.encoder.vocabulary):,} in the vocabulary, {seconds:.1f} s"
    )
    announce(prepared.folder, prepared.name, validation)
    if against:
        say(f"baseline    {against}")


def _saved_elsewhere(
    name: str, model: LanguageModel, provenance: Provenance, validation: Validation
) -> str:
    """Where a model that its folder has no room for was saved; empty if nowhere."""
    import shutil
    import tempfile

    folder = None
    try:
        folder = ModelsFolder(Path(tempfile.mkdtemp(prefix="lmsuite-")))
        save(folder, name, model, provenance, validation)
    except (OSError, ModelFileError):
        if folder is not None:
            shutil.rmtree(folder.root, ignore_errors=True)
        return ""
    return f"the new model is in {folder.root} instead, for you to move"


def _way_on(prepared: Prepared, checkpoint: Path | None) -> str:
    """What has become of a model that could be saved nowhere, and what to do."""
    if checkpoint is None or not checkpoint.exists():
        return (
            "the new model is lost, for there is no room in the folder for temporary files either"
        )
    command = resuming(prepared.command)
    return f"the new model is in its checkpoint: make it possible to write there, then {command}"


def resuming(command: str) -> str:
    """The command that goes on with the training that `command` began."""
    return command.removesuffix(" --resume") + " --resume"
