"""The commands that write: how to run and kill them, and the files that they may leave."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

NETWORK = shlex.split("--tokenizer char --epochs 2 --threads 2 --checkpoint-every 0 -q --name m")


@dataclass(frozen=True)
class Writer:
    """A command that writes, in two variants; its files lie in the current folder."""

    arguments: tuple[Sequence[str], Sequence[str]]
    files: tuple[str, ...]  # that it may leave, besides those that were there before
    setup: tuple[Sequence[str], ...] = ()
    models: tuple[str, ...] = ()  # names or files that `lm check` must pass
    texts: tuple[str, ...] = ()  # models that `lm eval` must find the validation text of
    resumes: bool = False
    fetches: bool = False
    patch: Callable[[], None] | None = None  # done before the command, in its process


def _quick_demo() -> None:
    """The demo with a small text and one epoch: the same commands in the same order."""
    from lmsuite.cli.commands import demo

    whole = demo._steps

    def steps(folder: Path, minutes: float, seed: str) -> Iterator[list[str]]:
        for step in whole(folder, minutes, seed):
            words = ["text.txt" if word == "play" else word for word in step]
            if "--minutes" in words:
                at = words.index("--minutes")
                words[at : at + 2] = ["--epochs", "1", "--threads", "1"]
            yield words

    demo._steps = steps


def _model(name: str) -> tuple[str, ...]:
    return (f"models/{name}.safetensors", f"models/{name}.valid.txt.gz")


_NGRAM = shlex.split("train ngram text.txt --tokenizer char -q")
_MEMBERS = (
    [*_NGRAM, "--n", "3", "--name", "a"],
    [*_NGRAM, "--n", "5", "--name", "b"],
)
_CURVE = ["train", "ffnn", "text.txt", *NETWORK]


def _twice(common: str, one: str, other: str) -> tuple[list[str], list[str]]:
    return [*common.split(), *one.split()], [*common.split(), *other.split()]


def _counted(more: str) -> Writer:
    common = f"train ngram text.txt --tokenizer char --name m -q {more}"
    both = _twice(common, "--n 3", "--n 4 --valid 0.2")
    return Writer(both, _model("m"), models=("m",), texts=("m",))


def _network(common: str, one: str, other: str) -> Writer:
    first, second = _twice(common, one, other)
    files = (*_model("m"), "models/m.checkpoint", "models/m.history.jsonl")
    both = ([*first, *NETWORK], [*second, *NETWORK])
    return Writer(both, files, models=("m",), texts=("m",), resumes=True)


def _from_members(common: str, one: str, other: str) -> Writer:
    return Writer(
        _twice(common, one, other), _model("m"), _MEMBERS, models=("a", "b", "m"), texts=("m",)
    )


_DEMO = [file for name in ("words", "chars", "ffnn", "rnn", "mix") for file in _model(name)]
_DEMO += [
    f"models/{name}.{end}" for name in ("ffnn", "rnn") for end in ("checkpoint", "history.jsonl")
]

WRITERS = {
    "ngram": _counted(""),
    "quantize": _counted("--quantize"),
    "memory": _counted("--memory 1G"),
    "ffnn": _network(
        "train ffnn text.txt --context 5 --embed 8 --batch 256", "--hidden 100", "--hidden 60"
    ),
    "rnn": _network(
        "train rnn text.txt --embed 8 --batch 16 --bptt 32",
        "--cell gru --hidden 40",
        "--cell lstm --hidden 32",
    ),
    "mix": _from_members("mix a b --name m", "--weights 0.3,0.7", ""),
    "prune": _from_members("prune b --name m --entropy", "1e-3", "1e-2"),
    "convert": Writer(
        _twice("convert", "a models/m.safetensors", "b models/m.safetensors"),
        ("models/m.safetensors",),
        _MEMBERS,
        models=("a", "b", "m"),
    ),
    "arpa": Writer(
        _twice("convert", "a out.arpa.gz", "b out.arpa.gz"),
        ("out.arpa.gz",),
        _MEMBERS,
        models=("out.arpa.gz",),
    ),
    "arpa-back": Writer(
        _twice("convert", "a.arpa models/m.safetensors", "b.arpa models/m.safetensors"),
        ("models/m.safetensors",),
        (*_MEMBERS, ["convert", "a", "a.arpa"], ["convert", "b", "b.arpa"]),
        models=("m",),
    ),
    "count": Writer(
        _twice("count text.txt --tokenizer char -o out.counts", "--n 3", "--n 4"),
        ("out.counts",),
    ),
    "corpus": Writer(
        _twice("corpus fetch -q --force served", "", ""),
        ("cache/served.txt", "cache/served.sha256"),
        fetches=True,
    ),
    "plot": Writer(
        _twice("plot m", "-o curve.png", "-o curve.svg"), ("curve.png", "curve.svg"), (_CURVE,)
    ),
    "report": Writer(
        _twice("report a b -q -o page.html", "--seed 1", "--seed 2"), ("page.html",), _MEMBERS
    ),
    "demo": Writer(
        _twice("demo --models models", "", "--minutes 1"),
        (*_DEMO, "models/report.html"),
        models=("words", "chars", "ffnn", "rnn", "mix"),
        texts=("words", "chars", "ffnn", "rnn", "mix"),
        patch=_quick_demo,
    ),
}
