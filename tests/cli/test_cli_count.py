"""``lm count``, and ``lm train ngram --counts``, as a user types them."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from hardening.command import Run

BOUNDARIES = ("--stream", "--lines", "--documents")


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory, play: str) -> Path:
    """A folder with the files of two days; the first has no line end at its end."""
    folder = tmp_path_factory.mktemp("texts")
    for day, text in (("monday", play[:9_000]), ("tuesday", play[9_000:15_000])):
        (folder / f"{day}.txt").write_text(text, "utf-8")
    return folder


@pytest.fixture
def in_texts(texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder as the current one, with the texts in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LM_MODELS", raising=False)
    for text in texts.iterdir():
        (tmp_path / text.name).symlink_to(text)
    return tmp_path


def arrays(name: str) -> dict[str, np.ndarray[Any, Any]]:
    return load_file(f"models/{name}.safetensors")


def assert_same_arrays(name: str, other: str) -> None:
    ours, theirs = arrays(name), arrays(other)
    assert ours.keys() == theirs.keys()
    assert [each for each in ours if ours[each].tobytes() != theirs[each].tobytes()] == []


def test_counts_are_added_to_a_file_or_a_list(lm: Run, in_texts: Path) -> None:
    days = [f"{day}.counts" for day in ("monday", "tuesday")]
    assert lm("count", "monday.txt", "--lines", "--n", 4, "-o", days[0]).done
    assert lm("count", "tuesday.txt", "--like", days[0], "--n", 4, "-o", days[1]).done
    said = lm("count", "--counts", *days, "-o", "both.counts").done.out
    whole = lm("count", "monday.txt", "tuesday.txt", "--lines", "--n", 4, "-o", "whole.counts")
    assert said.splitlines()[0].split(" of ")[0] == whole.done.out.splitlines()[0].split(" of ")[0]
    assert "--n 4" in said
    for name in ("both", "whole"):
        assert lm("train", "ngram", "--counts", f"{name}.counts", "--n", 4, "--name", name).done
    assert_same_arrays("both", "whole")
    lines = lm("count", "--counts", *days, "--n", 2).done.out.splitlines()
    text = lm("count", "monday.txt", "tuesday.txt", "--lines", "--n", 2).done.out.splitlines()
    assert sorted(lines) == sorted(text)
    for option, value in (("--like", "x"), ("--memory", "1G"), ("--threads", 2)):
        refused = lm("count", "--counts", *days, option, value)
        assert refused.code == 2
        assert f"leave out {option}" in refused.err
    assert "--counts needs files of counts" in lm("count", "--counts").err


@pytest.mark.parametrize("boundaries", BOUNDARIES)
def test_counts_of_two_days_make_the_model_of_both_texts(
    lm: Run, in_texts: Path, boundaries: str
) -> None:
    counted = ("--n", 4, "-o")
    assert lm("count", "monday.txt", boundaries, *counted, "monday.counts").done
    assert lm("count", "tuesday.txt", "--like", "monday.counts", *counted, "tuesday.counts").done
    both = ("monday.counts", "tuesday.counts")
    trained = lm("train", "ngram", "--counts", *both, "--n", 4, "--name", "counts", "--json").done
    text = ("monday.txt", "tuesday.txt", boundaries, "--valid", 0)
    expected = lm("train", "ngram", *text, "--n", 4, "--name", "text", "--json").done
    assert_same_arrays("counts", "text")
    found, wanted = (json.loads(each.out) for each in (trained, expected))
    assert (found["tokens"], found["vocabulary"]) == (wanted["tokens"], wanted["vocabulary"])
    assert found["corpus"] == "monday.counts, tuesday.counts"
    more = ("--smoothing", "katz", "--min-count", 2, "--n", 3)
    assert lm("train", "ngram", "--counts", *both, *more, "--name", "counts").done
    assert lm("train", "ngram", *text, *more, "--name", "text").done
    assert_same_arrays("counts", "text")


def test_counts_within_memory_are_the_same(lm: Run, in_texts: Path) -> None:
    memory = ("--memory", "2G", "--threads", 2)
    for day, more in (("monday", ()), ("tuesday", ("--like", "monday.counts"))):
        assert lm("count", f"{day}.txt", *more, "-o", f"{day}.counts").done
        assert lm("count", f"{day}.txt", *more, *memory, "-o", f"{day}-parts.counts").done
        ours, expected = (load_file(f"{day}{name}.counts") for name in ("-parts", ""))
        assert all(ours[name].tobytes() == array.tobytes() for name, array in expected.items())
    lines = ("count", "monday.txt", "--lines", "--min", 2)
    assert lm(*lines, *memory).done.out == lm(*lines).done.out
    assert lm("count", "monday.txt", "--lines", "-o", "list.tsv.gz").done
    for name, more in (("listed", ()), ("listed-parts", memory)):
        assert lm("train", "ngram", "--counts", "list.tsv.gz", *more, "--name", name).done
    assert_same_arrays("listed-parts", "listed")
    both = ("train", "ngram", "--counts", "monday-parts.counts", "tuesday-parts.counts")
    for name, more in (("whole", ()), ("parts", memory)):
        assert lm(*both, *more, "--smoothing", "katz", "--name", name).done
    assert_same_arrays("parts", "whole")


def test_tokens_of_bpe_are_learned_once(lm: Run, in_texts: Path) -> None:
    """Counts like those of Monday have its tokens; others cannot be added to them."""
    bpe = ("--tokenizer", "bpe", "--bpe-size", 300)
    assert lm("count", "monday.txt", *bpe, "-o", "monday.counts").done
    assert lm("count", "tuesday.txt", "--like", "monday.counts", "-o", "tuesday.counts").done
    assert lm("train", "ngram", "--counts", "monday.counts", "tuesday.counts").done
    assert lm("count", "tuesday.txt", *bpe, "-o", "other.counts").done
    refused = lm("train", "ngram", "--counts", "monday.counts", "other.counts", "-q")
    assert "monday.counts and other.counts read text differently" in refused.error
    assert "--like the other" in refused.error


@pytest.mark.parametrize("name", ["counts.tsv", "counts.tsv.gz"])
def test_counts_as_text_make_the_model_of_the_text(lm: Run, in_texts: Path, name: str) -> None:
    assert lm("count", "monday.txt", "--lines", "-o", name).done
    assert lm("train", "ngram", "--counts", name, "--tokenizer", "word", "--name", "counts").done
    assert lm("train", "ngram", "monday.txt", "--lines", "--valid", 0, "--name", "text").done
    assert_same_arrays("counts", "text")
    info = json.loads(lm("info", "counts", "--json").done.out)
    assert name in json.dumps(info)


def test_counts_go_through_a_pipe(lm: Run, in_texts: Path) -> None:
    written = lm("count", "monday.txt", "--tokenizer", "char").done.out
    trained = lm(
        *("train", "ngram", "--counts", "-", "--tokenizer", "char", "--name", "counts"),
        stdin=written.encode(),
    )
    assert trained.code == 0
    text = ("monday.txt", "--tokenizer", "char", "--valid", 0, "--name", "text")
    assert lm("train", "ngram", *text).done
    assert_same_arrays("counts", "text")


def test_the_lines_are_those_that_srilm_reads(lm: Run, in_texts: Path) -> None:
    small = ("--lines", "--n", 2, "--tokenizer", "whitespace")
    counted = lm("count", "-", *small, stdin=b"b a\nb\n").done.out
    expected = ["<s>\t2", "</s>\t2", "b\t2", "a\t1"]
    expected += ["<s> b\t2", "b </s>\t1", "b a\t1", "a </s>\t1"]
    assert counted.splitlines() == expected
    frequent = lm("count", "-", *small, "--min", 2, "--json", stdin=b"b a\nb\n").done.out
    rows = [json.loads(line) for line in frequent.splitlines()]
    assert rows[-1] == {"ngram": "<s> b", "count": 2} and len(rows) == 4


def test_frequent_counts_alone_make_another_model(lm: Run, in_texts: Path) -> None:
    assert lm("count", "monday.txt", "--min", 2, "-o", "frequent.tsv").done
    assert lm("train", "ngram", "--counts", "frequent.tsv", "--name", "frequent").done
    assert lm("check", "frequent").code == 0


def test_a_model_can_say_how_counts_are_read(lm: Run, in_texts: Path) -> None:
    assert lm("train", "ngram", "monday.txt", "--name", "monday").done
    assert lm("count", "tuesday.txt", "--like", "monday", "-o", "tuesday.counts").done
    assert lm("count", "tuesday.txt", "-o", "tuesday.tsv").done
    assert lm("train", "ngram", "--counts", "tuesday.counts", "--name", "ours").done
    like = ("--like", "monday", "--name", "listed")
    assert lm("train", "ngram", "--counts", "tuesday.tsv", *like).done
    assert_same_arrays("ours", "listed")
    assert lm("mix", "monday", "ours", "--text", "tuesday.txt", "--name", "both").done


def test_a_text_may_validate_what_was_counted(lm: Run, in_texts: Path) -> None:
    assert lm("count", "monday.txt", "-o", "monday.counts").done
    valid = ("--valid", "tuesday.txt", "--json")
    trained = json.loads(lm("train", "ngram", "--counts", "monday.counts", *valid).done.out)
    text = json.loads(lm("train", "ngram", "monday.txt", "--name", "text", *valid).done.out)
    assert trained["validation"] == text["validation"]
    assert "--valid FILE reads another" in lm("train", "ngram", "--counts", "monday.counts").out


def test_what_was_counted_is_said(lm: Run, in_texts: Path) -> None:
    said = lm("count", "monday.txt", "-o", "monday.counts").done.out.splitlines()
    assert said[0].startswith("counted ") and "of monday.txt" in said[0]
    assert said[1].startswith("saved       monday.counts (")
    assert said[2] == "next        lm train ngram --counts monday.counts --n 3"
    facts = json.loads(lm("count", "monday.txt", "-o", "c.gz", "--n", 2, "--json").done.out)
    assert facts["file"] == "c.gz" and facts["order"] == 2
    assert facts["bytes"] == Path("c.gz").stat().st_size
    assert gzip.decompress(Path("c.gz").read_bytes()).count(b"\n") > facts["vocabulary"] - 3


@pytest.mark.parametrize(
    ("options", "said", "code"),
    [
        (("--smoothing", "jelinek-mercer"), "--smoothing jelinek-mercer fits its weights", 2),
        (("--memory", "1M"), "--memory 1M is too little for a text of", 2),
        (("--valid", "0.1"), "--valid 0.1 is a share of the text, and --counts hold no text", 2),
        (("--valid-by", "random"), "leave out --valid-by", 2),
        (("--n", 4), "monday.counts has n-grams of at most 3 words, and --n is 4", 1),
        (("--tokenizer", "char"), "monday.counts has the tokenizer word, not char", 2),
        (("--documents",), "monday.counts has the boundaries stream, not documents", 2),
        (("play.txt",), "play.txt: no such file", 1),
        (("monday.txt",), "monday.txt, line 1: 'Citizen:'", 1),
        (("-",), "standard input (`-`) is not piped in", 1),
    ],
)
def test_what_does_not_go_together_is_refused_in_one_line(
    lm: Run, in_texts: Path, options: tuple[object, ...], said: str, code: int
) -> None:
    assert lm("count", "monday.txt", "-o", "monday.counts").done
    refused = lm("train", "ngram", "--counts", "monday.counts", *options, "-q")
    assert (refused.code, said in refused.only_line) == (code, True), refused
    assert not list(Path().glob("models/*"))


def test_a_damaged_file_is_refused_in_one_line(lm: Run, in_texts: Path) -> None:
    assert lm("count", "monday.txt", "-o", "monday.counts").done
    whole = Path("monday.counts").read_bytes()
    Path("monday.counts").write_bytes(whole[:-1])
    assert "monday.counts was cut short" in lm("train", "ngram", "--counts", "monday.counts").error
    Path("monday.counts").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert "checksum" in lm("count", "tuesday.txt", "--like", "monday.counts").error
    assert "but no model" in lm("info", "./monday.counts").error


@pytest.mark.parametrize(
    ("options", "said", "code"),
    [
        (("-o", "c.counts", "--min", 2), "leave out --min", 2),
        (("--like", "monday.counts", "--lines"), "--like takes the tokens of monday.counts", 2),
        (("--like", "missing.counts"), "cannot read missing.counts", 1),
        (("-o", "missing/c.counts"), "cannot write missing/c.counts", 1),
        (("-o", "missing/c.tsv"), "cannot write missing/c.tsv", 1),
        (("--n", 0), "--n", 2),
    ],
)
def test_counting_that_cannot_be_is_refused(
    lm: Run, in_texts: Path, options: tuple[object, ...], said: str, code: int
) -> None:
    refused = lm("count", "monday.txt", *options)
    assert refused.code == code and said in refused.err
    assert "Traceback" not in refused.err


def test_a_reader_that_has_gone_ends_the_counting(lm_process: Run, texts: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    counted = lm_process("count", texts / "monday.txt", out=write)
    os.close(write)
    assert counted.code == 0 and not counted.err
