"""``lm compare``."""

from __future__ import annotations

import math
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lmsuite.cli.options import (
    DEFAULT_FOLDER,
    JsonOption,
    ModelsOption,
    SeedOption,
    TextOption,
    complete_models,
)
from lmsuite.cli.streams import given_text, printable, say, write_json
from lmsuite.cli.tables import Column, show_remark, show_table
from lmsuite.errors import UsageError
from lmsuite.files.plain import DOCUMENT_END
from lmsuite.sources.settings import ReadingSettings

if TYPE_CHECKING:
    from lmsuite.analysis.bootstrap import Estimate
    from lmsuite.analysis.comparison import Comparison, Place
    from lmsuite.files.stored_text import Text
    from lmsuite.store.opening import OpenedModel


def compare(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...",
            help="Two names in the models folder, or files; with --pairs one or more.",
            autocompletion=complete_models,
        ),
    ],
    text: TextOption = None,
    *,
    pairs: Annotated[
        Path | None,
        typer.Option(
            "--pairs",
            metavar="FILE",
            help="Tell which sentence of each pair is more probable instead: a line a pair, the "
            "acceptable sentence, a tab, the other one (in a .csv file a comma).",
            show_default=False,
        ),
    ] = None,
    seed: SeedOption = 0,
    folder: ModelsOption = DEFAULT_FOLDER,
    reading: ReadingSettings,
    as_json: JsonOption = False,
) -> None:
    """Tell whether one model is better than another, and where.

    \b
    Examples:
      lm compare ngram rnn
      lm compare ngram rnn --text other.txt --json
      lm compare ngram rnn --pairs agreement.tsv

    The interval (95 %) and the p-value of the difference come from a paired bootstrap over the
    lines or documents of the text, or over blocks of tokens in stream mode. Models with different
    tokens are compared line by line, in bits a character.

    With --pairs, the accuracy is the share of pairs whose first sentence is more probable, each
    sentence scored as `lm score` does; its interval is Wilson's. Two models are compared by
    McNemar's exact test. --json has the log-probabilities of all pairs.
    """
    if pairs is not None:
        if text is not None:
            raise UsageError("--pairs takes its sentences from its own file; leave out --text")
        _compare_pairs(pairs, models, folder, reading.encoding, as_json=as_json)
        return
    if len(models) != 2:
        raise UsageError(f"two models are compared, not {len(models)}; with --pairs, any number")
    a, b = models
    import numpy as np

    from lmsuite.analysis.comparison import compare as compare_models
    from lmsuite.store.opening import open_model, shared_validation_text

    first, second = open_model(folder, a), open_model(folder, b)
    boundaries = [each.model.encoder.boundaries for each in (first, second)]
    given = given_text(text, reading, boundaries)
    if given is None:
        given = shared_validation_text([first, second])
    names = (first.name, second.name) if first.name != second.name else (a, b)
    rng = np.random.default_rng(seed)
    result = compare_models(first.model, second.model, given, rng, names=names)
    if as_json:
        write_json({**asdict(result), "notes": _notes(result, (first, second), given)})
        return
    _show_figures(result)
    _show_tally(result)
    _show_places(result)
    for remark in _notes(result, (first, second), given):
        show_remark(remark)


def _compare_pairs(
    path: Path, models: list[str], folder: Path, encoding: str, *, as_json: bool
) -> None:
    from lmsuite.analysis.minimal_pairs import mcnemar, read_pairs, score_pairs
    from lmsuite.store.opening import open_model

    pairs = read_pairs(path, encoding)
    opened = {name: open_model(folder, name) for name in models}
    scored = {name: score_pairs(one.model, pairs) for name, one in opened.items()}
    p_value = mcnemar(*scored.values()) if len(scored) == 2 else None
    if as_json:
        rows = [
            {
                "model": name,
                "pairs": len(pairs),
                "accuracy": scores.accuracy,
                "interval": scores.interval,
                "ties": scores.ties,
                "log_probs": scores.log_probs.tolist(),
            }
            for name, scores in scored.items()
        ]
        write_json({"models": rows, "p_value": p_value})
        return
    columns = [Column("model"), Column("pairs", number=True), Column("right", number=True)]
    columns += [Column("accuracy", number=True), Column("95 % interval"), Column("ties", True)]
    cells = []
    for name, scores in scored.items():
        low, high = scores.interval
        right = int(scores.is_right.sum())
        numbers = [f"{len(pairs):,}", f"{right:,}", f"{scores.accuracy:.1%}"]
        cells.append([name, *numbers, f"{low:.1%} to {high:.1%}", f"{scores.ties:,}"])
    show_table(columns, cells)
    if p_value is not None:
        (first, of_first), (second, of_second) = scored.items()
        only_first = int((of_first.is_right & ~of_second.is_right).sum())
        only_second = int((of_second.is_right & ~of_first.is_right).sum())
        show_remark(
            f"Only {first} is right in {only_first:,}, only {second} in {only_second:,} "
            f"(McNemar's exact test: p = {p_value:.3f})."
        )


