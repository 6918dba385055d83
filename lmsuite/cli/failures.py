"""Turn an exception into one line on stderr and an exit code, without a traceback."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from lmsuite.cli.interruption import InterruptedCommand
from lmsuite.errors import LmError

_INTERRUPTS = (InterruptedCommand, KeyboardInterrupt)


@contextmanager
def reporting_failures(
    debug: Callable[[], bool], spelling: Callable[[str], str] = str
) -> Iterator[None]:
    """Exit with one line on stderr for every failure that a user can mend.

    `spelling` turns the name of a setting in a message into its option on the command line.
    A closed pipe (``lm sample … | head``) ends the program quietly with 0. A mistake of the program
    itself passes through, so that a user can report its traceback.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_stdout()
        raise SystemExit(0) from None
    except (LmError, *_INTERRUPTS, MemoryError, OSError) as failure:
        _flush_or_discard()
        if debug() and not isinstance(failure, _INTERRUPTS):
            raise
        message, code = _explained(failure, spelling)
        with suppress(OSError):  # the exit code is right even if nothing can be printed
            sys.stderr.write(f"{message}\n")
            sys.stderr.flush()
        raise SystemExit(code) from None


def _explained(failure: BaseException, spelling: Callable[[str], str]) -> tuple[str, int]:
    if isinstance(failure, LmError):
        return f"error: {_one_line(failure.spelled(spelling))}", failure.exit_code
    if isinstance(failure, _INTERRUPTS):
        return "interrupted", 128 + getattr(failure, "number", signal.SIGINT)
    if isinstance(failure, OSError):
        named = f"{failure.filename}: " if failure.filename else ""
        hint = "; free some space" if failure.errno == errno.ENOSPC else ""
        return f"error: {_one_line(named + (failure.strerror or str(failure)) + hint)}", 1
    return f"error: not enough memory ({_one_line(str(failure)) or 'allocation refused'})", 1


def _one_line(message: str) -> str:
    return " ".join(message.split())


def _flush_or_discard() -> None:
    try:
        sys.stdout.flush()
    except OSError:
        _discard_stdout()


def _discard_stdout() -> None:
    """Send the rest of standard output to nowhere: its reader has gone.

    Otherwise the interpreter's flush at exit would fail.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
