"""Line charts, in a page, in a file and in a terminal."""

from __future__ import annotations

import importlib
import re
import sys
from itertools import pairwise

import pytest
from page_reader import PageReader

from lmsuite.errors import LmError
from lmsuite.report.charts import Interval, interval_chart, line_chart, short_fixed
from lmsuite.report.figures import COLOURS, draw_lines, draw_map
from lmsuite.report.linechart import LineChart, Series
from lmsuite.report.page import stylesheet
from lmsuite.report.terminal import lines_as_text, map_as_text
from lmsuite.report.vectors import Place, VectorMap

CHART = LineChart(
    title="Learning curves",
    x_label="seconds",
    y_label="perplexity",
    series=[
        Series("$rnn$ & <b>", [(0, 40), (5, 20), (10, 10)], style=0),
        Series("short", [(0, 40), (5, 11)], style=7),
    ],
    y_logarithmic=True,
)
MAP = VectorMap(
    "m", [Place("king", -1, 0), Place("queen", -1, 0.01), Place("$x_", 1, 1)], (0.5, 0.2)
)


def test_svg_is_sound_and_says_what_it_shows() -> None:
    svg = line_chart(CHART)
    reader = PageReader(svg)
    assert reader.faults == []
    assert "$rnn$ &amp; &lt;b&gt; from 40 to 10" in svg
    assert reader.text.count("short") == 1


def test_svg_places_points() -> None:
    # 40 is 4 % of the logarithmic range below the top: (260 px) * 0.04 / 1.08 = 9.6 px.
    points = re.findall(r'points="([^"]*)"', line_chart(CHART))
    assert points[0].split()[0] == "0.00,9.6"
    assert points[0].split()[-1] == "100.00,250.4"
    assert points[1].split()[-1].startswith("50.00,")


def test_names_of_lines_do_not_cover_each_other() -> None:
    lines = [Series(f"m{n}", [(0, 9), (1, 1 + n / 100)], style=n) for n in range(5)]
    svg = line_chart(LineChart("t", "x", "y", lines))
    heights = sorted(float(y) for y in re.findall(r'y="([\d.]+)" dx="10"', svg))
    assert len(heights) == 5
    assert all(below - above >= 16.9 for above, below in pairwise(heights))


def test_intervals() -> None:
    rows = [Interval("a", 2.0, 1.9, 2.1, 0), Interval("no interval", 2.5, None, None, 1)]
    reader = PageReader(interval_chart(rows, x_label="bits", description="d"))
    assert reader.faults == []
    assert "2.000  (1.900 – 2.100)" in reader.text
    assert "2.500" in reader.text


def test_constant_and_single_points_can_be_drawn() -> None:
    for points in ([(3.0, 2.0)], [(0.0, 2.0), (1.0, 2.0)]):
        chart = LineChart("t", "x", "y", [Series("flat", points, 0)], y_logarithmic=True)
        assert PageReader(line_chart(chart)).faults == []
        assert "flat" in lines_as_text(chart)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1.98765, "1.988"), (12.3456, "12.35"), (345.67, "345.7"), (12345, "12,345")],
)
def test_figures_keep_their_digits(value: float, shown: str) -> None:
    assert short_fixed(value) == shown


def test_terminal_chart() -> None:
    drawn = lines_as_text(CHART, width=60, height=10).splitlines()
    assert max(map(len, drawn)) <= 60
    assert drawn[0] == "Learning curves: perplexity"
    assert drawn[-1].strip() == "seconds"
    assert sum(line.endswith(("o $rnn$ & <b>", "x short")) for line in drawn) == 2
    body = [line[8:46] for line in drawn[1:11]]
    first = [line.rstrip() for line in body if line.strip()]
    assert first[0][0] in "ox"
    assert any("o" in line for line in body[7:])


def test_terminal_map_leaves_out_what_has_no_room() -> None:
    drawn = map_as_text(MAP, width=40, height=9)
    assert "king" in drawn
    assert "queen" not in drawn
    assert "$x_" in drawn
    assert max(map(len, drawn.splitlines())) <= 40


def test_pictures_are_of_their_format_and_always_the_same() -> None:
    assert draw_lines(CHART, "png").startswith(b"\x89PNG\r\n")
    svg = draw_lines(CHART, "svg")
    assert svg == draw_lines(CHART, "svg")
    text = svg.decode()
    assert "$rnn$ &amp; &lt;b&gt;" in text
    assert "<script" not in text


def test_map_names_every_token_that_has_room() -> None:
    text = draw_map(MAP, "svg").decode()
    assert ">king<" in text
    assert ">queen<" in text  # on another side of its dot
    assert ">$x_<" in text


def test_colours_of_files_are_those_of_the_page() -> None:
    light = stylesheet().partition("@media")[0]
    assert tuple(re.findall(r"--s\d: (#\w{6})", light)) == COLOURS


def test_without_matplotlib_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    figures = importlib.import_module("lmsuite.report.figures")
    with pytest.raises(LmError, match=r"pip install 'lmsuite\[plot\]'"):
        figures.draw_lines(CHART, "png")
