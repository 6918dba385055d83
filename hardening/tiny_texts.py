"""Texts of very few tokens, through every model, every smoothing and every command.

Each command works, or says in one line what is wrong; `in_process.lm` checks that. A model's
probabilities for such a text must still add up.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path

from hardening.in_process import RefusedError, lm

SMOOTHINGS = (
    *("modified-kneser-ney", "kneser-ney", "absolute", "witten-bell", "jelinek-mercer", "katz"),
    *("add-k", "mle", "stupid-backoff"),
)
TEXTS = (
    "",
    "\n",
    " ",
    "a",
    "a\n",
    "a b",
    "a b\n",
    "a a",
    "\n\n",
    "a\na\n",
    "é",
    "\ufeff",
    "a b c\n",
)
TOKENIZERS = ("char", "word", "whitespace", "bpe", "treebank")
_NETWORK = (
    "--epochs",
    "1",
    "--hidden",
    "4",
    "--embed",
    "4",
    "--batch",
    "2",
    "-q",
    "--threads",
    "1",
)
NETWORKS: tuple[tuple[str, ...], ...] = (
    ("train", "ffnn", "--context", "2", *_NETWORK),
    ("train", "ffnn", "--context", "2", "--direct", *_NETWORK),
    *(("train", "rnn", "--cell", cell, "--bptt", "4", *_NETWORK) for cell in ("lstm", "gru")),
    ("train", "rnn", "--cell", "elman", "--bptt", "4", "--tied", *_NETWORK),
)


def n_grams(*orders: int) -> Iterator[tuple[str, ...]]:
    """The trainings of n-gram models: every smoothing, of these orders."""
    for smoothing, order in product(SMOOTHINGS, orders):
        yield ("train", "ngram", "--smoothing", smoothing, "--n", str(order), "-q")


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    """`folder` as the current one, with no models folder but its own."""
    before = Path.cwd()
    os.chdir(folder)
    kept = os.environ.pop("LM_MODELS", None)
    try:
        yield
    finally:
        os.chdir(before)
        if kept is not None:
            os.environ["LM_MODELS"] = kept


def attack(
    training: tuple[str, ...],
    text: str,
    tokenizer: str,
    split: str,
    valid: str,
    tiny: Sequence[str] = TEXTS,
) -> bool:
    """Train on a text in the current folder, then use the model with every command.

    Args:
        training: the command.
        text: to train on.
        tokenizer: one of `TOKENIZERS`.
        split: ``--lines`` or ``--stream``.
        valid: as ``--valid``.
        tiny: the texts that commands are given.

    Returns:
        Whether there was a model; if not, the text was refused.

    Raises:
        AssertionError: something is not as promised.
    """
    Path("text.txt").write_text(text, encoding="utf-8")
    Path("models/m.safetensors").unlink(missing_ok=True)
    try:
        lm(
            (
                *training,
                "text.txt",
                "--tokenizer",
                tokenizer,
                split,
                "--valid",
                valid,
                "--name",
                "m",
            )
        )
    except RefusedError:
        assert not Path("models/m.safetensors").exists()
        return False
    is_probability = "stupid-backoff" not in training
    use(is_probability, tiny)
    return True


def use(is_probability: bool, tiny: Sequence[str]) -> None:
    """Every command on the model m of the current folder and on tiny texts."""
    for command in COMMANDS:
        tried(*command)
    for text in tiny:
        Path("tiny.txt").write_text(text, encoding="utf-8")
        for command in COMMANDS_WITH_TEXT:
            tried(*command)
        tried("eval", "m", stdin=text.encode())
        tried("score", "m", "-", stdin=text.encode())
        tried("explain", "m", text)
        tried("sample", "m", text, "--seed", "1", "--max-tokens", "3")
        tried("neighbours", "m", text)
        if text:
            _check_sums(is_probability)


COMMANDS: tuple[tuple[str, ...], ...] = (
    ("info", "m"),
    ("check", "m", "--samples", "2"),
    ("eval",),
    ("eval", "m", "--block", "1", "--json"),
    ("sample", "m", "--seed", "1", "--max-tokens", "5", "--json"),
    ("sample", "m", "--seed", "1", "--max-tokens", "3", "--samples", "2", "--temp", "0"),
    ("sample", "m", "--seed", "1", "--max-tokens", "4", "--novelty", "text.txt"),
    ("sample", "m", "--max-tokens", "0"),
    ("neighbours", "m", "a"),
    ("plot", "m", "-o", "curves.svg"),
    ("plot", "m", "--text"),
    ("plot", "m", "--by-order", "--text"),
    ("plot", "m", "--embedding", "-o", "map.svg"),
    ("report", "m", "-q"),
    ("mix", "m", "m"),
    ("mix", "m", "cache"),
    ("compare", "m", "m"),
    ("prune", "m", "--entropy", "0.1"),
    ("prune", "m", "--counts", "1", "--train", "text.txt"),
    ("convert", "m", "m.arpa"),
    ("convert", "m.arpa", "again.safetensors"),
    ("eval", "m.arpa", "--text", "text.txt"),
    ("tokenize", "--like", "m", "text.txt"),
)
COMMANDS_WITH_TEXT: tuple[tuple[str, ...], ...] = (
    ("eval", "m", "--text", "tiny.txt", "--json"),
    ("eval", "m", "--text", "tiny.txt", "--block", "2"),
    ("score", "m", "tiny.txt", "--tokens"),
    ("compare", "m", "m", "--text", "tiny.txt"),
    ("mix", "m", "m", "--text", "tiny.txt", "--name", "mixture"),
    ("mix", "m", "cache", "--text", "tiny.txt", "--name", "mixture"),
    ("plot", "m", "--by-order", "--on", "tiny.txt", "-o", "orders.svg"),
    ("report", "m", "--text", "tiny.txt", "-q"),
    ("sample", "m", "--seed", "1", "--max-tokens", "2", "--novelty", "tiny.txt"),
    ("prune", "m", "--entropy", "0.1", "--text", "tiny.txt"),
    ("tokenize", "--like", "m", "tiny.txt"),
)


def tried(*command: str, stdin: bytes | None = None) -> str | None:
    """What a command wrote; None if it refused."""
    try:
        return lm(command, stdin).out
    except RefusedError:
        return None


def _check_sums(is_probability: bool) -> None:
    """Scores of sentences and of tokens and the evaluation of tiny.txt are of one mind."""
    sentences = tried("score", "m", "tiny.txt", "--in-context", "--json")
    tokens = tried("score", "m", "tiny.txt", "--in-context", "--tokens", "--json")
    table = tried("eval", "m", "--text", "tiny.txt", "--json")
    if sentences is None or tokens is None or table is None:
        assert not (sentences or tokens or table), (sentences, tokens, table)
        return
    by_sentence = [json.loads(line)["log_prob"] for line in sentences.splitlines()]
    by_token = [json.loads(line)["log_prob"] for line in tokens.splitlines()]
    if is_probability:
        assert all(value is None or value <= 1e-9 for value in by_token), by_token
    [row] = json.loads(table)
    assert row["tokens"] == len(by_token)
    if None in by_token:  # a probability of zero
        assert row["cross_entropy"] is None
        return
    assert math.isclose(sum(by_token), sum(by_sentence), abs_tol=1e-6)
    assert math.isclose(-sum(by_token), row["cross_entropy"] * row["tokens"], abs_tol=1e-5)
