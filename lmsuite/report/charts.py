"""Charts as inline SVG that fit any width with letters that keep their size.

Across, everything is placed in per cent of the width; downwards in pixels. Only the lines
themselves are stretched, in an inner drawing whose strokes are not scaled with it. Labels stand
directly at what they name; in black and white the dashes tell the lines apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lmsuite.report.linechart import LineChart, Series
from lmsuite.report.markup import Content, Markup, element, together, visible
from lmsuite.report.scales import Scale, fitted, short, spread_apart

SERIES_STYLES = 6  # how many .s0, .s1, … the style sheet has

_HEIGHT = 260
_LABEL_GAP = 17  # pixels between two labels
_LONGEST_LABEL = 16
_ROW, _ROW_LINE = 46, 30  # an interval's row, and where in it the interval is drawn


@dataclass(frozen=True)
class Interval:
    """A value with the interval that it lies in; without one where `low` is None."""

    label: str
    value: float
    low: float | None
    high: float | None
    style: int


def line_chart(chart: LineChart) -> Markup:
    """The lines of `chart`, each with its name at its end."""
    x_scale, y_scale = chart.x_scale(), chart.y_scale()
    drawing = element(
        "svg",
        [_y_tick(y_scale, tick) for tick in y_scale.ticks()],
        [_x_tick(x_scale, tick, _HEIGHT) for tick in chart.x_ticks(about=4)],
        _stretched(_polyline(line, x_scale, y_scale) for line in chart.series),
        _end_labels(chart.series, x_scale, y_scale),
        role="img",
        aria_label=chart.in_words(),
        height=str(_HEIGHT),
    )
    longest = max(len(_shortened(line.label)) for line in chart.series)
    return _figure(drawing, chart.x_label, chart.y_label, label_width=longest)


def interval_chart(intervals: Sequence[Interval], *, x_label: str, description: str) -> Markup:
    """A row for each value: its label, a dot, and a bar over its interval, on a common axis."""
    ends = [
        number
        for row in intervals
        for number in (row.value, row.low, row.high)
        if number is not None
    ]
    scale = fitted(ends, margin=0.08)
    height = _ROW * len(intervals) + 8
    drawing = element(
        "svg",
        [_x_tick(scale, tick, height, grid=True) for tick in scale.ticks(5)],
        [_interval_row(row, index * _ROW, scale) for index, row in enumerate(intervals)],
        role="img",
        aria_label=description,
        height=str(height),
    )
    return _figure(drawing, x_label, None, label_width=0)


def _figure(drawing: Markup, x_label: str, y_label: str | None, *, label_width: int) -> Markup:
    return element(
        "div",
        element("div", y_label, class_="y-label") if y_label else None,
        element("div", drawing, class_="plot", style=f"--labels:{label_width}ch"),
        element("div", x_label, class_="x-label"),
        class_="chart" if y_label else "chart rows",
    )


def _stretched(content: Content) -> Markup:
    return element(
        "svg",
        content,
        viewBox=f"0 0 100 {_HEIGHT}",
        preserveAspectRatio="none",
        width="100%",
        height=str(_HEIGHT),
        overflow="visible",
    )


def _polyline(line: Series, x_scale: Scale, y_scale: Scale) -> Markup:
    points = " ".join(
        f"{100 * x_scale(x):.2f},{_HEIGHT * (1 - y_scale(y)):.1f}" for x, y in line.points
    )
    return element("polyline", points=points, class_=f"line {_style(line.style)}")


def _end_labels(series: Sequence[Series], x_scale: Scale, y_scale: Scale) -> Markup:
    """Each line's name beside its end, moved where ends lie close together."""
    ends = [(x_scale(x), _HEIGHT * (1 - y_scale(y))) for x, y in (s.points[-1] for s in series)]
    places = spread_apart([y for _, y in ends], _LABEL_GAP, 0, _HEIGHT)
    return together(
        [
            _leader(x, y, place),
            _dot(x, y, line.style),
            _text(
                1.0, place, _shortened(line.label), f"label {_style(line.style)}", dx="10", dy="4"
            ),
        ]
        for line, (x, y), place in zip(series, ends, places, strict=True)
    )


def _leader(x: float, y: float, place: float) -> Content:
    """A faint line from where a line ends early to its name at the right."""
    if x > 0.98:
        return None
    ends = {"x1": _percent(x), "x2": "100%", "y1": f"{y:.1f}", "y2": f"{place:.1f}"}
    return element("line", class_="leader", **ends)


def _interval_row(row: Interval, top: int, scale: Scale) -> Markup:
    middle = top + _ROW_LINE
    bar: Content = None
    value = short_fixed(row.value)
    if row.low is not None and row.high is not None:
        bar = element(
            "line",
            x1=_percent(scale(row.low)),
            x2=_percent(scale(row.high)),
            y1=str(middle),
            y2=str(middle),
            class_=f"bar {_style(row.style)}",
        )
        value = f"{value}  ({short_fixed(row.low)} – {short_fixed(row.high)})"
    return together(
        _text(0.0, top + 16, _shortened(row.label), f"label {_style(row.style)}"),
        _text(1.0, top + 16, value, "value", anchor="end"),
        element("line", x1="0", x2="100%", y1=str(middle), y2=str(middle), class_="track"),
        bar,
        _dot(scale(row.value), middle, row.style),
    )


def _y_tick(scale: Scale, tick: float) -> Markup:
    y = f"{_HEIGHT * (1 - scale(tick)):.1f}"
    return together(
        element("line", x1="0", x2="100%", y1=y, y2=y, class_="grid"),
        _text(0.0, float(y), short(tick), "tick", dx="-8", dy="4", anchor="end"),
    )


def _x_tick(scale: Scale, tick: float, height: int, *, grid: bool = False) -> Markup:
    at = _percent(scale(tick))
    top = "0" if grid else str(height)
    return together(
        element("line", x1=at, x2=at, y1=top, y2=str(height + 5), class_="grid"),
        _text(scale(tick), height + 19, short(tick), "tick", anchor="middle"),
    )


def _text(
    x: float,
    y: float,
    content: str,
    class_: str,
    *,
    dx: str | None = None,
    dy: str | None = None,
    anchor: str | None = None,
) -> Markup:
    place = {"x": _percent(x), "y": f"{y:.1f}", "dx": dx, "dy": dy, "text_anchor": anchor}
    return element("text", content, class_=class_, **place)


def _dot(x: float, y: float, style: int) -> Markup:
    return element("circle", cx=_percent(x), cy=f"{y:.1f}", r="4.5", class_=f"dot {_style(style)}")


def short_fixed(value: float) -> str:
    """A value with three digits after the point if small, fewer if large, zeros kept."""
    digits = 3 if abs(value) < 10 else 2 if abs(value) < 100 else 1 if abs(value) < 1000 else 0
    return f"{value:,.{digits}f}"


def _style(index: int) -> str:
    return f"s{index % SERIES_STYLES}"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2f}%"


def _shortened(label: str) -> str:
    label = visible(label)
    return label if len(label) <= _LONGEST_LABEL else label[: _LONGEST_LABEL - 1] + "…"
