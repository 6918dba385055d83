"""Fuzz command lines: every option of every command, with bad values.

``python -m hardening.fuzz_arguments --runs 20000 --seed 1``

An input is a command line, in which NUL ends each argument.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from hardening.fuzzing import main
from hardening.in_process import lm, lm_must
from hardening.texts import raw

TEXT = "the king of the hill\nis not the queen of it, is he\n" * 8
NUMBERS = (
    *(
        "nan",
        "-nan",
        "inf",
        "-inf",
        "NaN",
        "Infinity",
        "1e400",
        "-1e400",
        "1e308",
        "1e-308",
        "5e-324",
    ),
    *("0", "-0", "-0.0", "-1", "1", "2", "3", "0.5", "0.999999", "1.0000001", "-1e-9", "1e-300"),
    *("2147483647", "2147483648", "4294967296", "9223372036854775807", "9223372036854775808"),
    *("-9223372036854775809", "18446744073709551616", "9" * 40, "-" + "9" * 40, "9" * 5000),
    *(
        "",
        " ",
        "x",
        "1,2",
        ",",
        "1,,2",
        "0x10",
        "1_000",
        "１２",
        "²",
        "1e",
        "--",
        "-",
        "\n",
        "\x1b[2J",
    ),
    *("\udcff", "\ud800", "\ufeff1", "0,0,1", "0,0,9" + "9" * 40, "1,0", "-1,0", "nan,nan", "64M"),
    *("0.5,0.5", "inf,1", "1e308,1e308", "0,0", "-1,2", "9" * 400 + "G", "1K", "true", "None"),
)
PLACES = (
    *(
        "text.txt",
        "none.txt",
        ".",
        "",
        "-",
        "a" * 300,
        "a/" * 2000 + "b",
        "\udcff",
    ),
    *("\ud800", "text.txt/x", "new", "ngram", "rnn", "mixture", "cache", ".x"),
    *(
        "CON",
        "a\\b",
        "a\nb",
        "\x1b[2J",
        "models/ngram.safetensors",
        "x.arpa",
        "x.safetensors",
        "x.svg",
    ),
    *("x.png", "~", "$HOME", "*", "play", "é", "e\u0301", "\u202e", " ", "0.1", "none"),
)
# What would run for ever, or for as long as it was told to, is only given what ends.
ENDLESS = {
    **{"--epochs": ("0", "-1", "nan", "inf", "1e-300", "0.01", "x", "", "-inf")},
    **{"--minutes": ("0", "-1", "nan", "inf", "1e-300", "x", "", "-inf")},
    **{"--max-tokens": ("0", "-1", "1", "30", "x", "", "nan", "1e3", "1.0")},
    **{"--samples": ("0", "-1", "1", "3", "x", "", "nan", "1.5")},
    **{"--threads": ("0", "-1", "1", "x", "", "nan")},
    **{"--layers": ("0", "-1", "1", "3", "x", "", "9" * 40)},
}
SKELETONS: tuple[tuple[str, ...], ...] = (
    ("train ngram", "text.txt", "--smoothing", "witten-bell", "--name", "new"),
    ("train ffnn", "text.txt", "--epochs", "0.01", "--threads", "1", "--name", "new"),
    ("train rnn", "text.txt", "--epochs", "0.01", "--threads", "1", "--name", "new"),
    ("eval", "ngram", "rnn"),
    ("sample", "ngram", "the", "--max-tokens", "3"),
    ("sample", "rnn", "the", "--max-tokens", "3"),
    ("score", "ngram", "text.txt"),
    ("mix", "ngram", "rnn", "--name", "new"),
    ("compare", "ngram", "rnn"),
    ("explain", "ngram", "the king"),
    ("trace", "rnn", "the king"),
    ("trace", "ngram", "the king", "--training", "text.txt"),
    ("trace", "--exercise", "3"),
    ("neighbours", "rnn", "king"),
    ("prune", "ngram", "--name", "new", "--entropy", "1e-3"),
    ("convert", "ngram", "x.arpa"),
    ("check", "rnn", "--samples", "1"),
    ("info", "ngram"),
    ("models",),
    ("plot", "ngram", "rnn", "--text"),
    ("report", "ngram", "rnn"),
    ("tokenize", "text.txt"),
    ("corpus list",),
    ("corpus show", "play"),
    ("demo", "--minutes", "0"),
)
SELDOM = ("report", "plot", "check", "compare")


@cache
def prepared() -> None:
    """A text and three models in the current folder."""
    Path("text.txt").write_text(TEXT, encoding="utf-8")
    network = ["--like", "ngram", "--hidden", "4", "--embed", "4", "--epochs", "0.01"]
    trained = ["ngram", "text.txt", "--n", "2", "--smoothing", "witten-bell", "-q"]
    lm_must(["train", *trained])
    lm_must(["train", "rnn", "text.txt", *network, "--threads", "1", "-q"])
    lm_must(["mix", "ngram", "rnn", "cache"])


@cache
def options(command: str) -> tuple[tuple[str, bool], ...]:
    """The options of a command, and whether each takes a value."""
    from lmsuite.cli.app import make_group

    found: Any = make_group()
    for word in command.split():
        found = found.commands[word]
    return tuple(
        (name, not getattr(each, "is_flag", False))
        for each in found.params
        if each.param_type_name == "option"
        for name in (*each.opts, *each.secondary_opts)
        if name not in ("--debug", "--help")
    )


def target(data: bytes) -> None:
    """Run the command line."""
    prepared()
    lm([argument.decode("utf-8", "surrogateescape") for argument in data.split(b"\0")[:-1]])


def make_inputs(rng: Random) -> Iterator[bytes]:
    """Sound commands with one to three arguments replaced, added or taken away."""
    while True:
        first, *others = rng.choice(SKELETONS)
        if first in SELDOM and rng.random() < 0.8:
            continue
        line = [*first.split(), *others]
        for _ in range(rng.randint(1, 3)):
            line = _changed(rng, first, line)
        encoded = (each.encode("utf-8", "surrogatepass") for each in line)
        yield b"".join(each.replace(b"\0", b"") + b"\0" for each in encoded)


def _changed(rng: Random, command: str, line: list[str]) -> list[str]:
    kind = rng.random()
    if kind < 0.75 or not line:
        return [*line, *_option(rng, command)]
    at = rng.randrange(len(line)) if line else 0
    if kind < 0.9:
        return [*line[:at], _value(rng), *line[at + 1 :]] if not _ends(line, at) else line
    return [*line[:at], *line[at + 1 :]] if not _ends(line, at) else line


def _ends(line: list[str], at: int) -> bool:
    """Whether this is what keeps the command short."""
    return line[at] in ENDLESS or (at > 0 and line[at - 1] in ENDLESS)


def _option(rng: Random, command: str) -> list[str]:
    name, takes_value = rng.choice(options(command))
    if not takes_value:
        return [name]
    if name in ENDLESS:
        return [f"{name}={rng.choice(ENDLESS[name])}"]
    value = _value(rng)
    return [f"{name}={value}"] if rng.random() < 0.5 and len(name) > 2 else [name, value]


def _value(rng: Random) -> str:
    kind = rng.random()
    if kind < 0.6:
        return rng.choice(NUMBERS)
    if kind < 0.9:
        return rng.choice(PLACES)
    return raw(rng, 4).decode("utf-8", "surrogateescape")


if __name__ == "__main__":
    main("command lines", target, make_inputs)
