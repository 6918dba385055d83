"""Run ``lm`` in a test: in this process, in a fork of it, or in a new process.

    lm("eval", "m", "--json", stdin=b"the cat").done.out

`lm`, `lm_fork` and `lm_process` take the same arguments and return the same record. The first is
the quickest. The second runs in a forked process, which has all modules already and can be tampered
with. The third runs what a shell runs. `started` gives a process that is still running, to be sent
signals; `on_terminal` lets any of the three write to a terminal. `lm_fork` and `on_terminal` do not
work on Windows.
"""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

TIMEOUT = 120.0  # seconds; a process that takes longer is killed


@dataclass(frozen=True)
class Outcome:
    """What a command did."""

    code: int  # with which it exited; below 0, the signal that killed it
    out: str
    err: str

    @property
    def done(self) -> Outcome:
        """Itself, of a command that must not fail."""
        assert self.code == 0, self
        return self

    @property
    def error(self) -> str:
        """The one line on stderr of a command that failed as it should, without a traceback."""
        assert self.code == 1, self
        return self.only_line

    @property
    def only_line(self) -> str:
        """The one line on stderr, which says what is wrong."""
        assert "Traceback" not in self.err
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        assert lines[0].startswith("error: ")
        return lines[0].removeprefix("error: ")


Run = Callable[..., Outcome]  # `lm`, or one of those that take the same


def lm(
    *arguments: object,
    stdin: bytes | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    out: int | None = None,
    err: int | None = None,
) -> Outcome:
    """``lm`` in this process.

    Args:
        arguments: what follows ``lm``.
        stdin: what is piped in; None for no pipe.
        cwd: the current folder.
        env: what is added to the environment.
        out: a descriptor to write standard output to, which is then not in the outcome.
        err: the same of standard error.
    """
    from lmsuite.cli.app import main

    with (
        Path(os.devnull).open(encoding="utf-8") as nothing,
        _text(out) as to_out,
        _text(err) as to_err,
        contextlib.redirect_stdout(to_out),
        contextlib.redirect_stderr(to_err),
        contextlib.chdir(cwd or Path.cwd()),
        mock.patch.dict(os.environ, env or {}),
        mock.patch("sys.stdin", nothing if stdin is None else io.TextIOWrapper(io.BytesIO(stdin))),
    ):
        code: object = None
        try:
            main(list(map(str, arguments)))
        except SystemExit as ended:
            code = ended.code
        assert code is None or isinstance(code, int), code
        return Outcome(code or 0, _written(to_out), _written(to_err))


def _text(goes_to: int | None) -> io.TextIOWrapper:
    binary = io.BytesIO() if goes_to is None else os.fdopen(os.dup(goes_to), "wb", 0)
    return io.TextIOWrapper(binary, "utf-8", write_through=True)


def _written(stream: io.TextIOWrapper) -> str:
    return stream.buffer.getvalue().decode() if isinstance(stream.buffer, io.BytesIO) else ""


def lm_fork(
    *arguments: object,
    stdin: bytes | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    out: int | None = None,
    err: int | None = None,
    before: Callable[[], object] | None = None,
) -> Outcome:
    """As `lm`, in a fork of this process, which does `before` when all is ready."""
    given, giving = os.pipe()

    def work() -> int:
        os.close(giving)
        os.environ.update(env or {})
        if "TMPDIR" in (env or {}):
            tempfile.tempdir = None  # chosen anew
        os.chdir(cwd or Path.cwd())
        source = os.open(os.devnull, os.O_RDONLY) if stdin is None else given
        streams = (source, out or to_out.fileno(), err or to_err.fileno())
        return be_lm(*arguments, streams=streams, before=before)

    with tempfile.TemporaryFile() as to_out, tempfile.TemporaryFile() as to_err:
        child = forked(work)
        os.close(given)
        with contextlib.suppress(BrokenPipeError), os.fdopen(giving, "wb") as pipe:
            pipe.write(stdin or b"")
        code = exit_code(child)
        for stream in (to_out, to_err):
            stream.seek(0)
        return Outcome(code, to_out.read().decode(), to_err.read().decode())


def forked(work: Callable[[], int | None]) -> int:
    """The process id of a fork that does `work` and exits with what that returns, None being 0."""
    child = os.fork()
    if child:
        return child
    code = 99
    try:
        code = work() or 0
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(code)


def exit_code(child: int) -> int:
    """How a fork ends, which is waited for."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def be_lm(
    *arguments: object, streams: tuple[int, int, int], before: Callable[[], object] | None = None
) -> int:
    """The exit code of ``lm`` as all that this process, a fork, still does.

    Args:
        arguments: what follows ``lm``.
        streams: the descriptors that become standard input, output and error.
        before: done when all is ready.
    """
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(number, mode, encoding="utf-8", closefd=False)
        for number, mode in enumerate("rww")
    )
    from lmsuite.cli.app import main

    code = 0
    try:
        if before is not None:
            before()
        main(list(map(str, arguments)))
    except SystemExit as end:
        code = int(end.code or 0)
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    try:
        sys.stdout.flush()
    except OSError:
        code = 120  # as the interpreter does
    return code


def lm_process(
    *arguments: object,
    stdin: bytes | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    out: int | None = None,
    err: int | None = None,
    before: Callable[[], object] | None = None,
) -> Outcome:
    """As `lm`, in a process of its own, which does `before` when all is ready."""
    process = started(
        *arguments, piped=stdin is not None, cwd=cwd, env=env, out=out, err=err, before=before
    )
    with process:
        try:
            wrote, said = process.communicate(stdin, timeout=TIMEOUT)
        except BaseException:
            process.kill()
            raise
    return Outcome(process.returncode, (wrote or b"").decode(), (said or b"").decode())


def started(
    *arguments: object,
    piped: bool = False,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    out: int | None = None,
    err: int | None = None,
    before: Callable[[], object] | None = None,
) -> subprocess.Popen[bytes]:
    """``lm`` under way, as a process and a group of its own, as a shell would make it.

    Standard input is nothing, or a pipe; the others are pipes, or the descriptors given.
    """
    return subprocess.Popen(
        [sys.executable, "-m", "lmsuite", *map(str, arguments)],
        stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
        stdout=subprocess.PIPE if out is None else out,
        stderr=subprocess.PIPE if err is None else err,
        cwd=cwd,
        env=os.environ | (env or {}),
        preexec_fn=before,
        start_new_session=True,
    )


def on_terminal(
    run: Run,
    *arguments: object,
    stdin: bytes | None = None,
    columns: int = 120,
    env: Mapping[str, str] | None = None,
) -> Outcome:
    """What `run` does with a terminal of so many columns for all that it writes, which is `out`."""
    import termios
    import tty

    ours, theirs = os.openpty()
    tty.setraw(theirs)
    termios.tcsetwinsize(theirs, (40, columns))
    arrived = bytearray()

    def receive() -> None:
        with contextlib.suppress(OSError):  # Linux says so when the other side has closed
            while chunk := os.read(ours, 1 << 16):
                arrived.extend(chunk)

    reader = threading.Thread(target=receive, daemon=True)
    reader.start()
    try:
        size = {"COLUMNS": str(columns)}
        ended = run(*arguments, stdin=stdin, env=size | dict(env or {}), out=theirs, err=theirs)
    finally:
        os.close(theirs)
        reader.join(timeout=TIMEOUT)
        os.close(ours)
    return Outcome(ended.code, arrived.decode(), "")
