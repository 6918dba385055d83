"""Texts at the edges: hardly any tokens, one endless line, one token for ever, every character.

The promised sizes take an hour: ``python -m hardening.edges --full``. Here are the small ones.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from hardening import edges
from hardening.in_process import RefusedError, lm, lm_must
from hardening.tiny_texts import NETWORKS, SMOOTHINGS, TEXTS, attack, inside
from lmsuite.text import bpe


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path) -> Iterator[None]:
    with inside(tmp_path):
        yield


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@pytest.mark.parametrize("text", ["a b", "a\na\n", "é\n\nb"])
def test_two_tokens_make_a_model_of_every_smoothing(smoothing: str, text: str) -> None:
    Path("text.txt").write_text(text, encoding="utf-8")
    how = ("--smoothing", smoothing, "--n", "2", "--valid", "0", "--tokenizer", "char", "-q")
    lm_must(("train", "ngram", "text.txt", *how))
    [row] = json.loads(lm_must(("eval", "ngram", "--text", "text.txt", "--json")).out)
    assert row["tokens"] == len(text)
    assert row["perplexity"] >= 1
    lm_must(("sample", "ngram", "--max-tokens", "3", "--seed", "1"))


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        *(("ngram", text) for text in ("", "\n", " ", "a")),
        *((kind, text) for kind in ("ffnn", "rnn") for text in ("", " ")),
    ],
)
def test_no_tokens_or_too_few_are_refused_with_advice(kind: str, text: str) -> None:
    Path("text.txt").write_text(text)
    with pytest.raises(RefusedError, match=r"give (a|some|more) text|has no tokens"):
        lm(("train", kind, "text.txt", "--tokenizer", "whitespace", "-q"))
    assert not Path("models").exists() or not list(Path("models").glob("*.safetensors"))


@pytest.mark.parametrize("training", NETWORKS[:3])
@pytest.mark.parametrize("text", ["\n", "a"])
def test_one_token_makes_a_network(training: tuple[str, ...], text: str) -> None:
    Path("text.txt").write_text(text)
    lm_must((*training, "text.txt", "--tokenizer", "char", "--name", "network"))
    [row] = json.loads(lm_must(("eval", "network", "--text", "text.txt", "--json")).out)
    assert row["tokens"] == 1
    assert 1 <= row["perplexity"] <= 2  # there is nothing else than <unk>


@pytest.mark.parametrize(
    ("training", "text", "first"),
    [
        (("train", "ngram", "--n", "2", "-q"), "a b", 0),
        (NETWORKS[0], "a\nb", 1),
        (NETWORKS[2], "a a\n", 2),
    ],
    ids=["ngram", "ffnn", "lstm"],
)
def test_every_command_works_or_refuses_on_texts_of_hardly_any_tokens(
    training: tuple[str, ...], text: str, first: int
) -> None:
    """Each kind of model reads a third of the texts."""
    assert attack(training, text, "word", "--lines", "0", TEXTS[first::3])


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_one_token_for_ever_is_learned_by_every_smoothing(smoothing: str) -> None:
    Path("text.txt").write_text("a " * 5_000)
    how = ("--smoothing", smoothing, "--valid", "0", "--tokenizer", "whitespace", "-q")
    with pytest.raises(RefusedError, match="only one kind of token, so there is nothing"):
        lm(("train", "ngram", "text.txt", *how))
    trained = lm_must(("train", "ngram", "text.txt", "--lines", *how))
    # What cannot be estimated is said, a line an order, and nothing else.
    assert all(line.startswith("note: ") for line in trained.err.splitlines())
    if smoothing in ("modified-kneser-ney", "kneser-ney", "absolute"):
        assert "discounts fall back to" in trained.err
        assert trained.err.count("try --smoothing witten-bell") == 1
    [row] = json.loads(lm_must(("eval", "ngram", "--text", "text.txt", "--json")).out)
    assert 1 < row["perplexity"] < (1.1 if smoothing == "jelinek-mercer" else 1.01)
    lm_must(("check", "ngram"))


def test_byte_pairs_are_the_same_in_however_long_stretches_a_line_is_read(
    monkeypatch: pytest.MonkeyPatch, play: str
) -> None:
    rng = random.Random(3)
    words = ["the", "don't", "a_b", "é\u0301", "あ", "12", "'s", "..", "", "\x1c", "\u180e", "\n"]
    letters = "ab  \n\n's1,.-_é\u0301あ\u2028\x85\x1c\xa0\u180e\t\u200b𝒳🙂"
    texts = [" ".join(rng.choices(words, k=60)) for _ in range(150)]
    texts += ["".join(rng.choices(letters, k=150)) for _ in range(150)]
    whole = bpe.BpeTokenizer.train(play[:20_000], 500)
    before = [whole.tokens(text) for text in texts]
    monkeypatch.setattr(bpe, "_STRETCH", 10)
    assert [whole.tokens(text) for text in texts] == before
    assert bpe.BpeTokenizer.train(play[:20_000], 500).describe() == whole.describe()


@pytest.mark.parametrize(
    ("command", "bytes_each"),
    [(("score", "ngram", "-", "--tokens"), 40), (("tokenize", "--tokenizer", "bpe"), 50)],
    ids=["score --tokens", "bpe"],
)
def test_one_long_line_takes_memory_in_proportion(
    command: tuple[str, ...], bytes_each: float
) -> None:
    size = 1_000_000
    edges.write_words(Path("line.txt"), size)
    Path("text.txt").write_text(Path("line.txt").read_text()[:50_000])
    lm_must(("train", "ngram", "text.txt", "--tokenizer", "char", "-q"))
    edges.told(" ".join(command), edges.done(*command, stdin=Path("line.txt")), size, bytes_each)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "scale"),
    [
        (edges.identical, 0.02),
        (edges.unicode_planes, 0.5),
        (edges.high_orders, 0.02),
        (edges.many_types, 0.02),
        (edges.many_lines, 0.02),
        (edges.one_line, 0.02),
    ],
)
def test_a_small_share_of_the_promised_sizes(case: edges.Case, scale: float) -> None:
    case(scale)
