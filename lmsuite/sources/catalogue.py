"""Corpora that have a name: the embedded play, and those fetched when first asked for."""

from __future__ import annotations

import hashlib
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

from lmsuite.errors import DataError
from lmsuite.files.disk import locked
from lmsuite.files.plain import decode_text, read_bytes

PLAY = "play"
"""The entry that is embedded in the package."""

_PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Entry:
    """A named corpus; ``corpora/catalogue.toml`` says what the fields mean."""

    name: str
    title: str
    licence: str = ""
    files: tuple[Path, ...] = ()
    url: str | None = None
    sha256: str | None = None
    gutenberg: bool = False
    nltk: str | None = None
    archive: str | None = None
    members: str = ".*"
    tagged: bool = False
    encoding: str = "utf-8"

    @property
    def origin(self) -> str:
        """Where the text comes from, for a person to read."""
        if self.files:
            return str(self.files[0].parent)
        return self.url or f"NLTK's downloader, package {self.nltk}"

    @property
    def pin(self) -> str:
        """``local``, ``pinned`` (its checksum is known beforehand) or ``unpinned``."""
        if self.files:
            return "local"
        return "pinned" if self.sha256 or self.archive else "unpinned"

    @property
    def cached(self) -> Path:
        """Where the fetched file lies, once it is there."""
        return cache_folder() / f"{self.name.replace(':', '-')}.txt"

    @property
    def available(self) -> bool:
        """Whether the text can be read without a network."""
        return bool(self.files) or (self.cached.is_file() and bool(self._known))

    @property
    def _record(self) -> Path:
        """The checksums of copies fetched, where none is known beforehand: the newest first."""
        return self.cached.with_suffix(".sha256")

    @property
    def _known(self) -> list[str]:
        """The SHA-256 of every copy that may lie in the cache."""
        if self.sha256 is not None:
            return [self.sha256]
        if not self._record.is_file():
            return []
        lines = self._record.read_text("ascii", errors="replace").splitlines()
        return [line[:64] for line in lines]

    @property
    def checksum(self) -> str | None:
        """The SHA-256 of the text to be fetched, or of the copy fetched; None if not known."""
        return next(iter(self._known), None)

    def fetch(self, *, force: bool = False, quiet: bool = False) -> None:
        """Makes the text `available`: downloads it unless it is, or if `force`.

        A download that fails, or whose checksum is wrong, leaves everything as it was; so does one
        that is killed.

        Raises:
            DataError: it cannot be downloaded or stored; the message says why.
        """
        if self.files or (self.available and not force):
            return
        with ExitStack() as stack:
            self._fetch(quiet, partial(self._change_to, stack))

    def _fetch(self, quiet: bool, announce: Callable[[str], None]) -> None:
        from lmsuite.sources.download import download, download_nltk  # brings all of HTTP

        if self.nltk is not None:
            digest = download_nltk(
                self.nltk,
                self.cached,
                members=re.compile(self.members),
                archive=self.archive,
                quiet=quiet,
                announce=announce,
            )
        elif self.url is not None:
            digest = download(
                self.url,
                self.cached,
                sha256=self.sha256,
                quiet=quiet,
                announce=announce,
            )
        self._remember(digest)

    def _change_to(self, change: ExitStack, digest: str) -> None:
        """Keep this checksum too until the text has changed, and be alone in that till `change`."""
        change.enter_context(locked(self.cached, "", wait=True))
        self._remember(digest, *self._known)

    def _remember(self, *digests: str) -> None:
        """Keep these checksums beside the copy: of the old and the new one while they change."""
        if self.sha256 is not None:
            return
        from lmsuite.sources.download import new_file

        with new_file(self._record) as file:
            for digest in digests:
                file.write(f"{digest}  {self.cached.name}\n".encode("ascii"))

    def read(self, *, quiet: bool = False) -> str:
        """The text, fetched first if need be.

        Raises:
            DataError: it cannot be fetched, or the copy fetched earlier has been damaged.
        """
        if self.files:
            return "".join(decode_text(read_bytes(file), str(file)) for file in self.files)
        self.fetch(quiet=quiet)
        raw = read_bytes(self.cached)
        if hashlib.sha256(raw).hexdigest() not in self._known:
            raise DataError(
                f"{self.cached}: no longer what was fetched (its checksum differs); "
                f"run `lm corpus fetch {self.name} --force`"
            )
        text = decode_text(raw, str(self.cached), self.encoding)
        if self.gutenberg:
            text = _without_gutenberg_licence(text)
        return _without_tags(text) if self.tagged else text


def cache_folder() -> Path:
    """Where fetched corpora are kept: ``LM_CACHE``, or else the user's cache folder."""
    chosen = os.environ.get("LM_CACHE")
    if chosen:
        return Path(chosen)
    from platformdirs import user_cache_path

    return user_cache_path("lmsuite") / "corpora"


