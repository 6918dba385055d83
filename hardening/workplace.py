"""The place where commands are attacked: a folder with a server beside it."""

from __future__ import annotations

import contextlib
import functools
import http.server
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TEXT = "the cat sat on the mat and the dog sat on the log.\nwhere had the dog sat?\n" * 40


def files() -> set[str]:
    return {str(path) for path in Path().rglob("*") if path.is_file()}


class _Serving(http.server.BaseHTTPRequestHandler):
    """A text that is another every time."""

    count = 0

    def do_GET(self) -> None:
        type(self).count += 1
        text = b"served %d\n" % self.count + b"word " * 200_000
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(text)

    def log_message(self, *given: Any) -> None:
        pass


@contextlib.contextmanager
def surroundings() -> Iterator[None]:
    """A folder of its own as the current one, and a server that has the corpus ``served``."""
    here, environment = Path.cwd(), dict(os.environ)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Serving)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        os.chdir(folder)
        Path("catalogue.toml").write_text(
            f'[served]\ntitle = "A text"\nurl = "http://127.0.0.1:{server.server_port}/"\n'
        )
        os.environ |= {"LM_CATALOGUE": f"{folder}/catalogue.toml", "LM_CACHE": f"{folder}/cache"}
        os.environ.pop("LM_MODELS", None)
        try:
            yield
        finally:
            os.chdir(here)
            os.environ.clear()
            os.environ.update(environment)
            server.shutdown()
            server.server_close()


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
