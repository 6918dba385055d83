"""What every training has in common: before it, the text; after it, the saving and the report.

A training command is then three steps: `prepare`, the training itself, `finish`.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from lmsuite.cli.opening import open_model, validation_text
from lmsuite.cli.options import DEFAULT_FOLDER, TrainingOptions
from lmsuite.cli.streams import json_ready, note
from lmsuite.errors import DataError, UsageError
from lmsuite.storage.folder import ModelsFolder

if TYPE_CHECKING:
    from lmsuite.models.interface import IntArray, LanguageModel
    from lmsuite.storage.artefact import Provenance
    from lmsuite.text.corpus import Corpus
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
    text: TextEncoder
    ids: IntArray  # (N,) of the training part, as from `text.encode`
    split: Split
    command: str
    quiet: bool

    @property
    def valid_ids(self) -> IntArray:
        """The ids of the validation part; none if there is no such part."""
        return self.text.encode(self.split.valid)


def prepare(options: TrainingOptions, *, kind: str, command: str) -> Prepared:
    """Read the text, set the validation part aside, train or borrow the encoder, encode.

    Args:
        options: what the user asked for.
        kind: as `LanguageModel.kind`; the model's name unless the user gave one.
        command: the command line (`command_line`), for the model's provenance.

    Raises:
        UsageError: options contradict each other.
        DataError: a text cannot be read, or has no tokens.
        ModelFileError: the models folder cannot be made; the model of ``--like`` cannot be used.
    """
    from lmsuite.storage.artefact import make_folder
    from lmsuite.text.corpus import read_corpus

    folder = ModelsFolder(options.models)
    name = options.name or kind
    folder.path(name)  # refuses an impossible name before the work
    make_folder(folder.root)
    corpus = read_corpus(options.texts or [], encoding=options.encoding, quiet=options.quiet)
    if options.like is None:
        text, ids, split = _encoded_anew(corpus, options)
    else:
        text, ids, split = _encoded_as_another(corpus, options, options.like)
    if not split.valid and split.rule != "none":
        note(f"note: {corpus.name} is too short to set a validation text aside; all is trained on")
    return Prepared(name, folder, corpus, text, ids, split, command, options.quiet)


def _encoded_anew(corpus: Corpus, options: TrainingOptions) -> tuple[TextEncoder, IntArray, Split]:
    from lmsuite.text.encoding import Boundaries, TextEncoder, TextSettings

    boundaries = Boundaries.LINES if options.lines else Boundaries.STREAM
    given = {
        "tokenizer": options.tokenizer and options.tokenizer.value,
        "min_count": options.min_count,
        "max_vocab": options.max_vocab,
        "vocab": options.vocab,
        "bpe_size": options.bpe_size,
    }
    chosen: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    split = _divided(corpus, options, options.valid or _DEFAULT_VALID, bool(options.lines))
    text, ids = TextEncoder.train(
        split.training, TextSettings(boundaries=boundaries, **chosen), name=corpus.name
    )
    return text, ids, split


def _divided(corpus: Corpus, options: TrainingOptions, rule: str, whole_lines: bool) -> Split:
    from lmsuite.text.corpus import read_corpus, split_text

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

    fixed = ("tokenizer", "lines", "min_count", "max_vocab", "vocab", "bpe_size", "valid")
    given = [name for name in fixed if getattr(options, name) is not None]
    if given:
        option = "--" + given[0].replace("_", "-")
        raise UsageError(f"--like takes the tokens and the split of {like}; leave out {option}")
    other = open_model(options.models, like)
    made = other.manifest.provenance if other.manifest else None
    rule = made.validation.get("split", "none") if made else _DEFAULT_VALID
    if made and made.corpus_sha256 != corpus.sha256:
        note(f"note: {other.name} was trained on another text ({made.corpus})")
    text = other.model.text
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
) -> None:
    """Evaluate the model on the validation text, save it, and tell the user what there is now.

    Args:
        prepared: what it was trained on.
        model: the finished model.
        seconds: how long the training took.
        training: further facts of the training, for the model's provenance.

    Raises:
        ModelFileError: the model cannot be saved; one that was there before is unharmed.
    """
    from lmsuite.storage.artefact import save_model
    from lmsuite.storage.validation_text import save_validation_text

    validation, report = _validated(prepared, model)
    path = prepared.folder.path(prepared.name)
    valid_path = prepared.folder.valid_path(prepared.name)
    save_model(path, model, _provenance(prepared, validation, training or {}))
    if prepared.split.valid:
        save_validation_text(valid_path, prepared.split.valid)
    else:
        valid_path.unlink(missing_ok=True)
    typer.echo(
        f"trained     {len(prepared.ids):,} tokens of {prepared.corpus.name}, "
        f"{len(model.text.vocabulary):,} in the vocabulary, {seconds:.1f} s"
    )
    typer.echo(f"validation  {report}")
    typer.echo(f"saved       {path} ({path.stat().st_size / 1e6:.1f} MB)")
    typer.echo(f"next        {_next_command(prepared)}")


def _validated(prepared: Prepared, model: LanguageModel) -> tuple[dict[str, Any], str]:
    """What the model file records of the validation, and the same in words."""
    from lmsuite.evaluation import evaluate
    from lmsuite.storage.validation_text import text_sha256

    recorded: dict[str, Any] = {"split": prepared.split.rule}
    valid = prepared.split.valid
    if not valid:
        return recorded, "none (--valid 0.1 sets a tenth of the text aside)"
    try:
        result = evaluate(model, valid, name=prepared.name)
    except DataError as error:
        raise DataError(f"the validation text {prepared.split.rule}: {error}") from error
    recorded |= {
        "sha256": text_sha256(valid),
        "tokens": result.tokens,
        "oov": result.oov,
        "cross_entropy": result.cross_entropy,
        "perplexity": result.perplexity,
        "perplexity_without_oov": result.perplexity_without_oov,
        "bits_per_char": result.bits_per_char,
    }
    without = f" ({result.perplexity_without_oov:.2f} without {result.oov:,} OOV)"
    zeros = f"; {result.zero_tokens:,} tokens of probability zero" if result.zero_tokens else ""
    return json_ready(recorded), (
        f"perplexity {result.perplexity:.2f}{without if result.oov else ''}, "
        f"{result.bits_per_char:.3f} bits a character, {result.tokens:,} tokens{zeros}"
    )


def _provenance(
    prepared: Prepared, validation: dict[str, Any], training: dict[str, Any]
) -> Provenance:
    return new_provenance(
        prepared.command, prepared.corpus.name, prepared.corpus.sha256, validation, training
    )


def _next_command(prepared: Prepared) -> str:
    words = ["lm", "sample", prepared.name]
    if prepared.folder.root != DEFAULT_FOLDER:
        words += ["--models", str(prepared.folder.root)]
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
    from lmsuite.storage.artefact import Provenance

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
