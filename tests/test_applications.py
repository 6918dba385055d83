"""Pages that go on when more has been fetched do so: here with small data of the same form."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import nltk
import pytest

import lmsuite
from docs.pages import blocks, shell

APPLICATIONS = Path(__file__).resolve().parents[1] / "docs" / "course" / "applications"


def run(page: str, folder: Path, shorter: dict[str, slice]) -> dict[str, Any]:
    """The names of a page after all of its blocks; some lists are cut once they are there."""
    names: dict[str, Any] = {}
    for block in blocks((APPLICATIONS / page).read_text(encoding="utf-8")):
        if block.kind == "sh":
            shell(block.text, folder)
        elif block.kind == "python":
            exec(block.text, names)
            for name in list(shorter):
                if name in names:
                    names[name] = names[name][shorter.pop(name)]
    return names


def test_the_tagger_reads_browns_tags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = re.findall(r"\w+|[.,]", lmsuite.read_corpus("play").text)[:4000]
    tagged = [f"{w}/{w if w in '.,' else 'np-tl' if w[0].isupper() else 'nn$'}" for w in words]
    lines = [" ".join(tagged[i : i + 20]) for i in range(0, len(tagged), 20)]
    copy = tmp_path / "nltk-brown.txt"
    copy.write_text("\t" + "\n\n\t".join(lines) + "\n")
    digest = hashlib.sha256(copy.read_bytes()).hexdigest()
    copy.with_suffix(".sha256").write_text(f"{digest}  {copy.name}\n")
    monkeypatch.setenv("LM_CACHE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    names = run("01-tagging.md", tmp_path, {"train": slice(1500), "test": slice(200)})
    printed = capsys.readouterr().out.splitlines()
    at = printed.index(next(line for line in printed[-10:] if line.startswith("most frequent")))
    baseline, network = (float(line.split()[-1].rstrip("%")) for line in printed[at : at + 2])
    assert baseline > 70 and network > 60
    assert [line.split()[0] for line in printed[at + 3 :]] == names["tagger"].labels


def test_film_reviews_are_classified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind, word in (("neg", "dull"), ("pos", "fine")):
        folder = tmp_path / "corpora" / "movie_reviews" / kind
        folder.mkdir(parents=True)
        for i in range(60):
            (folder / f"cv{i:03}_{i}.txt").write_text(f"a {word} film , number {i} of many .\n" * 3)
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    names = run("02-averaging.md", tmp_path, {"data": slice(60)})
    assert len(names["data"]) == 120
    last = capsys.readouterr().out.splitlines()[-2:]
    bayes, averaging = (float(line.split()[-1].rstrip("%")) for line in last)
    assert bayes == 100 and averaging > 70  # some dozens of updates
