"""What every training has in common: before it, the text; after it, the saving and the report.

A training command is then three steps: `prepare`, the training itself, `finish`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

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
from lmsuite.errors import ModelFileError, UsageError
from lmsuite.store.folder import ModelsFolder

if TYPE_CHECKING:
    import typer

    from lmsuite.cli.baseline import Baseline
    from lmsuite.cli.saving import Validation
    from lmsuite.models.interface import IntArray, LanguageModel
    from lmsuite.sources.corpus import Corpus
    from lmsuite.store.artefact import Provenance
    from lmsuite.text.encoding import TextEncoder

_DEFAULT_VALID = "0.1"


class Split(NamedTuple):
    """A text in two."""

    training: str
    valid: str  # empty: none
    rule: str  # what the model file records: "0.1", the name of a file, "none"


@dataclass(frozen=True)
class Prepared:
    """A text made ready to train on."""

    name: str  # of the model to be
    folder: ModelsFolder  # where it is to be saved
    corpus: Corpus
    encoder: TextEncoder
    ids: IntArray  # (N,) of the training part, as from `text.encode`
    split: Split
    command: str
    quiet: bool
    as_json: bool

    @property
    def valid_ids(self) -> IntArray:
        """The ids of the validation part; none if there is no such part."""
        return self.encoder.encode(self.split.valid)


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
        text, ids, split = _encoded_anew(corpus, options)
    else:
        text, ids, split = _encoded_as_another(corpus, options, options.like)
    command = command_line(context)
    return Prepared(name, folder, corpus, text, ids, split, command, options.quiet, options.as_json)


def _encoded_anew(corpus: Corpus, options: TrainingOptions) -> tuple[TextEncoder, IntArray, Split]:
    from lmsuite.text.encoding import Boundaries, TextEncoder, TextSettings

    settings = TextSettings(**options.text_settings)
    whole_lines = settings.boundaries is Boundaries.LINES
    split = _divided(corpus, options, options.valid or _DEFAULT_VALID, whole_lines)
    text, ids = TextEncoder.train(split.training, settings, name=corpus.name)
    return text, ids, split


def _divided(corpus: Corpus, options: TrainingOptions, rule: str, whole_lines: bool) -> Split:
    from lmsuite.sources.corpus import read_corpus, split_text

    try:
        share = float(rule)
    except ValueError:
        valid = read_corpus([rule], encoding=options.encoding, quiet=options.quiet)
        return Split(corpus.text, valid.text, rule)
    if share == 0:
        return Split(corpus.text, "", "none")
    if not 0 < share < 1:
        raise UsageError(f"--valid takes a share from 0 to below 1, or a file, not {rule}")
    training, valid_text = split_text(corpus.text, share, whole_lines=whole_lines)
    if not training.strip() or not valid_text.strip():
        return Split(corpus.text, "", rule)
    return Split(training, valid_text, rule)


def _encoded_as_another(
    corpus: Corpus, options: TrainingOptions, like: str
) -> tuple[TextEncoder, IntArray, Split]:
    """With the encoder and the split of the model `like`."""
    from lmsuite.text.encoding import Boundaries

    given = [*options.text_settings, *(["valid"] if options.valid is not None else [])]
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
    text = other.model.encoder
    try:
        float(rule)
    except ValueError:
        valid = "" if rule == "none" else validation_text(other)
        split = Split(corpus.text, valid, rule)
    else:
        split = _divided(corpus, options, rule, text.boundaries is Boundaries.LINES)
    return text, text.encode(split.training, name=corpus.name), split


def finish(
    prepared: Prepared,
    model: LanguageModel,
    *,
    seconds: float,
    training: dict[str, Any] | None = None,
    checkpoint: Path | None = None,
    baseline: Baseline | None = None,
) -> None:
    """Evaluate the model on the validation text, save it, and tell the user what there is now.

    Args:
        prepared: what it was trained on.
        model: the finished model.
        seconds: how long the training took.
        training: further facts of the training, for the model's provenance.
        checkpoint: of the training, which is not needed any more when the model is saved.
        baseline: what a network must beat.

    Raises:
        ModelFileError: the model cannot be saved; one that was there before is unharmed. The
            message says where the model is instead.
    """
    split = prepared.split
    validation = validate(model, split.valid, name=prepared.name, rule=split.rule)
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
        facts |= {"corpus": prepared.corpus.name, "tokens": len(prepared.ids)}
        facts |= {"vocabulary": len(model.encoder.vocabulary), "seconds": seconds}
        write_json(facts | ({"baseline": vars(baseline)} if baseline else {}))
        return
    say(
        f"trained     {len(prepared.ids):,} tokens of {prepared.corpus.name}, "
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
