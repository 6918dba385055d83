"""Corpora that have a name: the embedded play, and those fetched when first asked for."""

from __future__ import annotations

import hashlib
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from lmsuite.errors import DataError
from lmsuite.text.plain import decode_text, read_bytes

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
        return "pinned" if self.sha256 else "unpinned"

    @property
    def cached(self) -> Path:
        """Where the fetched file lies, once it is there."""
        return cache_folder() / f"{self.name.replace(':', '-')}.txt"

    @property
    def available(self) -> bool:
        """Whether the text can be read without a network."""
        return bool(self.files) or self.cached.is_file()

    @property
    def _record(self) -> Path:
        """The checksum of an unpinned file as it was fetched."""
        return self.cached.with_suffix(".sha256")

    @property
    def checksum(self) -> str | None:
        """The SHA-256 of the file to be fetched, or of that fetched first; None if not known."""
        if self.sha256 is not None:
            return self.sha256
        return self._record.read_text("ascii")[:64] if self._record.is_file() else None

    def fetch(self, *, force: bool = False, quiet: bool = False) -> None:
        """Makes the text `available`: downloads it unless it is, or if `force`.

        A download that fails, or whose checksum is wrong, leaves everything as it was.

        Raises:
            DataError: it cannot be downloaded or stored; the message says why.
        """
        if self.files or (self.available and not force):
            return
        from lmsuite.text.download import download, download_nltk  # brings all of HTTP

        if self.nltk is not None:
            digest = download_nltk(self.nltk, self.cached, members=re.compile(self.members))
        elif self.url is not None:
            digest = download(self.url, self.cached, sha256=self.sha256, quiet=quiet)
        if self.sha256 is None:
            self._record.write_text(f"{digest}  {self.cached.name}\n", encoding="ascii")

    def read(self, *, quiet: bool = False) -> str:
        """The text, fetched first if need be.

        Raises:
            DataError: it cannot be fetched, or the copy fetched earlier has been damaged.
        """
        if self.files:
            return "".join(decode_text(read_bytes(file), str(file)) for file in self.files)
        self.fetch(quiet=quiet)
        raw = read_bytes(self.cached)
        if hashlib.sha256(raw).hexdigest() != self.checksum:
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
    "members": str,
    "tagged": bool,
    "encoding": str,
}


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
    if "/" in name or "\\" in name:
        raise DataError(f"{where}: a name cannot hold a slash")
    files = tuple(path.parent / str(file) for file in table.get("files", ()))
    return Entry(name=name, **{**table, "files": files})


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
