"""Options and arguments that several commands share."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from lmsuite.cli.config_file import apply_config
from lmsuite.cli.settings_options import Given
from lmsuite.cli.streams import is_quiet
from lmsuite.errors import UsageError
from lmsuite.sources.settings import ReadingSettings
from lmsuite.sources.splitting import HeldOut
from lmsuite.text.settings import TextSettings

DEFAULT_FOLDER = Path("models")


def complete_models(context: typer.Context, incomplete: str) -> list[str]:
    """The names of models that begin with `incomplete`, for the shell's completion."""
    from lmsuite.store.folder import ModelsFolder

    given = context.params.get("folder", context.params.get("models"))
    folder = given or os.environ.get("LM_MODELS") or DEFAULT_FOLDER
    return [name for name in ModelsFolder(Path(folder)).names() if name.startswith(incomplete)]


ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A name in the models folder, or a file.",
        autocompletion=complete_models,
    ),
]
ModelArguments = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="MODEL",
        help="Names in the models folder, or files; all in the folder if none is given.",
        autocompletion=complete_models,
        show_default=False,
    ),
]
ModelsAndText = Annotated[
    list[str],
    typer.Argument(
        metavar="MODEL... [TEXT]",
        help="Models by name or file, then the text, as for `lm train`. A single argument is a "
        "model, and the text is standard input; of several, the last is the text (`-` is "
        "standard input).",
        autocompletion=complete_models,
    ),
]
ModelsOption = Annotated[
    Path, typer.Option("--models", metavar="DIR", envvar="LM_MODELS", help="The models folder.")
]
EncodingOption = Annotated[
    str, typer.Option("--encoding", metavar="NAME", help="How the bytes of the text are read.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
MemoryOption = Annotated[
    str | None,
    typer.Option(
        "--memory",
        metavar="AMOUNT",
        help="Use at most this much memory, such as 1G or 800M, and temporary files for "
        "the rest; the result is the same.",
        show_default="as much as needed",
    ),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--threads",
        min=1,
        help="Processes that share the work on a long text; the result is the same.",
        show_default="all cores",
    ),
]
SeedOption = Annotated[
    int, typer.Option("--seed", min=0, help="The same seed gives the same result.")
]
TextOption = Annotated[
    str | None,
    typer.Option(
        "--text",
        metavar="TEXT",
        help="The text to predict, as for `lm train`; else what is piped in; else the validation "
        "text of the models.",
        show_default=False,
    ),
]
TextArguments = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="TEXT",
        help="Files, folders, patterns, URLs, `-` for standard input, or names from `lm corpus "
        "list`; else what is piped in; else the embedded play.",
        show_default=False,
    ),
]
LikeOption = Annotated[
    str | None,
    typer.Option(
        "--like",
        metavar="MODEL",
        help="Read text as this model does: its tokenizer, vocabulary and boundaries; in training "
        "its split, too.",
        autocompletion=complete_models,
        show_default=False,
    ),
]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Go on with this training where it was interrupted.")
]


def models_then_text(arguments: list[str], folder: Path) -> tuple[list[str], str]:
    """The models and the text of a command that takes `ModelsAndText`.

    Raises:
        UsageError: the last of several arguments is a model in the folder.
    """
    from lmsuite.store.folder import ModelsFolder

    if len(arguments) == 1:
        return arguments, "-"
    names, text = arguments[:-1], arguments[-1]
    if not Path(text).exists() and text in ModelsFolder(folder).names():
        raise UsageError(
            f"{text} is a model; give the text as the last argument, a file, or - for standard "
            "input"
        )
    return names, text


@dataclass(frozen=True, kw_only=True)
class StartOptions:
    """The options of a network's training that goes on from a finished model."""

    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="MODEL",
            help="Go on from this model: its weights, tokens and architecture; the training is "
            "new. Without a TEXT, on its own text.",
            autocompletion=complete_models,
            show_default=False,
        ),
    ] = None
    grow_vocab: Annotated[
        bool,
        typer.Option(
            "--grow-vocab",
            help="With --from: new tokens of the text join the vocabulary; each starts as <unk>. "
            "--min-count N: those that occur N times.",
        ),
    ] = False


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """The options of every ``lm train`` command: the text, its tokens, where the model goes.

    None stands for an option that was not given; `lmsuite.cli.preparing` knows the defaults.
    """

    texts: TextArguments = None
    name: Annotated[
        str | None,
        typer.Option(
            "--name", metavar="NAME", help="The model's name.", show_default="the kind of model"
        ),
    ] = None
    models: ModelsOption = DEFAULT_FOLDER
    like: LikeOption = None
    text_settings: Annotated[Given, TextSettings]
    valid: Annotated[
        str | None,
        typer.Option(
            "--valid",
            metavar="SHARE|FILE",
            help="The validation text: a share of the text, its end unless --valid-by says "
            "otherwise, or another text; 0 for none.",
            show_default="0.1",
        ),
    ] = None
    valid_by: Annotated[
        HeldOut | None,
        typer.Option(
            "--valid-by",
            help="Which part of the text `--valid SHARE` holds out: its end, or lines drawn from "
            "everywhere (always the same ones; equal lines together), as for a sorted list.",
            show_default="end",
        ),
    ] = None
    reading: ReadingSettings
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="Options from a TOML file; those typed here win.",
            callback=apply_config,
            is_eager=True,
            show_default=False,
        ),
    ] = None
    as_json: JsonOption = False

    @property
    def quiet(self) -> bool:
        """Whether to show no progress."""
        return is_quiet()
