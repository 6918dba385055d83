"""What flows in and out: is something piped in, and what a terminal may be sent."""

from __future__ import annotations

import json
import math
import sys
from typing import Any, BinaryIO

import typer


def piped_input() -> BinaryIO | None:
    """Standard input, if someone has connected it; not a terminal, not /dev/null."""
    from lmsuite.text.corpus import is_piped

    if sys.stdin is None or not is_piped(sys.stdin.buffer):
        return None
    return sys.stdin.buffer


_ESCAPES = {
    code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"
}


def printable(text: str) -> str:
    """`text` for standard output: a terminal is shown control characters instead of obeying them.

    A pipe or a file gets the text as it is.
    """
    return text.translate(_ESCAPES) if sys.stdout.isatty() else text


def write(text: str) -> None:
    """Show text on standard output at once, without a line end of its own."""
    sys.stdout.write(printable(text))
    sys.stdout.flush()


def note(message: str, *, quiet: bool = False) -> None:
    """Tell the user something beside the results, on standard error, unless `quiet`."""
    if not quiet:
        typer.echo(message, err=True)


def write_json(value: Any) -> None:
    """One line of strict JSON; what is not finite (a perplexity after a zero) is null."""
    typer.echo(json.dumps(json_ready(value), ensure_ascii=False, allow_nan=False))


def json_ready(value: Any) -> Any:
    """`value` with null for every number that JSON cannot write."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: json_ready(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [json_ready(entry) for entry in value]
    return value
