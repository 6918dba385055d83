"""Fuzz prompts and texts for a finished model: any bytes, as an argument or piped in.

``python -m hardening.fuzz_prompts --runs 100000 --seed 1``

An input's first two bytes choose the model and the command; the rest is the prompt.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from random import Random

from hardening.fuzzing import main
from hardening.in_process import lm, lm_must
from hardening.texts import raw, text

TEXT = "The king of the hill\nis not the queen; 'tis e\u0301 😀\tso: \x1b[31m, he said--\n\n" * 6
TOKENIZERS = ("char", "word", "whitespace", "treebank", "bpe")


@cache
def models() -> tuple[str, ...]:
    """The names of a model of every kind and tokenizer in the current folder, trained once."""
    Path("text.txt").write_text(TEXT, encoding="utf-8")
    names = []
    for tokenizer in TOKENIZERS:
        for boundaries in ("lines", "stream"):
            name = f"{tokenizer}-{boundaries}"
            made = ["text.txt", "--tokenizer", tokenizer, f"--{boundaries}", "--name", name, "-q"]
            size = ["--bpe-size", "270"] if tokenizer == "bpe" else []
            options = ["--n", "3", "--smoothing", "witten-bell"]
            lm_must(["train", "ngram", *made, *size, *options])
            names.append(name)
    network = ["--hidden", "4", "--embed", "4", "--epochs", "0.01", "--threads", "1", "-q"]
    for kind, like in (("rnn", "char-stream"), ("ffnn", "word-lines")):
        lm_must(["train", kind, "text.txt", "--like", like, *network])
        lm_must(["mix", like, kind, "cache", "--text", "text.txt", "--name", f"mix-{kind}"])
        names += [kind, f"mix-{kind}"]
    return tuple(names)


def target(data: bytes) -> None:
    """Give the prompt to a command of a model."""
    model = models()[(data[0] if data else 0) % len(models())]
    command = COMMANDS[(data[1] if len(data) > 1 else 0) % len(COMMANDS)]
    command(model, data[2:])


def _typed(prompt: bytes) -> str:
    """The argument that a process sees: no bytes but NUL are kept from it."""
    return prompt.replace(b"\0", b"").decode("utf-8", "surrogateescape")


def _sample(model: str, prompt: bytes) -> None:
    lm(["sample", model, "--max-tokens", "3", "--seed", "1", "--", _typed(prompt)])


def _sample_json(model: str, prompt: bytes) -> None:
    ended = lm(["sample", model, "--max-tokens", "2", "--json", "--samples", "2"], prompt)
    for line in ended.out.split("\n")[:-1]:
        assert set(json.loads(line)) == {"prompt", "text", "ids", "log_probs"}


def _sample_novelty(model: str, prompt: bytes) -> None:
    known = ("--novelty", "text.txt", "--temp", "0", "--stop", _typed(prompt))
    lm(["sample", model, "--max-tokens", "4", *known, "--", _typed(prompt)])


def _explain(model: str, prompt: bytes) -> None:
    lm(["explain", model, "--", _typed(prompt)])


def _explain_json(model: str, prompt: bytes) -> None:
    for line in lm(["explain", model, "--json"], prompt).out.split("\n")[:-1]:
        assert 0 <= json.loads(line)["prob"] <= 1 + 1e-6


def _explain_html(model: str, prompt: bytes) -> None:
    lm(["explain", model, "--html", "page.html"], prompt)


def _trace(model: str, prompt: bytes) -> None:
    lm(["trace", model, "--", _typed(prompt)])


def _trace_html(model: str, prompt: bytes) -> None:
    lm(["trace", model, "--html", "page.html"], prompt)


def _check_answers(model: str, prompt: bytes) -> None:
    lm(["trace", "--exercise", "3", "--check", "-"], prompt)


def _score(model: str, prompt: bytes) -> None:
    lm(["score", model], prompt)


def _score_tokens(model: str, prompt: bytes) -> None:
    for line in lm(["score", model, "-", "--tokens", "--json"], prompt).out.split("\n")[:-1]:
        json.loads(line)


def _eval(model: str, prompt: bytes) -> None:
    assert json.loads(lm(["eval", model, "--json"], prompt).out)[0]["model"] == model


def _eval_blocks(model: str, prompt: bytes) -> None:
    lm(["eval", model, "--block", "3", "--text", "-"], prompt)


def _tokenize(model: str, prompt: bytes) -> None:
    lm(["tokenize", "--like", model], prompt)


def _neighbours(model: str, prompt: bytes) -> None:
    lm(["neighbours", model, "--", _typed(prompt)])


def _compare(model: str, prompt: bytes) -> None:
    lm(["compare", model, models()[len(prompt) % len(models())]], prompt)


COMMANDS: tuple[Callable[[str, bytes], None], ...] = (
    *(_sample, _sample_json, _sample_novelty, _explain, _explain_json, _explain_html),
    *(_trace, _trace_html, _check_answers),
    *(_score, _score_tokens, _eval, _eval_blocks, _tokenize, _neighbours, _compare),
)


def make_inputs(rng: Random) -> Iterator[bytes]:
    """Prompts of the model's own words, of every plane, and of no text at all."""
    while True:
        prompt = raw(rng, 12)
        if rng.random() < 0.2:
            known = TEXT.split(" ")
            words = [rng.choice(known) for _ in range(rng.randint(0, 6))]
            prompt = " ".join([*words, text(rng, 1)]).encode("utf-8", "surrogatepass")
        yield bytes([rng.randrange(256), rng.randrange(256)]) + prompt


if __name__ == "__main__":
    main("prompts", target, make_inputs)
