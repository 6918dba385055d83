"""The command ``lm``: finds the command that was typed, and turns errors into one line each."""

from __future__ import annotations

import importlib
import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from lmsuite import __version__
from lmsuite.cli.failures import reporting_failures
from lmsuite.cli.interruption import heeding_signals
from lmsuite.cli.registry import COMMANDS, GROUPS
from lmsuite.cli.streams import be_quiet, warnings_as_notes
from lmsuite.cli.work_progress import listener
from lmsuite.executors.cores import limit_threads
from lmsuite.progress import listen
from lmsuite.terminal import guard

_CONTEXT = {"help_option_names": ["-h", "--help"]}


@dataclass
class Session:
    """Facts about this run of ``lm``; every command finds them in ``context.obj``."""

    arguments: list[str]
    debug: bool = False
    options: dict[str, str] = field(default_factory=dict)
    """The option of each setting in the command that runs."""

    def spelled(self, setting: str) -> str:
        """The option that a user types for a setting of the library."""
        from lmsuite.cli.settings_options import spelled

        return spelled(setting, self.options)


class _Command(TyperCommand):
    """A command that gives its options to the session."""

    options: dict[str, str]

    def invoke(self, ctx: Any) -> Any:
        session = ctx.find_root().obj
        if isinstance(session, Session):
            session.options = self.options
        return super().invoke(ctx)


class _LazyCommands(Mapping[str, Any]):
    """The commands of one group by name; each is imported when it is asked for."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def __getitem__(self, name: str) -> Any:
        path = self._prefix + name
        if path in GROUPS:
            return make_group(path)
        module, function = COMMANDS[path].target.split(":")
        from lmsuite.cli.settings_options import expanded

        command = getattr(importlib.import_module(f"lmsuite.cli.commands.{module}"), function)
        application = typer.Typer(add_completion=False, rich_markup_mode=None)
        with_options = expanded(command)
        application.command(name, cls=_Command, context_settings=_CONTEXT)(with_options)
        click_command = typer.main.get_command(application)
        click_command.params += _common_options()
        own = {str(each.name): each.opts[0] for each in click_command.params if each.opts}
        own = {each: option for each, option in own.items() if option.startswith("-")}
        vars(click_command)["options"] = own | vars(with_options)["options"]
        return click_command

    def __iter__(self) -> Iterator[str]:
        return iter(self.help_lines())

    def __len__(self) -> int:
        return len(self.help_lines())

    def help_lines(self) -> dict[str, str]:
        """The one-line help of every command of this group, in order."""
        lines: dict[str, str] = {}
        for path, entry in COMMANDS.items():
            if path.startswith(self._prefix):
                first, *rest = path.removeprefix(self._prefix).split()
                lines[first] = GROUPS[self._prefix + first] if rest else entry.help
        return lines


class _LazyGroup(TyperGroup):
    """A group whose help is written from the table of commands, without importing them."""

    commands: Any

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.commands)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(self.commands.help_lines().items()))

    def invoke(self, ctx: Any) -> Any:
        if ctx.parent is not None:
            return super().invoke(ctx)
        with reporting_failures(lambda: ctx.obj.debug, ctx.obj.spelled), warnings_as_notes():
            return super().invoke(ctx)


def make_group(path: str = "") -> Any:
    """The group of the commands that begin with the words of `path`; without words, all of lm."""
    application = typer.Typer(
        name=path or "lm",
        cls=_LazyGroup,
        add_completion=not path,
        no_args_is_help=True,
        rich_markup_mode=None,
        context_settings=_CONTEXT,
    )
    if path:
        application.callback(help=GROUPS[path])(_group)
    else:
        application.callback()(_lm)
    group = typer.main.get_command(application)
    vars(group)["commands"] = _LazyCommands(f"{path} " if path else "")
    return group


def _group() -> None:
    """Do nothing before the command of a group."""


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"lm {__version__}")
        raise typer.Exit


def _lm(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Train, compare and sample language models.

    \b
    Examples:
      lm demo
      lm train ngram play.txt --n 5
      lm sample ngram "My lord," --temp 0.8
      lm eval

    A TEXT is a file, `-` for standard input, or a name from `lm corpus list`. Without one, lm reads
    what is piped in, or else the embedded play. A MODEL is a name in the models folder
    (`lm models`), or a file.
    """


def _set_debug(context: typer.Context, value: bool) -> None:
    if value and isinstance(context.obj, Session):
        context.obj.debug = True


def _set_quiet(value: bool) -> None:
    if value:
        be_quiet()
        listen(None)


def _common(
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet",
            "-q",
            callback=_set_quiet,
            expose_value=False,
            help="Show no progress.",
        ),
    ] = False,
    debug: Annotated[
        bool,
        typer.Option(
            "--debug",
            callback=_set_debug,
            is_eager=True,
            expose_value=False,
            help="Show the traceback of an error.",
        ),
    ] = False,
) -> None:
    """The options that every command has."""


def _common_options() -> list[Any]:
    application = typer.Typer(add_completion=False, rich_markup_mode=None)
    application.command()(_common)
    return list(typer.main.get_command(application).params)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit.

    The exit code is 0 for success, 1 for an error in data, a model or the disk, and 2 for wrong
    usage. After SIGINT, SIGTERM or SIGHUP it is 130, 143 or 129.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # escape what the encoding cannot write
            stream.reconfigure(errors="backslashreplace")
    guard()
    be_quiet(False)
    limit_threads(None)
    listen(listener())
    session = Session(list(sys.argv[1:] if arguments is None else arguments))
    with heeding_signals(), reporting_failures(lambda: session.debug, session.spelled):
        # Here as well as in the group, because printing the help may fail too.
        make_group()(args=session.arguments, prog_name="lm", obj=session)
