"""A text with every token on a ground that is the warmer, the more the token surprised the model.

The details of a token are shown when it is pointed at, tapped, or reached with the Tab key; they
are in the page from the beginning, so no script is needed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence

from lmsuite.analysis.explanation import TokenExplanation
from lmsuite.report.markup import Content, Markup, element, quoted, together
from lmsuite.report.page import page
from lmsuite.text.encoding import TextEncoder
from lmsuite.text.vocabulary import SPECIALS, UNK

LEVELS = (0.5, 1.0, 2.0, 4.0, 6.0, 9.0, 12.0)
"""The surprisal in bits at which each of the grounds .h1 to .h7 begins."""

_PENDING = "·"  # stands for a token whose characters are complete only with the next


def heatmap_page(title: str, explanations: Sequence[TokenExplanation], encoder: TextEncoder) -> str:
    """A whole page about one text: the heat map, and the mean surprisal.

    Args:
        title: of the page.
        explanations: from `lmsuite.analysis.explanation.explain`, at least one.
        encoder: the model's own, which knows where spaces go.
    """
    bits = sum(explanation.surprisal for explanation in explanations)
    tokens = f"{len(explanations):,} token{'' if len(explanations) == 1 else 's'}"
    return page(
        title,
        element(
            "main",
            element("h1", quoted(title)),
            element("p", f"{tokens}, {bits / len(explanations):.2f} bits each on average."),
            how_to_read(),
            heatmap("text", explanations, encoder),
        ),
    )


def how_to_read() -> Markup:
    """The legend of all heat maps of a page."""
    labels = ["below 0.5", *(f"{bits:g}" for bits in LEVELS[:-1]), f"{LEVELS[-1]:g} bits and more"]
    swatches = (
        element("span", element("i", class_=f"h{ground}"), f" {label}")
        for ground, label in enumerate(labels)
    )
    return together(
        element(
            "p",
            "The warmer a token, the more it surprised the model; each bit halves its probability. "
            "Point at a token, tap it, or go to it with the Tab key to see what the model expected "
            "instead.",
            class_="note",
        ),
        element("p", swatches, class_="legend"),
    )


def heatmap(
    identity: str, explanations: Sequence[TokenExplanation], encoder: TextEncoder
) -> Markup:
    """The heat map alone; `identity` is unique on the page."""
    after = f"after-{identity}"
    pieces = _pieces(explanations, encoder)
    tokens = (_token(each, piece) for each, piece in zip(explanations, pieces, strict=True))
    return together(
        element("a", "Skip this heat map", class_="skip", href=f"#{after}"),
        element("div", tokens, class_="heat"),
        element("span", id=after),
    )


def level(surprisal: float) -> int:
    """Which ground a token stands on, 0 to 7, given its surprisal in bits."""
    return bisect_right(LEVELS, surprisal)


def _pieces(explanations: Sequence[TokenExplanation], encoder: TextEncoder) -> Iterator[str]:
    """The characters that each token adds to the text."""
    decoder = encoder.decoder()
    for explanation in explanations:
        piece = decoder.push(explanation.id)
        if explanation.id == UNK and explanation.unknown:
            piece = piece.replace(SPECIALS[UNK], explanation.unknown)
        yield piece or _PENDING


def _token(explanation: TokenExplanation, piece: str) -> Markup:
    word = piece.lstrip(" ") or piece
    space = piece.removesuffix(word)
    content: Content = word
    if word.endswith("\n"):
        content = [word.removesuffix("\n"), element("span", "↵", class_="end"), "\n"]
    return together(
        space,
        element(
            "bdi",
            content,
            _details(explanation),
            class_=f"t h{level(explanation.surprisal)}",
            tabindex="0",
        ),
    )


def _details(explanation: TokenExplanation) -> Markup:
    shown = explanation.unknown or explanation.text
    return element(
        "span",
        _fact(element("b", quoted(shown)), f"{explanation.surprisal:.2f} bits", class_="token"),
        _fact("probability", _prob(explanation.prob)),
        _fact("rank", f"{explanation.rank:,}"),
        _heading(f"unknown word, read as {explanation.text}") if explanation.unknown else None,
        _factors(explanation),
        _members(explanation),
        _heading("others expected" if explanation.rank > 1 else "next best"),
        [
            _fact(quoted(each.text), _prob(each.prob), each.prob)
            for each in explanation.alternatives
        ],
        class_="tip",
    )


def _factors(explanation: TokenExplanation) -> Content:
    """How an n-gram model came to the probability: the contexts given up, then what was found."""
    if explanation.order is None:
        return None
    *given_up, found = explanation.factors
    place: Content = ["after ", _in_quotes(found.context)] if found.context else "anywhere"
    return [
        _heading(f"{explanation.order}-gram found"),
        [
            _fact(["gave up ", _in_quotes(factor.context)], f"× {_prob(factor.value)}")
            for factor in given_up
        ],
        _fact([_in_quotes([found.token or ""]), " ", place], _prob(found.value)),
    ]


def _members(explanation: TokenExplanation) -> Content:
    """What each member of a mixture had to do with the probability."""
    if not explanation.members:
        return None
    return [
        _heading("weight × probability, and share"),
        [
            _fact(quoted(each.name), f"{each.weight:.2f} × {_prob(each.prob)}", each.share)
            for each in explanation.members
        ],
    ]


def _in_quotes(tokens: Sequence[str]) -> Markup:
    separator = "" if all(len(token) == 1 for token in tokens) else " "
    return together("“", quoted(separator.join(tokens)), "”")


def _heading(text: str) -> Markup:
    return element("span", text, class_="how")


def _fact(label: Content, value: str, share: float | None = None, *, class_: str = "") -> Markup:
    """A line of a label and a value, over a bar of length `share` if that is given."""
    return element(
        "span",
        element("span", label),
        f" {value}",
        class_=f"fact {class_}".rstrip(),
        style=None if share is None else f"--w:{100 * share:.0f}%",
    )


def _prob(value: float) -> str:
    """A probability or a weight in three digits: 0.412, 0.00731, 2.1e-07."""
    return f"{value:.3g}" if value < 1e-4 else f"{value:.{3 if value >= 0.1 else 4}f}"
