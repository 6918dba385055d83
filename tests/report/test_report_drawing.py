"""Pictures of charts, in a file and in a page."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from page_reader import PageReader

from lmsuite.report import drawing
from lmsuite.report.charts import Interval, IntervalChart, LineChart, Place, Series, TokenMap
from lmsuite.report.drawing import COLOURS, picture_file, picture_in_page

CHART = LineChart(
    title="Learning curves",
    x_label="seconds",
    y_label="perplexity",
    series=[
        Series("$rnn$ & <b>", [(0, 40), (5, 20), (10, 10)], style=0),
        Series("short \x1b#0a5a8f", [(0, 40), (5, 11)], style=7),
    ],
    y_logarithmic=True,
)
ROWS = IntervalChart("bits", [Interval("a", 2.0, 1.9, 2.1, 0), Interval("b", 2.5, None, None, 1)])
MAP = TokenMap(
    "m", [Place("king", -1, 0), Place("queen", -1, 0.01), Place("$x_", 1, 1)], (0.5, 0.2)
)


def numbers(path: str) -> list[float]:
    return [float(number) for number in re.findall(r"-?[\d.]+", path)]


@pytest.mark.parametrize("chart", [CHART, MAP])
def test_files_are_of_their_format_and_always_the_same(chart: LineChart | TokenMap) -> None:
    assert picture_file(chart, "png").startswith(b"\x89PNG\r\n")
    svg = picture_file(chart, "svg")
    assert svg == picture_file(chart, "svg")
    assert b"<script" not in svg


def test_a_file_has_its_title_and_names() -> None:
    text = picture_file(CHART, "svg").decode()
    assert ">Learning curves<" in text
    assert "$rnn$ &amp; &lt;b&gt;" in text


def test_a_map_names_every_token_that_has_room() -> None:
    text = picture_file(MAP, "svg").decode()
    assert ">king<" in text
    assert ">queen<" in text  # on another side of its dot
    assert ">$x_<" in text


@pytest.mark.parametrize("chart", [CHART, ROWS])
def test_a_picture_in_a_page_is_sound_and_stands_alone(chart: LineChart | IntervalChart) -> None:
    one, other = picture_in_page(chart, "one"), picture_in_page(chart, "other")
    assert one == picture_in_page(chart, "one")
    assert PageReader(one + other).faults == []  # no id twice, none missing, nothing fetched
    assert not re.search(r"url\(|https?:|<style|<\?|<!", one)


def test_a_picture_in_a_page_says_what_it_shows() -> None:
    svg = picture_in_page(CHART, "i")
    assert svg.startswith('<svg viewBox="0 0 ')
    assert (
        'role="img" aria-label="Learning curves. perplexity over seconds: $rnn$ &amp; <b&gt;' in svg
    )
    text = PageReader(svg).text
    assert "$rnn$ & <b>" in text
    assert "short ␛#0a5a8f" in text  # a name, not a colour


@settings(max_examples=5, deadline=None)
@given(st.lists(st.text(), min_size=8, max_size=8))
def test_any_name_is_one_piece_of_text(names: list[str]) -> None:
    lines = [Series(name, [(0, 1), (1, 2)], 0) for name in names]
    reader = PageReader(picture_in_page(LineChart("t", "x", "y", lines), "i"))
    assert reader.faults == []
    assert set(reader.tags) <= {"svg", "g", "path", "defs", "use", "text"}
    assert reader.tags.count("svg") == 1


def test_colours_are_the_variables_of_the_page() -> None:
    css = Path(drawing.__file__).with_name("page.css").read_text(encoding="utf-8")
    light = dict(re.findall(r"--([\w-]+): (#\w{6})", css.partition("@media")[0]))
    assert tuple(light[f"s{number}"] for number in range(6)) == COLOURS
    named = (drawing.INK, drawing.SOFT, drawing.RULE, drawing.GROUND)
    assert tuple(light[name] for name in ("ink", "soft", "rule", "ground")) == named
    for chart in (CHART, ROWS):
        styles = "".join(re.findall(r'style="([^"]*)"', picture_in_page(chart, "i")))
        assert "var(--s0)" in styles
        assert "#" not in styles


def test_points_are_placed() -> None:
    # From 0 to 10 seconds; 40, 20 and 10 are evenly far apart on a logarithmic axis.
    svg = picture_in_page(CHART, "i")
    line = re.search(r'<path d="([^"]*)" style="fill: none; stroke: var\(--s0\)', svg)
    assert line is not None
    x0, y0, x1, y1, x2, y2 = numbers(line[1])
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.01)
    assert y1 - y0 == pytest.approx(y2 - y1, abs=0.01)
    assert y0 < y1 < y2  # downwards


@pytest.mark.parametrize("count", [5, 30])
def test_names_of_lines_do_not_cover_each_other(count: int) -> None:
    lines = [Series(f"m{n}", [(0, 9), (1, 1 + n / 100)], style=n) for n in range(count)]
    svg = picture_in_page(LineChart("t", "x", "y", lines), "i")
    heights = sorted(float(y) for y in re.findall(r'<text [^>]* y="([^"]*)"[^>]*>m\d+<', svg))
    assert len(heights) == count
    assert all(below - above >= 10.5 for above, below in pairwise(heights))


def test_intervals_stand_beside_their_values() -> None:
    text = PageReader(picture_in_page(ROWS, "i")).text
    assert "2.000  (1.900 – 2.100)" in text
    assert "2.500" in text


@pytest.mark.filterwarnings("error")
def test_constant_single_and_extreme_points_can_be_drawn() -> None:
    extreme = [(0.0, 1.0), (1e9, 1e304)]
    for points in ([(3.0, 2.0)], [(0.0, 2.0), (1.0, 2.0)], extreme):
        chart = LineChart("t", "x", "y", [Series("flat", points, 0)], y_logarithmic=True)
        assert "flat" in PageReader(picture_in_page(chart, "i")).text


def test_letters_can_be_read_on_a_telephone() -> None:
    """A screen of 360 pixels leaves 328 to a picture."""
    for chart in (CHART, ROWS):
        svg = picture_in_page(chart, "i")
        width = numbers(re.search(r'viewBox="([^"]*)"', svg)[1])[2]  # type: ignore[index]
        sizes = [float(size) for size in re.findall(r"font[^\"]*?([\d.]+)px", svg)]
        assert min(sizes) * 328 / width >= 10
