"""Typed records: dataclasses that are written as JSON, and read back with every value checked.

Each field is an entry in the file, with the field's name and the field's type::

    @dataclass(frozen=True)
    class Walk:
        steps: Count
        slope: float = 0.0
        place: str | None = None

* If an entry is missing, the field takes its default. If it has no default, that is an error. An
  entry without a field is an error too.
* None and NaN are left out. JSON has no infinite number: an infinite `MaybeInfinite` is written as
  null.
* A field made by `others` takes, by name, all entries that have no field of their own.

Types: ``str``, ``bool``, ``int``, ``float`` (finite), `Count`, `MaybeInfinite`, other records, each
of these or None, a ``list``, ``tuple`` or ``dict`` (from ``str``) of them, and ``Any`` for plain
JSON.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, TypeVar, cast, get_args, get_origin, get_type_hints

from lmsuite.errors import LmError, ModelFileError

_LARGEST = 1e18  # of any number
_LONGEST_MESSAGE = 500  # characters
_ENTRY, _OTHERS = "entry", "others"

Count = Annotated[int, "0 or more"]
MaybeInfinite = Annotated[float, "or infinite"]

T = TypeVar("T")


def named(entry: str) -> Any:
    """A field that is None by default; `entry` is its name in the file."""
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
        ValueError: the object is no such record; the message names the entry and its fault.
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
    except LmError as error:  # from the record's own `__post_init__`
        raise ValueError(str(error)) from None


@cache
def _fields(record: Any) -> list[tuple[dataclasses.Field[Any], str, Any]]:
    """Each field with its entry's name and its type; the field of `others` comes last."""
    hints = get_type_hints(record, include_extras=True)
    fields = sorted(dataclasses.fields(record), key=lambda field: _OTHERS in field.metadata)
    return [(field, field.metadata.get(_ENTRY, field.name), hints[field.name]) for field in fields]


def _value(hint: Any, value: Any, entry: str) -> Any:
    """The value of an entry, checked against the type `hint`."""
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


def read_versioned(
    record: type[T], entry: str, path: Path, *, called: str, newest: int, levels: int
) -> T:
    """The record in the JSON of a file's header, whose entry `format` is a version number.

    Args:
        record: a dataclass.
        entry: the JSON.
        path: the file, for messages.
        called: what messages call the record.
        newest: the newest version that can be read.
        levels: of JSON within JSON, at most.

    Raises:
        ModelFileError: it is damaged, or of a newer version.
    """
    try:
        document = json.loads(entry)
        require_shallow(document, levels)
        version = document.pop("format")
        if type(version) is not int or version < 1:
            raise TypeError("its format is no version number")
        if version > newest:
            raise ModelFileError(
                f"{path} was written by a newer lmsuite (format {version}, this one reads up to "
                f"{newest}): upgrade lmsuite to use it"
            )
        return read(record, document)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ModelFileError(f"{path} has a damaged {called}: {brief(error)}") from error


def brief(error: Exception) -> str:
    """The error's message, cut to 500 characters: it may quote a whole file."""
    message = str(error)
    return message if len(message) <= _LONGEST_MESSAGE else f"{message[:_LONGEST_MESSAGE]} …"


def require_shallow(document: Any, levels: int) -> None:
    """Refuse JSON of more than so many levels: later recursion could overflow the stack.

    Raises:
        ValueError: the JSON is nested more deeply.
    """
    entries = document.values() if isinstance(document, Mapping) else document
    for entry in entries:
        if isinstance(entry, dict | list):
            if not levels:
                raise ValueError("it is nested too deeply")
            require_shallow(entry, levels - 1)
