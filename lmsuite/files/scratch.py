"""A folder of temporary files that hold arrays, here or at a URL, for many processes and machines.

A file is written whole or not at all. It has sections, each of some arrays; one section can be read
without the others.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmsuite.errors import TrainingError
from lmsuite.files.array_bytes import packed, unpacked
from lmsuite.files.disk import LockedError, locked

_UNFINISHED = ".part"
_TEMPORARY = ".scratch"
_WORD = 8  # bytes of a place in a file


@dataclass
class Traffic:
    """The bytes that this process has read from scratch folders, and written to them."""

    read: int = 0
    written: int = 0


TRAFFIC = Traffic()


@dataclass(frozen=True)
class Scratch:
    """A folder, by its path or URL. Files are named ``what.part``."""

    place: str

    @property
    def is_local(self) -> bool:
        """Whether it is a folder of this machine's file system."""
        return "://" not in self.place

    def write(self, name: str, *sections: Sequence[NDArray[Any]], compressed: bool = True) -> None:
        """Write a file of these sections; compressed, where the library for that is there.

        Raises:
            TrainingError: there is no room, or the folder cannot be written.
        """
        bodies = [packed(section, compressed=compressed) for section in sections]
        ends = np.cumsum([_WORD * (len(bodies) + 2), *map(len, bodies)])
        head = np.array([len(bodies), *ends.tolist()], "<u8").tobytes()
        self.write_bytes(name, b"".join([head, *bodies]))

    def read(self, name: str, section: int = 0) -> list[NDArray[Any]]:
        """The arrays of one section.

        Raises:
            TrainingError: the file is missing or damaged.
        """
        begin = _WORD * (section + 1)
        with self._reading(name):
            if self.is_local:
                file = os.open(f"{self.place}/{name}", os.O_RDONLY)
                try:
                    span = os.pread(file, 2 * _WORD, begin)
                    first, end = np.frombuffer(span, "<u8").tolist()
                    data = _from(file, first, end - first)
                finally:
                    os.close(file)
            else:
                system, root = self._remote
                path = f"{root}/{name}"
                span = system.cat_file(path, begin, begin + 2 * _WORD)
                first, end = np.frombuffer(span, "<u8").tolist()
                data = system.cat_file(path, first, end) if end > first else b""
            TRAFFIC.read += len(data)
            return unpacked(data)

    def sections(self, name: str) -> list[list[NDArray[Any]]]:
        """The arrays of all sections.

        Raises:
            TrainingError: as `read`.
        """
        with self._reading(name):
            data = self.read_bytes(name)
            if data is None:
                raise FileNotFoundError("it is missing")
            TRAFFIC.read += len(data)
            (count,) = np.frombuffer(data, "<u8", 1).tolist()
            ends = np.frombuffer(data, "<u8", count + 1, _WORD).tolist()
            return [unpacked(memoryview(data)[begin:end]) for begin, end in pairwise(ends)]

    def write_bytes(self, name: str, data: bytes) -> None:
        """Write a file of these bytes.

        Raises:
            TrainingError: as `write`.
        """
        try:
            if self.is_local:
                unfinished = Path(self.place, f"{secrets.token_hex(8)}{_UNFINISHED}")
                try:
                    with unfinished.open("xb") as stream:
                        stream.write(data)
                    unfinished.replace(Path(self.place, name))
                except BaseException:
                    with suppress(OSError):
                        unfinished.unlink()
                    raise
            else:
                system, root = self._remote
                system.pipe_file(f"{root}/{name}", data)
        except Exception as error:
            raise self._failed("written", error) from error
        TRAFFIC.written += len(data)

    def read_bytes(self, name: str) -> bytes | None:
        """The bytes of a file; None if it is missing.

        Raises:
            TrainingError: it cannot be read.
        """
        try:
            if self.is_local:
                return Path(self.place, name).read_bytes()
            system, root = self._remote
            data: bytes = system.cat_file(f"{root}/{name}")
            return data
        except FileNotFoundError:
            return None
        except Exception as error:
            raise self._failed("read", error) from error

    def make(self) -> None:
        """Make the folder, unless it is there; object stores have none, and need none.

        Raises:
            TrainingError: it cannot be made.
        """
        try:
            if self.is_local:
                Path(self.place).mkdir(parents=True, exist_ok=True)
            else:
                system, root = self._remote
                system.makedirs(root, exist_ok=True)
        except Exception as error:
            raise self._failed("made", error) from error

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        with suppress(Exception):
            if self.is_local:
                Path(self.place, name).unlink()
            else:
                system, root = self._remote
                system.rm_file(f"{root}/{name}")

    def remove_all(self, *what: str) -> None:
        """Remove all files of what is named so; without any name all files."""
        with suppress(Exception):
            if self.is_local:
                with os.scandir(self.place) as entries:
                    names = [entry.name for entry in entries]
            else:
                system, root = self._remote
                names = [path.rpartition("/")[2] for path in system.ls(root, detail=False)]
            for name in names:
                if not what or name.partition(".")[0] in what:
                    self.remove(name)

    def end(self) -> None:
        """Remove the folder and all its files."""
        self.remove_all()
        with suppress(Exception):
            if self.is_local:
                Path(self.place).rmdir()
            else:
                system, root = self._remote
                system.rmdir(root)

    def __reduce__(self) -> tuple[type[Scratch], tuple[str]]:
        """Another process opens the folder for itself."""
        return Scratch, (self.place,)

    @contextmanager
    def _reading(self, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            raise self._failed(f"read ({name})", error) from error

    def _failed(self, verb: str, error: Exception) -> TrainingError:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        reason = reason or type(error).__name__
        if self.place.endswith(_TEMPORARY):
            return TrainingError(
                f"cannot keep temporary files in {Path(self.place).parent} ({reason}); the "
                "environment variable TMPDIR names another folder"
            )
        return TrainingError(
            f"the scratch folder {self.place} cannot be {verb}: {reason}; "
            "{scratch} names another",
            "scratch",
        )

    @cached_property
    def _remote(self) -> tuple[Any, str]:
        """The file system of a URL, and the path there."""
        try:
            import fsspec
        except ImportError:
            raise TrainingError(
                f"{self.place}: URLs need the package fsspec: pip install 'lmsuite[urls]'"
            ) from None
        system, path = fsspec.core.url_to_fs(self.place)
        return system, path.rstrip("/")


def _from(file: int, begin: int, size: int) -> bytes:
    """So many bytes of a file from there on; a system may read fewer than 2 GB at a time."""
    data = os.pread(file, size, begin)
    while len(data) < size:
        more = os.pread(file, size - len(data), begin + len(data))
        if not more:
            raise EOFError("it was cut short")
        data += more
    return data


@contextmanager
def temporary_scratch() -> Iterator[Scratch]:
    """A new folder in the one for temporary files, and what killed programs left there is removed.

    Raises:
        TrainingError: it cannot be made.
    """
    parent = tempfile.gettempdir()
    with ExitStack() as stack:
        try:
            _remove_stale(Path(parent))
            place = f"{parent}/lmsuite-{secrets.token_hex(8)}{_TEMPORARY}"
            scratch = stack.enter_context(locked_scratch(place))
        except OSError as error:
            raise TrainingError(
                f"cannot write temporary files in {parent}: {error.strerror or error}; the "
                "environment variable TMPDIR names another folder"
            ) from error
        stack.callback(scratch.end)
        yield scratch


@contextmanager
def locked_scratch(place: str) -> Iterator[Scratch]:
    """The folder at a path or URL; at a path, no other program can lock it.

    Raises:
        TrainingError: another program has locked it, or it cannot be made.
    """
    scratch = Scratch(place.removeprefix("file://"))
    if not scratch.is_local:
        scratch.make()
        yield scratch
        return
    path = Path(scratch.place).absolute()
    scratch = Scratch(str(path))
    Scratch(str(path.parent)).make()
    try:
        with locked(path, str(os.getpid())):
            scratch.make()
            yield scratch
    except LockedError as error:
        raise TrainingError(
            f"another process works in the scratch folder {scratch.place} (process {error}); "
            "wait for it, or name another folder: {scratch}",
            "scratch",
        ) from None


def _remove_stale(parent: Path) -> None:
    """Remove the folders of programs that were killed: nobody has locked them."""
    for folder in parent.glob(f"lmsuite-*{_TEMPORARY}"):
        with suppress(OSError, LockedError), locked(folder, ""):
            Scratch(str(folder)).end()
