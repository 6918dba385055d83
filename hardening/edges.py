"""Very large and extreme texts: how much time and memory do they take, and is the result right?

    python -m hardening.edges [--full] [CASE ...]

Each command runs as a process of its own, with limited memory, and is measured. It must end with 0
and no traceback. Its memory for each byte or token of the text has a limit, and twice the text may
take little more than twice the time. Without ``--full`` the texts have an eighth of the promised
size.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hardening.command import Outcome
from hardening.tiny_texts import (
    NETWORKS,
    SMOOTHINGS,
    TEXTS,
    TOKENIZERS,
    attack,
    inside,
    n_grams,
)

MEMORY = 12 << 30  # bytes of address space that a command is given
BASE = 120 << 20  # bytes that a command takes without any text
TWICE = 2.8  # the time that twice the text may take, to that of the text: 2, and noise
SHORT = 1.5  # seconds below which a time says nothing about growth


@dataclass(frozen=True)
class Measured(Outcome):
    """One command, done, and what it took."""

    seconds: float  # of the processor
    memory: int  # bytes, at most at a time


# The system counts to a process what the one that it was forked from had: so a small one forks.
_LAUNCHER = """
import os, resource, sys
report, memory, *arguments = sys.argv[1:]
child = os.fork()
if not child:
    resource.setrlimit(resource.RLIMIT_AS, (int(memory), int(memory)))
    os.execv(sys.executable, [sys.executable, "-m", "lmsuite", *arguments])
_, status, used = os.wait4(child, 0)
os.write(int(report), f"{status} {used.ru_utime + used.ru_stime} {used.ru_maxrss}".encode())
"""


def lm(*arguments: object, stdin: Path | None = None) -> Measured:
    """Run ``lm`` in the current folder."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        with (
            (stdin or Path(os.devnull)).open("rb") as source,
            tempfile.TemporaryFile() as report,
        ):
            written = str(report.fileno())
            subprocess.run(
                [sys.executable, "-c", _LAUNCHER, written, str(MEMORY), *map(str, arguments)],
                stdin=source,
                stdout=out,
                stderr=err,
                pass_fds=[report.fileno()],
                check=True,
            )
            report.seek(0)
            status, seconds, kilobytes = report.read().split()
        for stream in (out, err):
            stream.seek(0)
        return Measured(
            os.waitstatus_to_exitcode(int(status)),
            out.read().decode(errors="replace"),
            err.read().decode(errors="replace"),
            float(seconds),
            int(kilobytes) * 1024,
        )


def done(*arguments: object, stdin: Path | None = None) -> Measured:
    """`lm`, which must work."""
    result = lm(*arguments, stdin=stdin)
    assert result.code == 0, (arguments, result.err)
    assert "Traceback" not in result.err
    return result


def refused(*arguments: object, stdin: Path | None = None) -> str:
    """`lm`, which must say in one line why it does not do this."""
    result = lm(*arguments, stdin=stdin)
    assert result.code in (1, 2), (arguments, result.code, result.err)
    assert "Traceback" not in result.err, result.err
    said = [line for line in result.err.splitlines() if line.startswith(("error: ", "Error: "))]
    assert len(said) == 1, result.err
    return said[0]


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def told(label: str, result: Measured, units: int, bytes_each: float) -> None:
    """Print a measurement, and hold it to its memory."""
    each = max(0, result.memory - BASE) / units
    say(
        f"{label:46} {result.seconds:7.1f} s  {result.memory / 2**20:7.0f} MiB  {each:6.1f} B each",
    )
    assert each <= bytes_each, f"{label}: {each:.1f} bytes each, not {bytes_each}"


def grown(label: str, large: Measured, half: Callable[[], Measured]) -> None:
    """Hold the time of the text to about twice that of its half, which is tried if it matters."""
    if large.seconds <= SHORT:
        return
    small = half()
    if small.seconds > SHORT:
        ratio = large.seconds / small.seconds
        assert ratio < TWICE, f"{label}: twice the text takes {ratio:.2f} times as long"


def write_words(path: Path, size: int, between: str = " ") -> None:
    """A text of so many bytes, of the play's words in no order, on a single line or on many."""
    rng = random.Random(size)
    play = Path(__file__).resolve().parents[1] / "corpora"
    words = " ".join(act.read_text(encoding="utf-8") for act in sorted(play.glob("act*"))).split()
    with path.open("w", encoding="utf-8") as file:
        left = size
        while left > 0:
            rng.shuffle(words)
            piece = (" ".join(words) + between)[:left]
            file.write(piece)
            left -= len(piece.encode())


