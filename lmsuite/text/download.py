"""Fetching a file: over https, to its end, with the right checksum, or not at all."""

from __future__ import annotations

import hashlib
import io
import os
import re
import ssl
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import IO, Any, BinaryIO
from urllib.parse import urlsplit

from lmsuite.errors import DataError

_TIMEOUT = 30.0  # seconds without a byte
_CHUNK = 1 << 16

# Plain http is spoken to this machine alone, where nobody is in between: a mirror under test.
_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")


def download(url: str, target: Path, *, sha256: str | None, quiet: bool = False) -> str:
    """Fetches a file to `target`; a file that is there stays until the new one is complete.

    Args:
        url: an https address.
        target: the file to write; its folder is made.
        sha256: the checksum that the file must have, hexadecimal, if known.
        quiet: show no progress bar on stderr (there is none either if stderr is no terminal).

    Returns:
        The checksum of the file.

    Raises:
        DataError: the server, the network, the checksum or the disk; the message says which.
    """
    _require_https(url)
    with _new_file(target) as file:
        try:
            digest = _copy(url, file, target.name, quiet)
        except urllib.error.HTTPError as error:
            raise DataError(
                f"{url}: the server answered {error.code} {error.reason}; {_BY_HAND}"
            ) from None
        except urllib.error.URLError as error:
            raise DataError(f"{url}: cannot be reached ({error.reason}); {_BY_HAND}") from None
        except (HTTPException, TimeoutError, ConnectionError, ssl.SSLError) as error:
            raise DataError(f"{url}: the connection broke ({error!r}); try again") from None
        if sha256 is not None and digest != sha256:
            raise DataError(
                f"{url}: checksum {digest[:12]}… instead of {sha256[:12]}…: the file was changed "
                "or damaged on the way; nothing was kept"
            )
    return digest


def download_nltk(package: str, target: Path, *, members: re.Pattern[str]) -> str:
    """Fetches a corpus with NLTK's downloader and writes its files, joined, to `target`.

    Args:
        package: NLTK's name of the corpus.
        target: the file to write; its folder is made.
        members: which files of the corpus hold text; they are joined in order of their names.

    Returns:
        The checksum of what was written.

    Raises:
        DataError: NLTK refuses or fails, or the disk; the message says which.
    """
    from nltk.downloader import Downloader

    digest = hashlib.sha256()
    with _new_file(target) as file, tempfile.TemporaryDirectory(dir=target.parent) as folder:
        try:
            # What it would print of an error is in the exception too.
            Downloader().download(
                package, folder, quiet=True, raise_on_error=True, print_error_to=io.StringIO()
            )
        except (OSError, ValueError, HTTPException) as error:
            raise DataError(f"NLTK's corpus {package}: {error}; {_BY_HAND}") from None
        archive = Path(folder) / "corpora" / f"{package}.zip"
        try:
            with zipfile.ZipFile(archive) as opened:
                names = sorted(filter(members.fullmatch, opened.namelist()))
                for name in names:
                    text = opened.read(name).rstrip() + b"\n\n"
                    digest.update(text)
                    file.write(text)
        except (OSError, zipfile.BadZipFile) as error:
            raise DataError(f"NLTK's corpus {package}: no usable archive ({error})") from None
        if not names:
            raise DataError(f"NLTK's corpus {package}: no file in it matches {members.pattern}")
    return digest.hexdigest()


_BY_HAND = "without a network, get the file by other means and give its path instead of the name"


def _require_https(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _THIS_MACHINE):
        raise DataError(f"{url}: refused, corpora are fetched over https only")


class _HttpsRedirects(urllib.request.HTTPRedirectHandler):
    """Follows a redirection, unless it leads away from https."""

    def redirect_request(
        self, req: Any, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        _require_https(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _copy(url: str, file: BinaryIO, label: str, quiet: bool) -> str:
    """Writes what the url gives to `file`; its checksum."""
    from tqdm import tqdm

    opener = urllib.request.build_opener(_HttpsRedirects)
    request = urllib.request.Request(url, headers={"User-Agent": "lmsuite"})
    digest = hashlib.sha256()
    with opener.open(request, timeout=_TIMEOUT) as response:
        length = response.headers.get("Content-Length")
        total = int(length) if length else None
        # disable=None: tqdm itself finds out whether stderr is a terminal.
        with tqdm(
            desc=label, total=total, unit="B", unit_scale=True, disable=True if quiet else None
        ) as bar:
            received = 0
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                digest.update(chunk)
                received += len(chunk)
                bar.update(len(chunk))
    if total is not None and received != total:
        raise DataError(f"{url}: the connection broke after {received} of {total} bytes; try again")
    return digest.hexdigest()


@contextmanager
def _new_file(target: Path) -> Iterator[BinaryIO]:
    """A file that takes `target`'s place if the block ends without an exception."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    except OSError as error:
        raise DataError(
            f"{target.parent}: cannot keep corpora there ({error.strerror}); "
            "set LM_CACHE to a folder that can be written"
        ) from None
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError as error:
        raise DataError(f"{target}: cannot be written ({error.strerror or error})") from None
    finally:
        temporary.unlink(missing_ok=True)
