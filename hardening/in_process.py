"""Run ``lm`` in this process, thousands of times: its input, its output and its exit code."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from hardening import command
from hardening.command import Outcome
from lmsuite.errors import LmError

# What takes memory because a person asks for it; text and files that are small must not.
_ASKS_FOR_MUCH = re.compile(
    r"(hidden|embed|layers|context|batch|bptt|bpe[-_]size)[\"']?[\s=\[\"']*[\w,+. ]*\w{4}"
)


class RefusedError(LmError):
    """A command refused, as it may, what it was given; the message is what it said."""


def lm(arguments: Sequence[str], stdin: bytes | None = None) -> Outcome:
    """Run ``lm``, and check that it ends as every command must.

    Args:
        arguments: as in ``sys.argv``, undecodable bytes as lone surrogates.
        stdin: what is piped in; None for nothing.

    Raises:
        RefusedError: it refused.
        AssertionError: it ended with another code than 0, 1 or 2, or with another error than one
            line on standard error, or for want of memory that none of its options asked for.
        Exception: whatever the command let pass, which would have been a traceback.
    """
    _build_commands_once()
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # numpy's, which would reach the user
        ended = command.lm(*arguments, stdin=stdin)
    check(ended)
    assert "not enough memory" not in ended.err or asks_for_much(arguments), ended
    if ended.code:
        raise RefusedError(ended.err)
    return ended


def lm_must(arguments: Sequence[str], stdin: bytes | None = None) -> Outcome:
    """As `lm`, where there is nothing to refuse: that is an AssertionError."""
    try:
        return lm(arguments, stdin)
    except RefusedError as error:
        raise AssertionError(f"{arguments}: {error}") from error


def asks_for_much(arguments: Sequence[str]) -> bool:
    """Whether an option of size has thousands for a value, here or in the config that is named."""
    asked = list(arguments)
    for before, argument in zip(("", *asked), tuple(asked), strict=False):
        name, _, value = argument.partition("=")
        path = value if name == "--config" else argument if before == "--config" else ""
        if path and "\0" not in path and Path(path).is_file():
            asked.append(Path(path).read_text(encoding="utf-8", errors="replace"))
    return _ASKS_FOR_MUCH.search("\n".join(asked)) is not None


@cache
def _build_commands_once() -> None:
    """Keep the parsers of the commands, whose making takes most of a short command's time."""
    from lmsuite.cli import app

    found: dict[tuple[str, str], Any] = {}
    find = app._LazyCommands.__getitem__

    def find_once(self: app._LazyCommands, name: str) -> Any:
        key = (self._prefix, name)
        if key not in found:
            found[key] = find(self, name)
        return found[key]

    vars(app)["make_group"] = cache(app.make_group)
    app._LazyCommands.__getitem__ = find_once  # type: ignore[method-assign]


def check(ended: Outcome) -> None:
    """Raise AssertionError unless a command may end so."""
    assert ended.code in (0, 1, 2), ended
    assert "Traceback" not in ended.err, ended
    lines = ended.err.removesuffix("\n").split("\n")
    if ended.code == 0:
        assert not any(line.startswith(("error: ", "Error: ")) for line in lines), ended
    elif not lines[0].startswith(("Usage: ", "Error: ")):  # typer's own, which may quote a line end
        assert lines[-1].startswith("error: "), ended
        assert sum(line.startswith("error: ") for line in lines) == 1, ended