# What a byte of the text may take of memory. The text itself takes 2 (as bytes, and as characters)
# or 4, ids take 4, log-probabilities 8, and a table of n-grams as much as its n-grams.
ONE_LINE = {
    ("char", "--stream"): 30,
    ("char", "--lines"): 30,
    ("word", "--stream"): 22,
    ("word", "--lines"): 22,
    ("whitespace", "--stream"): 22,
    ("whitespace", "--lines"): 22,
}


def one_line(scale: float) -> None:
    """One line of 100 MB: training, and all commands that read a text."""
    size = int(100_000_000 * scale)
    for part in (size // 2, size):
        write_words(Path(f"{part}.txt"), part)
    for (tokenizer, boundaries), each in ONE_LINE.items():
        name = f"{tokenizer}{boundaries[2:]}"
        like = ("--tokenizer", tokenizer, boundaries, "-q", "--name")
        large = done("train", "ngram", f"{size}.txt", *like, name)
        half = partial(done, "train", "ngram", f"{size // 2}.txt", *like, "half")
        told(f"train ngram {tokenizer} {boundaries}", large, size, each)
        grown(f"train ngram {tokenizer} {boundaries}", large, half)
    reading: list[tuple[tuple[str, ...], float]] = [
        *((("score", name, "-"), 40) for name in ("charstream", "wordlines")),
        *((("score", name, "-", "--tokens"), 40) for name in ("charlines", "wordstream")),
        *((("eval", name), 50) for name in ("charstream", "charlines", "wordstream")),
        (("tokenize", "--like", "wordlines"), 30),
        *((("tokenize", "--tokenizer", name), 30) for name in ("char", "word", "whitespace")),
        (("tokenize", "--tokenizer", "bpe"), 30),
    ]
    for command, limit in reading:
        large = done(*command, stdin=Path(f"{size}.txt"))
        told(" ".join(command), large, size, limit)
        grown(" ".join(command), large, partial(done, *command, stdin=Path(f"{size // 2}.txt")))
    _agree("charstream", Path(f"{size // 2}.txt"))


def _agree(name: str, text: Path) -> None:
    """`lm eval` and the two forms of `lm score` say the same of a text."""
    [row] = json.loads(done("eval", name, "--json", stdin=text).out)
    whole = math.fsum(
        float(line.split("\t")[0])
        for line in done("score", name, text, "--in-context").out.splitlines()
    )
    each = [
        float(line.split("\t")[0])
        for line in done("score", name, text, "--tokens", "--in-context").out.splitlines()
    ]
    assert row["tokens"] == len(each)
    assert math.isclose(-whole, row["cross_entropy"] * row["tokens"], rel_tol=1e-6)
    assert math.isclose(-math.fsum(each), -whole, rel_tol=1e-4)  # four digits are printed


def many_lines(scale: float) -> None:
    """10 million short lines."""
    lines = int(10_000_000 * scale)
    rng = random.Random(0)
    words = ["a", "no", "yes", "my lord", "O", "", "to be", "not to be", "exit", "who is there ?"]
    for part in (lines // 2, lines):
        with Path(f"{part}.txt").open("w", encoding="utf-8") as file:
            for _ in range(0, part, 1000):
                file.write("\n".join(rng.choices(words, k=1000)) + "\n")
    for tokenizer, boundaries in (
        ("word", "--lines"),
        ("whitespace", "--stream"),
        ("char", "--lines"),
    ):
        name = f"{tokenizer}{boundaries[2:]}"
        like = ("--tokenizer", tokenizer, boundaries, "-q", "--name")
        large = done("train", "ngram", f"{lines}.txt", *like, name)
        told(f"train ngram {tokenizer} {boundaries}", large, lines, 230)
        grown(name, large, partial(done, "train", "ngram", f"{lines // 2}.txt", *like, "half"))
    for command in (
        ("score", "wordlines", "-"),
        ("score", "whitespacestream", "-"),
        ("eval", "wordlines"),
        ("tokenize",),
    ):
        large = done(*command, stdin=Path(f"{lines}.txt"))
        told(" ".join(command), large, lines, 230)
        grown(" ".join(command), large, partial(done, *command, stdin=Path(f"{lines // 2}.txt")))
        if command[0] == "score":
            assert large.out.count("\n") == lines


def many_types(scale: float) -> None:
    """A vocabulary of two million types."""
    types = int(2_000_000 * scale)
    rng = random.Random(0)
    for part in (types // 2, types):
        ids = [*range(part), *range(part)]
        rng.shuffle(ids)
        with Path(f"{part}.txt").open("w", encoding="utf-8") as file:
            for begin in range(0, len(ids), 20):
                file.write(" ".join(f"w{i:x}" for i in ids[begin : begin + 20]) + "\n")
    like = ("--tokenizer", "whitespace", "--lines", "-q")
    how = ("--n", 3, *like, "--valid", "0")
    large = done("train", "ngram", f"{types}.txt", *how)
    told("train ngram", large, types, 1000)
    half = partial(done, "train", "ngram", f"{types // 2}.txt", *how, "--name", "half")
    grown("train ngram", large, half)
    Path("line.txt").write_text(f"w0 w1 w{types - 1:x} unheard-of\n")
    for command in (
        ("info", "ngram"),
        ("sample", "ngram", "--seed", "1", "--max-tokens", "50"),
        ("score", "ngram", "line.txt", "--tokens"),
        ("eval", "ngram", "--text", "line.txt"),
        ("explain", "ngram", "w0 w1"),
        ("check", "ngram"),
        ("convert", "ngram", "ngram.arpa"),
        ("eval", "ngram.arpa", "--text", "line.txt"),
    ):
        # An ARPA file has each of the five n-grams for each type as a line of text.
        limit = 2500 if command[:2] == ("eval", "ngram.arpa") else 1000
        told(" ".join(command), done(*command), types, limit)
    # A softmax over two million words: a few thousand tokens of training, a line of validation.
    network = ("--hidden", 8, "--embed", 8, "--epochs", 0.001, *like, "--valid", "line.txt")
    for kind in ("ffnn", "rnn"):
        result = lm("train", kind, f"{types}.txt", *network)
        if result.code:
            say(f"train {kind}: {result.err.strip().splitlines()[-1]}")
            assert re.fullmatch(r"error: .*", result.err.strip().splitlines()[-1]), result.err
        else:
            told(f"train {kind}", result, types, 2000)
            told(f"sample {kind}", done("sample", kind, "--max-tokens", 5), types, 1000)


def high_orders(scale: float) -> None:
    """Characters, 12 and 32 at a time; more is refused."""
    for order, size in ((12, 200_000), (12, int(5_000_000 * scale)), (20, 200_000), (32, 200_000)):
        for part in (size // 2, size):
            write_words(Path(f"{part}.txt"), part, "\n")
        like = ("--tokenizer", "char", "--n", order, "-q", "--name")
        large = done("train", "ngram", f"{size}.txt", *like, "high")
        told(f"train ngram --n {order}, {size} characters", large, size * order, 160)
        half = partial(done, "train", "ngram", f"{size // 2}.txt", *like, "half")
        grown(f"order {order}", large, half)
        told(f"eval, order {order}", done("eval", "high"), size * order, 100)
        told(f"sample, order {order}", done("sample", "high", "--seed", 1), size * order, 100)
        _agree("high", Path(f"{size // 2}.txt"))
    assert "32" in refused("train", "ngram", "--n", 50, "--tokenizer", "char")


def identical(scale: float) -> None:
    """A million tokens, all the same, for every smoothing."""
    count = int(1_000_000 * scale)
    for part in (count // 2, count):
        Path(f"{part}.txt").write_text("a " * part)
    for smoothing in SMOOTHINGS:
        like = ("--smoothing", smoothing, "--tokenizer", "whitespace", "-q", "--name")
        # In a stream there is no end either, so that nothing is left to predict.
        assert "only one kind of token" in refused("train", "ngram", f"{count}.txt", *like, "same")
        lines = ("--lines", "--valid", "0")
        large = done("train", "ngram", f"{count}.txt", *like, "same", *lines)
        told(f"train ngram --smoothing {smoothing}", large, count, 100)
        half = partial(done, "train", "ngram", f"{count // 2}.txt", *like, "half", *lines)
        grown(smoothing, large, half)
        notes = large.err.splitlines()
        assert all(line.startswith("note: ") for line in notes), notes
        say("".join(f"    {line}\n" for line in notes).rstrip())
        text = Path(f"{count}.txt")
        evaluated = done("eval", "same", "--json", stdin=text)
        [row] = json.loads(evaluated.out)
        # Jelinek-Mercer has no second line to fit its weights on: half of each order.
        most = 1.1 if smoothing == "jelinek-mercer" else 1.001
        assert row["perplexity"] < most, (smoothing, row)
        told(f"eval, {smoothing}", evaluated, count, 100)
        sums = done("check", "same")
        for command in (
            ("info", "same"),
            ("explain", "same", "a a a"),
            ("sample", "same", "--seed", "1", "--max-tokens", "3"),
        ):
            done(*command)
        say(f"    perplexity {row['perplexity']:.6f}; {sums.out.splitlines()[-1].strip()}")


def planes() -> Iterator[str]:
    """Characters of every plane, a plane at a time."""
    for plane in range(17):
        points = range(plane << 16, (plane + 1) << 16, 37)
        yield "".join(chr(p) for p in points if not 0xD800 <= p < 0xE000 and chr(p) != "\r")


def unicode_planes(scale: float) -> None:
    """Every plane, marks upon marks, and halves of characters on the command line.

    Below the whole size, each tokenizer has one kind of text.
    """
    marks = "e" + "\u0301" * 10_000
    text = "\n".join((*planes(), marks, "\u200d\u202e\ufe0f" * 300, ""))
    Path("planes.txt").write_text(text, encoding="utf-8")
    for tokenizer in TOKENIZERS:
        for boundaries in ("--stream", "--lines"):
            if scale < 1 and (boundaries == "--lines") != (tokenizer in ("whitespace", "treebank")):
                continue
            name = f"{tokenizer}{boundaries[2:]}"
            like = ("--tokenizer", tokenizer, boundaries, "-q", "--valid", "0", "--name", name)
            told(
                f"train ngram {tokenizer} {boundaries}",
                done("train", "ngram", "planes.txt", *like),
                1,
                1e9,
            )
            for command in (
                ("eval", name, "--text", "planes.txt"),
                ("score", name, "planes.txt"),
                ("sample", name, "--seed", "1", "--max-tokens", "200"),
                ("explain", name, "\U0010ffff\u0301 \U000e0041"),
            ):
                done(*command)
    shown = done("tokenize", "--like", "charstream", "--json", "planes.txt").out
    lines = (json.loads(line)["tokens"] for line in shown.split("\n")[:-1])
    again = "".join(token["token"] for line in lines for token in line)
    assert again == text.replace("\r\n", "\n")
    half = "a\udcff\ud800".encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape")
    for arguments in (
        ("sample", "charstream", half, "--max-tokens", "3"),
        ("explain", "bpestream", half),
        ("explain", "wordstream", half),
        ("score", half),
        ("neighbours", "charstream", half),
        ("train", "ngram", half),
        ("train", "ngram", "--name", half),
        ("eval", "charstream", "--text", half),
        ("report", "charstream", "--title", half, "--prompt", half),
        ("sample", "charstream", "--stop", half, "--max-tokens", "3"),
        (half,),
    ):
        result = lm(*arguments)
        assert result.code in (0, 1, 2), (arguments, result.err)
        assert "Traceback" not in result.err, (arguments, result.err)


def tiny(scale: float) -> None:
    """Texts of 0, 1 and 2 tokens, for every model, smoothing, tokenizer and command."""
    made = tried = 0
    began = time.monotonic()
    trainings = (*n_grams(1, 2, 3, 5), *NETWORKS)
    cases = [
        (training, text, tokenizer, split, valid)
        for training in trainings
        for text in TEXTS
        for tokenizer in TOKENIZERS
        for split in ("--lines", "--stream")
        for valid in ("0", "0.1", "0.5")
    ]
    random.Random(0).shuffle(cases)
    with tempfile.TemporaryDirectory() as folder, inside(Path(folder)):
        for case in cases[: int(len(cases) * scale)]:
            tried += 1
            made += attack(*case)
    say(f"{tried} trainings, {made} models, {time.monotonic() - began:.0f} s")
    assert made


Case = Callable[[float], None]
CASES: dict[str, Case] = {
    case.__name__: case
    for case in (one_line, many_lines, many_types, high_orders, identical, unicode_planes, tiny)
}


def main() -> None:
    """Run the cases that were named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", choices=[[], *CASES], metavar="CASE", default=[])
    parser.add_argument("--full", action="store_true", help="the promised sizes: an hour, 12 GB")
    parser.add_argument("--scale", type=float, default=0.125)
    given = parser.parse_args()
    for name in given.cases or CASES:
        say(f"== {CASES[name].__doc__}")
        with tempfile.TemporaryDirectory() as folder, inside(Path(folder)):
            CASES[name](1.0 if given.full else given.scale)


if __name__ == "__main__":
    main()
