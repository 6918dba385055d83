"""Options on the command line, made from the settings of dataclasses (`lmsuite.settings`).

A command takes the dataclass as one parameter, and `expanded` shows typer an option for each of its
settings::

    def walk(settings: WalkSettings, quiet: QuietOption = False) -> None: ...

    def train(given: Annotated[Given, WalkSettings]) -> None: ...

`walk` receives the finished dataclass. `train` receives a dictionary with only those settings that
the user gave, because it chooses the others itself. A dataclass without settings, such as
`lmsuite.cli.options.TrainingOptions`, holds parameters of typer that several commands share.

The library names a setting by its field; `spelled` gives the option that a user types for it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import StrEnum
from typing import Annotated, Any, TypeAlias, get_args, get_origin, get_type_hints

import typer

from lmsuite.errors import UsageError
from lmsuite.settings import Declared, declarations

Given: TypeAlias = dict[str, Any]
"""The settings that a user gave, by name."""


@dataclass(frozen=True)
class Without:
    """The settings of a dataclass that a command does not use: a note beside it in `Annotated`."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class Only:
    """The only settings of a dataclass that a command uses, and their options: such a note, too."""

    options: dict[str, str]


class _Option:
    """A setting as an option of a command.

    An enumeration whose option has a form for each member, as ``--lines/--stream/--documents``, is
    a flag of two forms for the first two, and a flag for each other.
    """

    def __init__(self, declared: Declared, parameter: str, *, given: bool) -> None:
        """Make an option that typer knows as `parameter`; if `given`, its default is None."""
        self._declared, self.parameter, self._given = declared, parameter, given
        self.name = declared.name
        self.typed, *_ = forms = str(declared.option).split("/")
        self._flags = [form.removeprefix("--") for form in forms]
        self._is_enum_flag = len(self._flags) > 1 and issubclass(declared.kind, StrEnum)
        others = self._flags[2:] if self._is_enum_flag else ()
        self._others = {f"{parameter}_{flag}": flag for flag in others}

    def as_parameters(self) -> list[inspect.Parameter]:
        """What typer is to see."""
        return [self._as_parameter(), *map(self._as_flag, self._others)]

    def _as_flag(self, parameter: str) -> inspect.Parameter:
        flag = self._others[parameter]
        option = typer.Option(
            f"--{flag}", help=_help(self._declared), show_default=False, callback=self._yielding
        )
        keyword = inspect.Parameter.KEYWORD_ONLY
        hint = Annotated[bool | None, option]
        return inspect.Parameter(parameter, keyword, default=None, annotation=hint)

    def _yielding(
        self, context: typer.Context, parameter: typer.CallbackParam, value: bool | None
    ) -> bool | None:
        """The value of a flag; none if it is from a file, and another form was typed."""

        def comes_from(name: str) -> str:
            source = context.get_parameter_source(name)
            return source.name if source else ""

        forms = (self.parameter, *self._others)
        is_typed = any(comes_from(form) == "COMMANDLINE" for form in forms)
        own = comes_from(str(parameter.name))
        return None if own == "DEFAULT_MAP" and is_typed else value

    def _as_parameter(self) -> inspect.Parameter:
        declared, setting = self._declared, self._declared.setting
        default = self._typed_default()
        if setting.shown is None:
            shown: str | bool = default is not None
            if self._given and declared.default not in (MISSING, None, False):
                is_flag = declared.default is True
                shown = self._flags[0] if is_flag else _as_typed(declared.default)
        else:
            shown = setting.shown
        option = typer.Option(
            "/".join(f"--{flag}" for flag in self._flags if flag not in self._others.values()),
            help=_help(declared),
            metavar=setting.metavar,
            show_default=str(declared.default) if self._is_enum_flag else shown,
            callback=self._yielding if self._others else None,
        )
        hint: Any = self._hint()
        if self._given:
            default = None
        if default is None:
            hint = hint | None
        return inspect.Parameter(
            self.parameter,
            inspect.Parameter.KEYWORD_ONLY,
            default=default,
            annotation=Annotated[hint, option],
        )

    def _typed_default(self) -> Any:
        """The default in the form that typer takes; None if there is none."""
        default = self._declared.default
        if default is MISSING or default in (None, ()):
            return None
        if self._is_enum_flag:
            return None if self._others else default == self._flags[0]
        return ",".join(map(str, default)) if self._declared.many else default

    def _hint(self) -> Any:
        declared = self._declared
        if self._is_enum_flag:
            return bool
        if declared.many:
            return str if declared.kind is int else list[str]
        if declared.choices:
            return StrEnum(declared.name, {choice: choice for choice in declared.choices})
        return declared.kind

    def taken(self, values: dict[str, Any]) -> Any:
        """What typer made of what was typed for the setting, taken out of `values`; None for none.

        Raises:
            UsageError: two forms of it were typed.
        """
        typed = values.pop(self.parameter)
        if not self._is_enum_flag:
            return typed
        forms = [] if typed is None else [self._flags[0] if typed else self._flags[1]]
        forms += [flag for name, flag in self._others.items() if values.pop(name)]
        if len(forms) > 1:
            raise UsageError(f"{' and '.join(f'--{form}' for form in forms)} exclude each other")
        return forms[0] if forms else None

    def value(self, typed: Any) -> Any:
        """The setting's value, made from the value that `taken` gave.

        Raises:
            UsageError: the setting takes a list of whole numbers, and `typed` is not one.
        """
        declared = self._declared
        if typed is None and self._is_enum_flag:
            return declared.default
        if typed is None:
            return () if declared.many else None
        if declared.many and isinstance(typed, str):
            return _numbers(typed, declared)
        return str(typed) if isinstance(typed, StrEnum) else typed


