"""Replace a file: at every moment the old file or the new file is there, complete."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from lmsuite.errors import ModelFileError
from lmsuite.files.disk import replaced


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A stream whose bytes become the file `path` when the block ends without an exception.

    After an exception `path` is unchanged, and no other file is left (`files.disk.replaced`).
    A target that cannot be replaced (``/dev/stdout``, a named pipe) is written to directly.

    Raises:
        ModelFileError: the folder is missing or not writable, or the disk is full.
    """
    target = Path(os.path.realpath(path))
    try:
        if target.exists() and not target.is_file() and not target.is_dir():
            with path.open("wb") as stream:
                yield stream
            return
        if target.is_dir():
            raise IsADirectoryError(None, "it is a folder")
        with replaced(target) as stream:
            yield stream
    except BrokenPipeError:
        raise
    except OSError as error:
        reason, advice = error.strerror or str(error), ""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            advice = ", free some space"
        raise ModelFileError(
            f"cannot write {path}: {reason}; nothing was changed{advice}"
        ) from error
