"""Files that change at once, and files that one process holds at a time.

What a process holds is locked by the operating system: the lock ends with the process, however it
ends, and forked workers, who may live a moment longer, have no part in it (record locks of POSIX,
which work over NFS too). What a killed process leaves on the disk is therefore known to be
nobody's, and removed by the next who writes in that folder. Windows has no such locks: there two
writers are not told apart, and nothing that was left is removed.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import takewhile
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

TEMPORARY, LOCK = ".lmsuite-tmp", ".lmsuite-lock"
PATIENCE = 0.25  # seconds; whoever looks whether a lock is held, has it for less than a thousandth
_NAP = 0.01
_MOST_MISSING = 100  # levels of folders
_LEFT = re.compile(rf"\..+\.[0-9a-f]{{8}}{TEMPORARY}|\..+{LOCK}", re.DOTALL)
_OPEN = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)

# Closing any descriptor of a file ends all locks that the process has on it, and a process never
# finds its own locks in its way: so what is held here is known by device and inode.
_held: set[tuple[int, int]] = set()
_one_thread = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_held.clear)  # a fork has no part in its parent's locks


class HeldError(Exception):
    """Another process holds the file; the message is what it left word of itself."""


@contextmanager
def replaced(target: Path) -> Iterator[BinaryIO]:
    """A stream whose bytes become the file `target` when the block ends without an exception.

    They are written to a temporary file in the same folder, flushed to the disk, and renamed.
    After an exception the temporary file is gone and `target` is what it was.

    Raises:
        OSError: the folder is missing or not writable, or the disk is full.
    """
    remove_left_behind(target.parent)
    temporary, descriptor = _new_temporary(target)
    identity = _identity(os.fstat(descriptor))
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(descriptor)
            if fcntl is not None:  # still locked, so that nobody takes it for left behind
                temporary.replace(target)
        if fcntl is None:
            temporary.replace(target)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    finally:
        _held.discard(identity)
    _flush_folder(target.parent)


@contextmanager
def held(path: Path, word: str, *, wait: bool = False) -> Iterator[None]:
    """Hold `path`, there or not, against all other processes that would; reading needs no hold.

    A hidden file beside it carries the lock; it is gone afterwards. Where locks are not supported
    (some network file systems, Windows), nobody is kept out.

    Args:
        path: what to hold; its folder must be there.
        word: what others are told, in one line.
        wait: wait for whoever holds it, instead of raising.

    Raises:
        HeldError: another process holds it.
        OSError: the folder is missing or cannot be written.
    """
    if fcntl is None:
        yield
        return
    remove_left_behind(path.parent)
    lock = path.with_name(f".{path.name}{LOCK}")
    owner = os.getpid()
    descriptor = _hold(lock, wait)
    identity = _identity(os.fstat(descriptor))
    try:
        with suppress(OSError):  # on a full disk the lock holds without a word
            os.ftruncate(descriptor, 0)
            os.write(descriptor, word.encode("utf-8", "backslashreplace"))
        yield
    finally:
        if os.getpid() == owner:
            with _one_thread, suppress(OSError):
                if _is_still(lock, identity):
                    lock.unlink()
        os.close(descriptor)
        _held.discard(identity)


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


def remove_left_behind(folder: Path) -> None:
    """Remove the temporary files and locks in `folder` whose process was killed."""
    if fcntl is None:
        return
    with suppress(OSError), os.scandir(folder) as entries:
        for name in [entry.name for entry in entries if _LEFT.fullmatch(entry.name)]:
            with suppress(OSError), _one_thread:
                _remove_if_left(folder / name)


def _remove_if_left(path: Path) -> None:
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode) or _identity(found) in _held:
        return
    descriptor = os.open(path, _OPEN)
    try:
        if _lock(descriptor) and _is_still(path, _identity(os.fstat(descriptor))):
            path.unlink()
    finally:
        os.close(descriptor)


def _new_temporary(target: Path) -> tuple[Path, int]:
    """A new file beside `target`, locked before anyone could think it left behind."""
    while True:
        path = target.with_name(f".{target.name}.{secrets.token_hex(4)}{TEMPORARY}")
        with _one_thread:
            descriptor = os.open(path, _OPEN | os.O_CREAT | os.O_EXCL, 0o666)
            identity = _identity(os.fstat(descriptor))
            if _lock(descriptor) is not False and _is_still(path, identity):
                _held.add(identity)
                return path, descriptor
            os.close(descriptor)


def _hold(lock: Path, wait: bool) -> int:
    """The locked descriptor of the file `lock`."""
    until = time.monotonic() + PATIENCE
    while True:
        word = "this very process"
        with _one_thread:
            if not _is_held_here(lock):
                descriptor = os.open(lock, _OPEN | os.O_CREAT, 0o666)
                identity = _identity(os.fstat(descriptor))
                locked = _lock(descriptor)
                # Who held it before removed it, perhaps after it was opened here.
                if locked is not False and _is_still(lock, identity):
                    with suppress(OSError):
                        lock.chmod(0o666)  # what is left behind, others may remove
                    _held.add(identity)
                    return descriptor
                word = _read(descriptor)
                os.close(descriptor)
        if not wait and time.monotonic() > until:
            raise HeldError(word)
        time.sleep(_NAP)


def _is_held_here(lock: Path) -> bool:
    try:
        return _identity(lock.stat()) in _held
    except FileNotFoundError:
        return False


def _lock(descriptor: int) -> bool | None:
    """Whether the file is now locked by this process; None where files cannot be locked."""
    if fcntl is None:
        return None
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in (errno.EACCES, errno.EAGAIN) else None
    return True


def _read(descriptor: int) -> str:
    with suppress(OSError):
        return os.read(descriptor, 4096).decode("utf-8", "replace")
    return ""


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _is_still(path: Path, identity: tuple[int, int]) -> bool:
    """Whether the file of this name is the one that was opened."""
    try:
        return _identity(path.stat()) == identity
    except FileNotFoundError:
        return False


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
