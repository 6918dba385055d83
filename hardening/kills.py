"""SIGKILL every command that writes, at random moments: the old or the new file must be whole.

    python -m hardening.kills --kills 100 --seed 1 [--writer NAME ...]

Each writer (a command) runs again and again in one folder, in two alternating variants, and is
killed. Half of the kills come at a random moment of its run. The others come at a random step of
its writing (a file opened, flushed, renamed, removed), or up to 3 ms after it. After each kill
every file is verified. Nothing is tidied up between the kills, so files that are left behind would
pile up. At last the writer runs undisturbed, and only its own files may be there.

Most runs are forks of this process, which has all modules already; every tenth is a process of its
own. The program needs Linux.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import DEVNULL
from typing import Any

from hardening.command import be_lm, forked, lm, started
from hardening.workplace import TEXT, files, import_all, surroundings
from hardening.writers import WRITERS, Writer
from lmsuite.errors import LmError

LEFT = re.compile(r"\..*(\.[0-9a-f]{8}\.lmsuite-tmp|\.lmsuite-lock|\.valid\.txt\.gz\.next)")
MOST_LEFT = 5  # hidden files at any time: a lock, and two half written, each with its own lock
LATER = 0.003  # seconds after a step
LAST_STEPS = 30  # of a long training, of which the end would hardly ever be hit
VARIANTS = (0, 1)
ERRORS = tempfile.TemporaryFile()  # noqa: SIM115 - what the last fork wrote on standard error


class DamageError(AssertionError):
    """A kill left something that it must not."""


@dataclass
class Tally:
    """What came of the kills."""

    kills: int = 0
    done_before: int = 0  # the writer was sooner done than killed
    resumed: int = 0
    left: int = 0  # kills that left something hidden
    seconds: float = field(default_factory=time.monotonic)


def run_forked(
    writer: Writer, arguments: Sequence[str], at_step: int | None = None, later: float = 0.0
) -> tuple[int, int]:
    """Start the writer in a fork; its process id, and a pipe that at its end tells its steps.

    Args:
        writer: the writer.
        arguments: what follows ``lm``.
        at_step: which of its steps kills it, if it gets there.
        later: seconds from the step to the kill.
    """
    reading, writing = os.pipe()
    ERRORS.seek(0)
    ERRORS.truncate()

    def work() -> int:
        steps = _count_steps(at_step, later)
        nothing = os.open(os.devnull, os.O_RDWR)
        try:
            streams = (nothing, nothing, ERRORS.fileno())
            return be_lm(*arguments, streams=streams, before=writer.patch)
        finally:
            os.write(writing, b"%d" % steps[0])

    child = forked(work)
    os.close(writing)
    return child, reading


def _count_steps(at_step: int | None, later: float) -> list[int]:
    """From now on count what this process changes on the disk below the current folder."""
    owner, folder, steps = os.getpid(), str(Path.cwd()), [0]

    def step() -> None:
        if os.getpid() != owner:
            return
        steps[0] += 1
        if steps[0] == at_step:
            if later:
                threading.Timer(later, os.kill, (owner, signal.SIGKILL)).start()
            else:
                os.kill(owner, signal.SIGKILL)

    def audited(event: str, given: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = given
            is_named = isinstance(path, str | Path)  # else a descriptor that is open already
            if flags & (os.O_WRONLY | os.O_RDWR) and is_named and _is_below(folder, path):
                step()
        elif event in ("os.rename", "os.remove", "os.mkdir", "os.truncate"):
            step()

    flush = os.fsync

    def counted_flush(descriptor: Any) -> None:
        step()
        flush(descriptor)

    os.fsync = counted_flush
    sys.addaudithook(audited)
    return steps


def _is_below(folder: str, path: str | Path) -> bool:
    return str(Path(path).absolute()).startswith(folder)


def errors() -> str:
    ERRORS.seek(0)
    return ERRORS.read().decode(errors="replace")


def wait_or_kill(process: int, seconds: float) -> int:
    """Let the process run for so long and then kill it; its exit code, -9 if it was killed."""
    until = time.monotonic() + seconds
    while True:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= until:
            os.kill(process, signal.SIGKILL)
            until = float("inf")
        time.sleep(0.001)


def measured(writer: Writer, arguments: Sequence[str]) -> tuple[float, int]:
    """How long the writer takes undisturbed, and how many steps."""
    began = time.monotonic()
    process, pipe = run_forked(writer, arguments)
    code = wait_or_kill(process, 60)
    seconds = time.monotonic() - began
    with os.fdopen(pipe, "rb") as stream:
        steps = stream.read()
    if code:
        raise DamageError(f"lm {' '.join(arguments)} exits with {code} undisturbed: {errors()}")
    return seconds, int(steps)


def attack(name: str, kills: int, seed: int) -> Tally:
    """Kill the writer so often, in the current folder, and verify what is left each time.

    Raises:
        DamageError: with what was damaged and how to do it again.
    """
    writer, rng, tally = WRITERS[name], random.Random(f"{name} {seed}"), Tally()
    Path("text.txt").write_text(TEXT)
    for command in writer.setup:
        assert lm(*command).done
    before = files()
    measures, versions = [], []
    for variant in VARIANTS:
        measures.append(measured(writer, writer.arguments[variant]))
        versions.append(versions_of(writer))
    for kill in range(kills):
        variant = rng.choice(VARIANTS)
        arguments, (seconds, steps) = writer.arguments[variant], measures[variant]
        how = _kill(writer, arguments, rng, seconds, steps, real=kill % 10 == 9, tally=tally)
        try:
            verify(writer, before, versions)
            tally.left += any(Path(file).name.startswith(".") for file in files() - before)
            if writer.resumes and (Path("models/m.checkpoint").exists() and rng.random() < 0.2):
                _resume(writer, variant, versions)
                tally.resumed += 1
        except (AssertionError, LmError) as error:
            raise DamageError(f"{name}, seed {seed}, kill {kill} ({how}): {error}") from None
    measured(writer, writer.arguments[0])
    if strange := files() - before - set(writer.files):
        raise DamageError(f"{name}, seed {seed}: left at last: {sorted(strange)}")
    verify(writer, before, versions[:1] if writer.models and not writer.patch else versions)
    tally.seconds = time.monotonic() - tally.seconds
    return tally


def _kill(
    writer: Writer,
    arguments: Sequence[str],
    rng: random.Random,
    seconds: float,
    steps: int,
    *,
    real: bool,
    tally: Tally,
) -> str:
    """Run the writer and kill it once; how."""
    if real and writer.patch is None:
        delay = rng.uniform(0, seconds + 0.6)
        how = f"a process of its own, after {delay:.3f} s"
        process = started(*arguments, out=DEVNULL, err=DEVNULL)
        code = wait_or_kill(process.pid, delay)
        process.returncode = code
    elif rng.random() < 0.5:
        delay = rng.uniform(0, 1.05 * seconds)
        how = f"after {delay:.3f} s"
        pid, pipe = run_forked(writer, arguments)
        code = wait_or_kill(pid, delay)
        os.close(pipe)
    else:
        first = max(1, steps - LAST_STEPS) if rng.random() < 0.5 else 1
        step, later = rng.randint(first, steps), rng.choice((0.0, rng.uniform(0, LATER)))
        how = f"{1000 * later:.1f} ms after step {step} of {steps}"
        pid, pipe = run_forked(writer, arguments, step, later)
        code = wait_or_kill(pid, 60)
        os.close(pipe)
    if code not in (0, -signal.SIGKILL):
        raise DamageError(f"{how}: exits with {code} by itself: {errors()}")
    tally.kills += 1
    tally.done_before += code == 0
    return f"{how}: lm {' '.join(arguments)}"


def versions_of(writer: Writer) -> dict[str, int]:
    """The checksum of every model, by name."""
    from lmsuite.store.artefact import read_manifest

    paths = {name: Path("models") / f"{name}.safetensors" for name in writer.models}
    return {name: read_manifest(path).checksum for name, path in paths.items() if path.exists()}


def verify(writer: Writer, before: set[str], versions: list[dict[str, int]]) -> None:
    """Raise DamageError if any file is damaged, or there is one that has no business there."""
    hidden, visible = [], []
    for file in sorted(files() - before):
        (hidden if Path(file).name.startswith(".") else visible).append(file)
    if strange := set(visible) - set(writer.files):
        raise DamageError(f"strange files: {sorted(strange)}")
    unknown = [file for file in hidden if not LEFT.fullmatch(Path(file).name)]
    if unknown or len(hidden) > MOST_LEFT:
        raise DamageError(f"hidden files: {hidden}")
    for name, checksum in versions_of(writer).items():
        if all(version.get(name) != checksum for version in versions):
            raise DamageError(f"the model {name} is neither the old one nor the new one")
    for reads in (
        ["models"],
        *(["check", name] for name in writer.models),
        *(["eval", name, "--json"] for name in writer.texts),
    ):
        assert lm(*reads).done
    for file in visible:
        _verify_file(Path(file))
    if writer.fetches and "served" not in lm("corpus", "show", "served", "--text").done.out[:20]:
        raise DamageError("another text than was served")


def _verify_file(path: Path) -> None:
    content = path.read_bytes()
    if path.name.endswith(".history.jsonl"):
        from lmsuite.store.history import read_history

        if not read_history(path):
            raise DamageError(f"{path} is empty")
    elif path.name.endswith(".checkpoint"):
        from safetensors.numpy import load

        load(content)
    ends = {".png": b"IEND\xaeB`\x82", ".svg": b"</svg>\n", ".html": b"</html>\n"}
    if not content.endswith(ends.get(path.suffix, b"")):
        raise DamageError(f"{path} is cut short")


def _resume(writer: Writer, variant: int, versions: list[dict[str, int]]) -> None:
    """Finish what was killed; if it had no checkpoint yet, the one before it has."""
    for one in (variant, 1 - variant):
        resumed = lm(*writer.arguments[one], "--resume")
        if resumed.code and one == variant and "is of another training" in resumed.err:
            continue
        assert resumed.done
        if versions_of(writer) != versions[one]:
            raise DamageError("resumed, it is not to the bit what it is undisturbed")
        return


def main() -> None:
    """The command line of the harness."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100, help="of each writer")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--writer", action="append", choices=WRITERS, help="all if none is given")
    options = parser.parse_args()
    import_all()
    for name in options.writer or WRITERS:
        with surroundings():
            tally = attack(name, options.kills, options.seed)
        sys.stdout.write(
            f"{name:10} {tally.kills} kills, {tally.done_before} came after the end, "
            f"{tally.left} left something hidden, {tally.resumed} resumed; {tally.seconds:.0f} s\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    main()
