"""``lm plot``, as a user meets it."""

from __future__ import annotations

from pathlib import Path

import pytest

from hardening.command import Run


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory, play: str, lm: Run) -> Path:
    """A folder of models: a network and an n-gram model of the same characters."""
    folder = tmp_path_factory.mktemp("networks")
    text = folder / "play.txt"
    text.write_text(play[:6_000], encoding="utf-8")
    small = ["--epochs", "1", "--hidden", "16", "--embed", "4", "--threads", "1"]
    for options in (
        ["ngram", str(text), "--n", "3", "--tokenizer", "char", "--name", "chars"],
        ["rnn", str(text), "--like", "chars", *small],
        ["ffnn", str(text), "--like", "chars", *small],
    ):
        assert lm("train", *options, "--models", str(folder), "--quiet").done
    return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, networks: Path) -> Path:
    """An empty current folder; the models are those of `networks`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LM_MODELS", str(networks))
    return tmp_path


def test_learning_curves_to_a_picture(lm: Run, here: Path) -> None:
    assert lm("plot", "rnn", "ffnn").out == "saved curves.png\n"
    assert (here / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert lm("plot", "rnn", "chars", "-o", "both.svg").code == 0
    picture = (here / "both.svg").read_text()
    assert ">rnn<" in picture
    assert ">chars<" in picture  # a flat line to compare with


def test_learning_curves_in_the_terminal(lm: Run, here: Path) -> None:
    outcome = lm("plot", "--text")
    assert outcome.code == 0
    assert all(name in outcome.out for name in ("rnn", "ffnn", "chars", "seconds of training"))
    assert list(here.iterdir()) == []


def test_perplexity_by_order(lm: Run, here: Path) -> None:
    outcome = lm("plot", "--by-order", "--text")
    assert outcome.code == 0
    assert "chars" in outcome.out
    assert "left out: rnn (rnn) is not an n-gram model" in outcome.err
    (here / "other.txt").write_text("THE TIDE-CROWN\nAnother text.\n")
    other = lm("plot", "chars", "--by-order", "--text", "--on", "other.txt")
    assert other.out != outcome.out
    assert lm("plot", "chars", "--by-order").out == "saved orders.png\n"


def test_map_of_an_embedding(lm: Run, here: Path) -> None:
    assert lm("plot", "--embedding", "rnn", "-o", "map.svg").out == "saved map.svg\n"
    assert "first principal component" in (here / "map.svg").read_text()
    drawn = lm("plot", "ffnn", "--embedding", "--text", "--tokens", "20").out
    assert "e" in drawn.split()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["chars"], 1, "none of these models has a learning curve"),
        (["rnn", "--by-order"], 1, "--by-order needs an n-gram model"),
        (["chars", "--embedding"], 2, "chars (ngram) has no embedding"),
        (["--embedding"], 2, "which one of ffnn, rnn?"),
        (["rnn", "--embedding", "--by-order"], 2, "two pictures"),
        (["rnn", "--on", "play"], 2, "--on is for --by-order"),
        (["rnn", "-o", "curves.gif"], 2, "curves.gif: a picture is a .png or .svg file"),
        (["nobody"], 1, "no model 'nobody'"),
        (["rnn", "-o", "missing/curves.png"], 1, "cannot write missing/curves.png"),
        (["chars", "--by-order", "--on", "empty.txt"], 1, "empty"),
    ],
)
def test_refusals(lm: Run, here: Path, arguments: list[str], code: int, says: str) -> None:
    (here / "empty.txt").touch()
    outcome = lm("plot", *arguments)
    assert outcome.code == code
    assert outcome.err.splitlines()[-1].startswith("error: ")
    assert says in outcome.err.splitlines()[-1]
    assert [file.name for file in here.iterdir()] == ["empty.txt"]


def test_a_damaged_history(lm: Run, here: Path, networks: Path) -> None:
    history = networks / "rnn.history.jsonl"
    whole = history.read_text()
    try:
        history.write_text(whole + "{broken\n")
        assert "rnn.history.jsonl, line" in lm("plot", "rnn", "--text").error
    finally:
        history.write_text(whole)


def test_a_history_of_another_training_is_left_out(lm: Run, here: Path, networks: Path) -> None:
    """As an n-gram model has beside it that replaced a network, or one that is trained anew."""
    history = networks / "rnn.history.jsonl"
    whole = history.read_text()
    beside = networks / "chars.history.jsonl"
    try:
        beside.write_text(whole)
        history.write_text("".join(whole.splitlines(keepends=True)[:-1]))
        outcome = lm("plot", "rnn", "chars", "ffnn", "--text")
        assert outcome.code == 0
        for name in ("rnn", "chars"):
            path = networks / f"{name}.history.jsonl"
            assert f"left out: {path} is of another training than the model {name}" in outcome.err
        assert "ffnn.history.jsonl" not in outcome.err
    finally:
        history.write_text(whole)
        beside.unlink()
