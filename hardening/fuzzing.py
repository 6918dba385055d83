"""The driver of the fuzzers: it runs a target on many inputs, each under the same five rules.

    main("ARPA files", target, make_inputs)  # python -m hardening.fuzz_arpa --runs 9 --seed 1

A target gets the bytes of one input and uses them as the commands would. It either returns
(accepted) or raises an `LmError` (refused). Everything else is a failure:

* any other exception, or the death of the process;
* more seconds than the limit;
* more new megabytes of address space than the limit;
* a file written, removed or renamed outside the folder that the target runs in;
* code run from outside the modules of this program and its libraries, a process started, a socket
  opened.

Targets run in a forked child, which serves input after input until one kills it. Its current folder
is empty and its own; its output is thrown away. The driver needs Linux.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import dataclasses
import faulthandler
import gc
import hashlib
import importlib
import inspect
import os
import random
import resource
import select
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
import typing
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from lmsuite.errors import LmError

importlib.import_module("matplotlib.figure")  # which makes a folder of its own, once
for part in ("page.html", "page.css"):  # which become code, once
    importlib.import_module("lmsuite.report.pages").template().environment.get_template(part)

ROOT = Path(__file__).resolve().parents[1]
ACCEPTED, REFUSED, FAILED = "accepted", "refused", "failed"
PATIENT = 15.0  # seconds for an input in the tests, whose machine may be slow
STARVED = 12  # times the limit that a child may take which waits for a processor
SAVED = 3  # reproducers of one kind of failure
TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")

Target = Callable[[bytes], None]


@dataclass(frozen=True)
class Outcome:
    """What one input came to."""

    kind: str  # ACCEPTED, REFUSED or FAILED
    reason: str = ""  # of a refusal its message; of a failure what happened, and where
    details: str = ""  # of a failure, the traceback

    @property
    def failed(self) -> bool:
        return self.kind == FAILED


@dataclass
class Report:
    """What all inputs came to."""

    inputs: int = 0
    accepted: int = 0
    refused: int = 0
    seconds: float = 0.0
    slowest: float = 0.0  # seconds of one input
    failures: list[tuple[bytes, Outcome]] = field(default_factory=list)  # the first of each reason
    reasons: Counter[str] = field(default_factory=Counter)  # of all failures

    @property
    def failed(self) -> int:
        return self.reasons.total()

    def line(self, name: str) -> str:
        """The figures."""
        return (
            f"{name}: {self.inputs:,} inputs, {self.inputs / max(self.seconds, 1e-9):,.0f}/s, "
            f"{self.accepted:,} accepted, {self.refused:,} refused, {self.failed:,} failures "
            f"(slowest {self.slowest:.2f} s)"
        )


def attack(
    target: Target, inputs: Iterable[bytes], *, seconds: float = 5.0, megabytes: int = 1024
) -> Report:
    """Give every input to `target`, and count what comes of it.

    Args:
        target: what is attacked.
        inputs: as many as there are; they are drawn in this process.
        seconds: that one input may take.
        megabytes: of address space that the child may take beyond what it begins with.
    """
    report = Report()
    began = time.monotonic()
    with contextlib.closing(_Child(target, seconds, megabytes)) as child:
        for data in inputs:
            started = time.monotonic()
            outcome = child.outcome(data)
            report.slowest = max(report.slowest, time.monotonic() - started)
            report.inputs += 1
            report.accepted += outcome.kind == ACCEPTED
            report.refused += outcome.kind == REFUSED
            if outcome.failed:
                report.reasons[outcome.reason] += 1
                if report.reasons[outcome.reason] <= SAVED:
                    report.failures.append((data, outcome))
    report.seconds = time.monotonic() - began
    return report


def main(
    name: str, target: Target, make_inputs: Callable[[random.Random], Iterable[bytes]]
) -> None:
    """The command line of a fuzzer; exits with 1 if there were failures.

    Args:
        name: of what is attacked, in the figures.
        target: see `attack`.
        make_inputs: gives inputs without end, the same for the same generator.
    """
    parser = argparse.ArgumentParser(description=f"Attack {name}.")
    parser.add_argument("--runs", type=int, default=10_000, help="inputs to make")
    parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same inputs")
    parser.add_argument("--minutes", type=float, help="end after so long, however many are left")
    parser.add_argument("--limit", type=float, default=5.0, help="seconds that an input may take")
    parser.add_argument("--megabytes", type=int, default=1024, help="memory that it may take")
    parser.add_argument("--replay", type=Path, nargs="+", help="files to give it instead")
    given = parser.parse_args()
    if given.replay:
        inputs: Iterable[bytes] = [path.read_bytes() for path in given.replay]
    else:
        inputs = islice(make_inputs(random.Random(given.seed)), given.runs)
    if given.minutes is not None:
        inputs = _until(time.monotonic() + 60 * given.minutes, inputs)
    report = attack(target, inputs, seconds=given.limit, megabytes=given.megabytes)
    _show_failures(name, report)
    sys.stdout.write(f"{report.line(name)}, seed {given.seed}\n")
    sys.exit(1 if report.failed else 0)


def _until(end: float, inputs: Iterable[bytes]) -> Iterator[bytes]:
    for data in inputs:
        yield data
        if time.monotonic() > end:
            return


def _show_failures(name: str, report: Report) -> None:
    if not report.failures:
        return
    folder = Path(tempfile.mkdtemp(prefix=f"lmsuite-{name.replace(' ', '-')}-"))
    shown: set[str] = set()
    for data, outcome in report.failures:
        path = folder / hashlib.sha256(data).hexdigest()[:16]
        path.write_bytes(data)
        if outcome.reason not in shown:
            shown.add(outcome.reason)
            sys.stdout.write(f"{report.reasons[outcome.reason]:,} x {outcome.reason}\n")
            sys.stdout.write("".join(f"    {line}\n" for line in outcome.details.splitlines()))
        sys.stdout.write(f"    {path}\n")


class _Child:
    """The process that inputs are given to; a new one takes the place of one that died."""

    def __init__(self, target: Target, seconds: float, megabytes: int) -> None:
        self._target, self._seconds, self._megabytes = target, seconds, megabytes
        self._pid = 0
        self._folder = Path()
        self._reader = self._writer = -1

    def outcome(self, data: bytes) -> Outcome:
        """What becomes of this input."""
        if not self._pid:
            self._start()
        pid = self._pid
        began, spent = time.monotonic(), _processor_seconds(pid)
        try:
            _write(self._writer, struct.pack("<Q", len(data)) + data)
        except BrokenPipeError:
            return self._died()
        while not select.select([self._reader], [], [], 0.2)[0]:
            lasted, worked = time.monotonic() - began, _processor_seconds(pid) - spent
            hangs = lasted > self._seconds and not _waits_for_processor(pid)
            if hangs or worked > self._seconds or lasted > STARVED * self._seconds:
                return self._hung(lasted)
        answer = _read_answer(self._reader)
        return answer or self._died()

    def close(self) -> None:
        """End the process, and remove its folder."""
        if not self._pid:
            return
        for end in (self._reader, self._writer):
            os.close(end)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)
        self._pid = 0
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self) -> None:
        memory = Path("/dev/shm")
        folder = tempfile.mkdtemp(prefix="lmsuite-fuzz-", dir=memory if memory.is_dir() else None)
        self._folder = Path(folder)
        inputs, self._writer = os.pipe()
        self._reader, answers = os.pipe()
        sys.stdout.flush()
        self._pid = os.fork()
        if self._pid:
            os.close(inputs)
            os.close(answers)
            return
        try:
            os.close(self._writer)
            os.close(self._reader)
            _serve(self._target, inputs, answers, self._folder, self._megabytes)
            os._exit(0)
        except BaseException:
            os.write(2, traceback.format_exc().encode())
            os._exit(1)

    def _died(self) -> Outcome:
        _, status = os.waitpid(self._pid, 0)
        code = os.waitstatus_to_exitcode(status)
        ended = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return self._failed(f"the process died ({ended})")

    def _hung(self, lasted: float) -> Outcome:
        os.kill(self._pid, signal.SIGABRT)  # faulthandler then writes where it was
        for _ in range(20):
            if os.waitpid(self._pid, os.WNOHANG)[0]:
                break
            time.sleep(0.1)
        return self._failed(f"it took more than {self._seconds:g} s")

    def _failed(self, reason: str) -> Outcome:
        said = self._folder / _STDERR
        details = said.read_text(errors="replace")[-4000:] if said.exists() else ""
        frames = [line.strip() for line in details.splitlines() if "/lmsuite/" in line]
        self.close()
        return Outcome(FAILED, f"{reason} {frames[0]}" if frames else reason, details)


_STDERR = ".stderr"


def _serve(target: Target, inputs: int, answers: int, folder: Path, megabytes: int) -> None:
    """The child: reads an input, runs the target, answers; until the pipe is closed."""
    os.chdir(folder)
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    nothing = os.open(os.devnull, os.O_RDWR)
    said = os.open(_STDERR, os.O_CREAT | os.O_RDWR | os.O_TRUNC)
    for stream, place in ((nothing, 0), (nothing, 1), (said, 2)):
        os.dup2(stream, place)
    faulthandler.enable(file=2)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.dont_write_bytecode = True
    gc.freeze()
    guard = _Guard(folder)
    if hasattr(os, "sched_setaffinity"):  # on one core, no work is shared out to processes
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[os.getpid() % len(cores)]})
    _limit_memory(megabytes)
    while (header := _read(inputs, 8)) is not None:
        data = _read(inputs, struct.unpack("<Q", header)[0])
        if data is None:
            return
        outcome = _outcome(target, data, guard)
        if guard.broken:
            outcome = Outcome(FAILED, guard.broken[0], outcome.details)
        parts = (outcome.kind, outcome.reason, outcome.details)
        text = "\0".join(part.replace("\0", "\\0") for part in parts)
        answer = text.encode("utf-8", "backslashreplace")
        _write(answers, struct.pack("<Q", len(answer)) + answer)


def _outcome(target: Target, data: bytes, guard: _Guard) -> Outcome:
    try:
        with guard:
            target(data)
    except LmError as error:
        message = str(error)
        if not message.strip():
            return Outcome(FAILED, f"a {type(error).__name__} without a message")
        return Outcome(REFUSED, message)
    except BaseException as error:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if "/lmsuite/" in frame.filename] or frames
        place = f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else "nowhere"
        details = "".join(traceback.format_exception(error))[-6000:]
        return Outcome(FAILED, f"{type(error).__name__} at {place}", details)
    return Outcome(ACCEPTED)


class ForbiddenError(BaseException):
    """What no input may bring about; not to be caught by those who catch exceptions."""


_CHANGES = {  # what changes a file, and which of its arguments are paths
    "os.chmod": (0,),
    "os.chown": (0,),
    "os.link": (0, 1),
    "os.mkdir": (0,),
    "os.remove": (0,),
    "os.rename": (0, 1),
    "os.rmdir": (0,),
    "os.symlink": (1,),
    "os.truncate": (0,),
    "os.utime": (0,),
}
_NEVER = (
    *("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty"),
    *("pickle.find_class", "socket.connect", "socket.bind", "socket.getaddrinfo", "pty.spawn"),
    *("os.kill", "signal.pthread_kill", "code.__new__", "webbrowser.open"),
)
# They evaluate annotations, and write the methods of records: text of modules, not of data.
_MAKE_CODE = {module.__file__ for module in (collections, dataclasses, inspect, typing)}
_LIBRARIES = (sys.prefix, sys.base_prefix, "/lib", "/usr")
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class _Guard:
    """Watches, by the interpreter's audit events, what is done; refuses what is forbidden."""

    def __init__(self, folder: Path) -> None:
        self.broken: list[str] = []
        self._watches = False
        self._folder = str(folder.resolve())
        sys.addaudithook(self._audit)

    def __enter__(self) -> None:
        self.broken.clear()
        self._watches = True

    def __exit__(self, *_: object) -> None:
        self._watches = False

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._watches:
            return
        if event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & _WRITES and path != os.devnull:
                self._require_inside(event, path)
        elif event in _CHANGES:
            for place in _CHANGES[event]:
                self._require_inside(event, arguments[place])
        elif event == "ctypes.dlopen":
            self._require_installed(arguments[0])
        elif event in _NEVER:
            if not _is_importing():
                self._forbid(f"{event} {arguments!r}")
        elif event == "compile" and isinstance(arguments[0], str | bytes):
            self._require_known_source(repr(arguments[0][:80]))
        elif event == "exec":
            self._require_known_source(arguments[0].co_filename)

    def _require_inside(self, event: str, path: Any) -> None:
        if isinstance(path, int):
            return  # a file that is open already
        real = os.path.realpath(os.fsdecode(path))
        if real != self._folder and not real.startswith(self._folder + os.sep):
            self._forbid(f"{event} outside of the folder: {real}")

    def _require_installed(self, library: Any) -> None:
        if library is not None and not os.path.realpath(os.fsdecode(library)).startswith(
            _LIBRARIES
        ):
            self._forbid(f"a library was loaded: {library!r}")

    def _require_known_source(self, source: str) -> None:
        if not (_caller() in _MAKE_CODE or _is_importing()):
            self._forbid(f"code was run: {source}")

    def _forbid(self, what: str) -> None:
        self.broken.append(what)
        raise ForbiddenError(what)


