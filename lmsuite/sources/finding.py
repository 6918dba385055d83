"""From what a user names to files: a path, a folder, a pattern, a URL.

In a folder or a pattern, files are chosen by their endings; hidden ones are passed over, and so are
those with other endings, which a note counts. A file that is named is always taken. The order is
that of the paths, character by character.
"""

from __future__ import annotations

import os
import re
import stat
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import urlsplit

from lmsuite.errors import DataError, TextWarning
from lmsuite.sources.settings import Format

PACKED = (".gz", ".bz2", ".xz", ".zst")
"""Endings that say how a file is compressed, and nothing of what it holds."""

ENDINGS = {
    "": Format.TEXT,
    ".txt": Format.TEXT,
    ".text": Format.TEXT,
    ".md": Format.TEXT,
    ".jsonl": Format.JSONL,
    ".ndjson": Format.JSONL,
    ".csv": Format.CSV,
    ".tsv": Format.TSV,
    ".parquet": Format.PARQUET,
}
"""What a file of each ending holds: those that are read in a folder or a pattern."""

_NAMED = ENDINGS | {".json": Format.JSONL}

_URL = re.compile(r"(?P<protocol>[A-Za-z][A-Za-z0-9+.-]*)(::|://)")
_MAGIC = re.compile(r"[*?\[]")
_MOST_NAMED = 3  # endings that a note names


@dataclass(frozen=True)
class File:
    """A file to read, wherever it lies."""

    name: str
    """Its path or URL: what messages and records call it."""
    open: Callable[[], AbstractContextManager[IO[bytes]]]
    size: int | None = None
    """In bytes, if it is known before the file is read."""

    @property
    def format(self) -> Format:
        """What it holds, by its ending; plain text where the ending says nothing."""
        path = urlsplit(self.name).path if _URL.match(self.name) else self.name
        return _NAMED.get(_ending(path), Format.TEXT)


def find(source: str, *, any_ending: bool = False, quiet: bool = False) -> list[File] | None:
    """The files that a user means, in order; None if it is no path, pattern or URL of any.

    Args:
        source: what the user named.
        any_ending: of a folder or pattern, take files of all endings.
        quiet: show no progress while a file is fetched.

    Raises:
        DataError: a folder or pattern has nothing to read, or a URL cannot be reached.
    """
    path = Path(source)
    try:
        if path.is_dir():
            return _chosen(source, _below(path), any_ending, _local)
        if path.exists():
            return [_local(source)]
    except PermissionError as error:
        raise DataError(f"{source}: cannot be read ({error.strerror})") from None
    except (OSError, ValueError):  # a name too long for a file, or with a NUL
        return None
    if _URL.match(source):
        return _found_at_url(source, any_ending, quiet)
    if not _MAGIC.search(source):
        return None
    from glob import glob

    matches = glob(source, recursive=True)  # noqa: PTH207 (which takes no absolute pattern)
    return _chosen(source, (each for each in matches if Path(each).is_file()), any_ending, _local)


def _local(path: str) -> File:
    size = None
    with suppress(OSError):  # it may vanish before it is read
        facts = Path(path).stat()
        size = facts.st_size if stat.S_ISREG(facts.st_mode) else None
    return File(path, lambda: Path(path).open("rb"), size)


def _below(folder: Path) -> Iterator[str]:
    """The files in a folder and in those in it, hidden ones left out."""

    def refuse(error: OSError) -> None:
        raise DataError(f"{error.filename}: cannot be read ({error.strerror})")

    for place, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [each for each in folders if not each.startswith(".")]
        yield from (str(Path(place, each)) for each in files if not each.startswith("."))


def _chosen(
    source: str, paths: Iterable[str], any_ending: bool, make: Callable[[str], File]
) -> list[File]:
    """Those to read, in order, of the files of a folder or pattern."""
    kept: set[str] = set()
    passed_over: Counter[str] = Counter()
    for path in paths:
        ending = _ending(path)
        if any_ending or ending in ENDINGS:
            kept.add(path)
        else:
            passed_over[ending] += 1
    others = _counted(passed_over)
    if not kept and others:
        raise DataError(
            f"{source}: nothing to read but {others}; name them one by one, or say what they hold: "
            "{format} text",
            "format",
        )
    if not kept:
        endings = ", ".join(filter(None, ENDINGS))
        raise DataError(f"{source}: nothing to read there; the endings of texts are {endings}")
    if others:
        warnings.warn(f"{source}: passed over {others}", TextWarning, stacklevel=4)
    return [make(path) for path in sorted(kept)]


def _counted(endings: Counter[str]) -> str:
    """How many files of other endings there are, and of which."""
    count = endings.total()
    if not count:
        return ""
    named = ", ".join(ending for ending, _ in endings.most_common(_MOST_NAMED))
    more = ", …" if len(endings) > _MOST_NAMED else ""
    return f"{count:,} {'file' if count == 1 else 'files'} of other endings ({named}{more})"


def _ending(path: str) -> str:
    """The ending that says what a file holds, in small letters; empty if it has none."""
    name = PurePosixPath(path)
    if name.suffix.lower() in PACKED:
        name = name.with_suffix("")
    return name.suffix.lower()


def _found_at_url(url: str, any_ending: bool, quiet: bool) -> list[File]:
    if url.startswith(("https://", "http://")):
        return [File(url, lambda: _fetched(url, quiet))]
    system, path = _file_system(url)

    def make(found: str) -> File:
        return File(system.unstrip_protocol(found), lambda: _opened(system, found, url))

    try:
        if system.isdir(path):
            paths = system.find(path)
            return _chosen(url, _shown(paths, path.rstrip("/")), any_ending, make)
        if system.exists(path):
            return [make(path)]
        if _MAGIC.search(path):
            found = [each for each in system.glob(path) if not system.isdir(each)]
            fixed = _MAGIC.split(path)[0].rpartition("/")[0]
            return _chosen(url, _shown(found, fixed), any_ending, make)
    except DataError:
        raise
    except Exception as error:  # every service has its own
        raise _unreachable(url, error) from None
    raise DataError(f"{url}: no such file")


def _shown(paths: Iterable[str], root: str) -> Iterator[str]:
    """Those that are not hidden below the folder `root`."""
    return (path for path in paths if "/." not in path[len(root) :])


def _file_system(url: str) -> tuple[Any, str]:
    """Where fsspec finds a URL, and the path there."""
    try:
        import fsspec
    except ImportError:
        raise DataError(
            f"{url}: URLs need the package fsspec: pip install 'lmsuite[urls]'"
        ) from None
    try:
        return fsspec.core.url_to_fs(url)  # type: ignore[no-any-return]
    except Exception as error:  # of an unknown protocol, a package that is missing, a bad address
        raise _unreachable(url, error) from None


def _opened(system: Any, path: str, url: str) -> IO[bytes]:
    try:
        return system.open(path, "rb")  # type: ignore[no-any-return]
    except FileNotFoundError:
        raise
    except Exception as error:
        raise _unreachable(url, error) from None


def _fetched(url: str, quiet: bool) -> IO[bytes]:
    """A file fetched over https, which has no name on the disk."""
    from lmsuite.sources.download import fetched

    return fetched(url, quiet=quiet)


def _unreachable(url: str, error: Exception) -> DataError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return DataError(f"{url}: cannot be reached ({reason})")
