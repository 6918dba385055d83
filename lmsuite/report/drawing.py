"""Pictures of charts, by matplotlib: files for ``lm plot``, parts of a page for ``lm report``."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any, NamedTuple
from xml.etree import ElementTree

from lmsuite.report.charts import (
    IntervalChart,
    LineChart,
    TokenMap,
    fixed,
    spread_apart,
    tick_label,
)
from lmsuite.report.visible import visible

COLOURS = ("#0a5a8f", "#a63f00", "#0b6b4f", "#8a2f7c", "#735600", "#4a4a4a")
"""The colours of lines: safe for the colour-blind, dark enough for letters."""

INK, SOFT, RULE, GROUND = "#1d1b18", "#5d574e", "#dcd6ca", "#fdfcf9"

_IN_A_PAGE = {colour: f"var(--s{number})" for number, colour in enumerate(COLOURS)} | {
    INK: "var(--ink)",
    SOFT: "var(--soft)",
    RULE: "var(--rule)",
    GROUND: "var(--ground)",
}
"""The variable of each colour in the style sheet, which gives it another value in dark mode."""


class _Size(NamedTuple):
    """How large a picture is."""

    width: float  # inches
    height: float  # inches
    name: int  # characters of a model's name, of which a longer one is cut


_IN_A_FILE = _Size(8.0, 4.5, 40)
_ON_A_PAGE = _Size(4.4, 3.2, 15)  # a screen of 360 pixels shows letters as large as they are drawn

_DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), "--", ":")
_STYLE: dict[Any, Any] = {
    "figure.constrained_layout.h_pad": 0.1,
    "figure.constrained_layout.w_pad": 0.1,
    "font.family": "sans-serif",
    "font.size": 10.5,
    "text.color": INK,
    "text.parse_math": False,  # a model may be called a$b$c
    "axes.facecolor": "none",
    "axes.edgecolor": RULE,
    "axes.labelcolor": SOFT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "svg.fonttype": "none",
    "svg.hashsalt": "lmsuite",  # the same chart gives the same file
}
_DPI = 160
_LABEL_POINTS = 14.0  # between two labels at the ends of lines
_BAR = {"alpha": 0.45, "linewidth": 5, "solid_capstyle": "round", "clip_on": False}
_BESIDE = (
    (4, 0, "left", "center"),
    (-4, 0, "right", "center"),
    (0, 4, "center", "bottom"),
    (0, -4, "center", "top"),
)


def picture_file(chart: LineChart | TokenMap, file_format: str) -> bytes:
    """The chart as a ``png`` or ``svg`` file; the same chart always gives the same bytes."""
    with _in_our_style():
        if isinstance(chart, TokenMap):
            return _saved(_map_figure(chart), file_format, ground="white")
        figure = _line_figure(chart, _IN_A_FILE)
        figure.suptitle(visible(chart.title), x=0.01, ha="left", fontweight="bold")
        return _saved(figure, file_format, ground="white")


def picture_in_page(chart: LineChart | IntervalChart, identity: str) -> str:
    """The chart as an SVG element for a page whose style sheet knows our colours.

    The element refers to nothing outside itself, fills the width of its place, and has a
    description for screen readers. `identity` is unique on the page; the element's ids begin with
    it.
    """
    with _in_our_style():
        figure = (
            _line_figure(chart, _ON_A_PAGE)
            if isinstance(chart, LineChart)
            else _interval_figure(chart, _ON_A_PAGE)
        )
        drawn = ElementTree.fromstring(_saved(figure, "svg", ground="none"))
    drawn.attrib = {
        "viewBox": drawn.attrib["viewBox"],
        "role": "img",
        "aria-label": visible(chart.in_words()),
    }
    drawn.remove(drawn[0])  # a style sheet, which would apply to the whole page
    for element in drawn.iter():
        element.tag = element.tag.rpartition("}")[2]  # a page needs no namespaces
        for name, value in list(element.items()):
            del element.attrib[name]
            if name == "id":
                value = f"{identity}-{value}"
            elif name.endswith("href"):
                name, value = "href", f"#{identity}-{value.removeprefix('#')}"
            elif name == "style":
                for colour, variable in _IN_A_PAGE.items():
                    value = value.replace(colour, variable)
            element.set(name, value)
    return ElementTree.tostring(drawn, encoding="unicode", method="html")


@contextmanager
def _in_our_style() -> Iterator[None]:
    import matplotlib

    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # drawn as boxes
        yield


def _axes(width: float, height: float) -> tuple[Any, Any]:
    """A figure of this width and height in inches, and its axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)  # measures text
    return figure, figure.subplots()


def _saved(figure: Any, file_format: str, *, ground: str) -> bytes:
    stream = BytesIO()
    named = ("Date", "Creator", "Format", "Type") if file_format == "svg" else ("Software",)
    figure.savefig(
        stream, format=file_format, dpi=_DPI, facecolor=ground, metadata=dict.fromkeys(named)
    )
    return stream.getvalue()


