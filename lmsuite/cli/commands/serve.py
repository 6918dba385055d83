"""``lm serve``."""

from __future__ import annotations

import json
import shlex
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lmsuite.cli.interruption import InterruptedCommand
from lmsuite.cli.options import DEFAULT_FOLDER, JsonOption, ModelArguments, ModelsOption
from lmsuite.cli.streams import is_quiet, left_out, note, say, write_json
from lmsuite.errors import UsageError
from lmsuite.serve.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lmsuite.store.opening import OpenedModel

_HERE = ("127.0.0.1", "localhost", "::1")


def serve(
    models: ModelArguments = None,
    *,
    host: Annotated[
        str,
        typer.Option(
            "--host",
            metavar="ADDRESS",
            help="Where to listen. Any other address than this machine's own, as 0.0.0.0, needs "
            "--api-key or --no-auth.",
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="The port; 0 takes one that is free.")
    ] = 8000,
    api_key: Annotated[
        str | None,
        typer.Option(
            "--api-key",
            metavar="KEY",
            envvar="LM_API_KEY",
            help="Ask for this key at every route. The environment variable keeps it out of the "
            "list of processes.",
            show_default=False,
        ),
    ] = None,
    no_auth: Annotated[
        bool,
        typer.Option("--no-auth", help="Let everybody use a server that others can reach."),
    ] = False,
    limits: Limits,
    folder: ModelsOption = DEFAULT_FOLDER,
    as_json: JsonOption = False,
) -> None:
    """Answer over HTTP as OpenAI's API does, and show a page to try models on.

    \b
    Examples:
      lm serve
      lm serve ngram rnn --port 8080

    The routes are /v1/completions, /v1/chat/completions, /v1/models, /v1/score, /tokenize,
    /detokenize, /tokenizer_info, /health, /metrics, and the page at /. A request that names no
    model means the first. The same seed gives the same text as `lm sample`. Ctrl-C ends the server
    at once; SIGTERM lets texts that are being written go on for a while.
    """
    _check_access(host, api_key, no_auth=no_auth)
    _require_extra()
    from lmsuite.serve.app import Service
    from lmsuite.serve.running import listening, run
    from lmsuite.serve.served import ServedModel, ServedModels
    from lmsuite.store.opening import open_models

    opened = open_models(folder, models, left_out)
    _refuse_equal_names(opened)
    listener = listening(host, port)
    with listener:
        served = ServedModels([ServedModel(each.name, each.model, _made(each)) for each in opened])
        hosts = frozenset(_HERE) if host in _HERE and api_key is None else None
        service = Service(served, limits, key=api_key, hosts=hosts)
        address = _address(host, listener.getsockname()[1])
        names = [each.name for each in opened]

        def on_start() -> None:
            if as_json:
                write_json({"address": address, "models": names})
            elif not is_quiet():
                _announce(address, names, key=api_key is not None, is_local=host in _HERE)

        number = run(service, listener, grace=limits.grace, on_start=on_start)
    if number:
        raise InterruptedCommand(number)


def _check_access(host: str, api_key: str | None, *, no_auth: bool) -> None:
    if api_key is not None and (not api_key.strip() or not api_key.isprintable()):
        raise UsageError(
            "--api-key must be a text of at least one character, without control marks"
        )
    if api_key is not None and no_auth:
        raise UsageError("--no-auth contradicts --api-key; leave one out")
    if host not in _HERE and api_key is None and not no_auth:
        raise UsageError(
            f"--host {host} can be reached by others: give --api-key KEY (or the environment "
            "variable LM_API_KEY), or --no-auth to let everybody in"
        )


def _require_extra() -> None:
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise UsageError(f"lm serve needs {error.name}: pip install 'lmsuite[serve]'") from None


def _refuse_equal_names(opened: Sequence[OpenedModel]) -> None:
    names = [each.name for each in opened]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"two of these models are called {twice}: rename a file")


def _made(opened: OpenedModel) -> int:
    """When a model was made, in seconds since 1970."""
    try:
        return int(datetime.fromisoformat(opened.provenance.created).timestamp())
    except (ValueError, OverflowError, OSError):
        return int(Path(opened.path).stat().st_mtime)


def _address(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _announce(address: str, names: list[str], *, key: bool, is_local: bool) -> None:
    """Say where the server is, and three things to try."""
    reach = "reached from this machine alone" if is_local else "reached by others, too"
    asks = "; every request needs the key" if key else ""
    say(f"serving {', '.join(names)} at {address} ({reach}{asks}); Ctrl-C ends it")
    say()
    body: dict[str, Any] = {"model": names[0], "prompt": "My lord,", "seed": 1}
    header = ' -H "Authorization: Bearer $LM_API_KEY"' if key else ""
    shown = shlex.quote(json.dumps(body))
    say(f"  a page          {address}/")
    say(f"  curl            curl {address}/v1/completions{header} -d {shown}")
    say(f'  Python          OpenAI(base_url="{address}/v1", api_key="{"…" if key else "none"}")')
    if not is_local and not key:
        note("warning: everybody who can reach this address can use these models (--no-auth)")
