"""One process at a time writes a model; a second one gets an error that names the first."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path

from lmsuite.errors import ModelFileError
from lmsuite.files.disk import LockedError, locked
from lmsuite.store.artefact import make_folder

_SHOWN = 200  # characters of a command


@contextmanager
def only_writer(path: Path, command: str) -> Iterator[None]:
    """Be the only process that writes the model file `path` and the files that belong to it.

    Readers need no lock. Other models in the same folder can be written at the same time. The lock
    ends when the process ends, even if it is killed. The folder is made if it is missing.

    Args:
        path: the model file; it need not exist.
        command: the command of this process, for the error message of another writer.

    Raises:
        ModelFileError: another process writes it, or the folder cannot be written.
    """
    make_folder(path.parent)
    note = {
        "process": os.getpid(),
        "host": platform.node(),
        "since": datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": command[:_SHOWN],
    }
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(path, json.dumps(note)))
        except LockedError as error:
            raise ModelFileError(
                f"{path} is being written by {_holder(str(error))}; wait until it is done, end it, "
                "or choose another name or folder"
            ) from None
        except OSError as error:
            raise ModelFileError(
                f"cannot write in the folder {path.parent}: {error.strerror or error}"
            ) from error
        yield


def _holder(note: str) -> str:
    """The process that holds the lock, as its note describes it."""
    try:
        found = json.loads(note)
        process, command = int(found["process"]), str(found["command"])
        host, since = str(found["host"]), datetime.fromisoformat(found["since"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return "another process"
    where = "" if host == platform.node() else f" on {host}"
    shown = f"process {process}{where} ({command}; since {since:%Y-%m-%d %H:%M:%S})"
    return "".join(character if character.isprintable() else "?" for character in shown)
