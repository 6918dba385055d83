"""Charts of letters."""

from __future__ import annotations

from lmsuite.report.charts import LineChart, Place, Series, TokenMap
from lmsuite.report.terminal import lines_as_text, map_as_text

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
MAP = TokenMap(
    "m", [Place("king", -1, 0), Place("queen", -1, 0.01), Place("$x_", 1, 1)], (0.5, 0.2)
)


def test_a_line_chart() -> None:
    drawn = lines_as_text(CHART, width=60, height=10).splitlines()
    assert max(map(len, drawn)) <= 60
    assert drawn[0] == "Learning curves: perplexity"
    assert drawn[-1].strip() == "seconds"
    assert sum(line.endswith(("o $rnn$ & <b>", "x short")) for line in drawn) == 2
    body = [line[8:46] for line in drawn[1:11]]
    first = [line.rstrip() for line in body if line.strip()]
    assert first[0][0] in "ox"
    assert any("o" in line for line in body[7:])
    marks = [line.partition(" x short")[0] for line in drawn[1:11]]
    assert max(line.rfind("x") for line in marks) == 8 + 18  # 5 of 10 seconds: of 37 columns, 18


def test_constant_and_single_points() -> None:
    for points, marks in (([(3.0, 2.0)], 2), ([(0.0, 2.0), (1.0, 2.0)], 50)):
        drawn = lines_as_text(LineChart("t", "x", "y", [Series("f", points, 0)], True))
        assert drawn.count("o") >= marks
        assert drawn.rstrip("x \n").count("o f") == 1


def test_a_map_leaves_out_what_has_no_room() -> None:
    drawn = map_as_text(MAP, width=40, height=9)
    assert "king" in drawn
    assert "queen" not in drawn
    assert "$x_" in drawn
    assert max(map(len, drawn.splitlines())) <= 40