def _line_figure(chart: LineChart, size: _Size) -> Any:
    """Lines, each with its name at its end."""
    names = len(chart.series) * _LABEL_POINTS / 72  # inches
    figure, axes = _axes(size.width, max(size.height, names + 1.2))
    x_axis, y_axis = chart.x_axis(), chart.y_axis()
    axes.set_title(visible(chart.y_label), loc="left", fontsize="medium", color=SOFT, pad=10)
    axes.set_xlabel(visible(chart.x_label), loc="left")
    axes.set(
        yscale="log" if chart.y_logarithmic else "linear",
        xlim=(x_axis.low, x_axis.high),
        ylim=(y_axis.low, y_axis.high),
    )
    axes.grid(axis="y", clip_on=False)
    for axis, ticks in ((axes.xaxis, chart.x_ticks()), (axes.yaxis, y_axis.ticks())):
        axis.set_ticks(ticks, [tick_label(tick) for tick in ticks])
        axis.set_ticks([], minor=True)
    points = axes.get_window_extent().height * 72 / figure.dpi
    ends = y_axis.fraction([line.points[-1][1] for line in chart.series]) * points
    places = spread_apart(ends.tolist(), _LABEL_POINTS, 0.0, points)
    for line, place in zip(chart.series, places, strict=True):
        xs, ys = zip(*line.points, strict=True)
        colour = COLOURS[line.style % len(COLOURS)]
        dashes = _DASHES[line.style % len(_DASHES)]
        axes.plot(xs, ys, color=colour, linestyle=dashes, linewidth=2, clip_on=False)
        axes.plot(xs[-1:], ys[-1:], "o", color=colour, mec=GROUND, markersize=7, clip_on=False)
        axes.annotate(
            _shortened(line.label, size.name),
            (xs[-1], ys[-1]),
            xytext=(1.035, place / points),
            textcoords="axes fraction",
            va="center",
            color=colour,
            fontweight="bold",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": SOFT, "linestyle": ":", "shrinkB": 5}
            if x_axis.fraction(xs[-1]) < 0.98
            else None,
        )
    return figure


def _interval_figure(chart: IntervalChart, size: _Size) -> Any:
    """A row for each value: its name and figures, with a dot on a bar below them."""
    figure, axes = _axes(size.width, 0.5 * len(chart.rows) + 0.6)
    x_axis = chart.x_axis()
    ticks = x_axis.ticks()
    axes.set(xlim=(x_axis.low, x_axis.high), ylim=(len(chart.rows) - 0.6, -0.6), yticks=[])
    axes.set_xticks(ticks, [tick_label(tick) for tick in ticks])
    axes.set_xlabel(visible(chart.x_label), loc="left")
    axes.spines["bottom"].set_visible(False)
    axes.grid(axis="x", clip_on=False)
    beside = axes.get_yaxis_transform()  # x in fractions of the width, y in rows
    for at, row in enumerate(chart.rows):
        colour = COLOURS[row.style % len(COLOURS)]
        figures = fixed(row.value)
        axes.axhline(at + 0.16, color=RULE, linewidth=0.8, linestyle=":", clip_on=False)
        if row.low is not None and row.high is not None:
            ends = (row.low, row.high)
            axes.plot(ends, [at + 0.16] * 2, color=colour, **_BAR)
            figures += f"  ({fixed(row.low)} – {fixed(row.high)})"
        axes.plot([row.value], [at + 0.16], "o", color=colour, mec=GROUND, ms=7, clip_on=False)
        name = _shortened(row.label, size.name)
        axes.text(0, at - 0.22, name, transform=beside, color=colour, weight="bold", va="center")
        axes.text(1, at - 0.22, figures, transform=beside, ha="right", va="center")
    return figure


def _map_figure(token_map: TokenMap) -> Any:
    """A dot for each token, with its name where there is room; frequent tokens are named first."""
    figure, axes = _axes(9, 7.5)
    title = f"{visible(token_map.model)}: its {len(token_map.places)} most frequent tokens"
    axes.set_title(title, loc="left", fontweight="bold")
    axes.spines["bottom"].set_visible(False)
    for side, which, share in zip("xy", ("first", "second"), token_map.shares, strict=True):
        label = f"{which} principal component, {share:.0%} of the variance"
        axes.set(**{f"{side}label": label, f"{side}ticks": []})
    axes.margins(0.07)
    at = [(place.x, place.y) for place in token_map.places]
    axes.scatter(*zip(*at, strict=True), s=9, color=COLOURS[1], linewidths=0)
    figure.draw_without_rendering()  # fixes the layout before labels are measured
    inside, dots = axes.get_window_extent(), axes.transData.transform(at)
    taken: list[Any] = []
    for place in token_map.places:
        for dx, dy, across, along in _BESIDE:
            label = axes.annotate(
                visible(place.label),
                (place.x, place.y),
                xytext=(dx, dy),
                textcoords="offset points",
                ha=across,
                va=along,
                fontsize=9.5,
            )
            box = label.get_window_extent()
            within = inside.contains(box.x0, box.y0) and inside.contains(box.x1, box.y1)
            if within and not box.count_overlaps(taken) and not box.count_contains(dots):
                taken.append(box)
                break
            label.remove()
    return figure


def _shortened(label: str, longest: int) -> str:
    label = visible(label)
    return label if len(label) <= longest else label[: longest - 1] + "…"
