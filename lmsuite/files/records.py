"""Typed records: dataclasses that are written as JSON, and read back with every value checked.

The annotation of a field is its type in the file, its name the name of the entry::

    @dataclass(frozen=True)
    class Walk:
        steps: Count
        slope: float = 0.0
        place: str | None = None

* An entry that is missing takes the field's default. Without one it is an error, as is an entry
  that no field knows.
* None and NaN are left out. JSON has no infinite number: null is written for it, where a
  `MaybeInfinite` stands.
* A field of `others` takes, by name, all entries that have no field of their own.

Types: ``str``, ``bool``, ``int``, ``float`` (finite), `Count`, `MaybeInfinite`, other records, each
of these or None, a ``list``, ``tuple`` or ``dict`` (from ``str``) of them, and ``Any`` for plain
JSON.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from functools import cache
from types import NoneType
from typing import Annotated, Any, TypeVar, cast, get_args, get_origin, get_type_hints

from lmsuite.errors import LmError

_LARGEST = 1e18  # of any number
_ENTRY, _OTHERS = "entry", "others"

Count = Annotated[int, "0 or more"]
MaybeInfinite = Annotated[float, "or infinite"]

T = TypeVar("T")


def named(entry: str) -> Any:
    """A field that is None by default, whose entry in the file has another name."""
    return dataclasses.field(default=None, metadata={_ENTRY: entry})


def others() -> Any:
    """A field, ``dict[str, Any]``, for all entries that have no field of their own."""
    return dataclasses.field(default_factory=dict, metadata={_OTHERS: True})


def as_json(record: Any) -> dict[str, Any]:
    """The entries of a record, in the order of its fields, as plain JSON values."""
    document: dict[str, Any] = {}
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        if _OTHERS in field.metadata:
            document |= value
        elif value is not None and value == value:
            document[field.metadata.get(_ENTRY, field.name)] = _plain(value)
    return document


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return as_json(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return value


def read(record: type[T], document: Any) -> T:
    """The record that was written as this JSON object.

    Raises:
        ValueError: it is no such record; the message names the entry and what is wrong with it.
    """
    if not isinstance(document, Mapping):
        raise ValueError("it is no JSON object")
    values: dict[str, Any] = {}
    rest = dict(document)
    for field, entry, hint in _fields(cast("Any", record)):
        if _OTHERS in field.metadata:
            values[field.name] = rest
        elif entry in rest:
            values[field.name] = _value(hint, rest.pop(entry), entry)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ValueError(f"the entry {entry!r} is missing")
    if rest and all(value is not rest for value in values.values()):
        raise ValueError(f"the entry {min(rest)!r} is unknown")
    try:
        return record(**values)
    except LmError as error:  # a check of its own
        raise ValueError(str(error)) from None


@cache
def _fields(record: Any) -> list[tuple[dataclasses.Field[Any], str, Any]]:
    """Each field with its entry's name and its type; that of `others` at the end."""
    hints = get_type_hints(record, include_extras=True)
    fields = sorted(dataclasses.fields(record), key=lambda field: _OTHERS in field.metadata)
    return [(field, field.metadata.get(_ENTRY, field.name), hints[field.name]) for field in fields]


def _value(hint: Any, value: Any, entry: str) -> Any:
    """The value of an entry, which is to be of the type that `hint` says."""
    alternatives = [each for each in get_args(hint) if each is not NoneType]
    if NoneType in get_args(hint):
        (hint,) = alternatives
    if hint is Any:
        return value
    if hint == MaybeInfinite and value in (None, math.inf):
        return math.inf
    if hint in (int, float, Count, MaybeInfinite):
        return _number(hint, value, entry)
    if hint in (str, bool):
        return _instance(hint, value, entry)
    if dataclasses.is_dataclass(hint):
        try:
            return read(cast("type[Any]", hint), value)
        except ValueError as error:
            raise ValueError(f"in {entry!r}, {error}") from None
    container, of_each = get_origin(hint), get_args(hint)
    if container is dict:
        pairs = _instance(dict, value, entry).items()
        return {name: _value(of_each[1], each, f"{entry}.{name}") for name, each in pairs}
    return container(_value(of_each[0], each, entry) for each in _several(value, entry))


def _several(value: Any, entry: str) -> Any:
    return _instance(tuple if isinstance(value, tuple) else list, value, entry)


def _instance(kind: type[Any], value: Any, entry: str) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"the entry {entry!r} cannot be {value!r:.50}")
    return value


def _number(hint: Any, value: Any, entry: str) -> int | float:
    whole = hint in (int, Count)
    kinds = (int,) if whole else (int, float)
    least = 0 if hint == Count else -_LARGEST
    if type(value) not in kinds or not least <= value < _LARGEST:
        raise ValueError(f"the entry {entry!r} cannot be {value!r:.50}")
    return cast("int | float", value)


def require_shallow(document: Any, levels: int) -> None:
    """Refuse JSON that is nested more deeply than who walks through it later has stack for.

    Raises:
        ValueError: it is.
    """
    entries = document.values() if isinstance(document, Mapping) else document
    for entry in entries:
        if isinstance(entry, dict | list):
            if not levels:
                raise ValueError("it is nested too deeply")
            require_shallow(entry, levels - 1)
