"""A row of the table: some work of ours, measured turn about with a peer's."""

from __future__ import annotations

import importlib.util
import os
import shutil
import stat
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.alternating import Comparison

_BETWEEN_LOOKS = 0.02  # seconds
_LOOKS_AT_DISK = 10  # the files are looked at less often than the memory
ROOT = Path(__file__).resolve().parents[1]


class SkippedError(Exception):
    """A measurement cannot be made here; the message says why."""


@dataclass(frozen=True)
class Options:
    """What a run of the benchmarks is told."""

    folder: Path
    """For what is made on the way."""
    texts: Path
    """Where the corpora lie: tinyshakespeare/train.words.txt, shakespeare/complete.txt, ..."""
    quick: bool = False
    repeats: int = 5
    shape: str = ""
    """Of the networks that are trained, only those whose name contains this."""

    def text(self, name: str) -> Path:
        path = self.texts / name
        if not path.is_file():
            raise SkippedError(f"there is no {path} (--texts names the folder)")
        return path


@dataclass(frozen=True)
class Row:
    """Values of every repetition, ours and the peer's in the order they ran."""

    work: str
    peer: str  # empty: there is none
    unit: str
    ours: tuple[float, ...]
    theirs: tuple[float, ...] = ()
    reach: float | None = None
    """What the ratio is to reach, or where there is no peer, our value; None: only reported."""
    more_is_better: bool = False
    commands: tuple[str, ...] = ()
    """Ours, then the peer's."""
    remark: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """Our median over the peer's."""
        if not self.theirs:
            return None
        return statistics.median(self.ours) / statistics.median(self.theirs)

    @property
    def spread(self) -> tuple[float, float]:
        """The least and the greatest ratio among the pairs, or our values."""
        pairs = list(zip(self.ours, self.theirs, strict=False))
        ratios = [mine / theirs for mine, theirs in pairs] or list(self.ours)
        return min(ratios), max(ratios)

    @property
    def is_reached(self) -> bool | None:
        """Whether the row reaches what it is to reach."""
        if self.reach is None:
            return None
        reached = statistics.median(self.ours) if self.ratio is None else self.ratio
        return reached >= self.reach if self.more_is_better else reached <= self.reach

    def markdown(self) -> str:
        low, high = self.spread
        ratio = "" if self.ratio is None else f"**{self.ratio:.4g}** ({low:.3g} to {high:.3g})"
        ours = _shown(self.ours, self.unit)
        if self.ratio is None:
            ours += f" ({low:.3g} to {high:.3g})"
        sign = "at least" if self.more_is_better else "at most"
        reach = "reported" if self.reach is None else f"{sign} {self.reach:g}"
        verdict = {None: "", True: "yes", False: "no"}[self.is_reached]
        return (
            f"| {self.work} | {self.peer} | {ours} | {_shown(self.theirs, self.unit)} | {ratio} "
            f"| {reach} | {verdict} |"
        )

    def document(self) -> dict[str, Any]:
        """The row for the JSON file."""
        return vars(self) | {
            "ratio": self.ratio,
            "spread": self.spread,
            "is_reached": self.is_reached,
        }


MARKDOWN_HEAD = (
    "| work | peer | ours | peer's | ours / peer (spread) | to reach | reached |\n"
    "| --- | --- | --- | --- | --- | --- | --- |"
)


def rate_row(comparison: Comparison, amount: float, unit: str, **more: Any) -> Row:
    """A row of rates, from the seconds that both sides took for the same amount."""
    return Row(
        comparison.work,
        comparison.peer_name,
        unit,
        tuple(amount / seconds for seconds in comparison.ours),
        tuple(amount / seconds for seconds in comparison.peer),
        more_is_better=True,
        **more,
    )


@dataclass(frozen=True)
class Cost:
    """What a process took."""

    seconds: float
    peak: int
    """Bytes of memory, at most, of the process and of those that it started, together."""
    disk: int = 0
    """Bytes of temporary files, at most, if their folder was named."""


