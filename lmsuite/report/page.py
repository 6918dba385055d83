"""One HTML page, complete by itself: style inside, no script, nothing fetched."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from lmsuite.report.markup import Content, Markup, element, together

# The browser itself refuses scripts, forms, frames and the network, should markup ever slip in.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'"


@cache
def stylesheet() -> Markup:
    """The style sheet of every page."""
    return Markup(files("lmsuite.report").joinpath("page.css").read_text(encoding="utf-8"))


def page(title: str, *body: Content) -> str:
    """The document; `title` also stands in the browser's tab."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        Markup("\n"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="color-scheme", content="light dark"),
        element("link", rel="icon", href="data:,"),
        Markup("\n"),
        element("title", title),
        Markup("\n<style>\n"),
        stylesheet(),
        Markup("</style>\n"),
    )
    document = element("html", Markup("\n"), head, Markup("\n"), element("body", *body), lang="en")
    return together(Markup("<!doctype html>\n"), document, Markup("\n"))


def section(identity: str, heading: str, *content: Content, note: Content = None) -> Markup:
    """A part of a page: its heading, a sentence that says how to read it, its content."""
    return together(
        Markup("\n"),
        element(
            "section",
            element("h2", heading, id=f"{identity}-heading"),
            element("p", note, class_="note") if note else None,
            *content,
            id=identity,
            aria_labelledby=f"{identity}-heading",
        ),
    )
