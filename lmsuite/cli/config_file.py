"""``--config FILE.toml``: options from a file. Options on the command line win over the file."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import typer

from lmsuite.errors import DataError, UsageError


def apply_config(context: typer.Context, file: Path | None) -> Path | None:
    """Make the options of a TOML file the defaults of the command (a callback of typer).

    A key is an option without its dashes (``min-count = 2``, ``lines = true``); a list stands for
    values joined by commas.

    Raises:
        DataError: the file cannot be read or is not TOML.
        UsageError: a key is not an option of this command.
    """
    if file is None or context.resilient_parsing:
        return file
    known = _options(context)
    defaults: dict[str, Any] = {}
    for key, value in _read(file).items():
        option = "--" + key.replace("_", "-")
        if option not in known:
            raise UsageError(
                f"{file}: {key!r} is not an option of {context.command_path} "
                f"(known: {', '.join(name.removeprefix('--') for name in known)})"
            )
        name, turned_off = known[option]
        if isinstance(value, list):
            value = ",".join(str(_single(each, file, key)) for each in value)
        else:
            value = _single(value, file, key)
        defaults[name] = not value if turned_off else value
    context.default_map = defaults
    return file


def _options(context: typer.Context) -> dict[str, tuple[str, bool]]:
    """For each long option of the command, its parameter and whether it turns that one off."""
    known: dict[str, tuple[str, bool]] = {}
    for parameter in context.command.params:
        if parameter.param_type_name == "option" and parameter.name not in ("config", "debug"):
            known |= {opt: (str(parameter.name), False) for opt in parameter.opts}
            known |= {opt: (str(parameter.name), True) for opt in parameter.secondary_opts}
    return {option: found for option, found in known.items() if option.startswith("--")}


def _single(value: Any, file: Path, key: str) -> Any:
    """Return `value`, unless it is a table, a list, or a number beyond TOML's 64 bits.

    Raises:
        UsageError: it is one of these.
    """
    if isinstance(value, dict):
        raise UsageError(f"{file}: {key!r} is a table; options stand at the top of the file")
    if isinstance(value, list):
        raise UsageError(f"{file}: {key!r} is a list within a list; a plain list is enough")
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
        raise UsageError(f"{file}: {key!r} is a number of more than 64 bits")
    return value


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror or error}") from error
    except ValueError as error:
        raise DataError(f"{file} is not TOML: {error}") from error
    except RecursionError as error:
        raise DataError(f"{file} is not TOML for options: it is nested too deeply") from error
