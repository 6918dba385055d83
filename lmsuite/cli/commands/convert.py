"""``lm convert``."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lmsuite.cli.options import (
    DEFAULT_FOLDER,
    JsonOption,
    ModelArgument,
    ModelsOption,
    complete_models,
)
from lmsuite.cli.saving import command_line, reserve, write_arpa
from lmsuite.cli.settings_options import Given, Only
from lmsuite.cli.streams import say, write_json
from lmsuite.errors import LmError, UsageError
from lmsuite.store.folder import SUFFIX
from lmsuite.text.settings import TextSettings

if TYPE_CHECKING:
    from lmsuite.store.opening import OpenedModel
    from lmsuite.store.records import Provenance

_OF_ARPA = {"tokenizer": "--tokenizer", "boundaries": "--lines/--stream/--documents"}


def convert(
    context: typer.Context,
    model: ModelArgument,
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT",
            help="The file to write: .arpa, .arpa.gz or .safetensors; .npz, .json, .onnx or .vec "
            "for other programs.",
        ),
    ],
    *,
    like: Annotated[
        str | None,
        typer.Option(
            "--like",
            metavar="MODEL",
            help="The ARPA file was made from text as this model reads it.",
            autocompletion=complete_models,
            show_default=False,
        ),
    ] = None,
    text_settings: Annotated[Given, TextSettings, Only(_OF_ARPA)],
    folder: ModelsOption = DEFAULT_FOLDER,
    as_json: JsonOption = False,
) -> None:
    """Turn an ARPA file into a model file, or a model into another program's.

    \b
    Examples:
      lm convert ngram play.arpa.gz
      lm convert play.arpa.gz models/imported.safetensors --like ngram
      lm convert rnn rnn.npz

    An ARPA file has tokens, but does not say which tokenizer makes them. Without --like or
    --tokenizer, text is split at white space, as KenLM does. A model that was written as an ARPA
    file, and is read again --like itself, gives the same figures.

    A .npz or .json file has the model's arrays, a network's named as in its equations, and its
    settings and vocabulary. A .onnx file has one step of a network (with the extra onnx). A .vec
    file has a network's word vectors, as word2vec writes them.
    """
    from lmsuite.exporting import ENDINGS, export
    from lmsuite.store.opening import ARPA_SUFFIXES, open_model

    if not out.name.endswith((*ARPA_SUFFIXES, SUFFIX, *ENDINGS)):
        forms = ", ".join((*ARPA_SUFFIXES, *ENDINGS))
        raise UsageError(f"{out}: the name must end in {forms} or {SUFFIX}")
    reading = dict(text_settings)
    if like is not None:
        reading["like"] = open_model(folder, like).model.encoder
    opened = open_model(folder, model, **reading)
    if out.name.endswith(SUFFIX):
        from lmsuite.store.artefact import save_model

        reserve(context, out)
        save_model(out, opened.model, _provenance(opened, command_line(context)))
    elif out.name.endswith(ENDINGS):
        export(opened.model, out, name=opened.name)
    else:
        from lmsuite.models.ngram import NgramModel

        if not isinstance(opened.model, NgramModel):
            raise LmError(f"{opened.name} is a {opened.model.kind} model; ARPA holds n-grams only")
        write_arpa(opened.model, out)
    if as_json:
        facts = {"model": opened.name, "kind": opened.model.kind, "file": str(out)}
        write_json(facts | {"bytes": out.stat().st_size})
        return
    say(f"saved {out} ({out.stat().st_size / 1e6:.1f} MB)")


def _provenance(opened: OpenedModel, command: str) -> Provenance:
    from lmsuite.store.records import Provenance

    if opened.manifest is not None:
        return opened.provenance
    checksum = hashlib.sha256(opened.path.read_bytes()).hexdigest()
    return Provenance(command=command, corpus=opened.path.name, corpus_sha256=checksum).made_now()