def _show_figures(result: Comparison) -> None:
    of_a, of_b = result.figures
    rows = []
    if result.nats_per_token:
        values = (of_a.nats_per_token, of_b.nats_per_token)
        rows.append(_row("nats/token", *values, result.nats_per_token, 4))
    rows.append(_row("bits/char", of_a.bits_per_char, of_b.bits_per_char, result.bits_per_char, 4))
    if result.perplexity:
        rows.append(_row("perplexity", of_a.perplexity, of_b.perplexity, result.perplexity, 2))
    headings = (result.a, result.b, "difference", "95 % interval", "p")
    columns = [Column(""), *(Column(heading, number=True) for heading in headings)]
    show_table(columns, rows)
    say()


def _row(label: str, of_a: float, of_b: float, difference: Estimate, digits: int) -> list[str]:
    interval, p_value = "", ""
    if difference.low is not None and difference.high is not None:
        interval = f"{difference.low:+.{digits}f} to {difference.high:+.{digits}f}"
    if difference.p_value is not None:
        p_value = f"{difference.p_value:.3f}"
    return [
        label,
        f"{of_a:.{digits}f}",
        f"{of_b:.{digits}f}",
        f"{difference.value:+.{digits}f}",
        interval,
        p_value,
    ]


def _show_tally(result: Comparison) -> None:
    what = "tokens" if result.same_tokens else "lines"
    tally = result.tally
    show_remark(_verdict(result))
    show_remark(
        f"{result.a} predicts {tally.won:,} {what} better, {result.b} {tally.lost:,}; "
        f"{tally.tied:,} alike"
    )


def _verdict(result: Comparison) -> str:
    difference = result.bits_per_char
    better = result.a if difference.value < 0 else result.b
    if difference.value == 0:
        return "The models are equally good."
    if difference.p_value is None:
        return f"{better} is better on this text, which is too short to say more."
    if difference.p_value > 0.05:
        return "This text cannot tell which model is better: 0 is in the interval."
    return f"{better} is better (p = {difference.p_value:.3f})."


def _show_places(result: Comparison) -> None:
    if not result.places:
        return
    say("\nWhere they differ most:")
    columns = [
        Column("line", number=True),
        Column("in context" if result.same_tokens else "text"),
        Column(f"p, {result.a}" if result.same_tokens else f"nats, {result.a}", number=True),
        Column(f"p, {result.b}" if result.same_tokens else f"nats, {result.b}", number=True),
        Column("nats" if result.same_tokens else "difference", number=True),
    ]
    rows = [_place(place, same_tokens=result.same_tokens) for place in result.places]
    taken = sum(
        max(len(column.heading), *(len(row[at]) for row in rows)) + 2
        for at, column in enumerate(columns)
        if at != 1
    )
    room = _room() - taken
    for row, place in zip(rows, result.places, strict=True):
        row[1] = _in_context(place, max(room, 24))
    show_table(columns, rows)
    say()


def _place(place: Place, *, same_tokens: bool) -> list[str]:
    def shown(log_prob: float) -> str:
        return f"{math.exp(log_prob):.2g}" if same_tokens else f"{-log_prob:.2f}"

    return [
        str(place.line),
        "",
        shown(place.log_prob_a),
        shown(place.log_prob_b),
        f"{place.difference:+.2f}",
    ]


def _room() -> int:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 100


def _in_context(place: Place, room: int) -> str:
    """The place in one line; the text before it is cut on the left, the text after on the right."""
    middle = _one_line(place.text)
    if not place.before and not place.after:
        return _cut(middle, room)
    middle = f"[{_cut(middle, room - 2)}]"
    after = _cut(_one_line(place.after), max((room - len(middle)) // 3, 0))
    space = room - len(middle) - len(after)
    before = _one_line(place.before)
    if len(before) > space:
        before = "…" + before[len(before) - space + 1 :] if space > 0 else ""
    return before + middle + after


def _one_line(text: str) -> str:
    return printable(text.replace("\n", "⏎").replace(DOCUMENT_END, "</s>"))


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else text[: max(room - 1, 0)] + "…"[: max(room, 0)]


def _notes(result: Comparison, opened: tuple[OpenedModel, OpenedModel], text: Text) -> list[str]:
    """The remarks that a reader must know before believing the figures."""
    from lmsuite.analysis.bootstrap import BLOCK, FEWEST_UNITS
    from lmsuite.analysis.comparability import tuned_on_it

    notes = [f"Bootstrap over {result.units:,} {result.unit}."]
    if result.units < FEWEST_UNITS:
        unit = result.unit.removesuffix("s") if result.units == 1 else result.unit
        has, needed = f"{result.units} {unit}", f"{FEWEST_UNITS}"
        if result.unit.startswith("blocks"):
            has, needed = f"{result.figures[0].tokens:,} tokens", f"{FEWEST_UNITS * BLOCK}"
        notes = [f"No interval is possible: the text has {has}, and {needed} are needed."]
    if not result.same_tokens:
        notes.append(
            "The models have different tokens: compared line by line, in bits a character."
        )
    unknown = [
        f"{name} {figures.oov:,}"
        for name, figures in zip((result.a, result.b), result.figures, strict=True)
        if figures.oov
    ]
    if unknown and not result.same_tokens:
        notes.append(f"Tokens read as <unk>, whose spelling costs nothing: {', '.join(unknown)}.")
    return notes + [tuned_on_it(one.name) for one in opened if one.is_tuned_on(text)]
