"""Charts drawn with letters, for a terminal."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lmsuite.report.charts import Axis, LineChart, TokenMap, spread_apart, tick_label
from lmsuite.report.visible import visible
from lmsuite.types import Float64Array

_MARKS = "ox+*#@"
_MARGIN = 8  # columns left of the axis
_LONGEST_LABEL = 14


def chart_as_text(chart: LineChart | TokenMap) -> str:
    """The chart in 76 columns."""
    return lines_as_text(chart) if isinstance(chart, LineChart) else map_as_text(chart)


def lines_as_text(chart: LineChart, *, width: int = 76, height: int = 15) -> str:
    """The chart in `width` columns; each line has its own mark, and its name at its end."""
    labels = [visible(line.label)[:_LONGEST_LABEL] for line in chart.series]
    across = max(width - _MARGIN - max(map(len, labels)) - 4, 10)
    x_axis, y_axis = chart.x_axis(), chart.y_axis()
    grid = np.full((height, across), " ")
    columns = np.linspace(0, 1, across)
    ends = []
    for index, line in enumerate(chart.series):
        points = np.array(line.points, np.float64)  # (N, 2)
        xs, ys = x_axis.fraction(points[:, 0]), y_axis.fraction(points[:, 1])
        near = 0.5 / (across - 1)  # half a column
        drawn = np.flatnonzero((columns >= xs[0] - near) & (columns <= xs[-1] + near))
        rows = _rows(np.interp(columns[drawn], xs, ys), height)
        grid[rows, drawn] = _MARKS[index % len(_MARKS)]
        ends.append(float(_rows(ys[-1], height)))
    named = [""] * height
    for index, place in enumerate(spread_apart(ends, 1.0, 0.0, height - 1.0)):
        named[min(round(place), height - 1)] += f" {_MARKS[index % len(_MARKS)]} {labels[index]}"
    ticks = {int(_rows(y_axis.fraction(tick), height)): tick_label(tick) for tick in y_axis.ticks()}
    body = [
        f"{ticks.get(at, ''):>{_MARGIN - 2}} {'┤' if at in ticks else '│'}{''.join(row)}{name}"
        for at, (row, name) in enumerate(zip(grid, named, strict=True))
    ]
    below = _x_axis(chart.x_ticks(), x_axis, across)
    heading = f"{chart.title}: {chart.y_label}"
    return "\n".join(line.rstrip() for line in [heading, *body, *below, _under(chart.x_label)])


def map_as_text(token_map: TokenMap, *, width: int = 76, height: int = 24) -> str:
    """The map as words in `width` columns; a word that would cover another is left out."""
    xs, ys = [place.x for place in token_map.places], [place.y for place in token_map.places]
    centres = Axis.over(xs, margin=0.0).fraction(xs) * width
    rows = _rows(Axis.over(ys, margin=0.0).fraction(ys), height)
    grid = [[" "] * width for _ in range(height)]
    for place, centre, row in zip(token_map.places, centres, rows, strict=True):
        label = visible(place.label)
        begin = min(max(round(centre - len(label) / 2), 0), width - len(label))
        around = grid[row][max(begin - 1, 0) : begin + len(label) + 1]
        if begin >= 0 and not "".join(around).strip():
            grid[row][begin : begin + len(label)] = label
    return "\n".join("".join(row).rstrip() for row in grid)


def _rows(fractions: Float64Array, height: int) -> NDArray[np.intp]:
    """The rows at these fractions of the height, counted from above."""
    return np.rint((1 - fractions) * (height - 1)).astype(np.intp)


def _x_axis(ticks: list[float], axis: Axis, across: int) -> list[str]:
    line, numbers = ["─"] * across, [" "] * (across + _MARGIN)
    for tick in ticks:
        column, text = round(float(axis.fraction(tick)) * (across - 1)), tick_label(tick)
        line[column] = "┬"
        begin = max(column - len(text) // 2, 0)
        numbers[begin : begin + len(text)] = text
    return [" " * (_MARGIN - 1) + "└" + "".join(line), _under("".join(numbers))]


def _under(text: str) -> str:
    return " " * _MARGIN + text
