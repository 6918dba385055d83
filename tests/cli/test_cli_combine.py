"""Going on from a model, mixtures of all kinds, ARPA files in, vocabularies out."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import lmsuite
from hardening.command import Run

TINY = ("--hidden", 16, "--embed", 16, "--epochs", 1, "--threads", 1)


@pytest.fixture
def folder(tmp_path: Path, play: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder as the current one, with two texts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LM_MODELS", raising=False)
    Path("one.txt").write_text(play[:9_000], "utf-8")
    Path("two.txt").write_text("Zounds, a €!\n" + play[60_000:66_000], "utf-8")
    return tmp_path


def do(lm: Run, *words: Any) -> None:
    """The command, which succeeds."""
    assert lm(*words).done


def arrays(name: str) -> dict[str, np.ndarray[Any, Any]]:
    return load_file(f"models/{name}.safetensors")


def evaluated(lm: Run, model: str, text: str = "two.txt") -> dict[str, Any]:
    (row,) = json.loads(lm("eval", model, "--text", text, "--json").done.out)
    return {name: row[name] for name in ("tokens", "oov", "cross_entropy", "chars")}


def refused(lm: Run, *words: Any, says: str, code: int = 2) -> None:
    before = sorted(Path().rglob("*"))
    outcome = lm(*words)
    assert outcome.code == code, outcome.err
    assert says in outcome.only_line
    assert sorted(Path().rglob("*")) == before


# Continue


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("boundaries", ["--stream", "--lines", "--documents"])
def test_from_an_ngram_model_and_a_second_text_comes_the_model_of_both(
    lm: Run, boundaries: str
) -> None:
    how = (boundaries, "--n", 4, "--valid", 0)
    do(lm, "train", "ngram", "one.txt", *how, "--keep-counts", "--name", "one")
    done = lm("train", "ngram", "--from", "one", "two.txt", "--valid", 0, "--name", "both").done
    assert "tokens of two.txt and the text of one" in done.out
    do(lm, "train", "ngram", "one.txt", "two.txt", *how, "--name", "text")
    ours, theirs = arrays("both"), arrays("text")
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if ours[name].tobytes() != theirs[name].tobytes()] == []
    shown = lm("info", "both").done.out
    assert "continued from" in shown
    assert "lm train ngram one.txt" in shown


@pytest.mark.usefixtures("folder")
def test_what_an_ngram_model_needs_to_go_on_is_said(lm: Run) -> None:
    train = ("train", "ngram")
    do(lm, *train, "one.txt", "--name", "bare")
    do(lm, *train, "one.txt", "--name", "one", "--keep-counts")
    start = (*train, "--from", "one", "--name", "new")
    refused(lm, *train, "--from", "bare", "two.txt", "--name", "new",
            says="bare does not keep the counts of its text", code=1)  # fmt: skip
    refused(lm, *start, says="--from one adds a second text to that of the model; name the text")
    refused(lm, *start, "two.txt", "--n", 5, says="--n 5 is above 3, the order of the counts")
    refused(lm, *start, "two.txt", "--like", "bare", says="takes the tokens of one; leave out --l")
    refused(lm, *start, "two.txt", "--tokenizer", "char", says="leave out --tokenizer")
    refused(lm, *start, "two.txt", "--memory", "1G", says="--memory is for a text alone")
    refused(lm, *start, "two.txt", "--counts", says="--from adds a text, not --counts")
    refused(lm, *train, "two.txt", "--weight", 2, says="--weight needs --from MODEL")
    refused(lm, "train", "rnn", "--from", "one", "two.txt",
            says="one is a ngram model, not rnn; go on from it with lm train ngram")  # fmt: skip
    weighted = lm(*start, "two.txt", "--weight", 4, "--smoothing", "katz", "--n", 2).done
    assert "perplexity" in weighted.out
    facts = json.loads(lm("info", "new", "--json").done.out)
    assert facts["settings"]["order"] == 2
    assert [each["model"] for each in facts["continued from"]] == ["one"]


@pytest.mark.usefixtures("folder")
def test_a_network_goes_on_with_its_text_or_with_another(lm: Run) -> None:
    made = ("train", "rnn", "one.txt", "--tokenizer", "char", *TINY, "--name", "first")
    do(lm, *made)
    first = json.loads(lm("info", "first", "--json").done.out)
    again = ("train", "rnn", "--from", "first", "--threads", 1)
    do(lm, *again, "--epochs", 2, "--lr", 0.01, "--name", "longer")
    longer = json.loads(lm("info", "longer", "--json").done.out)
    assert longer["corpus"] == "one.txt"
    assert longer["validation"]["sha256"] == first["validation"]["sha256"]
    assert longer["validation"]["perplexity"] < first["validation"]["perplexity"]
    [ancestor] = longer["continued from"]
    assert ancestor["model"] == "first"
    assert ancestor["perplexity"] == pytest.approx(first["validation"]["perplexity"])
    grow = ("two.txt", "--grow-vocab", "--epochs", 0.2, "--name", "grown")
    done = lm(*again, *grow).done
    assert "new tokens join the vocabulary" in done.err
    old, new = first["vocabulary"], json.loads(lm("info", "grown", "--json").done.out)["vocabulary"]
    assert new > old
    assert lm("vocab", "grown").done.out.splitlines()[old - 3 :]
    assert "€" in lm("vocab", "grown").done.out.splitlines()[old - 3 :]
    assert lm("sample", "grown", "--max-tokens", 5, "--seed", 1).done.out
    refused(
        lm, *again, "two.txt", "--hidden", 17, says="--hidden 17 contradicts the model of --fro"
    )
    refused(lm, *again, "--bpe-size", 300, says="leave out --bpe-size")
    refused(lm, "train", "rnn", "two.txt", "--grow-vocab", says="--grow-vocab needs --from MODEL")
    Path("one.txt").write_text("another text\n" * 9)
    refused(lm, *again, says="first was trained on one.txt, which is not the same any more", code=1)
    Path("one.txt").unlink()
    refused(lm, *again, says="one.txt: no such file", code=1)


@pytest.mark.usefixtures("folder")
def test_a_training_that_goes_on_ends_with_the_same_bits_each_time(lm: Run) -> None:
    do(lm, "train", "ffnn", "one.txt", "--tokenizer", "char", "--context", 3, "--hidden", 8,
       "--epochs", 1, "--threads", 1, "--name", "first")  # fmt: skip
    again = ("train", "ffnn", "--from", "first", "two.txt", "--epochs", 1, "--threads", 1)
    do(lm, *again, "--name", "whole")
    do(lm, *again, "--name", "whole2")
    ours, theirs = arrays("whole"), arrays("whole2")
    assert [name for name in ours if ours[name].tobytes() != theirs[name].tobytes()] == []
    assert lm(*again, "--name", "fresh", "--resume").code == 0  # nothing to resume yet
    assert (arrays("fresh")["model.output.b"] == ours["model.output.b"]).all()


@pytest.mark.slow
def test_going_on_with_another_author_beats_beginning_anew_and_staying(
    lm: Run, folder: Path, play: str, shared: Path
) -> None:
    """The play, then Shakespeare: the same few epochs over the second text."""
    other = (shared / "corpora" / "tinyshakespeare" / "train.txt").read_text("utf-8")
    (folder / "play.txt").write_text(play[:80_000], "utf-8")
    (folder / "other.txt").write_text(other[:60_000], "utf-8")
    (folder / "held.txt").write_text(other[60_000:70_000], "utf-8")
    size = ("--hidden", 64, "--embed", 32, "--threads", 1, "--tokenizer", "char", "--valid", 0)
    do(lm, "train", "rnn", "play.txt", *size, "--epochs", 4, "--name", "first")
    further = ("--from", "first", "--grow-vocab", "--threads", 1, "--valid", 0)
    do(lm, "train", "rnn", *further, "other.txt", "--epochs", 2, "--name", "on")
    do(lm, "train", "rnn", *size, "other.txt", "--epochs", 2, "--name", "anew")
    nats = {name: evaluated(lm, name, "held.txt") for name in ("first", "on", "anew")}
    found = {name: row["cross_entropy"] for name, row in nats.items()}
    assert found["on"] < found["anew"]
    assert found["on"] < found["first"]


# Import and vocabularies


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    "reading",
    [
        ("--tokenizer", "word"),
        ("--tokenizer", "word", "--lines"),
        ("--tokenizer", "char"),
        ("--tokenizer", "char", "--documents"),
        ("--tokenizer", "bpe", "--bpe-size", 300),
        ("--tokenizer", "whitespace", "--lines", "--min-count", 2),
    ],
)
def test_an_exported_model_that_is_imported_again_gives_the_same_figures(
    lm: Run, reading: tuple[Any, ...]
) -> None:
    do(lm, "train", "ngram", "one.txt", *reading, "--name", "made")
    do(lm, "convert", "made", "made.arpa.gz")
    do(lm, "convert", "made.arpa.gz", "models/like.safetensors", "--like", "made")
    expected = evaluated(lm, "made")
    assert evaluated(lm, "like") == expected
    made, like = arrays("made"), arrays("like")
    assert all((made[name] == like[name]).all() for name in made if "order" in name)
    if "bpe" in reading:
        refused(lm, "convert", "made.arpa.gz", "x.safetensors", "--tokenizer", "bpe",
                says="--tokenizer bpe is learned from a text")  # fmt: skip
        return
    said = [word for word in reading if word not in ("--min-count", 2)]
    do(lm, "convert", "made.arpa.gz", "models/said.safetensors", *said)
    assert evaluated(lm, "said") == expected


@pytest.mark.usefixtures("folder")
def test_a_file_of_other_word_order_gets_the_ids_of_the_model_it_is_like(lm: Run) -> None:
    """So the two can be mixed; lmplz writes words in an order of its own."""
    do(lm, "train", "ngram", "one.txt", "--lines", "--name", "made")
    do(lm, "convert", "made", "made.arpa")
    lines = Path("made.arpa").read_text("utf-8").split("\n")
    begin = lines.index("\\1-grams:") + 1
    end = lines.index("", begin)
    lines[begin:end] = lines[begin:end][::-1]
    Path("turned.arpa").write_text("\n".join(lines), "utf-8")
    do(lm, "convert", "turned.arpa", "models/turned.safetensors", "--like", "made")
    made, turned = arrays("made"), arrays("turned")
    assert all((made[name] == turned[name]).all() for name in made if "order" in name)
    do(lm, "mix", "made", "turned", "--weights", "1,1")


@pytest.mark.usefixtures("folder")
def test_a_wrong_way_to_read_an_arpa_file_is_refused(lm: Run) -> None:
    do(lm, "train", "ngram", "one.txt", "--lines", "--name", "lines")
    do(lm, "train", "ngram", "one.txt", "--name", "stream")
    do(lm, "train", "ngram", "one.txt", "--tokenizer", "bpe", "--lines", "--name", "bpe")
    do(lm, "convert", "lines", "lines.arpa")
    do(lm, "convert", "stream", "stream.arpa")
    to = ("lines.arpa", "new.safetensors")
    refused(lm, "convert", *to, "--stream", says="gives </s> a probability, so its text was read")
    refused(lm, "convert", *to, "--like", "stream", says="lines or documents; --like says stream")
    refused(lm, "convert", "stream.arpa", "new.safetensors", "--lines",
            says="gives </s> no probability")  # fmt: skip
    refused(lm, "convert", *to, "--like", "bpe", says="has the token", code=1)
    refused(lm, "convert", *to, "--like", "lines", "--tokenizer", "word", says="leave out --token")
    refused(lm, "convert", "lines", "new.safetensors", "--tokenizer", "word",
            says="says itself how text is read")  # fmt: skip


@pytest.mark.usefixtures("folder")
def test_a_vocabulary_is_that_of_the_next_training(lm: Run) -> None:
    for options, limit in (
        ((), ()),
        (("--tokenizer", "char", "--lines"), ()),
        ((), ("--min-count", 2)),
    ):
        given = ("train", "ngram", "one.txt", *options, *limit, "--name", "made", "--keep-counts")
        do(lm, *given)
        listed = lm("vocab", "made").done.out
        Path("words.txt").write_text(listed, "utf-8")
        like = ("train", "ngram", "one.txt", *options, "--vocab", "words.txt", "--name", "like")
        do(lm, *like)
        assert (arrays("made")["text.vocabulary"] == arrays("like")["text.vocabulary"]).all()
        counted = [
            line.rsplit("\t", 1) for line in lm("vocab", "made", "--counts").done.out.split("\n")
        ]
        assert [line[0] for line in counted[:-1]] == listed.split("\n")[:-1]
        numbers = [int(line[1]) for line in counted[:-1]]
        assert numbers == sorted(numbers, reverse=True)
        rows = [json.loads(row) for row in lm("vocab", "made", "--json").done.out.splitlines()]
        assert [row["token"] for row in rows[:3]] == ["<unk>", "<s>", "</s>"]
        assert [row["count"] for row in rows[3:]] == numbers
    spelled = lm("vocab", "made", "--arpa").done.out
    assert "<0x0A>" in spelled
    refused(lm, "vocab", "like", "--counts", says="train it again with --keep-counts")


# Mix


@pytest.mark.usefixtures("folder")
def test_one_table_goes_to_an_arpa_file_or_to_a_model(lm: Run) -> None:
    do(lm, "train", "ngram", "one.txt", "--lines", "--n", 3, "--name", "one")
    do(lm, "train", "ngram", "two.txt", "--lines", "--n", 2, "--name", "two")
    do(lm, "convert", "two", "two.arpa")
    do(lm, "convert", "two.arpa", "models/imported.safetensors", "--like", "one")
    weights = ("--static", "--weights", "3,1")
    done = lm("mix", "one", "imported", *weights, "-o", "mixed.arpa").done
    assert "0.7500" in done.out
    assert lm("mix", "one", "imported", *weights, "-o", "mixed").done
    do(lm, "convert", "mixed.arpa", "models/read.safetensors", "--like", "mixed")
    ours, theirs = arrays("mixed"), arrays("read")
    assert all((ours[name] == theirs[name]).all() for name in ours if "order" in name)
    tuned = lm("mix", "one", "two", "--static", "--text", "two.txt", "--name", "t", "--json").done
    facts = json.loads(tuned.out)
    assert sum(each["weight"] for each in facts["members"]) == pytest.approx(1)
    assert facts["members"][1]["weight"] > 0.9
    best = facts["validation"]["cross_entropy"]
    do(lm, "mix", "one", "two", "--static", "--weights", "1,1", "--text", "two.txt", "-o", "e")
    assert best < evaluated(lm, "e")["cross_entropy"]
    Path("few.txt").write_text("My lord, the king.\nThe king!\n")
    do(lm, "mix", "one", "two", "--log-linear", "--text", "few.txt", "-o", "ll")
    assert "passed" in lm("check", "ll").done.out
    assert "log-linear interpolation" in lm("info", "ll").done.out


@pytest.mark.usefixtures("folder")
def test_what_cannot_be_mixed_is_named_and_nothing_is_written(lm: Run) -> None:
    do(lm, "train", "ngram", "one.txt", "--name", "words")
    do(lm, "train", "ngram", "one.txt", "--tokenizer", "char", "--name", "chars")
    do(lm, "train", "rnn", "one.txt", "--tokenizer", "char", *TINY, "--name", "net")
    do(lm, "train", "ngram", "one.txt", "--documents", "--name", "docs")
    two = ("--weights", "1,1")
    refused(lm, "mix", "chars", "net", "--static", *two, says="net is a rnn model; one table can")
    refused(lm, "mix", "words", "chars", "--static", *two,
            says="train it again with --like words", code=1)  # fmt: skip
    refused(lm, "mix", "words", "cache", "--static", *two, says="a cache is no table of n-grams")
    refused(lm, "mix", "words", "chars", *two, "-o", "x.arpa", says="add --static")
    refused(lm, "mix", "words", "chars", *two, "-o", "x", "--name", "y", says="--out and --name")
    refused(
        lm, "mix", "words", "docs", *two, says="docs predicts documents, and words lines", code=1
    )
    refused(lm, "mix", "words", "chars", "cache", "--weights", "1,1,1",
            says="train it again with --like words", code=1)  # fmt: skip


@pytest.mark.usefixtures("folder")
def test_models_of_other_words_and_of_other_tokens_are_mixed(lm: Run) -> None:
    do(lm, "train", "ngram", "one.txt", "--name", "words")
    do(lm, "train", "ngram", "one.txt", "--min-count", 2, "--name", "few")
    do(lm, "train", "rnn", "one.txt", "--tokenizer", "char", *TINY, "--name", "net")
    do(lm, "mix", "words", "few", "cache", "--name", "both")
    assert lm("sample", "both", "--max-tokens", 5, "--seed", 1).done.out
    assert "passed" in lm("check", "both").done.out
    done = lm("mix", "words", "net", "--name", "any").done
    assert "bits/char" in done.out
    assert "lm eval any" in done.out
    assert "To mix them token by token: net has other tokens than words" in done.err
    assert "--like words" in done.err
    result = json.loads(lm("info", "any", "--json").done.out)["validation"]
    (row,) = json.loads(lm("eval", "any", "--json").done.out)
    assert row["cross_entropy"] == pytest.approx(result["cross_entropy"])
    scored = lm("score", "any", stdin=b"My lord.\nThe king!\n").done.out.splitlines()
    assert [line.split("\t")[3] for line in scored] == ["My lord.", "The king!"]
    assert "compared line by line" in lm("compare", "any", "net").done.out
    for use in (("sample", "any"), ("explain", "any", "the"), ("check", "any")):
        outcome = lm(*use)
        assert outcome.code == 2
        assert "predicts whole lines, so it has no next token: it cannot sample" in outcome.err
    for option in ("--tokens", "--words"):
        refused(lm, "score", "any", "one.txt", option, says=f"leave out {option}")


# Decoders


def test_pyctcdecode_decodes_with_our_file(
    lm: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In an environment of its own: PYCTCDECODE_PYTHON is a Python that has it, and kenlm."""
    python = os.environ.get("PYCTCDECODE_PYTHON")
    if python is None:
        pytest.skip("PYCTCDECODE_PYTHON names no Python that has pyctcdecode and kenlm")
    monkeypatch.chdir(tmp_path)
    text = "the sea is calm\nthe sea is cold\nthe see of rome\ni see the sea\nthe sea is cold\n"
    model = lmsuite.fit("ngram", text, n=3, lines=True, tokenizer="whitespace", valid=0,
                        smoothing="witten-bell")  # fmt: skip
    lmsuite.save_model("models/sea.safetensors", model)
    do(lm, "convert", "sea", "sea.arpa")
    Path("words.txt").write_text(lm("vocab", "sea", "--arpa").done.out, "utf-8")
    program = """
import numpy as np
from pyctcdecode import build_ctcdecoder
labels = ["", " "] + list("abcdefghijklmnopqrstuvwxyz")
words = open("words.txt", encoding="utf-8").read().split()
decoder = build_ctcdecoder(labels, "sea.arpa", words, alpha=1.0, beta=0.5)
heard = "the se? is cold"  # a and e are alike at the place of ?
logits = np.full((2 * len(heard), len(labels)), -8.0)
for place, letter in enumerate(heard):
    for each in ("ae" if letter == "?" else letter):
        logits[2 * place, labels.index(each)] = 0.0
    logits[2 * place + 1, 0] = 0.0
print(decoder.decode(logits))
"""
    done = subprocess.run([python, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "the sea is cold", done.stderr
