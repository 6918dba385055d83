"""Fuzz vocabulary files: `--vocab` accepts each, or says in one line why not.

``python -m hardening.fuzz_vocabulary --runs 100000 --seed 1``

An input's first byte chooses the tokenizer, the boundaries and the way of reading the file; the
rest is the file.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from random import Random

from hardening.fuzzing import main
from hardening.in_process import lm, lm_must
from hardening.texts import damaged, raw, text

TEXT = "the king of don't 3,000.5 <unk> U.S.\nThe queen, e\u0301 the king 'tis the\tking\n\n" * 4
SPLIT = ("char", "word", "whitespace", "treebank")


def target(data: bytes) -> None:
    """Train with this vocabulary file; what was learned must hold together."""
    choice, content = (data[0] if data else 0), data[1:]
    tokenizer, lines, whole = SPLIT[choice % 4], bool(choice & 4), bool(choice & 8)
    file = Path("vocabulary.txt")
    file.write_bytes(content)
    if whole:
        _command(tokenizer, lines)
    else:
        _encoder(file, tokenizer, lines)


def _command(tokenizer: str, lines: bool) -> None:
    Path("text.txt").write_text(TEXT, encoding="utf-8")
    how = ("--vocab", "vocabulary.txt", "--tokenizer", tokenizer, "--n", "2", "--quiet")
    boundaries = "--lines" if lines else "--stream"
    lm(["train", "ngram", "text.txt", *how, boundaries, "--smoothing", "witten-bell"])
    lm_must(["sample", "ngram", "--max-tokens", "4", "--json", "--seed", "1"])
    lm_must(["score", "ngram", "text.txt", "--tokens"])


def _encoder(file: Path, tokenizer: str, lines: bool) -> None:
    from lmsuite.text.encoding import SHAPING, Boundaries, TextEncoder, TextSettings

    boundaries = Boundaries.LINES if lines else Boundaries.STREAM
    settings = TextSettings(tokenizer=tokenizer, boundaries=boundaries, vocab=str(file))
    encoder, ids = TextEncoder.train(TEXT, settings)
    again = TextEncoder.restore(encoder.describe(), encoder.arrays())
    assert again.vocabulary == encoder.vocabulary
    assert again.fingerprint() == encoder.fingerprint()
    assert (again.encode(TEXT) == ids).all()
    for number in range(len(encoder.vocabulary)):
        shown = encoder.token_text(number)
        assert "".join(each for each in shown if each not in SHAPING).isprintable()
        encoder.decode([number])


def make_inputs(rng: Random) -> Iterator[bytes]:
    """Lists of tokens, sound and not; and what is no list."""
    while True:
        yield bytes([_choice(rng)]) + _file(rng)


def _choice(rng: Random) -> int:
    return rng.randrange(8) + (8 if rng.random() < 0.25 else 0)


def _file(rng: Random) -> bytes:
    kind = rng.random()
    if kind < 0.1:
        return raw(rng)
    known = list(dict.fromkeys([*TEXT, *TEXT.split(), "<unk>", "<s>", "</s>", "\\n", " ", "\\"]))
    tokens = rng.sample(known, rng.randint(0, len(known)))
    tokens += [text(rng, 2) for _ in range(rng.choice((0, 0, 1, 3)))]
    if rng.random() < 0.1:
        tokens += [f"token{number}" for number in range(rng.randint(1, 3000))]
    rng.shuffle(tokens)
    if kind < 0.6:
        tokens = [token for token in dict.fromkeys(tokens) if token.strip("\n") or token == " "]
    end = rng.choice(("\n", "\n", "\n", "\r\n", "\r", "\u2028"))
    content = (end.join(tokens) + rng.choice((end, ""))).encode("utf-8", "surrogatepass")
    if kind > 0.85:
        content = damaged(rng, content)
    if kind > 0.97:
        content = damaged(rng, gzip.compress(content))
    return content


if __name__ == "__main__":
    main("vocabulary files", target, make_inputs)
