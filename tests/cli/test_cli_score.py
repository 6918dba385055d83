"""``lm score``: ids, words, several models, bases; ``lm compare --pairs``."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path

import pytest

from hardening.command import Run

pytestmark = pytest.mark.usefixtures("in_workplace")

NBEST = 'utt-1 My lord, the king\nutt-2\t the "cat"  sat \nutt-3\n'


@pytest.fixture
def nbest(tmp_path: Path) -> str:
    path = tmp_path / "nbest.txt"
    path.write_text(NBEST)
    return str(path)


@pytest.fixture
def sentences(tmp_path: Path) -> str:
    path = tmp_path / "sentences.txt"
    path.write_text('My lord, the king\nthe "cat"  sat \n\n')
    return str(path)


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text), delimiter="\t"))


@pytest.mark.parametrize("model", ["words", "chars", "lines"])
@pytest.mark.parametrize("how", [(), ("--tokens",), ("--words",)])
@pytest.mark.parametrize("form", [(), ("--json",)])
def test_ids_are_carried_through_and_not_scored(
    lm: Run, nbest: str, sentences: str, model: str, how: tuple[str, ...], form: tuple[str, ...]
) -> None:
    with_ids = lm("score", model, nbest, "--ids", *how, *form).done.out.splitlines()
    without = lm("score", model, sentences, *how, *form).done.out.splitlines()
    assert len(with_ids) == len(without)
    if form:
        rows = [json.loads(line) for line in with_ids]
        ids = [row.pop("sentence_id") for row in rows]
        assert rows == [json.loads(line) for line in without]
    else:
        ids, rest = zip(*(line.split("\t", 1) for line in with_ids), strict=True)
        assert list(rest) == without
    assert list(dict.fromkeys(ids)) == ["utt-1", "utt-2", "utt-3"]


def test_a_line_without_an_id_is_named(lm: Run) -> None:
    outcome = lm("score", "words", "--ids", stdin=b"u1 a\n\nu2 b\n")
    assert outcome.code == 1
    assert "line 2: no id" in outcome.error


@pytest.mark.parametrize("eos", [(), ("--no-eos",)])
@pytest.mark.parametrize("base", [None, "e", "2", "10"])
@pytest.mark.parametrize("model", ["words", "chars", "lines"])
def test_words_add_up_to_their_sentence(
    lm: Run, sentences: str, model: str, base: str | None, eos: tuple[str, ...]
) -> None:
    of_base = ("--base", base) if base else ()
    whole = lm("score", model, sentences, "--json", "--base", base or "2", *eos).done.out
    by_words = table(lm("score", model, sentences, "--words", "--tsv", *of_base, *eos).done.out)
    for number, line in enumerate(map(json.loads, whole.splitlines()), start=1):
        words = [row for row in by_words if row["sentence"] == str(number)]
        total = sum(float(row["surprisal"]) for row in words)
        assert total == pytest.approx(-line["log_prob"], abs=1e-3)
        assert sum(int(row["tokens"]) for row in words) == line["tokens"]
        assert sum(int(row["oov"]) for row in words) == line["oov"]
        assert [row["position"] for row in words] == [str(n + 1) for n in range(len(words))]
        spelled = [row["word"] for row in words][: None if eos else -1]
        assert spelled == line["text"].split()


def test_bases_and_ends(lm: Run, sentences: str) -> None:
    def of_first(*options: str) -> list[str]:
        return lm("score", "lines", sentences, *options).done.out.splitlines()[0].split("\t")

    nats, tokens, oov, text = of_first()
    assert float(of_first("--base", "10")[0]) * math.log(10) == pytest.approx(float(nats), abs=1e-3)
    end = lm("score", "lines", sentences, "--tokens").done.out.splitlines()[int(tokens) - 1]
    without = of_first("--no-eos")
    assert end.endswith("</s>")
    assert float(without[0]) == pytest.approx(float(nats) - float(end.split("\t")[0]), abs=2e-4)
    assert without[1:] == [str(int(tokens) - 1), oov, text]


def test_several_models_have_a_column_each(lm: Run, sentences: str) -> None:
    models = ("words", "chars", "lines")
    alone = [lm("score", model, sentences).done.out.splitlines() for model in models]
    together = lm("score", *models, sentences).done.out.splitlines()
    for of_models, row in zip(zip(*alone, strict=True), together, strict=True):
        assert row.split("\t")[:3] == [line.split("\t")[0] for line in of_models]
        assert row.split("\t")[3:] == [of_models[0].split("\t")[3]]
    rows = table(lm("score", *models, "-", "--tsv", stdin=b"the king\n").done.out)
    assert list(rows[0]) == ["log_prob_words", "log_prob_chars", "log_prob_lines", "text"]
    words = table(lm("score", *models, sentences, "--words", "--tsv").done.out)
    for model in models:
        own = table(lm("score", model, sentences, "--words", "--tsv").done.out)
        assert [row[f"surprisal_{model}"] for row in words] == [row["surprisal"] for row in own]
    [line] = lm("score", *models, "-", "--json", stdin=b"the king\n").done.out.splitlines()
    assert list(json.loads(line)["models"]) == list(models)


def test_tokens_of_several_models_need_the_same_tokens(lm: Run, sentences: str) -> None:
    alike = lm("score", "words", "counts", sentences, "--tokens").done.out
    assert all(len(line.split("\t")) == 3 for line in alike.splitlines())
    outcome = lm("score", "words", "chars", sentences, "--tokens")
    assert outcome.code == 2
    assert "words and chars have different tokens" in outcome.err


def test_what_is_a_model_and_what_the_text(lm: Run, sentences: str) -> None:
    outcome = lm("score", "words", "chars", stdin=b"the king\n")
    assert outcome.code == 2
    assert "chars is a model; give the text as the last argument" in outcome.err
    for options in (("--tokens", "--words"), ("--tsv", "--json")):
        assert "exclude each other" in lm("score", "words", sentences, *options).err


def test_a_table_is_read_by_pandas_and_r(lm: Run, tmp_path: Path) -> None:
    """A quotation mark in a word is quoted, so that it does not open a field."""
    out = lm("score", "words", "--words", "--tsv", stdin=b'say " and "yes"\n').done.out
    assert [row["word"] for row in table(out)] == ["say", '"', "and", '"yes"', "\\n"]
    assert out.splitlines()[0] == "sentence\tposition\tword\tsurprisal\ttokens\toov"


def test_pairs_are_judged_and_models_compared(lm: Run, tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text("the king\tking the\nto the\tthe to\nmy lord\tmy lord\nzq\tthe\n")
    [row] = json.loads(lm("compare", "words", "--pairs", pairs, "--json").done.out)["models"]
    scores = [
        [
            float(lm("score", "words", stdin=f"{each}\n".encode()).done.out.split("\t")[0])
            for each in line.split("\t")
        ]
        for line in pairs.read_text().splitlines()
    ]
    for own, expected in zip(row["log_probs"], scores, strict=True):
        assert own == pytest.approx(expected, abs=1e-4)
    assert row["ties"] == 1
    assert row["accuracy"] == sum(good > bad for good, bad in scores) / 4
    shown = lm("compare", "words", "chars", "lines", "--pairs", pairs).done.out
    assert shown.splitlines()[0].split() == [
        *("model", "pairs", "right", "accuracy", "95", "%", "interval", "ties")
    ]
    assert len(shown.splitlines()) == 4
    assert "McNemar" in lm("compare", "words", "chars", "--pairs", pairs).done.out


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("p.tsv", "a\tb\nc\n", "line 2: 1 columns"),
        ("p.tsv", "a\t \n", "line 1: an empty one"),
        ("p.csv", '"a, b",c\nd,e,f\n', "line 2: 3 columns"),
        ("p.csv", '"a, b"x,c\n', "line 1"),
        ("p.tsv", "", "has no pairs"),
    ],
)
def test_pairs_of_unequal_columns_are_named(
    lm: Run, tmp_path: Path, name: str, text: str, message: str
) -> None:
    (tmp_path / name).write_text(text)
    outcome = lm("compare", "words", "--pairs", tmp_path / name)
    assert outcome.code == 1
    assert message in outcome.error
    assert "--text" in lm("compare", "words", "--pairs", "p", "--text", "t").err
    assert "two models" in lm("compare", "words").err
