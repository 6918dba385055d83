"""Fuzz TOML configs: `--config` accepts each, or says in one line why not.

``python -m hardening.fuzz_config --runs 100000 --seed 1``

An input's first byte chooses the command; the rest is the file. The settings that could make a
training long or large (hidden sizes, epochs) are typed on the command line, which wins over the
file.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from random import Random

from hardening.fuzzing import main
from hardening.in_process import lm
from hardening.texts import damaged, raw, text

TEXT = "the king of the hill\nis not the queen of it, is he\n" * 8
COMMANDS = ("ngram", "ngram", "ngram", "ngram", "ngram", "ngram", "ffnn", "rnn")
SMALL = {
    "ngram": ("--threads=1",),
    "ffnn": ("--epochs=0.01", "--threads=1"),
    "rnn": ("--epochs=0.01", "--threads=1", "--layers=1"),
}


def target(data: bytes) -> None:
    """Train as the config says, on a tiny text, into a folder that is nobody's."""
    kind = COMMANDS[(data[0] if data else 0) % len(COMMANDS)]
    Path("text.txt").write_text(TEXT, encoding="utf-8")
    Path("config.toml").write_bytes(data[1:])
    lm(["train", kind, "text.txt", "--config", "config.toml", "--models=m", *SMALL[kind]])
    for folder in filter(Path.is_dir, list(Path().iterdir())):
        # The input named it: --scratch.
        if {path.name for path in folder.iterdir()} <= {"lmsuite-scratch"}:
            shutil.rmtree(folder)
    there = {path.name for path in Path().iterdir()} - {"text.txt", "config.toml", ".stderr"}
    assert there <= {"m"}, f"written outside of the models folder: {there}"


@cache
def options(kind: str) -> tuple[str, ...]:
    """The names of all options of ``lm train``'s command, as a config spells them."""
    from lmsuite.cli.app import make_group

    command = make_group().commands["train"].commands[kind]
    names = [name for each in command.params for name in (*each.opts, *each.secondary_opts)]
    return tuple(name[2:] for name in names if name.startswith("--"))


def make_inputs(rng: Random) -> Iterator[bytes]:
    """Configs with options of this command and of none, and values of every type."""
    while True:
        choice = rng.randrange(len(COMMANDS))
        yield bytes([choice]) + _file(rng, COMMANDS[choice])


def _file(rng: Random, kind: str) -> bytes:
    shape = rng.random()
    if shape < 0.05:
        return raw(rng)
    lines = [_line(rng, kind) for _ in range(rng.choice((0, 1, 1, 1, 2, 2, 3, 8)))]
    if rng.random() < 0.05:
        lines.insert(
            rng.randint(0, len(lines)), rng.choice(("[table]", "[[n]]", "[a.b]", "[", "#"))
        )
    content = "\n".join(lines).encode("utf-8", "surrogatepass")
    return damaged(rng, content) if shape > 0.85 else content


def _line(rng: Random, kind: str) -> str:
    key = _key(rng, kind)
    if key in SIZES and rng.random() < 0.5:
        return f"{key} = {rng.randint(1, 3)}"
    return f"{key} = {rng.choice(HOSTILE) if key in SIZES else _value(rng)}"


def _key(rng: Random, kind: str) -> str:
    if rng.random() < 0.04:
        return json.dumps(text(rng, 2)) if rng.random() < 0.5 else rng.choice(FOREIGN)
    key = rng.choice(options(kind))
    return key.replace("-", "_") if rng.random() < 0.2 else key


SIZES = ("layers", "hidden", "embed", "context", "bptt", "batch")
FOREIGN = ("models.a", "n.n", "config", "debug", "help", '""', "-n", "--n", "texts", "TEXT", "'n'")
USUAL = (
    *("1", "2", "3", "4", "0.5", "1e-3", "true", "false", "'word'", "'char'", "'whitespace'"),
    *(
        "'witten-bell'",
        "'katz'",
        "'add-k'",
        "'kneser-ney'",
        "'mle'",
        "'absolute'",
        "'sgd'",
        "'adam'",
    ),
    *(
        "'gru'",
        "'elman'",
        "'tanh'",
        "'cosine'",
        "'step'",
        "'0,0,1'",
        "[0, 0, 1]",
        "'4,4'",
        "[4, 4]",
    ),
    *("'bpe'", "'treebank'", "'utf-16'", "'64M'", "'jelinek-mercer'", "'stupid-backoff'", "300"),
)
HOSTILE = (
    *("-1", "0", "-0.0", "nan", "-nan", "inf", "-inf", "1e308", "1e-308", "5e-324", "1e400"),
    *("9223372036854775807", "-9223372036854775808", "9" * 40, "9" * 400, "0xf", "0o17", "1_0"),
    *("''", "'nan'", "'inf'", "'-1'", "'1e400'", "'0'", "'true'", "'None'", "' '", "'a,b'", "','"),
    *(
        '"\\u0000"',
        '"\\n"',
        '"\\u001b[2J"',
        '"\\U0010FFFF"',
        '"\\uFEFF"',
        '"/"',
        '".."',
        '"../x"',
        '"."',
    ),
    *(
        "[]",
        "[[]]",
        "[1, [2]]",
        "{}",
        "{a = 1}",
        "[{a = 1}]",
        "[true]",
        "[1.5, 2]",
        "['', '']",
        "[nan]",
    ),
    *(
        "1979-05-27",
        "07:32:00",
        "1979-05-27T07:32:00Z",
        "'text.txt'",
        "'none.txt'",
        "'config.toml'",
    ),
    *(
        "'" + "9" * 4000 + "'",
        "'" + "1," * 500 + "1'",
        "'" + "x" * 5000 + "'",
        "'1G'",
        "'" + "9" * 400 + "G'",
    ),
)


def _value(rng: Random) -> str:
    kind = rng.random()
    if kind < 0.002:
        return rng.choice(
            ("[" * 5000, "{a=" * 3000, "9" * 5000, "a." * 3000 + "b=1", "0x" + "f" * 5000)
        )
    if kind < 0.45:
        return rng.choice(USUAL)
    if kind < 0.9:
        return rng.choice(HOSTILE)
    if kind < 0.95:
        return json.dumps(text(rng, 3))
    return str(rng.choice((rng.randint(-(10**6), 10**6), rng.uniform(-2, 2))))


if __name__ == "__main__":
    main("TOML configs", target, make_inputs)
