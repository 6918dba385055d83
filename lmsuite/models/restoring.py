"""Whether the settings in a model file are what a dataclass of settings declares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from lmsuite.errors import ModelFileError

_KINDS: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "str": (str,),
    "bool": (bool,),
    "float": (int, float),
    "float | None": (int, float, type(None)),
}
_LARGEST = 1e300  # beyond are infinity, and integers that no float can hold


def settings_values(settings_type: type, given: Mapping[str, Any], model: str) -> dict[str, Any]:
    """The values to make `settings_type` of, lists as tuples.

    Args:
        settings_type: a dataclass of settings.
        given: what a model file has for it, as JSON has it.
        model: what messages call the model, as in "the rnn model".

    Raises:
        ModelFileError: a setting is missing, unknown, or none that the dataclass declares.
    """
    declared = {field.name: str(field.type) for field in fields(settings_type)}
    for name in sorted(declared.keys() ^ given.keys()):
        what = "lacks the" if name in declared else "has an unknown"
        raise ModelFileError(f"{model} {what} setting {name!r}; make the model again")
    for name, value in given.items():
        if not _fits(value, declared[name]):
            raise ModelFileError(f"the setting {name!r} of {model} cannot be {value!r:.100}")
    return {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}


def _fits(value: object, annotation: str) -> bool:
    """Whether a JSON value is what an annotation says."""
    if annotation == "tuple[int, ...]":
        return isinstance(value, list | tuple) and all(_fits(item, "int") for item in value)
    if isinstance(value, int | float) and not -_LARGEST < value < _LARGEST:
        return False
    return type(value) in _KINDS[annotation]