def process(
    command: Sequence[str | Path],
    *,
    stdin: Path | None = None,
    stdout: Path | None = None,
    scratch: Path | None = None,
) -> Cost:
    """Run a program to its end; `scratch` is the folder of its temporary files, also as TMPDIR.

    Raises:
        SkippedError: it failed.
    """
    with (
        (stdin or Path(os.devnull)).open("rb") as source,
        (stdout or Path(os.devnull)).open("wb") as target,
        tempfile.TemporaryFile() as errors,
    ):
        begin = time.perf_counter()
        variables = os.environ if scratch is None else {**os.environ, "TMPDIR": str(scratch)}
        running = subprocess.Popen(
            command, stdin=source, stdout=target, stderr=errors, cwd=ROOT, env=variables
        )
        together = _Together(running.pid, scratch)
        together.start()
        _, status, usage = os.wait4(running.pid, 0)
        seconds = time.perf_counter() - begin
        running.returncode = os.waitstatus_to_exitcode(status)
        if running.returncode:
            errors.seek(0)
            said = errors.read().decode(errors="replace").strip().rpartition("\n")[2]
            raise SkippedError(f"{Path(command[0]).name} failed with {running.returncode}: {said}")
    alone = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return Cost(seconds, max(alone, together.peak), together.disk)


class _Together(threading.Thread):
    """Watches a process and all that it started (on Linux), while it runs."""

    def __init__(self, pid: int, scratch: Path | None) -> None:
        super().__init__(daemon=True)
        self._pid, self._scratch = pid, scratch
        self.peak = self.disk = 0  # bytes

    def run(self) -> None:
        looks = 0
        while pages := sum(map(_pages, family := list(_family(self._pid)))):
            self.peak = max(self.peak, pages * os.sysconf("SC_PAGE_SIZE"))
            if self._scratch is not None and looks % _LOOKS_AT_DISK == 0:
                self.disk = max(self.disk, _temporary(self._scratch, family))
            looks += 1
            time.sleep(_BETWEEN_LOOKS)


def _temporary(scratch: Path, family: Sequence[int]) -> int:
    """Bytes of the files in a folder, and of those in no folder that the processes have open."""
    sizes: dict[tuple[int, int], int] = {}
    opened = (Path(f"/proc/{pid}/fd").glob("*") for pid in family)
    for path in (*scratch.rglob("*"), *(path for each in opened for path in each)):
        with suppress(OSError):
            status = path.stat()
            is_there = scratch in path.parents or status.st_nlink == 0
            if is_there and stat.S_ISREG(status.st_mode):
                sizes[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(sizes.values())


def _family(pid: int) -> Iterator[int]:
    """The process and all that it started, as far as they live."""
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in children.read_text("ascii").split():
                yield from _family(int(child))


def _pages(pid: int) -> int:
    """Of memory that a process takes; 0 if it has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    except (OSError, IndexError):
        return 0


def turn_about(
    ours: Callable[[], Cost], peer: Callable[[], Cost], repeats: int
) -> tuple[tuple[Cost, ...], tuple[Cost, ...]]:
    """The costs of both, run `repeats` times turn about."""
    pairs = [(ours(), peer()) for _ in range(repeats)]
    return tuple(pair[0] for pair in pairs), tuple(pair[1] for pair in pairs)


def lm(*arguments: str | Path) -> list[str | Path]:
    """The command line of ``lm``, in this Python."""
    return [sys.executable, "-m", "lmsuite", *arguments]


def program(name: str) -> str:
    """A program of KenLM's, on the PATH or in the folder that KENLM_BIN names.

    Raises:
        SkippedError: it is not there.
    """
    folder = os.environ.get("KENLM_BIN")
    found = shutil.which(name, path=folder) if folder else shutil.which(name)
    if found is None:
        raise SkippedError(
            f"{name} is neither on the PATH nor in KENLM_BIN (see benchmarks/README.md)"
        )
    return found


def require(module: str) -> None:
    """Make sure of a peer that is a Python module, without importing it.

    Raises:
        SkippedError: it is not installed.
    """
    if importlib.util.find_spec(module) is None:
        raise SkippedError(f"{module} is not installed: pip install 'lmsuite[bench]'")


def shown_command(command: Sequence[str | Path]) -> str:
    """A command as a person types it."""
    words = [str(word) for word in command]
    if words[:3] == [sys.executable, "-m", "lmsuite"]:
        words[:3] = ["lm"]
    return " ".join([Path(words[0]).name, *words[1:]])


def _shown(values: tuple[float, ...], unit: str) -> str:
    if not values:
        return ""
    value = statistics.median(values)
    return (f"{value:,.0f} {unit}" if value >= 1000 else f"{value:.4g} {unit}").rstrip()