def catalogue() -> dict[str, Entry]:
    """All entries by name: the package's, then those of the file that ``LM_CATALOGUE`` names.

    Raises:
        DataError: a catalogue cannot be read; the message says what is wrong and where.
    """
    installed, checkout = _PACKAGE / "corpora", _PACKAGE.parent / "corpora"
    entries = _read_catalogue((installed if installed.is_dir() else checkout) / "catalogue.toml")
    if own := os.environ.get("LM_CATALOGUE"):
        entries |= _read_catalogue(Path(own))
    return entries


def find_entry(name: str) -> Entry:
    """The entry of that name.

    Raises:
        DataError: there is none; the message names those that sound like it.
    """
    entries = catalogue()
    if name in entries:
        return entries[name]
    raise DataError(f"no corpus is called {name!r}; {names_like(name, entries)}")


def names_like(name: str, entries: Mapping[str, Entry]) -> str:
    """Advice for someone who gave a name that is not in the catalogue."""
    near = get_close_matches(name, entries, n=3, cutoff=0.6)
    if near:
        return f"did you mean {' or '.join(near)}? (`lm corpus list` shows all)"
    return f"`lm corpus list` shows those there are: {', '.join(entries)}"


_KINDS: dict[str, type] = {
    "title": str,
    "licence": str,
    "files": list,
    "url": str,
    "sha256": str,
    "gutenberg": bool,
    "nltk": str,
    "archive": str,
    "members": str,
    "tagged": bool,
    "encoding": str,
}


_ARCHIVE = "sha256:[0-9a-f]{64}|md5:[0-9a-f]{32}"


def _read_catalogue(path: Path) -> dict[str, Entry]:
    try:
        tables = tomllib.loads(decode_text(read_bytes(path), str(path)))
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"{path}: not a catalogue in TOML: {error}") from None
    return {name: _entry(path, name, table) for name, table in tables.items()}


def _entry(path: Path, name: str, table: Any) -> Entry:
    where = f"{path}, [{name}]"
    if not isinstance(table, dict) or "title" not in table:
        raise DataError(f"{where}: an entry is a table with a title")
    for key, value in table.items():
        if key not in _KINDS:
            raise DataError(f"{where}: unknown key {key!r}; there are {', '.join(_KINDS)}")
        if not isinstance(value, _KINDS[key]):
            raise DataError(f"{where}: {key} is {value!r}, not of type {_KINDS[key].__name__}")
    if sum(source in table for source in ("files", "url", "nltk")) != 1:
        raise DataError(f"{where}: give one of files, url and nltk")
    _check_values(where, name, table)
    files = tuple(path.parent / str(file) for file in table.get("files", ()))
    return Entry(name=name, **{**table, "files": files})


def _check_values(where: str, name: str, table: Mapping[str, Any]) -> None:
    """Refuses values that would fail, or lead elsewhere, when the text is fetched."""
    if "/" in name or "\\" in name or "\0" in name or name.startswith("."):
        raise DataError(f"{where}: a name cannot hold a slash, or begin with a dot")
    if not re.fullmatch("[0-9a-f]{64}", table.get("sha256", "0" * 64)):
        raise DataError(f"{where}: a sha256 has 64 digits of 0 to 9 and a to f")
    if not re.fullmatch(_ARCHIVE, table.get("archive", "md5:" + "0" * 32)):
        raise DataError(f"{where}: archive is sha256: or md5: and the checksum in hexadecimal")
    if ("archive" in table and "nltk" not in table) or ("sha256" in table and "url" not in table):
        raise DataError(f"{where}: sha256 is for a url, archive for nltk")
    if not all(isinstance(file, str) for file in table.get("files", ())):
        raise DataError(f"{where}: files is a list of names")
    try:
        re.compile(table.get("members", ""))
    except re.error as error:
        raise DataError(f"{where}: members is no regular expression ({error})") from None


def _without_gutenberg_licence(text: str) -> str:
    start = re.search(r"^\*\*\* ?START OF TH.*\*\*\*$\n*", text, re.MULTILINE)
    end = re.search(r"\n*^\*\*\* ?END OF TH.*\*\*\*$", text, re.MULTILINE)
    if start is None or end is None:
        return text
    return text[start.end() : end.start()] + "\n"


def _without_tags(text: str) -> str:
    """A line a sentence of ``word/tag``, of which only the words are wanted."""
    sentences = (line.split() for line in text.split("\n"))
    return "".join(
        " ".join(word.rpartition("/")[0] for word in sentence) + "\n"
        for sentence in sentences
        if sentence
    )
