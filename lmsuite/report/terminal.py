"""Small charts of letters, for a terminal."""

from __future__ import annotations

from itertools import pairwise

from lmsuite.report.linechart import LineChart, Series
from lmsuite.report.markup import visible
from lmsuite.report.scales import Scale, short, spread_apart
from lmsuite.report.vectors import VectorMap

_MARKS = "ox+*#@"
_MARGIN = 8  # columns left of the axis
_LONGEST_LABEL = 14


def lines_as_text(chart: LineChart, *, width: int = 76, height: int = 15) -> str:
    """The chart in `width` columns; each line has a mark of its own, named at its end."""
    labels = [visible(line.label)[:_LONGEST_LABEL] for line in chart.series]
    across = max(width - _MARGIN - max(map(len, labels)) - 4, 10)
    x_scale, y_scale = chart.x_scale(), chart.y_scale()
    grid = [[" "] * across for _ in range(height)]
    ends = []
    for index, line in enumerate(chart.series):
        mark = _MARKS[index % len(_MARKS)]
        for column in range(across):
            y = _height_at(line, column / (across - 1), x_scale, y_scale)
            if y is not None:
                grid[_row(y, height)][column] = mark
        ends.append(float(_row(y_scale(line.points[-1][1]), height)))
    named = [""] * height
    for index, place in enumerate(spread_apart(ends, 1.0, 0.0, height - 1.0)):
        named[min(round(place), height - 1)] += f" {_MARKS[index % len(_MARKS)]} {labels[index]}"
    ticks = {_row(y_scale(tick), height): short(tick) for tick in y_scale.ticks()}
    rows = [
        f"{ticks.get(at, ''):>{_MARGIN - 2}} {'┤' if at in ticks else '│'}{''.join(row)}{name}"
        for at, (row, name) in enumerate(zip(grid, named, strict=True))
    ]
    below = _x_axis(chart.x_ticks(about=4), x_scale, across)
    heading = f"{chart.title}: {chart.y_label}"
    return "\n".join(line.rstrip() for line in [heading, *rows, *below, _under(chart.x_label)])


def map_as_text(vector_map: VectorMap, *, width: int = 76, height: int = 24) -> str:
    """The map as words in `width` columns; a word that would cover another is left out."""
    xs = [place.x for place in vector_map.places]
    ys = [place.y for place in vector_map.places]
    x_scale, y_scale = Scale(min(xs), max(xs)), Scale(min(ys), max(ys))
    grid = [[" "] * width for _ in range(height)]
    for place in vector_map.places:
        label = visible(place.label)
        row = grid[_row(y_scale(place.y), height)]
        begin = min(max(round(x_scale(place.x) * width - len(label) / 2), 0), width - len(label))
        around = row[max(begin - 1, 0) : begin + len(label) + 1]
        if begin >= 0 and not "".join(around).strip():
            row[begin : begin + len(label)] = label
    return "\n".join("".join(row).rstrip() for row in grid)


def _height_at(line: Series, fraction: float, x_scale: Scale, y_scale: Scale) -> float | None:
    """How high the line is, from 0 to 1, at a fraction of the width; None where it is not."""
    places = [(x_scale(x), y_scale(y)) for x, y in line.points]
    step = 0.5 / max(len(places), 50)
    if not places[0][0] - step <= fraction <= places[-1][0] + step:
        return None
    for (x0, y0), (x1, y1) in pairwise(places):
        if x0 <= fraction <= x1:
            return y0 if x1 == x0 else y0 + (y1 - y0) * (fraction - x0) / (x1 - x0)
    return places[0][1] if fraction < places[0][0] else places[-1][1]


def _row(y: float, height: int) -> int:
    return round((1 - y) * (height - 1))


def _x_axis(ticks: list[float], scale: Scale, across: int) -> list[str]:
    axis, numbers = ["─"] * across, [" "] * (across + _MARGIN)
    for tick in ticks:
        column, text = round(scale(tick) * (across - 1)), short(tick)
        axis[column] = "┬"
        begin = max(column - len(text) // 2, 0)
        numbers[begin : begin + len(text)] = text
    return [" " * (_MARGIN - 1) + "└" + "".join(axis), _under("".join(numbers))]


def _under(text: str) -> str:
    return " " * _MARGIN + text
