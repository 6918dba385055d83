"""``lm explain``."""

from __future__ import annotations

import shutil
import sys
import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lmsuite.cli.options import (
    DEFAULT_FOLDER,
    EncodingOption,
    JsonOption,
    ModelArgument,
    ModelsOption,
)
from lmsuite.cli.streams import argument_or_piped, printable, save_page, write, write_json
from lmsuite.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lmsuite.analysis.explanation import Factor, TokenExplanation

_TOKEN = 14  # columns for the token
_FULL_BAR = 16.0  # bits of surprisal that fill the bar
_BAR = 8  # columns of a full bar
_WIDE = 100  # a terminal of so many columns has the alternatives on the token's own line
_EIGHTHS = " ▏▎▍▌▋▊▉"


def explain(
    model: ModelArgument,
    text: Annotated[
        str | None,
        typer.Argument(
            metavar="TEXT",
            help="The text itself: write \\n for a line end, \\t for a tab and \\\\ for \\. "
            "Without it, the piped text is read.",
            show_default=False,
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html",
            metavar="FILE",
            help="Write a page with a heat map instead, in one file.",
            show_default=False,
        ),
    ] = None,
    folder: ModelsOption = DEFAULT_FOLDER,
    encoding: EncodingOption = "utf-8",
    as_json: JsonOption = False,
) -> None:
    """Show how a model came to the probability of each token.

    \b
    Examples:
      lm explain ngram "My lord, the king"
      echo "My lord, the king" | lm explain ngram --html king.html

    Each token has its probability, its surprisal in bits, also as a bar (full at 16), its rank, and
    the most probable other tokens. An n-gram model also shows the factors of the probability: the
    back-off weight (bow) of each context that was given up, and the probability of the n-gram that
    was found. A mixture shows each member's weight times its probability, and its share of the sum.
    JSON has an object for each token, with its text and its place in its line (`start`, `end`).
    """
    from lmsuite.analysis.explanation import explain as explain_tokens
    from lmsuite.store.opening import open_model

    if html and as_json:
        raise UsageError("--html and --json are two forms of one result: ask for one at a time")
    loaded = open_model(folder, model).model
    explained = explain_tokens(loaded, argument_or_piped(text, encoding))
    if html:
        from lmsuite.report.pages import heatmap_page

        save_page(html, heatmap_page(f"{model}: surprisal", list(explained), loaded.encoder))
    elif as_json:
        for each in explained:
            fields = {**asdict(each), **each.located.as_json()}
            del fields["located"], fields["text"], fields["unknown"]
            write_json({"prob": each.prob, "surprisal": each.surprisal, **fields})
    else:
        _show(explained)


def _show(explained: Iterable[TokenExplanation]) -> None:
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _WIDE
    heading = f"{'token':<{_TOKEN}} {'prob':>8}  {'bits':>5} {'':<{_BAR}} {'rank':>6}  "
    write((heading + ("others" if width >= _WIDE else "")).rstrip() + "\n")
    for each in explained:
        write(_line(each, width))
        for detail in _details(each, width):
            lines = textwrap.wrap(detail, width - 4)
            write("".join(f"    {line}\n" for line in lines))


def _line(each: TokenExplanation, width: int) -> str:
    token = f"{each.unknown} <unk>" if each.unknown else each.text
    if len(token) > _TOKEN:
        token = token[: _TOKEN - 1] + "…"
    figures = (
        f"{printable(token):<{_TOKEN}} {_prob(each.prob):>8}  {each.surprisal:>5.2f} "
        f"{_bar(each.surprisal):<{_BAR}} {each.rank:>6,}  "
    )
    return (figures + (_others(each) if width >= _WIDE else "")).rstrip() + "\n"


def _others(each: TokenExplanation) -> str:
    return "  ".join(f"{printable(o.text)} {_short(o.prob)}" for o in each.alternatives)


def _details(each: TokenExplanation, width: int) -> list[str]:
    """The lines below a token: the parts of its probability, for models that have parts."""
    details = []
    if width < _WIDE:
        details.append(f"others: {_others(each)}")
    if each.order is not None:
        factors = " × ".join(map(_factor, each.factors))
        details.append(printable(f"{each.order}-gram: {factors}"))
    details += [
        printable(
            f"{member.name}: {member.weight:.3f} × {_prob(member.prob)}, "
            f"share {100 * member.share:.1f} %"
        )
        for member in each.members
    ]
    return details


def _factor(factor: Factor) -> str:
    context = _joined(factor.context)
    if factor.token is None:
        return f"bow({context}) {_prob(factor.value)}"
    given = f" | {context}" if context else ""
    return f"p({factor.token}{given}) {_prob(factor.value)}"


def _joined(tokens: tuple[str, ...]) -> str:
    return ("" if all(len(token) == 1 for token in tokens) else " ").join(tokens)


def _bar(bits: float) -> str:
    eighths = round(min(bits / _FULL_BAR, 1.0) * _BAR * 8)
    return ("█" * (eighths // 8) + _EIGHTHS[eighths % 8]).rstrip()


def _prob(value: float) -> str:
    return f"{value:.6f}" if value >= 1e-4 else f"{value:.2e}"


def _short(value: float) -> str:
    return f"{value:.3f}".lstrip("0") if value >= 0.001 else f"{value:.0e}"
