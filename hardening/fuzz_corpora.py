"""Fuzz corpora: any bytes, with every tokenizer, boundary and encoding, must not crash ``lm``.

``python -m hardening.fuzz_corpora --runs 100000 --seed 1``

An input's first four bytes choose the command and its options; the rest is the file.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from random import Random

from hardening.fuzzing import main
from hardening.in_process import lm, lm_must
from hardening.texts import ENCODINGS, damaged, raw

TOKENIZERS = ("char", "word", "whitespace", "treebank", "bpe")
SMOOTHINGS = (
    *("witten-bell", "modified-kneser-ney", "kneser-ney", "absolute", "jelinek-mercer"),
    *("katz", "add-k", "mle", "stupid-backoff"),
)
FRACTIONS = ("0", "0.1", "0.5", "0.99")


def target(data: bytes) -> None:
    """Tokenize the text, or train on it and use the model on the same text."""
    how, tokenizer, smoothing, encoding = (data + bytes(4))[:4]
    Path("corpus.txt").write_bytes(data[4:])
    options = [
        *("--tokenizer", TOKENIZERS[tokenizer % 5]),
        *("--encoding", ENCODINGS[encoding % len(ENCODINGS)]),
    ]
    if tokenizer % 5 == 4:
        options += ["--bpe-size", "260"]
    if how % 3:
        _tokenize(options, ids=how % 3 == 2, piped=data[4:] if how & 64 else None)
    else:
        _train(how, SMOOTHINGS[smoothing % 9], options)


def _tokenize(options: list[str], *, ids: bool, piped: bytes | None) -> None:
    source = "corpus.txt" if piped is None else "-"
    ended = lm(["tokenize", source, *options, "--ids" if ids else "--json"], piped)
    for line in ended.out.split("\n")[:-1]:
        if ids:
            assert all(number.isdecimal() for number in line.split())
        else:
            shown = json.loads(line)
            assert all(token["start"] <= token["end"] for token in shown["tokens"])


def _train(how: int, smoothing: str, options: list[str]) -> None:
    network = how % 60 == 0
    kind = ["rnn" if how & 64 else "ffnn"] if network else ["ngram"]
    size = ["--hidden", "4", "--embed", "4", "--epochs", "0.01", "--threads", "1"]
    train = [*kind, *(size if network else ["--n", str(1 + how % 3), "--smoothing", smoothing])]
    train += ["--lines" if how & 4 else "--stream", "--valid", FRACTIONS[(how >> 3) & 3], "--quiet"]
    lm(["train", *train, "--name", "m", "corpus.txt", *options])
    encoding = options[2:4]
    # Not all that was trained on can be read whole: the split may have cut a reserved <s> in two.
    lm(["tokenize", "corpus.txt", "--like", "m", *encoding, "--json"])
    scored = lm(["score", "m", "corpus.txt", "--json", *encoding])
    for sentence in scored.out.split("\n")[:-1]:
        log_prob = json.loads(sentence)["log_prob"]
        assert log_prob is None or log_prob <= 1e-6
    lm_must(["sample", "m", "--max-tokens", "5", "--seed", "1"])
    if how & 32:
        lm(["eval", "m", "--text", "corpus.txt", "--json", *encoding])


def make_inputs(rng: Random) -> Iterator[bytes]:
    """Text of every plane and in every encoding, sound and damaged, packed and not."""
    while True:
        content = raw(rng)
        if rng.random() < 0.04:
            content = gzip.compress(content)
            content = damaged(rng, content) if rng.random() < 0.5 else content
        encoding = 0 if rng.random() < 0.75 else rng.randrange(256)
        yield (
            bytes([rng.randrange(256), rng.randrange(256), rng.randrange(256), encoding]) + content
        )


if __name__ == "__main__":
    main("corpora", target, make_inputs)