def _help(declared: Declared) -> str:
    """The help, with the bounds unless they are obvious."""
    limits = declared.setting.limits
    if limits in ("", "at least 0", "at least 1"):
        return declared.setting.help
    return f"{declared.setting.help.removesuffix('.')} ({limits})."


def _as_typed(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _numbers(typed: str, declared: Declared) -> tuple[int, ...]:
    try:
        return tuple(int(number) for number in typed.split(",")) if typed else ()
    except ValueError:
        what = (declared.setting.metavar or "numbers").lower()
        raise UsageError(
            f"{{{declared.name}}} takes {what} joined by commas, as 0,1 or 200,100, not {typed}",
            declared.name,
            value=typed,
        ) from None


def expanded(command: Callable[..., None]) -> Callable[..., None]:
    """`command` with a parameter for each setting and field of the dataclasses that it takes.

    The attribute `options` of the result maps each setting to its option.
    """
    hints = get_type_hints(command, include_extras=True)
    own = {name for name, hint in hints.items() if not _dataclass_of(hint)}
    taken = [
        _Taken(name, hints[name], parameter.default, own)
        for name, parameter in inspect.signature(command).parameters.items()
    ]
    parameters = [parameter for each in taken for parameter in each.parameters]

    def called(**values: Any) -> None:
        command(**{each.name: each.value(values) for each in taken})

    called.__doc__ = command.__doc__
    called.__annotations__ = {entry.name: entry.annotation for entry in parameters}
    vars(called)["__signature__"] = inspect.Signature(parameters)
    vars(called)["options"] = {name: o for each in taken for name, o in each.options.items()}
    return called


class _Taken:
    """One parameter of a command, and the parameters of typer that stand for it."""

    def __init__(self, name: str, hint: Any, default: Any, own: set[str]) -> None:
        """Find the parameters of typer for a parameter or field of this name and type.

        If a setting has the name of one of the command's `own` parameters, it gets another one.
        """
        self.name = name
        self.parameters: list[inspect.Parameter] = []
        self.options: dict[str, str] = {}
        dataclass_taken = _dataclass_of(hint)
        if dataclass_taken is None:
            default = inspect.Parameter.empty if default is MISSING else default
            keyword = inspect.Parameter.KEYWORD_ONLY
            self.parameters = [inspect.Parameter(name, keyword, default=default, annotation=hint)]
            self.value: Callable[[dict[str, Any]], Any] = lambda values: values.pop(name)
        elif declarations(dataclass_taken):
            self._take_settings(dataclass_taken, hint, own)
        else:
            self._take_fields(dataclass_taken, own)

    def _take_settings(self, settings: type[Any], hint: Any, own: set[str]) -> None:
        given = get_origin(hint) is Annotated
        options = [
            _Option(declared, f"{name}_" if name in own else name, given=given)
            for name, declared in _offered(settings, get_args(hint)[2:])
        ]
        self.parameters = [each for option in options for each in option.as_parameters()]
        self.options = {option.name: option.typed for option in options}

        def value(values: dict[str, Any]) -> Any:
            typed = {option: option.taken(values) for option in options}
            if given:
                return {o.name: o.value(each) for o, each in typed.items() if each is not None}
            return settings(**{option.name: option.value(each) for option, each in typed.items()})

        self.value = value

    def _take_fields(self, group: type[Any], own: set[str]) -> None:
        hints = get_type_hints(group, include_extras=True)
        taken = [_Taken(each.name, hints[each.name], each.default, own) for each in fields(group)]
        self.parameters = [parameter for each in taken for parameter in each.parameters]
        self.options = {name: o for each in taken for name, o in each.options.items()}
        self.value = lambda values: group(**{each.name: each.value(values) for each in taken})


def _offered(settings: type[Any], notes: tuple[Without | Only, ...]) -> list[tuple[str, Declared]]:
    """The settings that are options of a command."""
    offered = {name: each for name, each in declarations(settings).items() if each.option}
    for note in notes:
        if isinstance(note, Without):
            offered = {name: each for name, each in offered.items() if name not in note.names}
        else:
            offered = {name: offered[name].typed_as(o) for name, o in note.options.items()}
    return list(offered.items())


def _dataclass_of(hint: Any) -> type[Any] | None:
    """The dataclass in this type of a parameter, or None."""
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[1]
    return hint if isinstance(hint, type) and is_dataclass(hint) else None


def spelled(field: str, options: Mapping[str, str]) -> str:
    """What a user types for a setting: its option in `options`, or else in some other command."""
    return options.get(field) or _spelled_somewhere().get(field) or "--" + field.replace("_", "-")


def _spelled_somewhere() -> dict[str, str]:
    from lmsuite.models.settings import (
        AdaptationSettings,
        CacheSettings,
        FeedForwardSettings,
        RecurrentSettings,
    )
    from lmsuite.ngram.settings import NgramSettings
    from lmsuite.sampling import SamplingSettings
    from lmsuite.sources.settings import ReadingSettings
    from lmsuite.text.settings import TextSettings
    from lmsuite.training.settings import TrainingSettings

    models = (NgramSettings, FeedForwardSettings, RecurrentSettings, CacheSettings)
    uses = (TrainingSettings, SamplingSettings, ReadingSettings, AdaptationSettings)
    return {
        name: declared.option.split("/")[0] if declared.option else name.replace("_", " ")
        for settings in (TextSettings, *models, *uses)
        for name, declared in declarations(settings).items()
    }