def _caller() -> str:
    """The file of whoever did what is being audited."""
    frame: Any = sys._getframe()
    while frame.f_code.co_filename == __file__ and frame.f_back is not None:
        frame = frame.f_back
    return str(frame.f_code.co_filename)


def _is_importing() -> bool:
    """Whether a module is being imported further up."""
    frame: Any = sys._getframe()
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _limit_memory(megabytes: int) -> None:
    """Let allocations fail beyond `megabytes` more of address space than there is now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * PAGE + (megabytes << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _processor_seconds(pid: int) -> float:
    """Seconds that the process has worked."""
    user, system = _stat(pid)[11:13]
    return (int(user) + int(system)) / TICK


def _waits_for_processor(pid: int) -> bool:
    """Whether the process could go on, but for the others that use the machine."""
    return _stat(pid)[0] == "R"


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name."""
    text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    return text[text.rindex(")") + 2 :].split()


def _write(pipe: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(pipe, view) :]


def _read(pipe: int, count: int) -> bytes | None:
    """So many bytes; None if the other end was closed."""
    parts: list[bytes] = []
    while count:
        part = os.read(pipe, min(count, 1 << 20))
        if not part:
            return None
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _read_answer(pipe: int) -> Outcome | None:
    header = _read(pipe, 8)
    answer = None if header is None else _read(pipe, struct.unpack("<Q", header)[0])
    return None if answer is None else Outcome(*answer.decode().split("\0"))
