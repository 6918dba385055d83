"""``lm demo``: the commands that a new user would type, typed for them."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

_STEPS = (
    ("train", "ngram", "play", "--n", "3", "--name", "words"),
    ("train", "ngram", "play", "--n", "7", "--tokenizer", "char", "--name", "chars"),
    ("eval", "words", "chars"),
    ("sample", "words", "My lord,", "--temp", "0.8", "--max-tokens", "60", "--seed", "1"),
    ("sample", "chars", "My lord,", "--temp", "0.8", "--max-tokens", "300", "--seed", "1"),
)


def demo(
    folder: Annotated[
        Path, typer.Option("--models", metavar="DIR", help="Where the models of the demo go.")
    ] = Path("demo"),
) -> None:
    """Train, compare and sample models of the embedded play.

    \b
    Examples:
      lm demo
      lm demo --models elsewhere
    """
    from lmsuite.cli.app import Session, make_group

    group = make_group()
    with _nothing_piped_in():
        for step in _STEPS:
            arguments = [*step, "--models", str(folder)]
            typer.secho(f"$ {shlex.join(['lm', *arguments])}", bold=True)
            group(args=arguments, prog_name="lm", obj=Session(arguments), standalone_mode=False)
            typer.echo()
    typer.echo(
        "Now with a text of your own:  lm train ngram FILE --n 5  (lm --help shows the rest)"
    )


@contextmanager
def _nothing_piped_in() -> Iterator[None]:
    """What is piped into the demo is not meant for its commands."""
    stdin = sys.stdin
    with Path(os.devnull).open() as nothing:
        sys.stdin = nothing
        try:
            yield
        finally:
            sys.stdin = stdin
