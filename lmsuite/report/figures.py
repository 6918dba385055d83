"""Charts as PNG or SVG files, by matplotlib."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

from lmsuite.errors import LmError
from lmsuite.report.linechart import LineChart
from lmsuite.report.markup import visible
from lmsuite.report.scales import short, spread_apart
from lmsuite.report.vectors import VectorMap

COLOURS = ("#0a5a8f", "#a63f00", "#0b6b4f", "#8a2f7c", "#735600", "#4a4a4a")
"""As the style sheet's --s0 to --s5: safe for the colour-blind, dark enough for letters."""

_DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), "--", ":")
_INK, _SOFT, _RULE = "#1d1b18", "#5d574e", "#dcd6ca"
_STYLE: dict[Any, Any] = {
    "figure.facecolor": "white",
    "figure.constrained_layout.h_pad": 0.15,
    "figure.constrained_layout.w_pad": 0.2,
    "font.family": "sans-serif",
    "font.size": 10.5,
    "text.color": _INK,
    "text.parse_math": False,  # a model may be called a$b$c
    "axes.edgecolor": _RULE,
    "axes.labelcolor": _SOFT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _RULE,
    "grid.linewidth": 0.8,
    "xtick.color": _SOFT,
    "ytick.color": _SOFT,
    "ytick.left": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "lmsuite",  # the same chart gives the same file
}
_DPI = 160
_LABEL_POINTS = 14.0  # between two labels at the ends of lines
_BESIDE = (
    (4, 0, "left", "center"),
    (-4, 0, "right", "center"),
    (0, 4, "center", "bottom"),
    (0, -4, "center", "top"),
)


def draw_lines(chart: LineChart, file_format: str) -> bytes:
    """The chart as a ``png`` or ``svg`` file.

    Raises:
        LmError: matplotlib is not installed.
    """

    def draw(pyplot: Any) -> Any:
        figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
        _draw_chart(axes, chart)
        return figure

    return _file(draw, file_format)


def draw_map(vector_map: VectorMap, file_format: str) -> bytes:
    """The map, each token a dot with its name where there is room, the frequent ones first.

    Raises:
        LmError: matplotlib is not installed.
    """

    def draw(pyplot: Any) -> Any:
        figure, axes = pyplot.subplots(figsize=(9, 7.5), layout="constrained")
        axes.set_title(
            f"{visible(vector_map.model)}: its {len(vector_map.places)} most frequent tokens",
            loc="left",
            fontweight="bold",
        )
        axes.grid(visible=False)
        axes.spines["bottom"].set_visible(False)
        for side, share in zip("xy", vector_map.shares, strict=True):
            which = "first" if side == "x" else "second"
            label = f"{which} principal component, {share:.0%} of the variance"
            axes.set(**{f"{side}label": label, f"{side}ticks": []})
        axes.margins(0.07)
        xs = [place.x for place in vector_map.places]
        ys = [place.y for place in vector_map.places]
        axes.scatter(xs, ys, s=9, color=COLOURS[1], linewidths=0)
        figure.draw_without_rendering()  # fixes the layout that labels are measured in
        _label_where_there_is_room(axes, vector_map)
        return figure

    return _file(draw, file_format)


def _draw_chart(axes: Any, chart: LineChart) -> None:
    x_scale, y_scale = chart.x_scale(), chart.y_scale()
    axes.set_title(chart.title, loc="left", fontweight="bold", pad=22)
    axes.text(0, 1.03, chart.y_label, transform=axes.transAxes, color=_SOFT)
    axes.set_xlabel(chart.x_label, loc="left")
    axes.set(
        yscale="log" if chart.y_logarithmic else "linear",
        xlim=(x_scale.low, x_scale.high),
        ylim=(y_scale.low, y_scale.high),
    )
    axes.grid(visible=False, axis="x")
    for axis, ticks in ((axes.xaxis, chart.x_ticks(about=6)), (axes.yaxis, y_scale.ticks())):
        axis.set_ticks(ticks, [short(tick) for tick in ticks])
        axis.set_ticks([], minor=True)
    height = axes.get_window_extent().height * 72 / axes.figure.dpi  # points
    ends = [y_scale(line.points[-1][1]) * height for line in chart.series]
    places = spread_apart(ends, _LABEL_POINTS, 0.0, height)
    for line, place in zip(chart.series, places, strict=True):
        xs, ys = zip(*line.points, strict=True)
        colour = COLOURS[line.style % len(COLOURS)]
        dashes = _DASHES[line.style % len(_DASHES)]
        axes.plot(xs, ys, color=colour, linestyle=dashes, linewidth=2, clip_on=False)
        axes.plot(xs[-1:], ys[-1:], "o", color=colour, markersize=6, clip_on=False)
        axes.annotate(
            visible(line.label),
            (xs[-1], ys[-1]),
            xytext=(1.015, place / height),
            textcoords="axes fraction",
            va="center",
            color=colour,
            fontweight="bold",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": _SOFT, "linestyle": ":", "shrinkB": 5}
            if x_scale(xs[-1]) < 0.98
            else None,
        )


def _label_where_there_is_room(axes: Any, vector_map: VectorMap) -> None:
    """Name tokens right of, left of, above or below their dots, where no name or dot is."""
    renderer = axes.figure.canvas.get_renderer()
    inside = axes.get_window_extent()
    dots = axes.transData.transform([(place.x, place.y) for place in vector_map.places])
    names: list[Any] = []
    for place in vector_map.places:
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
            box = label.get_window_extent(renderer)
            within = inside.contains(box.x0, box.y0) and inside.contains(box.x1, box.y1)
            if within and not box.count_overlaps(names) and not box.count_contains(dots):
                names.append(box)
                break
            label.remove()


def _file(draw: Callable[[Any], Any], file_format: str) -> bytes:
    with _pyplot() as pyplot:
        figure = draw(pyplot)
        stream = BytesIO()
        metadata = {"Date": None} if file_format == "svg" else {"Software": None}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing from font")  # drawn as boxes
            figure.savefig(stream, format=file_format, dpi=_DPI, metadata=metadata)
        pyplot.close(figure)
    return stream.getvalue()


@contextmanager
def _pyplot() -> Iterator[Any]:
    """pyplot in our style, without a screen."""
    try:
        import matplotlib
        from matplotlib import pyplot
    except ImportError as error:
        raise LmError(
            "drawing to a file needs matplotlib: pip install 'lmsuite[plot]' "
            "(lm plot --text draws in the terminal without it)"
        ) from error
    pyplot.switch_backend("agg")
    with matplotlib.rc_context(_STYLE):
        yield pyplot
