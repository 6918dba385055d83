"""``lm score``, ``lm convert``, ``lm info``, ``lm models``."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from hardening.command import Run

pytestmark = pytest.mark.usefixtures("in_workplace")

TEXT = "My lord, the king.\n\nWho calls a zebra?"


@pytest.mark.parametrize("model", ["words", "chars", "lines"])
def test_sentences_add_up_to_what_eval_says(lm: Run, model: str) -> None:
    scored = lm("score", model, "--in-context", stdin=TEXT.encode())
    rows = [line.split("\t") for line in scored.out.splitlines()]
    (whole,) = json.loads(lm("eval", model, "--json", stdin=TEXT.encode()).out)
    assert len(rows) == 3
    assert sum(float(row[0]) for row in rows) == pytest.approx(
        -whole["cross_entropy"] * whole["tokens"], abs=1e-3
    )
    assert sum(int(row[1]) for row in rows) == whole["tokens"]
    assert sum(int(row[2]) for row in rows) == whole["oov"]
    assert rows[0][3] == "My lord, the king."
    assert rows[1][3] == ""


def test_a_line_for_each_token(lm: Run) -> None:
    scored = lm("score", "words", "--tokens", stdin=b"My lord, a zebra\n")
    rows = [line.split("\t") for line in scored.out.splitlines()]
    assert [row[1] for row in rows] == ["My", "lord", ",", "a", "<unk>", "\\n"]
    assert all(float(row[0]) < 0 for row in rows)


@pytest.mark.parametrize("model", ["words", "chars", "lines"])
def test_a_line_is_scored_as_if_it_were_alone(lm: Run, model: str) -> None:
    """Whatever lines stand before it; a last line without its end is scored without it."""
    lines = [b"the king is here\n", b"\n", b"the king are here\n", b"My lord,\tthe  #king @crown"]
    alone = "".join(lm("score", model, stdin=line).out for line in lines)
    assert lm("score", model, stdin=b"".join(lines)).out == alone
    assert lm("score", model, stdin=b"".join(lines[::-1][1:])).out == "".join(
        alone.splitlines(keepends=True)[::-1][1:]
    )
    if model != "lines":
        assert lm("score", model, "--in-context", stdin=b"".join(lines)).out != alone


def test_a_cache_forgets_from_line_to_line_unless_it_reads_in_context(
    lm: Run, in_workplace: Path, tmp_path: Path
) -> None:
    mixed = tmp_path / "mixed.safetensors"
    options = ("--models", str(tmp_path), "--name", "mixed")
    path = str(in_workplace / "models" / "words.safetensors")
    assert lm("mix", path, "cache", "--text", str(in_workplace / "play.txt"), *options).code == 0
    one = lm("score", str(mixed), stdin=b"the crown of the king\n").out
    assert lm("score", str(mixed), stdin=b"the crown of the king\n" * 2).out == one * 2
    assert lm("score", str(mixed), "--in-context", stdin=b"the crown of the king\n" * 2).out != (
        one * 2
    )


@pytest.mark.parametrize("model", ["words", "chars", "lines"])
def test_a_line_is_printed_as_it_was_given(lm: Run, model: str) -> None:
    lines = ["#tag @user  zebra", "a\ttab, \u2423 and   spaces", "", "  x-ray  "]
    given = "\n".join(lines) + "\n"
    printed = lm("score", model, stdin=given.encode()).out.split("\n")[:-1]
    assert [line.split("\t", 3)[3] for line in printed] == lines
    as_json = lm("score", model, "--json", stdin=given.encode()).out.splitlines()
    assert [json.loads(line)["text"] for line in as_json] == lines


def test_score_as_json(lm: Run) -> None:
    sentences = [
        json.loads(line)
        for line in lm("score", "lines", "--json", stdin=TEXT.encode()).out.split("\n")[:-1]
    ]
    tokens = [
        json.loads(line)
        for line in lm("score", "lines", "--json", "--tokens", stdin=TEXT.encode()).out.split("\n")[
            :-1
        ]
    ]
    assert list(sentences[0]) == ["text", "log_prob", "tokens", "oov"]
    assert list(tokens[0]) == ["token", "id", "start", "end", "line", "log_prob"]
    assert sum(sentence["tokens"] for sentence in sentences) == len(tokens)
    assert sum(sentence["log_prob"] for sentence in sentences) == pytest.approx(
        sum(token["log_prob"] for token in tokens)
    )


def test_score_reads_a_file(lm: Run, tmp_path: Path) -> None:
    file = tmp_path / "text.txt"
    file.write_text(TEXT, encoding="utf-8")
    assert lm("score", "words", file).out == lm("score", "words", stdin=TEXT.encode()).out


@pytest.mark.parametrize("suffix", [".arpa", ".arpa.gz"])
def test_arpa_there_and_back(lm: Run, tmp_path: Path, suffix: str) -> None:
    arpa = tmp_path / f"x{suffix}"
    assert lm("convert", "lines", arpa).code == 0
    content = arpa.read_bytes()
    text = gzip.decompress(content) if suffix.endswith("gz") else content
    assert text.startswith(b"\\data\\\n")
    back = lm("convert", arpa, tmp_path / "back.safetensors")
    assert back.code == 0
    assert back.out.startswith(f"saved {tmp_path / 'back.safetensors'} (")
    tokens = b"My lord , the king .\nthe the\n"
    scores = [
        json.loads(lm("eval", model, "--json", stdin=tokens).out)[0]
        for model in (arpa, tmp_path / "back.safetensors", "lines")
    ]
    assert scores[0]["cross_entropy"] == scores[1]["cross_entropy"]
    assert scores[0]["cross_entropy"] == pytest.approx(scores[2]["cross_entropy"], rel=1e-5)
    assert json.loads(lm("info", arpa, "--json").out)["kind"] == "ngram"
    made = json.loads(lm("info", tmp_path / "back.safetensors", "--json").out)
    assert made["corpus"] == arpa.name
    assert made["command"].startswith("lm convert")


def test_a_model_file_is_copied_with_its_origin(lm: Run, tmp_path: Path) -> None:
    copy = tmp_path / "copy.safetensors"
    assert lm("convert", "words", copy).code == 0
    assert copy.read_bytes() == Path("models/words.safetensors").read_bytes()


def test_convert_refuses_other_names(lm: Run, tmp_path: Path) -> None:
    outcome = lm("convert", "words", tmp_path / "x.bin")
    assert outcome.code == 2
    assert (
        "must end in .arpa, .arpa.gz, .npz, .json, .onnx, .vec or .safetensors" in outcome.only_line
    )


def test_info_tells_what_and_how(lm: Run, workplace: Path) -> None:
    facts = json.loads(lm("info", "words", "--json").out)
    assert facts["kind"] == "ngram"
    assert facts["settings"]["order"] == 3
    assert facts["tokenizer"] == "word"
    assert facts["validation"]["perplexity"] > 1
    assert facts["command"].startswith("lm train ngram")
    shown = lm("info", "words").out
    for said in ("modified-kneser-ney", "3-grams", "discounts 3", "corpus sha256", "play.txt"):
        assert said in shown


def test_models_lists_them(lm: Run) -> None:
    listed = json.loads(lm("models", "--json").out)
    assert [model["model"] for model in listed] == ["chars", "counts", "lines", "words"]
    assert listed[3]["tokenizer"] == "word"
    assert listed[2]["boundaries"] == "lines"


def test_models_of_an_empty_folder_and_a_damaged_one(lm: Run, tmp_path: Path) -> None:
    empty = lm("models", "--models", tmp_path)
    assert (empty.code, empty.out) == (0, "")
    assert "no models in" in empty.err
    (tmp_path / "bad.safetensors").write_bytes(b"bad")
    assert "left out: " in lm("models", "--models", tmp_path).err
