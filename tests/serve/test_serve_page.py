"""The page in a browser: what it shows is what the library says, and it is only text."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chromium import EXECUTABLE, Chromium
from serving import InProcess, Server, server

from lmsuite.generation import SamplingSettings, sample
from lmsuite.models.interface import LanguageModel
from lmsuite.models.ngram import NgramModel, NgramSettings
from lmsuite.report.levels import level
from lmsuite.store.artefact import save_model
from lmsuite.text.encoding import TextEncoder, TextSettings

HOSTILE = "<img src=x onerror=alert(1)>\x1b[31m\u202e&amp; </script><b>é😀\x00\n"
READY = "document.querySelectorAll('.bars button').length"
WRITTEN = "document.getElementById('status').textContent.includes('tokens in')"


@pytest.fixture(scope="module")
def hostile() -> LanguageModel:
    """A model that writes markup, control characters and marks that turn the text around."""
    encoder, ids = TextEncoder.train(HOSTILE * 9, TextSettings(tokenizer="char"))
    return NgramModel.fit(encoder, ids, NgramSettings(order=6, smoothing="witten-bell"))


@pytest.fixture(scope="module")
def site(
    models: dict[str, LanguageModel], hostile: LanguageModel, tmp_path_factory: Any
) -> Iterator[Server]:
    if EXECUTABLE is None:
        pytest.skip("no Chromium on this machine")
    folder: Path = tmp_path_factory.mktemp("site")
    save_model(folder / "models" / "words.safetensors", models["words"])
    save_model(folder / "models" / "<b>.safetensors", hostile)
    with server(folder, "words", "<b>") as running:
        yield running


@pytest.fixture(scope="module")
def browser(site: Server) -> Iterator[Chromium]:
    with Chromium() as chromium:
        yield chromium


def written(browser: Chromium, prompt: str, **settings: Any) -> None:
    """Type a prompt and settings, and wait for the texts."""
    for name, value in settings.items():
        browser.evaluate(f"document.getElementById('{name}').value = {value}")
    browser.evaluate(f"document.getElementById('prompt').value = {json.dumps(prompt)}")
    browser.evaluate("document.getElementById('prompt').focus(); say('')")
    browser.press("Enter", control=True)
    browser.until(WRITTEN)


def test_the_text_and_its_colours(
    site: Server, browser: Chromium, models: dict[str, LanguageModel]
) -> None:
    browser.open(site.address, width=1100)
    browser.until(READY)
    written(browser, "The cow", max_tokens=40, seed=3, temperature=0.8, top_k=20)
    settings = SamplingSettings(max_tokens=40, temperature=0.8, top_k=20)
    [drawn] = sample(models["words"], "The cow", settings, 3)
    shown = browser.evaluate("document.querySelector('.text').textContent")
    assert shown.replace("↵\n", "\n") == "The cow" + drawn.text
    classes = browser.evaluate("[...document.querySelectorAll('.text .t')].map(t => t.className)")
    expected = [f"t h{level(-log_prob / math.log(2))}" for log_prob in drawn.log_probs]
    assert classes == expected
    command = browser.evaluate("asCommands()[0]")
    assert command == (
        "lm sample words --temp 0.8 --top-k 20 --max-tokens 40 --seed 3 -- 'The cow'"
    )
    assert "--temp" not in browser.evaluate("asCurl()[0]")
    assert browser.complaints == []
    assert all(url.startswith(("data:", site.address)) for url in browser.requests)


def test_the_bars_are_the_next_token(
    site: Server, browser: Chromium, models: dict[str, LanguageModel]
) -> None:
    browser.open(site.address, width=1100)
    browser.evaluate("document.getElementById('prompt').value = 'The cow had'; ask()")
    cells = "[...b.children].map(c => c.textContent)"
    row = f"[...document.querySelectorAll('.bars button')].map(b => {cells})"
    model = models["words"]
    state = model.read(model.start(1), model.encoder.encode_prompt("The cow had"))
    log_probs = model.log_probs(state)[0]
    best = log_probs.argsort()[::-1][:3]
    names = ["␣" + model.encoder.vocabulary.tokens[token] for token in best]
    browser.until(f"{row}[0]?.[0] === {json.dumps(names[0])}")
    found = browser.evaluate(row)
    assert [name for name, _ in found[:3]] == names
    assert found[0][1] == f"{100 * math.exp(log_probs[best[0]]):.1f} %"
    browser.evaluate("document.querySelector('.bars button').click()")
    assert browser.evaluate("document.getElementById('prompt').value") == "The cow had" + names[
        0
    ].replace("␣", " ")


def test_a_token_is_where_the_text_goes_on(site: Server, browser: Chromium) -> None:
    """By the keyboard: Tab reaches the text, arrows its tokens, Enter writes on from there."""
    browser.open(site.address, width=1100)
    browser.until(READY)
    written(browser, "The cow", max_tokens=12, seed=4)
    cut = browser.evaluate("[...document.querySelectorAll('.text .t')].length")
    assert cut == 12
    tokens = "[...document.querySelectorAll('.text .t')].slice(0, 3).map(t => t.textContent)"
    beginning = "".join(browser.evaluate(tokens)).replace("↵\n", "\n")
    browser.evaluate("document.querySelector('.text .t').focus(); say('')")
    browser.press("ArrowRight")
    browser.press("ArrowRight")
    details = browser.evaluate("document.getElementById('details').textContent")
    assert re.search(r"\d+\.\d\d bits", details)
    browser.press("Enter")
    browser.until(WRITTEN)
    assert browser.evaluate("document.getElementById('prompt').value") == "The cow" + beginning
    given = browser.evaluate("document.querySelector('.given').textContent")
    assert given == "The cow" + beginning


def test_a_models_text_is_only_text(
    site: Server, browser: Chromium, hostile: LanguageModel
) -> None:
    browser.open(site.address, width=1100)
    browser.until(READY)
    browser.evaluate("document.querySelectorAll('input[name=model]')[1].click()")
    written(browser, "<img ", max_tokens=200, temperature=0, seed=1)
    text = browser.evaluate("document.querySelectorAll('.text')[1].textContent")
    assert "<img src=x onerror=alert(1)>␛[31m‹U+202E›&amp; </script><b>é😀␀" in text
    assert not re.search("[\x00\x1b\u202e]", text)
    assert browser.evaluate("document.images.length") == 0
    for token in browser.evaluate(
        "[...document.querySelectorAll('.bars bdi')].map(b => b.textContent)"
    ):
        assert token.isprintable()
    [heading] = browser.evaluate(
        "[...document.querySelectorAll('#texts h3')].slice(1).map(h => h.textContent)"
    )
    assert heading == "<b>"
    assert browser.complaints == []


def test_an_error_is_told(site: Server, browser: Chromium) -> None:
    browser.open(site.address, width=1100)
    browser.until(READY)
    browser.evaluate("document.getElementById('prompt').value = '\\ud800'; write()")
    browser.until("document.querySelector('#texts .bad')?.textContent.includes('not Unicode')")


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [360, 1100])
def test_it_fits_every_screen(site: Server, browser: Chromium, width: int, dark: bool) -> None:
    browser.open(site.address, width=width, dark=dark)
    browser.until(READY)
    written(browser, "The cow " * 20, max_tokens=60)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    unnamed = browser.evaluate(
        "[...document.querySelectorAll('button, input, textarea')].filter(e => !e.textContent && "
        "!e.labels?.length && !e.getAttribute('aria-label')).length"
    )
    assert unnamed == 0


def test_the_page_has_a_policy_and_no_address_of_elsewhere(service: InProcess) -> None:
    first, second = service.get("/"), service.get("/")
    policy = first.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'nonce-")
    assert "unsafe" not in policy and "frame-ancestors 'none'" in policy
    assert policy != second.headers["content-security-policy"]
    assert not re.search(r"https?://|\burl\(|@import|\son\w+=", first.text)
