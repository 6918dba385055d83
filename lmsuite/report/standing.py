"""Which model predicts a text best, by how much, and how sure that is: the head of a report."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from lmsuite.analysis.comparison import Comparison
from lmsuite.analysis.evaluation import Evaluation
from lmsuite.report.charts import Interval, interval_chart, short_fixed
from lmsuite.report.markup import Markup, element, quoted, together
from lmsuite.report.subject import Subject, same_tokens

_UNSURE = 0.05  # the p-value from which a difference may be chance


def contenders(subjects: Sequence[Subject], results: Sequence[Evaluation]) -> list[Evaluation]:
    """The results whose bits a character may be ranked, the best first.

    Models of the same tokens leave the same unpredicted. Of models of different tokens only those
    are ranked that predict every character: no unknown word, no space that the tokens do not show.
    If that leaves none, all are.
    """
    if same_tokens(subject.model for subject in subjects):
        return _ranked(results)
    lossless = {subject.name for subject in subjects if subject.model.encoder.lossless}
    complete = [each for each in results if each.model in lossless and not each.oov]
    return _ranked(complete or results)


def in_order(subjects: Sequence[Subject], results: Sequence[Evaluation]) -> list[Evaluation]:
    """All results, the best first: the `contenders`, then those that predict less."""
    first = contenders(subjects, results)
    return first + _ranked(result for result in results if result not in first)


def _ranked(results: Iterable[Evaluation]) -> list[Evaluation]:
    return sorted(results, key=lambda result: result.bits_per_char)


def lede(
    results: Sequence[Evaluation], best_first: Sequence[Evaluation], lead: Comparison | None
) -> Markup:
    """What the table says, in a sentence or two.

    Args:
        results: of all models.
        best_first: of the `contenders`.
        lead: compares the first two of these.
    """
    best = best_first[0]
    figure = element("strong", f"{short_fixed(best.bits_per_char)} bits a character")
    if len(results) == 1:
        return element(
            "p", quoted(best.model), " predicts this text with ", figure, ".", class_="lede"
        )
    among = (
        f"Of these {len(results)} models, "
        if len(best_first) == len(results)
        else f"Of the {len(best_first)} models here that predict every character, "
        if len(best_first) > 1
        else "Of these models only one predicts every character: "
    )
    name = element("strong", quoted(best.model))
    predicts = " predicts the text best, with " if len(best_first) > 1 else ", with "
    return element("p", among, name, predicts, figure, ".", _certainty(lead), class_="lede")


def _certainty(lead: Comparison | None) -> Markup | None:
    if lead is None:
        return None
    difference = lead.bits_per_char
    if difference.p_value is None or difference.low is None or difference.high is None:
        return together(" The text is too short to say how sure that is.")
    size, near, far = (
        short_fixed(abs(bits)) for bits in (difference.value, difference.high, difference.low)
    )
    if difference.p_value >= _UNSURE:
        return together(
            f" Its lead of {size} over ",
            quoted(lead.b),
            f" may be chance (p = {difference.p_value:.2f}).",
        )
    chance = "p ≤ 0.001" if difference.p_value <= 0.001 else f"p = {difference.p_value:.3f}"
    return together(" It leads ", quoted(lead.b), f" by {size} (95 %: {near} to {far}, {chance}).")


def comparison_chart(results: Sequence[Evaluation], names: Sequence[str]) -> Markup | None:
    """Bits a character with their intervals; colours go by the place in `names`."""
    rows = []
    for result in results:
        if math.isfinite(result.bits_per_char):
            low, high = bits_interval(result) or (None, None)
            style = names.index(result.model)
            rows.append(Interval(result.model, result.bits_per_char, low, high, style))
    if not rows:
        return None
    words = "; ".join(f"{row.label} {row.value:.3f}" for row in rows)
    return interval_chart(
        rows,
        x_label="bits a character: less is better",
        description=f"Bits a character: {words}.",
    )


def comparison_table(results: Sequence[Evaluation], notes: Sequence[str]) -> Markup:
    """All figures, and what must be known before comparing them."""
    headings = (
        "model",
        "bits a character",
        "perplexity",
        "without OOV",
        "tokens",
        "OOV",
        "tokens/s",
    )
    head = element("thead", element("tr", (element("th", each, scope="col") for each in headings)))
    rows = (_row(result, headings) for result in results)
    table = element("table", head, element("tbody", rows), class_="cards")
    listed = element("ul", (element("li", note) for note in notes), class_="note")
    return together(table, listed if notes else None)


def bits_interval(result: Evaluation) -> tuple[float, float] | None:
    """The interval of the bits a character that belongs to that of the perplexity."""
    if result.perplexity_interval is None:
        return None
    low, high = (
        math.log2(perplexity) * result.tokens / result.chars
        for perplexity in result.perplexity_interval
    )
    return low, high


def _row(result: Evaluation, headings: Sequence[str]) -> Markup:
    unknown = "–" if math.isnan(result.perplexity_without_oov) else None
    cells = (
        _with_interval(result.bits_per_char, bits_interval(result)),
        _with_interval(result.perplexity, result.perplexity_interval),
        unknown or short_fixed(result.perplexity_without_oov),
        f"{result.tokens:,}",
        f"{result.oov:,}",
        f"{result.tokens_per_second:,.0f}",
    )
    return element(
        "tr",
        element(
            "th",
            quoted(result.model),
            " ",
            element("span", result.kind, class_="soft"),
            scope="row",
        ),
        (
            element("td", cell, data_label=heading)
            for heading, cell in zip(headings[1:], cells, strict=True)
        ),
    )


def _with_interval(value: float, interval: tuple[float, float] | None) -> Markup:
    if interval is None:
        return together(short_fixed(value))
    low, high = map(short_fixed, interval)
    return together(short_fixed(value), " ", element("small", f"{low} – {high}"))
