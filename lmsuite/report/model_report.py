"""The page of ``lm report``: the findings about some models, to read and to show."""

from __future__ import annotations

from collections.abc import Sequence

from lmsuite.report.charts import line_chart
from lmsuite.report.contents import Contents
from lmsuite.report.heatmap import heatmap, how_to_read
from lmsuite.report.making import making_of
from lmsuite.report.markup import Content, Markup, element, quoted, together
from lmsuite.report.orders import OrderRow, order_chart
from lmsuite.report.page import page, section
from lmsuite.report.samples import samples_of
from lmsuite.report.standing import comparison_chart, comparison_table, contenders, in_order, lede
from lmsuite.report.subject import learning_curves


def report_page(contents: Contents, *, title: str, notes: Sequence[str], made_by: str) -> str:
    """The page.

    Args:
        contents: from `lmsuite.report.contents.gather`.
        title: the heading.
        notes: what must be known before comparing the figures of the table.
        made_by: the command that makes this page again.
    """
    parts = [
        part
        for part in (
            _comparison(contents, notes),
            _curves(contents),
            _orders(contents),
            _passage(contents),
            _samples(contents),
            section("making", "How each model was made", making_of(contents.subjects)),
        )
        if part
    ]
    return page(
        title,
        element(
            "header",
            element("h1", quoted(title)),
            lede(contents.results, contenders(contents.subjects, contents.results), contents.lead),
        ),
        element("main", parts),
        element("footer", element("p", "Made by ", element("code", made_by), ".")),
    )


def _comparison(contents: Contents, notes: Sequence[str]) -> Markup:
    names = [subject.name for subject in contents.subjects]
    results = in_order(contents.subjects, contents.results)
    return section(
        "comparison",
        "How well they predict",
        comparison_chart(results, names),
        comparison_table(results, notes),
        note=[
            "On ",
            quoted(contents.text_name),
            f", {contents.results[0].chars:,} characters. The bars, and the small numbers, are "
            "95 % intervals by bootstrap: how far the figure would vary over other texts like this "
            "one.",
        ],
    )


def _curves(contents: Contents) -> Markup | None:
    chart = learning_curves(contents.subjects)
    if chart is None:
        return None
    return section(
        "curves",
        "How they learned",
        line_chart(chart),
        note="How well the networks predicted the validation text as they were trained. Flat lines "
        "are models that are not trained in steps.",
    )


def _orders(contents: Contents) -> Markup | None:
    chart = order_chart(contents.subjects, contents.orders)
    if chart is None:
        return None
    return section(
        "orders",
        "What each order is worth",
        line_chart(chart),
        (_order_table(name, rows) for name, rows in contents.orders.items()),
        note="The n-gram models with contexts cut shorter and shorter. The lower orders of a "
        "Kneser-Ney model are made to support the higher ones, so they do worse here than models "
        "trained at that order would.",
    )


def _order_table(name: str, rows: Sequence[OrderRow]) -> Markup:
    headings = ("order", "perplexity up to it", "longest match", "perplexity there")
    head = element("tr", (element("th", each, scope="col") for each in headings))
    body = (
        element(
            "tr",
            element("th", str(row.order), scope="row"),
            element("td", f"{row.perplexity:,.1f}"),
            element("td", f"{row.share:.1%}", element("span", _bar(row.share), class_="share")),
            element("td", f"{row.matched_perplexity:,.1f}" if row.share else "–"),
        )
        for row in rows
    )
    return element(
        "details",
        element("summary", quoted(name), " in numbers"),
        element("table", element("thead", head), element("tbody", body)),
        element(
            "p",
            "Longest match: the share of tokens whose longest known n-gram has this order.",
            class_="note",
        ),
    )


def _bar(share: float) -> Markup:
    return element("i", style=f"--w:{100 * share:.1f}%")


def _passage(contents: Contents) -> Markup:
    maps: list[Content] = [
        together(
            element("h3", quoted(subject.name), " ", _mean_bits(contents, subject.name)),
            heatmap(f"heat-{index}", contents.explanations[subject.name], subject.model.encoder),
        )
        for index, subject in enumerate(contents.subjects)
    ]
    return section("passage", "The same passage, read by each", how_to_read(), maps)


def _mean_bits(contents: Contents, name: str) -> Markup:
    explained = contents.explanations[name]
    mean = sum(each.surprisal for each in explained) / len(explained)
    return element("span", f"{mean:.2f} bits a token", class_="soft")


def _samples(contents: Contents) -> Markup:
    return section(
        "samples",
        "What they write",
        (samples_of(name, texts) for name, texts in contents.samples.items()),
        note="The lower the temperature, the safer the choice of each token; at 1 it is the "
        "model's own.",
    )
