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

from lmsuite.cli.options import JsonOption, SeedOption
from lmsuite.cli.streams import is_quiet, note, say, say_in_bold

_ALL = ("words", "chars", "ffnn", "rnn", "mix")
_ALIKE = ("chars", "ffnn", "rnn")  # have the same tokens, so that they can be mixed
_PROMPT = "My lord,"
_OTHER_MINUTES = 0.6  # for everything but the training of the networks
_FEEDFORWARD_SHARE = 0.35  # of the minutes for the training of the networks
TRY_NEXT = (
    ("why did it write that", 'lm explain mix "My lord, the crown"'),
    ("every number behind it", 'lm trace rnn "My lord, the crown"'),
    ("is one really better", "lm compare rnn chars"),
    ("more of the same", "lm sample mix --temp 0.8"),
    ("with a text of your own", "lm train rnn FILE --minutes 10"),
)
COURSE = "the course: docs/course/README.md, beside the source"


def demo(
    folder: Annotated[
        Path, typer.Option("--models", metavar="DIR", help="Where the models and the page go.")
    ] = Path("demo"),
    minutes: Annotated[
        float,
        typer.Option("--minutes", min=0.7, help="About how long it takes, on two cores."),
    ] = 2.0,
    seed: SeedOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Train, compare and sample models of the embedded play.

    \b
    Examples:
      lm demo
      lm demo --models elsewhere --minutes 5

    It trains, compares, mixes and samples two n-gram models and two networks, and shows them on one
    page, report.html. Every command is shown as you could type it.
    """
    from lmsuite.cli.app import Session, make_group

    group = make_group()
    with _nothing_piped_in():
        for step in _steps(folder, minutes - _OTHER_MINUTES, str(seed)):
            arguments = [*step, "--models", str(folder), *(["--json"] if as_json else [])]
            typed = f"$ {shlex.join(['lm', *arguments])}"
            if as_json:
                note(typed, quiet=is_quiet())
            else:
                say_in_bold(typed)
            group(args=arguments, prog_name="lm", obj=Session(arguments), standalone_mode=False)
            if not as_json:
                say()
    if as_json:
        return
    say(f"Open {folder / 'report.html'} in a browser. Then try:")
    width = max(len(what) for what, _ in TRY_NEXT)
    for what, command in TRY_NEXT:
        where = "" if "train" in command else f" --models {shlex.quote(str(folder))}"
        say(f"  {what:<{width}}  {command}{where}")
    say(f"  {'how all this works':<{width}}  {COURSE}")


def _steps(folder: Path, network_minutes: float, seed: str) -> Iterator[list[str]]:
    """The commands, without ``lm`` before them and the models folder after them."""
    feedforward = f"{_FEEDFORWARD_SHARE * network_minutes:.2f}"
    recurrent = f"{(1 - _FEEDFORWARD_SHARE) * network_minutes:.2f}"
    yield ["train", "ngram", "play", "--n", "3", "--name", "words"]
    yield ["train", "ngram", "play", "--n", "7", "--tokenizer", "char", "--name", "chars"]
    yield ["train", "ffnn", "play", "--like", "chars", "--minutes", feedforward, "--seed", seed]
    yield ["train", "rnn", "play", "--like", "chars", "--minutes", recurrent, "--seed", seed]
    yield ["mix", *_ALIKE, "--name", "mix"]
    yield ["eval", *_ALL]
    for name in _ALL:
        length = "50" if name == "words" else "200"
        options = ["--temp", "0.7", "--max-tokens", length, "--seed", seed]
        yield ["sample", name, _PROMPT, *options]
    title = ["--title", "The Glass Crown, predicted five ways"]
    yield ["report", *_ALL, "-o", str(folder / "report.html"), *title, "--prompt", _PROMPT]


@contextmanager
def _nothing_piped_in() -> Iterator[None]:
    """Within this context standard input is empty: the demo's commands read nothing piped in."""
    stdin = sys.stdin
    with Path(os.devnull).open() as nothing:
        sys.stdin = nothing
        try:
            yield
        finally:
            sys.stdin = stdin
