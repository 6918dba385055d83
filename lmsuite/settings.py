"""A setting is declared once, as a field of a frozen dataclass; the rest follows from that.

::

    @dataclass(frozen=True)
    class WalkSettings:
        steps: int = setting(3, option="--n", minimum=1, help="How many steps.")

        def __post_init__(self) -> None:
            check(self)

The field's annotation is the setting's type; the field's default is the setting's default. `check`
compares a value with the type, the bounds and the choices, and accepts the name of an enumeration's
member for the member. `read` makes the dataclass from the values that a file has recorded. The
command line makes an option, with its help, from the same declaration (`lmsuite.cli.options`).

Types: ``int``, ``float``, ``bool``, ``str``, an enumeration of strings, ``tuple[int, ...]``,
``tuple[str, ...]``, and each of these or None.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass
from enum import StrEnum
from functools import cache
from numbers import Integral, Real
from types import NoneType
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

from lmsuite.errors import ModelFileError, UsageError

_KEY = "setting"
_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}

T = TypeVar("T")


@dataclass(frozen=True)
class Setting:
    """What a field declares besides its name, its type and its default."""

    help: str
    option: str | None
    """As typed: ``--lr``, or ``--tied/--untied``; None if the user cannot choose the value."""
    minimum: float | None
    above: float | None
    maximum: float | None
    below: float | None
    choices: tuple[str, ...]
    """The strings that the setting accepts; empty if it accepts all."""
    unlisted: tuple[str, ...] | Callable[[], Iterable[str]]
    """More strings that it accepts, from a file or a program; the help does not list them."""
    metavar: str | None
    shown: str | bool | None
    """What the help shows as the default; None for the default itself, False for nothing."""
    unrecorded: Any
    """The value that files do not record, because it is what files mean that were made before the
    setting was known; `dataclasses.MISSING` if every file records the setting."""

    @property
    def limits(self) -> str:
        """The bounds in words, as "at least 0 and below 1"; empty if there are no bounds."""
        named = [
            ("at least", self.minimum),
            ("above", self.above),
            ("below", self.below),
            ("at most", self.maximum),
        ]
        return " and ".join(f"{word} {limit:g}" for word, limit in named if limit is not None)

    def holds(self, number: float) -> bool:
        """Whether a number is finite and within the bounds."""
        return (
            abs(number) <= sys.float_info.max
            and (self.minimum is None or number >= self.minimum)
            and (self.above is None or number > self.above)
            and (self.maximum is None or number <= self.maximum)
            and (self.below is None or number < self.below)
        )


def setting(
    default: Any = MISSING,
    *,
    help: str = "",
    option: str | None = "",
    minimum: float | None = None,
    above: float | None = None,
    maximum: float | None = None,
    below: float | None = None,
    choices: tuple[str, ...] = (),
    unlisted: tuple[str, ...] | Callable[[], Iterable[str]] = (),
    metavar: str | None = None,
    shown: str | bool | None = None,
    unrecorded: Any = MISSING,
) -> Any:
    """A field of a settings dataclass; the arguments are the fields of `Setting`.

    The default option is ``--`` and the field's name, with dashes.
    """
    declared = Setting(
        help, option, minimum, above, maximum, below, choices, unlisted, metavar, shown, unrecorded
    )
    return dataclasses.field(default=default, metadata={_KEY: declared})


@dataclass(frozen=True)
class Declared:
    """A setting as its dataclass declares it."""

    name: str
    kind: type[Any]
    """The type of the value, or of each value if there are `many`."""
    optional: bool
    many: bool
    default: Any
    """`dataclasses.MISSING` if the user must give a value."""
    setting: Setting

    @property
    def option(self) -> str | None:
        """What a user types, as ``--max-vocab``; None if the command line has no such option."""
        if self.setting.option is None:
            return None
        return self.setting.option or "--" + self.name.replace("_", "-")

    def typed_as(self, option: str) -> Declared:
        """The same setting with another option."""
        return dataclasses.replace(self, setting=dataclasses.replace(self.setting, option=option))

    @property
    def choices(self) -> tuple[str, ...]:
        """The strings to choose from; empty if every value of the type is allowed."""
        if issubclass(self.kind, StrEnum):
            return tuple(member.value for member in self.kind)
        return self.setting.choices

    def checked(self, value: Any) -> Any:
        """The value in its declared type: a member from its name, a float from a whole number.

        Raises:
            UsageError: the value is of another type, out of bounds, or none of the choices.
        """
        if value is None and self.optional:
            return None
        if not self.many:
            return self._one(value)
        if isinstance(value, str) or not isinstance(value, list | tuple):
            raise self._refusal(f"several values, each {_WORDS[self.kind]}", value, each=False)
        return tuple(self._one(each) for each in value)

    def _one(self, value: Any) -> Any:
        if self.choices:
            if not isinstance(value, str) or not self._may_be(value):
                raise self._refusal(f"one of {', '.join(self.choices)}", value)
            return self.kind(value)
        if self.kind is bool or self.kind is str:
            if not isinstance(value, self.kind):
                raise self._refusal(_WORDS[self.kind], value)
            return value
        wanted = Integral if self.kind is int else Real
        if isinstance(value, bool) or not isinstance(value, wanted):
            raise self._refusal(_WORDS[self.kind], value)
        try:
            number = self.kind(value)
        except OverflowError:  # a whole number that no float can hold
            number = math.inf
        if not self.setting.holds(number):
            finite = "" if abs(number) <= sys.float_info.max else "finite"
            limits = " and ".join(filter(None, (finite, self.setting.limits)))
            raise self._refusal(limits, value)
        return number

    def _may_be(self, value: str) -> bool:
        """Whether a string is one of the choices, listed or not."""
        unlisted = self.setting.unlisted
        return value in self.choices or value in (unlisted() if callable(unlisted) else unlisted)

    def _refusal(self, rule: str, value: Any, *, each: bool = True) -> UsageError:
        shown = f"{value:g}" if isinstance(value, float) else f"{value!r:.100}"
        whose = "each of " if each and self.many else ""
        return UsageError(
            f"{whose}{{{self.name}}} must be {rule}, not {shown}", self.name, value=value
        )


def declarations(settings: type[Any]) -> dict[str, Declared]:
    """The settings that a dataclass declares, by name, in its order."""
    return _declarations(cast("Any", settings))


@cache
def _declarations(settings: Any) -> dict[str, Declared]:
    hints = get_type_hints(settings)
    return {
        field.name: _declared(field, hints[field.name])
        for field in dataclasses.fields(settings)
        if _KEY in field.metadata
    }


def _declared(field: dataclasses.Field[Any], hint: Any) -> Declared:
    alternatives = [each for each in get_args(hint) if each is not NoneType]
    optional = NoneType in get_args(hint)
    if optional:
        (hint,) = alternatives
    many = get_origin(hint) is tuple
    kind = get_args(hint)[0] if many else hint
    return Declared(field.name, kind, optional, many, field.default, field.metadata[_KEY])


def check(settings: Any) -> None:
    """Check every setting of a frozen dataclass against its declaration: for ``__post_init__``.

    Raises:
        UsageError: a value is of another type, out of bounds, or none of the choices.
    """
    for name, declared in declarations(type(settings)).items():
        object.__setattr__(settings, name, declared.checked(getattr(settings, name)))


def recorded(settings: Any) -> dict[str, Any]:
    """What a file records of a frozen dataclass: its values, without those that are `unrecorded`.

    Such a file is that of a version which did not know the setting, to the byte.
    """
    known = declarations(type(settings))
    return {
        name: value
        for name, value in dataclasses.asdict(settings).items()
        if name not in known or value != known[name].setting.unrecorded
    }


def read(settings: type[T], recorded: Mapping[str, Any], model: str) -> T:
    """The settings that a file has recorded as plain JSON values.

    Args:
        settings: the dataclass of the settings.
        recorded: the values in the file, by name.
        model: how messages name the file's model, as "the rnn model".

    Raises:
        ModelFileError: a setting is missing, unknown, or against its declaration.
    """
    known = declarations(settings)
    values = {
        name: declared.setting.unrecorded
        for name, declared in known.items()
        if declared.setting.unrecorded is not MISSING
    } | dict(recorded)
    for name in sorted(known.keys() ^ values.keys()):
        what = "lacks the" if name in known else "has an unknown"
        raise ModelFileError(f"{model} {what} setting {name!r}; make the model again")
    try:
        return settings(**values)
    except UsageError as error:
        said = error.spelled(lambda field: f"the setting {field!r}")
        raise ModelFileError(f"{model} is damaged: {said}") from error
