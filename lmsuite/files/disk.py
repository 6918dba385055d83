"""Replace files as a whole, and let one process at a time lock a file.

A lock is the operating system's (`filelock`). It ends when the process ends, even if the process
is killed. Forked workers, which may live a moment longer, do not hold it. So a temporary file
without a lock was left by a killed process; the next process that writes in that folder removes it.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import BinaryIO

TEMPORARY, LOCK = ".lmsuite-tmp", ".lmsuite-lock"
TIMEOUT = 0.25  # seconds; a process that only tests for a lock holds it for less than 0.001 s
_POLL = 0.01
_MOST_MISSING = 100  # levels of folders
_STALE = re.compile(rf"\.(.+)(?:{LOCK}|(?<=\.[0-9a-f]{{8}}){TEMPORARY})", re.DOTALL)
_NO_LINKS = getattr(os, "O_NOFOLLOW", 0)
_NO_LOCKS = (errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)  # a network file system


class LockedError(Exception):
    """The file is locked already; the message is the note of the process that locked it."""


@contextmanager
def replaced(target: Path) -> Iterator[BinaryIO]:
    """A stream whose bytes become the file `target` when the block ends without an exception.

    The bytes go to a temporary file in the same folder, which is flushed to disk and then renamed.
    After an exception the temporary file is gone and `target` is unchanged.

    Raises:
        OSError: the folder is missing or not writable, or the disk is full.
    """
    name = f"{target.name}.{secrets.token_hex(4)}"
    temporary = target.with_name(f".{name}{TEMPORARY}")
    with locked(target.with_name(name), "", wait=True):  # or else `remove_stale` would remove it
        try:
            with temporary.open("xb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(target)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
    _flush_folder(target.parent)


@contextmanager
def locked(path: Path, note: str, *, wait: bool = False) -> Iterator[None]:
    """Lock `path`, so that nobody else can lock it; reading needs no lock.

    A hidden file beside `path` carries the lock; it is removed afterwards. On a file system without
    locks, this does nothing.

    Args:
        path: the file to lock; it need not exist, but its folder must.
        note: one line that others read when they find the lock.
        wait: wait until the lock is free, instead of raising.

    Raises:
        LockedError: `path` is locked already, perhaps by this process.
        OSError: the folder is missing or cannot be written.
    """
    remove_stale(path.parent)
    with _lock_file(path.with_name(f".{path.name}{LOCK}"), note, -1 if wait else TIMEOUT):
        yield


def make_folders(folder: Path) -> None:
    """Make `folder` and the folders above it, unless they exist.

    Raises:
        OSError: a folder cannot be made, or more than 100 are missing, which must be a mistake.
            Most programs could not remove so deep a tree: their stack is too small.
    """
    missing = list(takewhile(lambda level: not level.is_dir(), (folder, *folder.parents)))
    if len(missing) > _MOST_MISSING:
        raise OSError(errno.ENAMETOOLONG, f"{len(missing)} folders would have to be made for it")
    for level in reversed(missing):
        try:
            level.mkdir(exist_ok=True)
        except FileExistsError as error:
            reason = f"{level} is not a folder" if level != folder else "it is not a folder"
            raise NotADirectoryError(errno.ENOTDIR, reason) from error


def remove_stale(folder: Path) -> None:
    """Remove the temporary files and locks in `folder` whose process was killed."""
    with suppress(OSError), os.scandir(folder) as entries:
        found = [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
        for match in filter(None, map(_STALE.fullmatch, found)):
            lock = folder / f".{match[1]}{LOCK}"
            with suppress(OSError, LockedError), _lock_file(lock, "", 0) as is_locked:
                if is_locked:
                    lock.with_suffix(TEMPORARY).unlink(missing_ok=True)


@contextmanager
def _lock_file(file: Path, note: str, timeout: float) -> Iterator[bool]:
    """Lock the file `file`: make it if it is missing, and remove it at the end.

    Yields:
        Whether it is locked; False on a file system without locks.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(
        file,
        timeout,
        poll_interval=_POLL,
        fallback_to_soft=False,
        on_acquired=partial(_write_note, note.encode("utf-8", "backslashreplace")),
    )
    process = os.getpid()
    # filelock itself would make a missing folder, and would wait for a folder that is read-only.
    os.close(os.open(file, os.O_RDWR | os.O_CREAT | _NO_LINKS, 0o666))
    try:
        lock.acquire()
        with suppress(OSError):
            file.chmod(0o666)  # so that others can remove the file, if this process is killed
    except Timeout:
        raise LockedError(_read_note(file)) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    try:
        yield lock.is_locked
    finally:
        if os.getpid() == process:
            with suppress(OSError):  # Windows removes it when the lock is released
                file.unlink()
            lock.release()


def _write_note(note: bytes, descriptor: int) -> None:
    with suppress(OSError):  # on a full disk the lock holds without a note
        os.ftruncate(descriptor, 0)
        os.write(descriptor, b"\n" + note)  # on Windows nobody else can read the first byte


def _read_note(file: Path) -> str:
    with suppress(OSError), file.open("rb", buffering=0) as stream:
        stream.seek(1)
        return stream.read(4096).decode("utf-8", "replace")
    return ""


def _flush_folder(folder: Path) -> None:
    """Flush a folder to disk, so that a rename survives a power cut; not possible on Windows."""
    if os.name != "posix":
        return
    with suppress(OSError):  # some file systems cannot do it; the file is in its place anyway
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
