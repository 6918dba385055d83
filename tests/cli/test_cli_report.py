"""``lm report``, as a user meets it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from hardening.command import Run


def test_report_of_two_models(lm: Run, in_workplace: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    outcome = lm("report", "words", "chars", "-o", page, "--prompt", "My lord,", "--title", "<Two>")
    assert outcome.code == 0
    assert outcome.out.startswith(f"saved {page} (")
    written = page.read_text(encoding="utf-8")
    assert "<title>&lt;Two&gt;</title>" in written
    assert "My lord," in written
    made = "lm report words chars -o"
    assert made in written
    manifest = lm("info", "words", "--json").out
    assert json.loads(manifest)["corpus_sha256"] in written
    assert list(tmp_path.iterdir()) == [page]


def test_report_has_the_footnotes_of_eval(lm: Run, in_workplace: Path, tmp_path: Path) -> None:
    lm("report", "words", "chars", "-o", tmp_path / "page.html", "-q")
    assert "compare bits/char, not perplexity" in (tmp_path / "page.html").read_text()


def test_report_on_a_text_that_is_given(lm: Run, in_workplace: Path, tmp_path: Path) -> None:
    text = tmp_path / "one line.txt"
    text.write_text("My lord, the crown is glass.\n")
    outcome = lm("report", "lines", "words", "--text", text, "-o", tmp_path / "page.html", "-q")
    assert (outcome.code, outcome.err) == (0, "")
    written = (tmp_path / "page.html").read_text()
    assert "one line.txt" in written
    assert "too short to say" in written


def test_report_of_a_model_with_zeros(lm: Run, in_workplace: Path, tmp_path: Path) -> None:
    outcome = lm("report", "words", "counts", "-o", tmp_path / "page.html", "-q")
    assert outcome.code == 0
    assert "tokens have probability zero" in (tmp_path / "page.html").read_text()


def test_report_needs_one_text(lm: Run, in_workplace: Path, tmp_path: Path) -> None:
    error = lm("report", "words", "lines", "-o", tmp_path / "page.html").error
    assert "--text FILE" in error
    assert list(tmp_path.iterdir()) == []


def test_report_refuses_equal_names(lm: Run, in_workplace: Path, tmp_path: Path) -> None:
    (tmp_path / "words.safetensors").write_bytes(Path("models/words.safetensors").read_bytes())
    outcome = lm("report", "words", tmp_path / "words.safetensors", "-o", tmp_path / "page.html")
    assert outcome.code == 2
    assert "two of these models are called words" in outcome.only_line


def test_report_that_cannot_be_written(lm: Run, in_workplace: Path) -> None:
    outcome = lm("report", "words", "-o", "missing/page.html", "-q")
    assert outcome.error.startswith("cannot write missing/page.html")


def test_report_of_an_empty_text(lm: Run, in_workplace: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    outcome = lm("report", "words", "--text", tmp_path / "empty.txt", "-o", tmp_path / "page.html")
    assert "empty" in outcome.error


def test_report_says_what_a_mixture_has_seen(lm: Run, workplace: Path, tmp_path: Path) -> None:
    models = tmp_path / "models"
    shutil.copytree(workplace / "models", models)
    assert lm("mix", "words", "cache", "--name", "mix", "--models", models).code == 0
    lm("report", "words", "mix", "-o", tmp_path / "page.html", "--models", models, "-q")
    assert "mix has its weights from this very text" in (tmp_path / "page.html").read_text()
