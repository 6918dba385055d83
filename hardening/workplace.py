"""The place where commands are attacked: a folder with a server beside it."""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

HOUSE = Path(__file__).parent.parent
TEXT = "the cat sat on the mat and the dog sat on the log.\nwhere had the dog sat?\n" * 40


def files() -> set[str]:
    return {str(path) for path in Path().rglob("*") if path.is_file()}


@contextlib.contextmanager
def surroundings() -> Iterator[None]:
    """A folder of its own as the current one, and a server that has the corpus ``served``."""
    here, environment = Path.cwd(), dict(os.environ)
    with _served() as port, tempfile.TemporaryDirectory(prefix="kills-") as folder:
        os.chdir(folder)
        Path("catalogue.toml").write_text(
            f'[served]\ntitle = "A text"\nurl = "http://127.0.0.1:{port}/"\n'
        )
        os.environ |= {"LM_CATALOGUE": f"{folder}/catalogue.toml", "LM_CACHE": f"{folder}/cache"}
        os.environ.pop("LM_MODELS", None)
        try:
            yield
        finally:
            os.chdir(here)
            os.environ.clear()
            os.environ.update(environment)


@contextlib.contextmanager
def _served() -> Iterator[int]:
    """The port of a server of its own process."""
    command = [sys.executable, "-m", "hardening.served"]
    with subprocess.Popen(command, cwd=HOUSE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield int(server.stdout.readline())
        finally:
            server.terminate()


@functools.cache
def import_all() -> None:
    """Import what the commands do, so that forks need not."""
    import importlib

    from lmsuite.cli.registry import COMMANDS

    for entry in COMMANDS.values():
        importlib.import_module(f"lmsuite.cli.commands.{entry.target.split(':')[0]}")
    for module in (
        "training.loop",
        "models.registry",
        "analysis.evaluation",
        "report.pages",
    ):
        importlib.import_module(f"lmsuite.{module}")
    for library in ("filelock", "jinja2", "matplotlib.backends.backend_agg", "matplotlib.figure"):
        importlib.import_module(library)
