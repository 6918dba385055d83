"""The picture of a computation graph: boxes that do not touch, arrows that end at them, a page."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from chromium import EXECUTABLE, Chromium
from page_reader import PageReader
from report_models import HOSTILE, trained_ngram

from lmsuite.analysis.network_trace import NetworkTrace, trace_network
from lmsuite.analysis.ngram_trace import NgramTracer
from lmsuite.models.feedforward import FeedForward, FeedForwardSettings
from lmsuite.models.neural import NeuralModel
from lmsuite.models.recurrent import Recurrent, RecurrentSettings
from lmsuite.nn.graph import Node
from lmsuite.report.graph_layout import HEIGHT, WIDTH, layout
from lmsuite.report.pages import fractions_page, graph_page
from lmsuite.report.traces import corner, node_row, number, unit_lines
from lmsuite.text.encoding import TextEncoder, TextSettings

NETWORKS = {
    "ffnn": FeedForwardSettings(context=3, embed=2, hidden=(3, 4), direct=True),
    "lstm": RecurrentSettings(cell="lstm", hidden=3, embed=3, layers=2, tied=True),
    "gru": RecurrentSettings(cell="gru", hidden=3, embed=2),
    "elman": RecurrentSettings(cell="elman", hidden=3, embed=2),
}


def traced(name: str) -> NetworkTrace:
    encoder, _ = TextEncoder.train(f"my lord {HOSTILE}\n" * 3, TextSettings())
    kind: type[NeuralModel] = FeedForward if name == "ffnn" else Recurrent
    model = kind.initial(encoder, NETWORKS[name], np.random.default_rng(1))
    return trace_network(model, f"my lord {HOSTILE}")


@pytest.fixture(scope="module", params=NETWORKS)
def trace(request: pytest.FixtureRequest) -> NetworkTrace:
    return traced(request.param)


def test_boxes_stand_apart_and_every_arrow_ends_at_two(trace: NetworkTrace) -> None:
    step = trace.steps[1]
    graph = layout(step.nodes)
    for one, other in combinations(graph.boxes, 2):
        assert abs(one.x - other.x) >= WIDTH or abs(one.y - other.y) >= HEIGHT
    for box in graph.boxes:
        assert 0 <= box.x <= graph.width - WIDTH
        assert 0 <= box.y <= graph.height - HEIGHT
    assert {box.node for box in graph.boxes} >= set(step.nodes)
    at = {(round(box.x + WIDTH / 2), round(box.y)): box for box in graph.boxes}
    joined = set()
    for arrow in graph.arrows:
        numbers = [float(n) for n in re.findall(r"-?[\d.]+", arrow)]
        begin, end = numbers[:2], numbers[-2:]
        source, target = at[begin[0], begin[1] - HEIGHT], at[end[0], end[1] + 7]
        joined.add((source.node, target.node))
        assert begin[1] < end[1]
    expected = {(edge.source, node) for node in step.nodes for edge in node.edges}
    assert joined >= expected


def test_a_long_arrow_passes_between_the_boxes(trace: NetworkTrace) -> None:
    graph = layout(trace.steps[1].nodes)
    for arrow in graph.arrows:
        for x, begin, end in re.findall(r"(-?\d+) (-?\d+)V(-?\d+)", arrow):
            for box in graph.boxes:
                beside = float(x) <= box.x + 1 or float(x) >= box.x + WIDTH - 1
                assert beside or float(end) <= box.y or float(begin) >= box.y + HEIGHT


def test_the_pages_are_sound_and_show_texts_as_text(trace: NetworkTrace) -> None:
    page = graph_page(f"my {HOSTILE}", trace, trace.steps[-1])
    reader = PageReader(page)
    assert reader.faults == []
    assert "<script" not in page
    assert page.count('tabindex="0"') == len(layout(trace.steps[-1].nodes).boxes)
    model = trained_ngram("a", "whitespace", 2).model
    fractions = fractions_page("a", list(NgramTracer(model).trace(f"my lord {HOSTILE}")))
    reader = PageReader(fractions)
    assert reader.faults == []
    assert "<script" not in fractions


def test_numbers_in_few_digits() -> None:
    assert number(-0.123456) == "−0.1235"
    assert number(0.0) == "0"
    assert corner(np.arange(1.0, 5.0)) == "1 2 3 4"
    assert corner(np.arange(1.0, 6.0)) == "1 2 3 …"
    h = Node("a", [1.0, 2.0, 3.0, 4.0, 5.0]).tanh().named("h")
    step = traced("elman").steps[0]
    row = node_row(h, step)
    assert row[:3] == ["h = tanh(a)", "5", "0.7616 0.964 0.9951 …"]
    assert row[4] == "by a: 1 − h² = 0.42 0.07065 0.009866 …"


def test_every_unit_of_every_network_can_be_shown(trace: NetworkTrace) -> None:
    for step in trace.steps[:3]:
        lines = list(unit_lines(trace, step, trace.hidden_size - 1))
        assert len(lines) == 2 * len(step.nodes) + 1
        assert all(" = " in line for line in lines if line)


@pytest.mark.skipif(EXECUTABLE is None, reason="no Chromium on this machine")
def test_a_box_by_keyboard_in_a_browser(tmp_path: Path) -> None:
    trace = traced("lstm")
    path = tmp_path / "graph.html"
    path.write_text(graph_page("lstm", trace, trace.steps[-1]), encoding="utf-8")
    tips = "[...document.querySelectorAll('.tip')].filter(tip => tip.offsetHeight)"
    with Chromium() as browser:
        browser.open(path, width=360)
        assert browser.evaluate("document.documentElement.scrollWidth") <= 360
        assert browser.evaluate(f"{tips}.length") == 0
        browser.press("Tab")
        browser.press("Tab")
        assert browser.evaluate(f"{tips}.length") == 1
        assert "upstream gradient" in browser.evaluate(f"{tips}[0].textContent")
        assert browser.complaints == []
        assert browser.requests == [path.as_uri()]
