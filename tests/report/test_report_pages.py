"""The page of a report: whole, self-contained, and unharmed by what models and texts hold."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from chromium import EXECUTABLE, Chromium
from page_reader import PageReader
from report_models import HOSTILE, verse

from lmsuite.analysis.explanation import explain
from lmsuite.report import pages
from lmsuite.report.findings import Findings, gather
from lmsuite.report.levels import LEVELS, level
from lmsuite.report.model_charts import TrainedModel
from lmsuite.report.pages import heatmap_page, report_page
from lmsuite.report.visible import visible

STYLESHEET = Path(pages.__file__).with_name("page.css").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def whole(findings: Findings) -> str:
    return report_page(findings, title=HOSTILE, notes=[HOSTILE], made_by=f"lm report {HOSTILE}")


@pytest.fixture(scope="module")
def browser_page(whole: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if EXECUTABLE is None:
        pytest.skip("no Chromium on this machine")
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(whole, encoding="utf-8")
    return path


def test_markup_is_sound_and_fetches_nothing(whole: str) -> None:
    reader = PageReader(whole)
    assert reader.faults == []
    assert not {"script", "iframe", "object", "form", "img"} & set(reader.tags)
    assert not re.search(r"url\(|@import|https?:", whole)


def test_every_part_is_there(whole: str) -> None:
    reader = PageReader(whole)
    parts = ["comparison", "curves", "orders", "passage", "samples", "making"]
    assert [name for name in reader.ids if name in parts] == parts
    assert reader.tags.count("h1") == 1
    assert reader.tags.count("svg") >= 3


def test_texts_are_shown_as_text(whole: str) -> None:
    reader = PageReader(whole)
    assert visible(HOSTILE) in reader.text
    assert "\x1b" not in whole
    assert "\u202e" not in whole


def test_every_class_has_a_style(whole: str) -> None:
    styled = set(re.findall(r"\.([a-z][\w-]*)", STYLESHEET))
    assert PageReader(whole).classes <= styled | {"h0"}


def test_equal_seeds_give_equal_pages(models: list[TrainedModel]) -> None:
    made = []
    for _ in range(2):
        again = gather(
            models[1:3],
            verse(30, seed=5),
            text_name="t",
            prompt="",
            seed=4,
            progress=lambda line: None,
        )
        stopped = [replace(each, seconds=1.0, tokens_per_second=1.0) for each in again.results]
        again = replace(again, results=stopped)
        made.append(report_page(again, title="t", notes=[], made_by="lm"))
    assert made[0] == made[1]


def test_lead_is_of_models_that_predict_every_character(findings: Findings) -> None:
    assert findings.lead is not None
    assert "words" not in (findings.lead.a, findings.lead.b)
    bits = {result.model: result.bits_per_char for result in findings.results}
    assert bits[findings.lead.a] < bits[findings.lead.b]


def test_one_model_without_provenance_on_one_line(models: list[TrainedModel]) -> None:
    bare = TrainedModel("bare", models[2].model)
    findings = gather(
        [bare], "my lord", text_name="t", prompt="", seed=1, progress=lambda line: None
    )
    reader = PageReader(report_page(findings, title="t", notes=[], made_by="lm"))
    assert reader.faults == []
    assert "curves" not in reader.ids
    assert "bare predicts this text with" in reader.text


def test_lede_is_careful(findings: Findings) -> None:
    first = {name: tokens[:1] for name, tokens in findings.explanations.items()}

    def words(p_value: float | None) -> str:
        assert findings.lead is not None
        bits = replace(findings.lead.bits_per_char, p_value=p_value)
        lead = replace(findings.lead, bits_per_char=bits)
        said = replace(findings, lead=lead, explanations=first)
        text = PageReader(report_page(said, title="t", notes=[], made_by="lm")).text
        return " ".join(text.split())

    sure = words(0.0005)
    assert "Of the 3 models here that predict every character, " in sure
    assert "p ≤ 0.001)." in sure
    assert "may be chance (p = 0.30)." in words(0.3)
    assert "too short to say how sure that is." in words(None)


def test_heat_map_page(models: list[TrainedModel]) -> None:
    model = models[3].model
    explanations = list(explain(model, f"my lord\n{HOSTILE}\n"))
    page = heatmap_page("my <b>title</b>", explanations, model.encoder)
    reader = PageReader(page)
    assert reader.faults == []
    assert "my <b>title</b>" in reader.text
    assert page.count('tabindex="0"') == len(explanations)


def test_levels_of_heat() -> None:
    assert [level(bits) for bits in (0, 0.49, 0.5, 3.9, 4, 100)] == [0, 0, 1, 3, 4, 7]
    assert len(LEVELS) == 7


def test_heat_map_shows_the_text_itself(findings: Findings) -> None:
    for each in findings.models:
        explained = findings.explanations[each.name]
        markup = heatmap_page("t", explained, each.model.encoder)
        assert markup.count('class="t h') == len(explained)
        assert markup.count("×") >= sum(len(one.members) for one in explained)
        assert markup.count("↵") >= 1


def _luminance(colour: str) -> float:
    """Relative luminance as WCAG 2 defines it, of #rrggbb."""
    parts = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def _contrast(one: str, other: str) -> float:
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_by_hand() -> None:
    assert _contrast("#000000", "#ffffff") == pytest.approx(21)
    assert _contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_all_letters_can_be_read(mode: str) -> None:
    blocks = re.findall(r":root \{(.*?)\}", STYLESHEET, flags=re.S)
    colours = dict(re.findall(r"--([\w-]+): (#\w{6})", blocks[mode == "dark"]))
    pairs = [(ink, ground) for ink in ("ink", "soft") for ground in ("ground", "raised")]
    pairs += [("accent", "ground"), *((f"s{n}", "ground") for n in range(6))]
    pairs += [("ink", f"h{n}") for n in range(1, 8)] + [("soft", f"h{n}") for n in range(1, 3)]
    pairs += [("tip-ink", "tip"), ("tip-soft", "tip"), ("tip-ink", "tip-bar")]
    weak = {pair: _contrast(*(colours[name] for name in pair)) for pair in pairs}
    assert {pair: ratio for pair, ratio in weak.items() if ratio < 4.5} == {}


@pytest.mark.parametrize("width", [360, 1100])
def test_no_complaint_and_no_sideways_scrolling(browser_page: Path, width: int) -> None:
    with Chromium() as browser:
        browser.open(browser_page, width=width, dark=width == 360)
        browser.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
        assert browser.complaints == []
        assert browser.requests == [browser_page.as_uri()]


def test_details_of_a_token_by_keyboard(browser_page: Path) -> None:
    tips = "[...document.querySelectorAll('.tip')].filter(tip => tip.offsetHeight)"
    with Chromium() as browser:
        browser.open(browser_page, width=360)
        browser.evaluate("document.querySelector('.skip').focus()")
        assert browser.evaluate(f"{tips}.length") == 0
        browser.press("Tab")
        assert browser.evaluate("document.activeElement.className").startswith("t h")
        assert browser.evaluate(f"{tips}.length") == 1
        assert "bits" in browser.evaluate(f"{tips}[0].textContent")
        assert browser.evaluate("document.documentElement.scrollWidth") <= 360
