"""Fetching a file: over https, to its end, with the right checksum, or not at all.

`pooch` does not do it: it refuses a server that gives an odd length, calls nobody before a file
takes its place, flushes nothing to the disk, makes files that only their owner can read, and what
a killed process had fetched stays for good. It begins anew after a broken connection, as this does.
"""

from __future__ import annotations

import hashlib
import re
import ssl
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import IO, Any, BinaryIO
from urllib.parse import urlsplit

from lmsuite.errors import DataError
from lmsuite.files.disk import make_folders, replaced
from lmsuite.sources.archive import texts_in
from lmsuite.terminal import shown, unguarded

_TIMEOUT = 30.0  # seconds without a byte
_CHUNK = 1 << 16
_FILE = 4 << 30  # bytes of a text
_ARCHIVE = 256 << 20  # bytes of an archive

# Plain http is spoken to this machine alone, where nobody is in between: a mirror under test.
_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")


def download(
    url: str,
    target: Path,
    *,
    sha256: str | None,
    quiet: bool = False,
    limit: int = _FILE,
    announce: Callable[[str], None] = lambda checksum: None,
) -> str:
    """Fetches a file to `target`; a file that is there stays until the new one is complete.

    Args:
        url: an https address.
        target: the file to write; its folder is made.
        sha256: the checksum that the file must have, hexadecimal, if known.
        quiet: show no progress bar on stderr (there is none either if stderr is no terminal).
        limit: the bytes that the file may have; a server may send without end.
        announce: called with the checksum just before the file takes its place.

    Returns:
        The checksum of the file.

    Raises:
        DataError: the server, the network, the checksum or the disk; the message says which.
    """
    _require_https(url)
    with new_file(target) as file:
        digest = _fetched(url, file, target.name, quiet, limit)
        if sha256 is not None and digest != sha256:
            raise DataError(
                f"{url}: checksum {digest[:12]}… instead of {sha256[:12]}…: the file was changed "
                "or damaged on the way; nothing was kept"
            )
        announce(digest)
    return digest


def fetched(url: str, *, quiet: bool = False) -> IO[bytes]:
    """What an address gives, as by `download`, in a file that has no name on the disk.

    Raises:
        DataError: the server or the network; the message says which.
    """
    _require_https(url)
    file = tempfile.TemporaryFile()  # noqa: SIM115 (whoever reads it closes it)
    try:
        _fetched(url, file, urlsplit(url).path.rpartition("/")[2], quiet, _FILE)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


def download_nltk(
    package: str,
    target: Path,
    *,
    members: re.Pattern[str],
    archive: str | None,
    quiet: bool = False,
    announce: Callable[[str], None] = lambda checksum: None,
) -> str:
    """Fetches one of NLTK's corpora and writes its files, joined, to `target`.

    NLTK's downloader finds the archive in NLTK's index. It is fetched as by `download`, and opened
    only if its checksum is right; no file of it is ever unpacked to the disk.

    Args:
        package: NLTK's name of the corpus.
        target: the file to write; its folder is made.
        members: which files of the corpus hold text; they are joined in order of their names.
        archive: the checksum that the archive must have, ``sha256:`` or ``md5:`` and
            hexadecimal, if known.
        quiet: show no progress bar.
        announce: called with the checksum just before the file takes its place.

    Returns:
        The SHA-256 of what was written.

    Raises:
        DataError: NLTK's index, the archive, or the disk; the message says which.
    """
    name = f"NLTK's corpus {package}"
    url = _nltk_url(package, name)
    digest = hashlib.sha256()
    _require_https(url)
    # The archive is a file without a name, so that nothing is left of it, however this ends.
    with new_file(target) as file, tempfile.TemporaryFile() as packed:
        _fetched(url, packed, target.name, quiet, _ARCHIVE)
        _check_archive(packed, archive, name)
        for text in texts_in(packed, members, name=name):
            digest.update(text)
            file.write(text)
        announce(digest.hexdigest())
    return digest.hexdigest()


