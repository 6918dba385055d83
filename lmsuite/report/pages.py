"""Self-contained HTML pages: the style is inside, there is no script, nothing is fetched.

The template is `page.html`. A text of a model or a corpus stays text on the page: every value is
escaped, and its invisible characters are shown. Only markup that we made is not escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmsuite.analysis.explanation import TokenExplanation
from lmsuite.analysis.network_trace import NetworkTrace, TracedStep
from lmsuite.analysis.ngram_trace import TokenTrace
from lmsuite.files.records import as_json
from lmsuite.report.charts import IntervalChart, LineChart, fixed
from lmsuite.report.drawing import picture_in_page
from lmsuite.report.findings import Findings, bits_interval, comparison_chart, ranking
from lmsuite.report.graph_layout import layout
from lmsuite.report.levels import LEVELS, level
from lmsuite.report.model_charts import TrainedModel, learning_curves, order_chart
from lmsuite.report.traces import (
    corner,
    derivative,
    entries,
    has_gradient,
    norm,
    number,
    shape,
)
from lmsuite.report.visible import visible
from lmsuite.text.encoding import TextEncoder
from lmsuite.text.vocabulary import SPECIALS, UNK

if TYPE_CHECKING:
    from jinja2 import Template
    from markupsafe import Markup

_PENDING = "·"  # shown for a token whose character is not complete before the next token


def report_page(findings: Findings, *, title: str, notes: Sequence[str], made_by: str) -> str:
    """The page of ``lm report``: the findings about some models, to read and to show.

    Args:
        findings: from `lmsuite.report.findings.gather`.
        title: the heading.
        notes: remarks to read before comparing the figures of the table.
        made_by: the command that makes this page again.
    """
    models = findings.models
    contenders, others = ranking(models, findings.results)
    return template().render(
        title=title,
        findings=findings,
        contenders=contenders,
        ranked=contenders + others,
        notes=notes,
        comparison=_picture(comparison_chart(findings), "comparison-chart"),
        curves=_picture(learning_curves(models), "curves-chart"),
        orders=_picture(order_chart(models, findings.orders), "orders-chart"),
        made_by=made_by,
    )


def heatmap_page(title: str, explanations: Sequence[TokenExplanation], encoder: TextEncoder) -> str:
    """The page of ``lm explain --html``: the more a token surprised, the warmer its background.

    A reader points at a token, taps it, or reaches it with the Tab key to see its details. These
    are in the page from the beginning, so no script is needed.

    Args:
        title: of the page.
        explanations: from `lmsuite.analysis.explanation.explain`, at least one.
        encoder: the model's own, which knows where spaces go.
    """
    return template().render(title=title, explanations=explanations, encoder=encoder)


def graph_page(title: str, trace: NetworkTrace, step: TracedStep) -> str:
    """The page of ``lm trace --html`` for a network: one step, as boxes and arrows.

    A reader points at a box, taps it, or reaches it with the Tab key to see all its numbers.
    """
    return template().render(title=title, trace=trace, step=step, graph=layout(step.nodes))


def fractions_page(title: str, traces: Sequence[TokenTrace]) -> str:
    """The page of ``lm trace --html`` for an n-gram model: the fractions of each token."""
    return template().render(title=title, fractions=traces)


@cache
def template() -> Template:
    """The template of all pages, made once."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        finalize=_with_invisible_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "fixed": fixed,
        "probability": _probability,
        "level": level,
        "corner": corner,
        "norm": norm,
        "number": number,
        "shape": shape,
    }
    environment.globals |= {
        "LEVELS": LEVELS,
        "bits_interval": bits_interval,
        "pieces": _pieces,
        "facts": _facts,
        "origin": _origin,
        "derivative": derivative,
        "entries": entries,
        "has_gradient": has_gradient,
    }
    return environment.get_template("page.html")


def _with_invisible_shown(value: Any) -> Any:
    """A plain string with its invisible characters shown; markup as it is."""
    return visible(value) if type(value) is str else value


def _picture(chart: LineChart | IntervalChart | None, identity: str) -> Markup | None:
    from markupsafe import Markup

    return None if chart is None else Markup(picture_in_page(chart, identity))


def _pieces(
    explanations: Sequence[TokenExplanation], encoder: TextEncoder
) -> list[tuple[str, str, TokenExplanation]]:
    """For each token the space before it, the characters that it adds to the text, and itself."""
    decoder = encoder.decoder()
    pieces = []
    for explanation in explanations:
        piece = decoder.push(explanation.id)
        if explanation.id == UNK and explanation.unknown:
            piece = piece.replace(SPECIALS[UNK], explanation.unknown)
        word = piece.lstrip(" ") or piece or _PENDING
        pieces.append((piece.removesuffix(word), word, explanation))
    return pieces


def _probability(value: float) -> str:
    """A probability or a weight in three digits: 0.412, 0.00731, 2.1e-07."""
    return f"{value:.3g}" if value < 1e-4 else f"{value:.{3 if value >= 0.1 else 4}f}"


def _origin(trained: TrainedModel) -> dict[str, Any]:
    """The origin of a model, and its summary of itself."""
    provenance, summary = trained.provenance, dict(trained.model.summary())
    if provenance is None:
        return summary
    return {
        "trained on": provenance.corpus,
        "SHA-256 of that text": provenance.corpus_sha256,
        "made": provenance.created,
        "by": f"lmsuite {provenance.version}",
        **{f"training: {key}": value for key, value in as_json(provenance.training).items()},
        **summary,
    }


def _facts(facts: Mapping[str, Any]) -> dict[str, str]:
    """The facts that are known, in words."""
    return {
        label.replace("_", " "): _in_words(value)
        for label, value in facts.items()
        if value not in (None, "", (), [], {})
    }


def _in_words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_in_words(entry)}" for key, entry in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_in_words, value))
    if isinstance(value, int):
        return f"{value:,}" if value >= 10_000 else str(value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)
