"""``lm trace``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lmsuite.cli.options import DEFAULT_FOLDER, JsonOption, ModelsOption, complete_models
from lmsuite.cli.streams import (
    argument_or_piped,
    note,
    printable,
    read_texts,
    save_page,
    say,
    write_json,
)
from lmsuite.cli.tables import Column, show_table
from lmsuite.errors import LmError, UsageError
from lmsuite.sources.settings import ReadingSettings

if TYPE_CHECKING:
    from lmsuite.analysis.network_trace import NetworkTrace, TracedStep
    from lmsuite.analysis.ngram_trace import TokenTrace
    from lmsuite.models.neural import NeuralModel
    from lmsuite.models.ngram import NgramModel
    from lmsuite.store.opening import OpenedModel
    from lmsuite.types import IntArray

_PLAY = "play"  # the one text by name that is always at hand


def trace(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="A name in the models folder, or a file.",
            autocompletion=complete_models,
            show_default=False,
        ),
    ] = None,
    text: Annotated[
        str | None,
        typer.Argument(
            metavar="TEXT",
            help="The text itself: write \\n for a line end, \\t for a tab and \\\\ for \\. "
            "Without it, the piped text is read.",
            show_default=False,
        ),
    ] = None,
    *,
    step: Annotated[
        int | None,
        typer.Option(
            "--step",
            min=1,
            metavar="T",
            help="Show the prediction of token T, from 1; without it, of the last.",
            show_default=False,
        ),
    ] = None,
    unit: Annotated[
        int | None,
        typer.Option(
            "--unit",
            min=0,
            metavar="K",
            help="Show one unit of the hidden layer, from 0, with every sum written out.",
            show_default=False,
        ),
    ] = None,
    training: Annotated[
        str | None,
        typer.Option(
            "--training",
            metavar="TEXT",
            help="The text on which an n-gram model was trained, as it was given to `lm train`; "
            "its n-grams are counted again.",
            show_default="the text that the model names",
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html",
            metavar="FILE",
            help="Draw the graph, or the fractions, on a page instead, in one file.",
            show_default=False,
        ),
    ] = None,
    exercise: Annotated[
        int | None,
        typer.Option(
            "--exercise",
            min=0,
            metavar="SEED",
            help="Print a worksheet with gaps instead: of a tiny network if the seed is odd, of "
            "n-grams in a tiny corpus if it is even.",
            show_default=False,
        ),
    ] = None,
    solution: Annotated[
        bool, typer.Option("--solution", help="Print the worksheet with its gaps filled in.")
    ] = False,
    check: Annotated[
        str | None,
        typer.Option(
            "--check",
            metavar="ANSWERS",
            help="Read the worksheet with your answers in its gaps, or the answers alone, from "
            "this file (`-`: standard input), and name the first that is wrong.",
            show_default=False,
        ),
    ] = None,
    folder: ModelsOption = DEFAULT_FOLDER,
    reading: ReadingSettings,
    as_json: JsonOption = False,
) -> None:
    """Show the numbers behind a model's prediction, one by one.

    \b
    Examples:
      lm trace rnn "My lord, the crown" --step 3
      lm trace --exercise 7 > sheet.txt

    For a network: a forward and a backward pass over the text, as a graph of computation. Each node
    has its value, its local derivative by each input, and its upstream gradient dJ/d(node), where J
    is the sum of the losses L_t = −ln p_t[w_t] of all tokens. Large arrays are shown by their norm
    and first entries.

    For an n-gram model: the counts, discounts and fractions that make the probability of each
    token.

    The worksheets are to be filled in by hand: --solution solves them, --check reads your answers.
    """
    if exercise is not None:
        if model is not None:
            raise UsageError("{exercise} has a tiny model of its own; leave out MODEL", "exercise")
        others = {"html": html, "step": step, "unit": unit, "training": training}
        for name, other in others.items():
            if other is not None:
                raise UsageError(f"{{{name}}} is not for {{exercise}}", name, "exercise")
        _exercise(exercise, solution, check, as_json)
        return
    for name, given in (("solution", solution), ("check", check)):
        if given:
            raise UsageError(f"{{{name}}} belongs to a worksheet: add {{exercise}} SEED", name)
    if model is None:
        raise UsageError("name a MODEL and a text to trace, or ask for {exercise} SEED", "exercise")
    if html is not None and as_json:
        raise UsageError("--html and --json are two forms of one result: ask for one at a time")
    from lmsuite.models.neural import NeuralModel
    from lmsuite.models.ngram import NgramModel
    from lmsuite.store.opening import open_model

    opened = open_model(folder, model)
    loaded = opened.model
    given_text = argument_or_piped(text, reading.encoding)
    if isinstance(loaded, NgramModel):
        if unit is not None:
            raise UsageError("{unit} is for a network; an n-gram model has no units", "unit")
        ids = _training_ids(opened, training, reading)
        _trace_ngrams(model, loaded, ids, given_text, step, html, as_json)
        return
    if training is not None:
        raise UsageError("{training} is for n-gram models, whose counts it gives", "training")
    if not isinstance(loaded, NeuralModel):
        raise LmError(
            f"{model} is a {loaded.kind}, which has no pass and no counts of its own: trace its "
            f"members, or see `lm explain {model}`"
        )
    _trace_network(model, loaded, given_text, step, unit, html, as_json)


def _trace_network(
    name: str,
    model: NeuralModel,
    text: str,
    chosen: int | None,
    unit: int | None,
    html: Path | None,
    as_json: bool,
) -> None:
    from lmsuite.analysis.network_trace import trace_network
    from lmsuite.report.traces import network_json

    traced = trace_network(model, text)
    step = _chosen(traced.steps, chosen)
    size = traced.hidden_size
    if unit is not None and unit >= size:
        raise UsageError(f"{{unit}} must be from 0 to {size - 1}, not {unit}", "unit")
    if html is not None:
        from lmsuite.report.pages import graph_page

        save_page(html, graph_page(f"{name}: one pass", traced, step))
    elif as_json:
        write_json(network_json(traced, traced.steps if chosen is None else [step]))
    else:
        _show_pass(traced, step, unit)


def _chosen(steps: Sequence[TracedStep], number: int | None) -> TracedStep:
    if number is not None and number > len(steps):
        raise UsageError(f"{{step}} must be from 1 to {len(steps)}, not {number}", "step")
    return steps[-1 if number is None else number - 1]


def _show_pass(traced: NetworkTrace, step: TracedStep, unit: int | None) -> None:
    from lmsuite.report.traces import corner, node_row, norm, number, shown_nodes, unit_lines

    if len(traced.steps) > 1:
        count = len(traced.steps)
        total = float(traced.loss.value)
        terms = "L_1 + L_2" if count == 2 else f"L_1 + … + L_{count}"
        say(f"J = {terms} = {number(total)} nats, {number(total / count)} a token")
        say()
        columns = [
            Column("t", number=True),
            *(Column(heading) for heading in ("reads", "predicts")),
            *(
                Column(heading, number=True)
                for heading in ("p", "loss", "‖hidden‖", "‖dJ/dhidden‖")
            ),
        ]
        show_table(
            columns,
            [
                [
                    f"{each.number}",
                    " ".join(each.reads),
                    each.predicts,
                    number(each.probability),
                    number(float(each.loss.value)),
                    norm(each.hidden.value) or corner(each.hidden.value),
                    norm(each.hidden.gradient) or corner(each.hidden.gradient),
                ]
                for each in traced.steps
            ],
        )
        say()
    reads = " ".join(step.reads)
    say(printable(f"step {step.number}: reads {reads}, predicts {step.predicts}"))
    say()
    if unit is not None:
        for line in unit_lines(traced, step, unit):
            say(printable(line))
        return
    headings = ("node", "shape", "value", "norm", "local derivative", "dJ/dnode", "norm")
    show_table(
        [Column(heading) for heading in headings],
        [node_row(node, step) for node in (*shown_nodes(step), *traced.parameters)],
    )


def _training_ids(
    opened: OpenedModel, named: str | None, reading: ReadingSettings
) -> IntArray | None:
    """The ids on which an n-gram model was trained; None if its text is not at hand."""
    from lmsuite.sources.splitting import SplitRule
    from lmsuite.training.training_text import Validation, make_ready

    made, encoder = opened.provenance, opened.model.encoder
    names = [named] if named is not None else made.corpus.split(", ")
    if named is None and not all(name == _PLAY or Path(name).exists() for name in names):
        return None
    corpus = read_texts(names, reading, [encoder.boundaries])
    if named is None and corpus.sha256 != made.corpus_sha256:
        return None
    rule = made.validation.split
    validation = Validation.recorded(rule) if SplitRule.parse(rule) else Validation(0)
    return make_ready(corpus.text, validation, encoder, name=corpus.name).ids


def _trace_ngrams(
    name: str,
    model: NgramModel,
    ids: IntArray | None,
    text: str,
    chosen: int | None,
    html: Path | None,
    as_json: bool,
) -> None:
    from lmsuite.analysis.ngram_trace import NgramTracer
    from lmsuite.report.traces import ngram_json

    tracer = NgramTracer(model, ids)
    traces = list(tracer.trace(text))
    if chosen is not None and chosen > len(traces):
        raise UsageError(f"{{step}} must be from 1 to {len(traces)}, not {chosen}", "step")
    shown = traces if chosen is None else [traces[chosen - 1]]
    if tracer.reason:
        note(f"note: no counts are shown: {_spelled(tracer.reason)}")
    if html is not None:
        from lmsuite.report.pages import fractions_page

        save_page(html, fractions_page(f"{name}: {model.settings.smoothing}", shown))
    elif as_json:
        for each in shown:
            write_json(ngram_json(each))
    else:
        for each in shown:
            _show_fractions(each)


def _spelled(reason: str) -> str:
    return reason.replace("{training}", "--training")


def _show_fractions(traced: TokenTrace) -> None:
    say(printable(f"{traced.token}: p = {traced.prob:.6g}"))
    for level in reversed(traced.levels):
        given = f", after {' '.join(level.context)}" if level.context else ""
        say(printable(f"  {level.order}-gram{given}"))
        for line in level.lines:
            what = " = ".join(filter(None, (line.formula, line.numbers)))
            say(printable(f"    {line.symbol:<14} {line.value:<11.6g} {what}".rstrip()))
    for line in () if traced.levels else traced.stored:
        say(printable(f"    {line.symbol} = {line.value:.6g}"))
    say()


def _exercise(seed: int, solution: bool, check: str | None, as_json: bool) -> None:
    from lmsuite.analysis.exercises import exercise, require_right

    sheet = exercise(seed)
    if check is not None:
        answers = read_texts([check], ReadingSettings(), []).text
        require_right(sheet, str(answers))
        count = len(sheet.questions)
        if as_json:
            write_json({"exercise": seed, "right": count})
        else:
            say(f"all {count} answers are right")
        return
    if as_json:
        questions = [
            {"question": question.text, **({"answer": question.answer} if solution else {})}
            for question in sheet.questions
        ]
        write_json({"exercise": seed, "given": list(sheet.given), "questions": questions})
        return
    say(f"Exercise {seed}{' with its solution' if solution else ''}")
    say()
    for line in sheet.given:
        say(line)
    say()
    for number, question in enumerate(sheet.questions, start=1):
        answer = f"{question.answer:.6g}" if solution else "________"
        say(f"({number}) {question.text} = {answer}")
    if not solution:
        say()
        say(f"Fill in the gaps, and check them: lm trace --exercise {seed} --check FILE")