def _nltk_url(package: str, name: str) -> str:
    """Where NLTK's index says that the corpus lies."""
    from nltk.downloader import Downloader

    try:
        return str(Downloader().info(package).url)
    except (OSError, ValueError, HTTPException, SyntaxError) as error:  # the last: no XML
        raise DataError(f"{name}: {error}; {_BY_HAND}") from None


def _check_archive(packed: BinaryIO, expected: str | None, name: str) -> None:
    if expected is None:
        return
    kind, _, right = expected.partition(":")
    packed.seek(0)
    found = hashlib.file_digest(packed, kind).hexdigest()  # type: ignore[arg-type]
    if found != right:
        raise DataError(
            f"{name}: {kind} checksum {found[:12]}… instead of {right[:12]}…: the archive was "
            "changed or damaged on the way; nothing was kept"
        )


_BY_HAND = "without a network, get the file by other means and give its path instead of the name"


def _require_https(url: str, *, came_from: str | None = None) -> None:
    """Refuses what is not https; http of this machine may only lead on to http of this machine."""
    try:
        parts = urlsplit(url)
        is_here = parts.scheme == "http" and parts.hostname in _THIS_MACHINE
    except ValueError as error:
        raise DataError(f"{url}: no address ({error})") from None
    if parts.scheme == "https":
        return
    if not is_here or (came_from or "").startswith("https:"):
        raise DataError(f"{url}: refused, corpora are fetched over https only")


class _HttpsRedirects(urllib.request.HTTPRedirectHandler):
    """Follows a redirection, unless it leads away from https."""

    def redirect_request(
        self, req: Any, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        _require_https(newurl, came_from=req.full_url)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _fetched(url: str, file: IO[bytes], label: str, quiet: bool, limit: int) -> str:
    """Writes what the url gives to `file`; its checksum.

    Raises:
        DataError: the server or the network; the message says which.
    """
    try:
        return _copy(url, file, label, quiet, limit)
    except urllib.error.HTTPError as error:
        raise DataError(
            f"{url}: the server answered {error.code} {error.reason}; {_BY_HAND}"
        ) from None
    except urllib.error.URLError as error:
        raise DataError(f"{url}: cannot be reached ({error.reason}); {_BY_HAND}") from None
    except (HTTPException, TimeoutError, ConnectionError, ssl.SSLError) as error:
        raise DataError(f"{url}: the connection broke ({error!r}); try again") from None
    except ValueError as error:
        raise DataError(f"{url}: no usable address ({error})") from None


def _copy(url: str, file: IO[bytes], label: str, quiet: bool, limit: int) -> str:
    """Writes what the url gives to `file`; its checksum."""
    from tqdm import tqdm

    opener = urllib.request.build_opener(_HttpsRedirects)
    request = urllib.request.Request(url, headers={"User-Agent": "lmsuite"})
    digest = hashlib.sha256()
    with opener.open(request, timeout=_TIMEOUT) as response:
        total = response.length  # None unless the header says a number
        # disable=None: tqdm itself finds out whether stderr is a terminal.
        with tqdm(
            desc=shown(label),
            total=total,
            unit="B",
            unit_scale=True,
            disable=True if quiet else None,
            file=unguarded(sys.stderr),
        ) as bar:
            received = 0
            while chunk := response.read(_CHUNK):
                received += len(chunk)
                if received > limit:
                    raise DataError(f"{url}: more than {limit} bytes; refused, nothing was kept")
                file.write(chunk)
                digest.update(chunk)
                bar.update(len(chunk))
    if total is not None and received != total:
        raise DataError(f"{url}: the connection broke after {received} of {total} bytes; try again")
    return digest.hexdigest()


@contextmanager
def new_file(target: Path) -> Iterator[BinaryIO]:
    """A file that takes `target`'s place if the block ends without an exception."""
    opened = False
    try:
        make_folders(target.parent)
        with replaced(target) as file:
            opened = True
            yield file
    except OSError as error:
        reason = error.strerror or str(error)
        if opened:
            raise DataError(f"{target}: cannot be written ({reason})") from None
        raise DataError(
            f"{target.parent}: cannot keep corpora there ({reason}); "
            "set LM_CACHE to a folder that can be written"
        ) from None
