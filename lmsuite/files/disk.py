"""Files that change at once, and files that one process locks at a time.

A lock is the operating system's (`filelock`): it ends with the process, however that ends, and
forked workers, who may live a moment longer, have no part in it. What a killed process leaves on
the disk is therefore known to be nobody's, and removed by the next who writes in that folder.
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
TIMEOUT = 0.25  # seconds; who looks whether a file is locked, locks it for less than a thousandth
_POLL = 0.01
_MOST_MISSING = 100  # levels of folders
_STALE = re.compile(rf"\.(.+)(?:{LOCK}|(?<=\.[0-9a-f]{{8}}){TEMPORARY})", re.DOTALL)
_NO_LINKS = getattr(os, "O_NOFOLLOW", 0)
_NO_LOCKS = (errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)  # a network file system


class LockedError(Exception):
    """Somebody has locked the file already; the message is the note that they left."""


@contextmanager
def replaced(target: Path) -> Iterator[BinaryIO]:
    """A stream whose bytes become the file `target` when the block ends without an exception.

    They are written to a temporary file in the same folder, flushed to the disk, and renamed.
    After an exception the temporary file is gone and `target` is what it was.

    Raises:
        OSError: the folder is missing or not writable, or the disk is full.
    """
    name = f"{target.name}.{secrets.token_hex(4)}"
    temporary = target.with_name(f".{name}{TEMPORARY}")
    with locked(target.with_name(name), "", wait=True):  # so that nobody takes it for stale
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
    """Lock `path`, there or not, against all others who would; reading needs no lock.

    A hidden file beside it carries the lock; it is gone afterwards. Where the file system knows no
    locks, nobody is kept out.

    Args:
        path: what to lock; its folder must be there.
        note: what others are told, in one line.
        wait: wait for whoever has locked it, instead of raising.

    Raises:
        LockedError: it is locked, perhaps by this very process.
        OSError: the folder is missing or cannot be written.
    """
    remove_stale(path.parent)
    with _lock_file(path.with_name(f".{path.name}{LOCK}"), note, -1 if wait else TIMEOUT):
        yield


def make_folders(folder: Path) -> None:
    """Make `folder` and those above it, unless they are there.

    Raises:
        OSError: one of them cannot be made, or so many are missing that it must be a mistake: what
            would be made could not be removed by most programs, whose stack is too small.
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
    """Have the file `file` locked, which is made if need be and then removed.

    Yields:
        Whether it is locked: not where the file system knows no locks.
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
    # filelock would make a folder that is missing, and wait for one that takes no file.
    os.close(os.open(file, os.O_RDWR | os.O_CREAT | _NO_LINKS, 0o666))
    try:
        lock.acquire()
        with suppress(OSError):
            file.chmod(0o666)  # what is left behind, others may remove
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
        os.write(descriptor, b"\n" + note)  # Windows lets nobody read the first byte


def _read_note(file: Path) -> str:
    with suppress(OSError), file.open("rb", buffering=0) as stream:
        stream.seek(1)
        return stream.read(4096).decode("utf-8", "replace")
    return ""


def _flush_folder(folder: Path) -> None:
    """Make a rename survive a power cut, where folders can be flushed (not on Windows)."""
    if os.name != "posix":
        return
    with suppress(OSError):  # the file is in its place; not every file system knows how
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
