"""Options and arguments that several commands share."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from lmsuite.cli.config_file import apply_config

DEFAULT_FOLDER = Path("models")


class HeldOutPart(StrEnum):
    """The choices of ``--valid-by``: `lmsuite.sources.splitting.HeldOut`, known without it."""

    END = "end"
    RANDOM = "random"


class TokenizerName(StrEnum):
    """The choices of ``--tokenizer``: `lmsuite.text.tokenizer.TOKENIZERS`, known without it."""

    CHAR = "char"
    WORD = "word"
    WHITESPACE = "whitespace"
    TREEBANK = "treebank"
    BPE = "bpe"


def complete_models(context: typer.Context, incomplete: str) -> list[str]:
    """The names of models that begin so, for the shell's completion."""
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
ModelsOption = Annotated[
    Path, typer.Option("--models", metavar="DIR", envvar="LM_MODELS", help="The models folder.")
]
EncodingOption = Annotated[
    str, typer.Option("--encoding", metavar="NAME", help="How the bytes of the text are read.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
SeedOption = Annotated[
    int, typer.Option("--seed", min=0, help="The same seed gives the same result.")
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]


@dataclass(frozen=True)
class TrainingOptions:
    """What every ``lm train`` command can be told: the text, its tokens, where the model goes.

    None stands for an option that was not given; `lmsuite.cli.preparing` knows the defaults.
    """

    texts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TEXT",
            help="Files, `-` for standard input, or names from `lm corpus list`; else what is "
            "piped in; else the embedded play.",
            show_default=False,
        ),
    ] = None
    name: Annotated[
        str | None,
        typer.Option(
            "--name", metavar="NAME", help="The model's name.", show_default="the kind of model"
        ),
    ] = None
    models: ModelsOption = DEFAULT_FOLDER
    tokenizer: Annotated[
        TokenizerName | None,
        typer.Option("--tokenizer", help="What a token is.", show_default="word"),
    ] = None
    lines: Annotated[
        bool | None,
        typer.Option(
            "--lines/--stream",
            help="Every line is a sequence of its own, or the whole text is one.",
            show_default="stream",
        ),
    ] = None
    like: Annotated[
        str | None,
        typer.Option(
            "--like",
            metavar="MODEL",
            help="Use the tokenizer, vocabulary, boundaries and split of this model.",
            autocompletion=complete_models,
            show_default=False,
        ),
    ] = None
    min_count: Annotated[
        int | None,
        typer.Option("--min-count", min=1, help="Rarer tokens become <unk>.", show_default="1"),
    ] = None
    max_vocab: Annotated[
        int | None,
        typer.Option(
            "--max-vocab",
            min=4,
            help="Keep so many tokens, the most frequent ones, specials included.",
            show_default="all",
        ),
    ] = None
    vocab: Annotated[
        str | None,
        typer.Option(
            "--vocab",
            metavar="FILE",
            help="Take the vocabulary from a file, one token a line.",
            show_default=False,
        ),
    ] = None
    bpe_size: Annotated[
        int | None,
        typer.Option("--bpe-size", help="How many tokens `bpe` learns.", show_default=False),
    ] = None
    valid: Annotated[
        str | None,
        typer.Option(
            "--valid",
            metavar="SHARE|FILE",
            help="The validation text: a share of the text, its end unless --valid-by says "
            "otherwise, or a file; 0 for none.",
            show_default="0.1",
        ),
    ] = None
    valid_by: Annotated[
        HeldOutPart | None,
        typer.Option(
            "--valid-by",
            help="Which part of the text `--valid SHARE` holds out: its end, or lines drawn from "
            "everywhere (always the same ones; equal lines together), as for a sorted list.",
            show_default="end",
        ),
    ] = None
    encoding: EncodingOption = "utf-8"
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
    quiet: QuietOption = False
