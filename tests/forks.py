"""``lm`` in a fork of the tests' process: one of its own, which need not import all again."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple


class Ended(NamedTuple):
    """How a process ended, and what it wrote."""

    code: int
    out: bytes
    err: bytes


def lm(
    arguments: Sequence[str],
    *,
    stdin: bytes | None = None,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    before: Callable[[], None] | None = None,
) -> Ended:
    """Run ``lm``.

    Args:
        arguments: what follows ``lm``.
        stdin: what is piped in; None for no pipe.
        environment: what is added to the environment.
        folder: the current folder.
        before: called in the process, first of all.
    """
    with (
        tempfile.TemporaryFile() as source,
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
    ):
        source.write(stdin or b"")
        source.seek(0)
        child = os.fork()
        if child == 0:
            given = os.open(os.devnull, os.O_RDONLY) if stdin is None else _pipe(source.fileno())
            for number, stream in enumerate((given, out.fileno(), err.fileno())):
                os.dup2(stream, number)
            os.environ.update(environment or {})
            tempfile.tempdir = None  # chosen anew
            os.chdir(folder or Path.cwd())
            if before is not None:
                before()
            _be_lm(arguments)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        for stream in (out, err):
            stream.seek(0)
        return Ended(code, out.read(), err.read())


def _pipe(source: int) -> int:
    """The reading end of a pipe that another fork fills with what is in a file."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.close(reading)
        try:
            while part := os.read(source, 1 << 16):
                os.write(writing, part)
        finally:
            os._exit(0)
    os.close(writing)
    return reading


def _be_lm(arguments: Sequence[str]) -> None:
    """End this process as ``lm`` would end."""
    code = 99
    try:
        sys.stdin, sys.stdout, sys.stderr = (
            os.fdopen(number, mode, encoding="utf-8", closefd=False)
            for number, mode in enumerate("rww")
        )
        from lmsuite.cli.app import main

        main(list(arguments))
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException as error:
        os.write(2, f"Traceback: {error!r}".encode())
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except OSError:
            code = 120  # as the interpreter does
        os._exit(code)
