"""``lm mix``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lmsuite.cli.options import (
    DEFAULT_FOLDER,
    JsonOption,
    ModelsOption,
    complete_models,
)
from lmsuite.errors import UsageError
from lmsuite.sources.settings import ReadingSettings
from lmsuite.store.folder import SUFFIX, ModelsFolder


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
    from lmsuite.cli.mixing.making import Asked, make
    from lmsuite.cli.mixing.side_by_side import side_by_side
    from lmsuite.cli.mixing.static import one_table

    arpa = _arpa(name, out, is_static=static or log_linear)
    name = name or (out.removesuffix(SUFFIX) if out and not arpa else "mixture")
    asked = Asked(
        context=context,
        models=models,
        weights=_weights(weights, len(models)),
        text=text,
        reading=reading,
        folder=ModelsFolder(folder),
        name=name,
        arpa=arpa,
        as_json=as_json,
    )
    asked.folder.new_path(name)  # refuses an impossible name before the work
    if not (static or log_linear):
        make(asked, side_by_side(asked, by_context=by_context))
        return
    if by_context:
        raise UsageError("--by-context needs the models side by side; leave out --static")
    make(asked, one_table(asked, is_log_linear=log_linear))


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
