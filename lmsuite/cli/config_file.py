"""``--config FILE.toml``: options from a file; what is typed on the command line wins."""

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
        DataError: the file cannot be read or is no TOML.
        UsageError: a key is no option of this command.
    """
    if file is None or context.resilient_parsing:
        return file
    known = _options(context)
    defaults: dict[str, Any] = {}
    for key, value in _read(file).items():
        option = "--" + key.replace("_", "-")
        if option not in known:
            raise UsageError(
                f"{file}: {key!r} is no option of {context.command_path} "
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
    """Long options of the command: the parameter of each, and whether it is the negative form."""
    known: dict[str, tuple[str, bool]] = {}
    for parameter in context.command.params:
        if parameter.param_type_name == "option" and parameter.name not in ("config", "debug"):
            known |= {opt: (str(parameter.name), False) for opt in parameter.opts}
            known |= {opt: (str(parameter.name), True) for opt in parameter.secondary_opts}
    return {option: found for option, found in known.items() if option.startswith("--")}


def _single(value: Any, file: Path, key: str) -> Any:
    """`value`, which is one, and no number of a size that TOML does not promise to carry."""
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
        raise DataError(f"{file} is no TOML: {error}") from error
    except RecursionError as error:
        raise DataError(f"{file} is no TOML for options: it is nested too deep") from error
