"""Named corpora: the catalogue, and fetching from a server that may fail in every way."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lmsuite.errors import DataError
from lmsuite.sources.catalogue import Entry, cache_folder, catalogue, find_entry
from lmsuite.sources.corpus import read_corpus
from lmsuite.sources.download import download

GOOD = b"\xef\xbb\xbfFirst Citizen:\r\nSpeak.\r\n" * 5000
GOOD_SHA256 = hashlib.sha256(GOOD).hexdigest()
FRAMED = (
    b"The Project Gutenberg eBook\r\n\r\n*** START OF THE PROJECT GUTENBERG EBOOK 100 ***\r\n\r\n"
    b"THE SONNETS\r\n\r\n*** END OF THE PROJECT GUTENBERG EBOOK 100 ***\r\nlicence\r\n"
)
OUTSIDE = "http://corpora.invalid/good.txt"


def _zip(files: dict[str, str]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return packed.getvalue()


BROWN_FILES = {
    "brown/cb01": "\tHe/pps 1/2/cd ran/vbd ./.\n",
    "brown/ca01": "\n\n\tThe/at Jury/nn-tl said/vbd\n\n\tso/rb ./.\n\n",
    "brown/README": "not text",
}
BROWN = _zip(BROWN_FILES)
BROWN_PIN = f"sha256:{hashlib.sha256(BROWN).hexdigest()}"
PAGES = {
    "/good.txt": GOOD,
    "/framed.txt": FRAMED,
    "/brown.zip": BROWN,
    "/cut.txt": GOOD,
    "/chunked.txt": GOOD,
}


class _Server(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path in ("/away", "/near"):
            self.send_response(302)
            self.send_header("Location", OUTSIDE if self.path == "/away" else "/good.txt")
            self.end_headers()
            return
        body = self._index() if self.path == "/index.xml" else PAGES.get(self.path)
        if body is None:
            self.send_error(404)
            return
        self.send_response(200)
        if self.path == "/chunked.txt":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"ffff\r\n" + body[:100])  # and there the connection breaks
            return
        self.send_header("Content-Length", str(len(body) + (self.path == "/cut.txt")))
        self.end_headers()
        self.wfile.write(body)

    def _index(self) -> bytes:
        port = self.server.server_address[1]
        return (
            f'<nltk_data><packages><package id="brown" name="Brown" subdir="corpora" unzip="1" '
            f'url="http://127.0.0.1:{port}/brown.zip" size="{len(BROWN)}" '
            f'unzipped_size="{sum(map(len, BROWN_FILES.values()))}" '
            f'sha256_checksum="{hashlib.sha256(BROWN).hexdigest()}"/>'
            "</packages><collections/></nltk_data>"
        ).encode()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Server) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("LM_CACHE", str(folder))
    return folder


def own_catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    file = tmp_path / "own.toml"
    file.write_text(content)
    monkeypatch.setenv("LM_CATALOGUE", str(file))


def test_what_is_shipped(play: str) -> None:
    entries = catalogue()
    assert {name: entry.pin for name, entry in entries.items()} == {
        "play": "local",
        "tinyshakespeare": "pinned",
        "shakespeare": "unpinned",
        "nltk:brown": "pinned",
        "nltk:gutenberg": "pinned",
    }
    assert entries["play"].read() == play
    assert all((entry.url or "https://").startswith("https://") for entry in entries.values())


def test_the_pinned_checksum_is_that_of_tiny_shakespeare(shared: Path) -> None:
    folder = shared / "corpora" / "tinyshakespeare"
    text = (folder / "train.txt").read_bytes() + (folder / "valid.txt").read_bytes()
    assert len(text) == 1_115_394
    assert catalogue()["tinyshakespeare"].sha256 == hashlib.sha256(text).hexdigest()


def test_a_pinned_text_is_fetched_once(server: str, cache: Path, monkeypatch) -> None:
    entry = Entry("tiny", "", url=f"{server}/good.txt", sha256=GOOD_SHA256)
    assert not entry.available
    assert entry.read() == GOOD.decode("utf-8-sig").replace("\r\n", "\n")
    assert entry.available
    assert [file.name for file in cache.iterdir()] == ["tiny.txt"]
    monkeypatch.setattr("lmsuite.sources.download.download", None)
    entry.fetch()
    assert entry.read().startswith("First Citizen:\nSpeak.\n")


def test_an_unpinned_text_is_pinned_by_the_first_fetch(server: str, cache: Path) -> None:
    entry = Entry("works", "", url=f"{server}/framed.txt", gutenberg=True)
    assert (entry.pin, entry.checksum) == ("unpinned", None)
    assert entry.read() == "THE SONNETS\n"
    assert (entry.pin, entry.checksum) == ("unpinned", hashlib.sha256(FRAMED).hexdigest())
    assert {file.name for file in cache.iterdir()} == {"works.txt", "works.sha256"}


@pytest.mark.parametrize("sha256", [GOOD_SHA256, None])
def test_a_copy_damaged_later_is_noticed(server: str, cache: Path, sha256: str | None) -> None:
    entry = Entry("tiny", "", url=f"{server}/good.txt", sha256=sha256)
    entry.fetch()
    entry.cached.write_bytes(GOOD[:-1])
    with pytest.raises(DataError, match=r"tiny\.txt: no longer .* `lm corpus fetch tiny --force`"):
        entry.read()
    entry.fetch(force=True)
    assert entry.read().startswith("First")


FAILURES = [
    ("/missing.txt", None, r"the server answered 404 Not Found; without a network"),
    ("/good.txt", "0" * 64, rf"checksum {GOOD_SHA256[:12]}… instead of 000000000000…"),
    ("/cut.txt", None, rf"the connection broke after {len(GOOD)} of {len(GOOD) + 1} bytes"),
    ("/chunked.txt", None, r"the connection broke \(IncompleteRead"),
    ("/away", None, r"corpora\.invalid/good\.txt: refused, corpora are fetched over https only"),
]


@pytest.mark.parametrize(("page", "sha256", "message"), FAILURES)
@pytest.mark.parametrize("before", [None, b"an earlier copy"])
def test_a_failed_download_changes_nothing(
    server: str, cache: Path, page: str, sha256: str | None, message: str, before: bytes | None
) -> None:
    cache.mkdir()
    target = cache / "x.txt"
    if before is not None:
        target.write_bytes(before)
    with pytest.raises(DataError, match=message):
        download(server + page, target, sha256=sha256)
    assert [file.read_bytes() for file in cache.iterdir()] == ([before] if before else [])


def test_a_redirection_is_followed(server: str, cache: Path) -> None:
    assert download(f"{server}/near", cache / "x.txt", sha256=GOOD_SHA256) == GOOD_SHA256


@pytest.mark.parametrize(
    "url",
    [OUTSIDE, "http://localhost.invalid/x", "ftp://127.0.0.1/x", "file:///etc/hostname", "x.txt"],
)
def test_only_https_is_spoken_to_others(url: str, cache: Path) -> None:
    with pytest.raises(DataError, match="https only"):
        download(url, cache / "x.txt", sha256=None)
    assert not cache.exists()


def test_no_server_is_an_error_of_one_line(cache: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Server) as closed:
        port = closed.server_address[1]
    with pytest.raises(DataError, match="cannot be reached"):
        download(f"http://127.0.0.1:{port}/x", cache / "x.txt", sha256=None)


def test_a_cache_that_cannot_be_made_is_an_error_of_one_line(server: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="set LM_CACHE to a folder"):
        download(f"{server}/good.txt", tmp_path / "file" / "cache" / "x.txt", sha256=None)


def test_a_full_disk_is_an_error_of_one_line(
    server: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def on_a_full_disk(_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", on_a_full_disk)
    with pytest.raises(DataError, match=r"x\.txt: cannot be written \(No space left on device\)"):
        download(f"{server}/good.txt", cache / "x.txt", sha256=None)
    assert list(cache.iterdir()) == []


@pytest.mark.filterwarnings("ignore:Security Violation")
def test_nltks_corpora_come_by_nltks_downloader(
    server: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # NLTK itself refuses to ask this machine; all else is as it is in use.
    monkeypatch.setattr("nltk.pathsec.ENFORCE", False)
    monkeypatch.setattr("nltk.downloader.Downloader.DEFAULT_URL", f"{server}/index.xml")
    brown = replace(find_entry("nltk:brown"), archive=BROWN_PIN)
    assert brown.read() == "The Jury said\nso .\nHe 1/2 ran .\n"
    assert {file.name for file in cache.iterdir()} == {"nltk-brown.txt", "nltk-brown.sha256"}
    books = find_entry("nltk:gutenberg")
    with pytest.raises(DataError, match=r"NLTK's corpus gutenberg: .*not found"):
        books.read()
    nothing = Entry("x", "", nltk="brown", members="nowhere/.*")
    with pytest.raises(DataError, match="no file in it matches nowhere"):
        nothing.read()
    assert {file.name for file in cache.iterdir()} == {"nltk-brown.txt", "nltk-brown.sha256"}


def test_a_catalogue_of_ones_own_adds_and_replaces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.txt").write_text("A\n")
    (tmp_path / "b.txt").write_text("B\n")
    own_catalogue(
        tmp_path,
        monkeypatch,
        '[mine]\ntitle = "Mine"\nfiles = ["b.txt", "a.txt"]\n'
        '[play]\ntitle = "Another"\nfiles = ["a.txt"]\n',
    )
    assert read_corpus(["mine", "play"]).text == "B\nA\nA\n"
    assert "tinyshakespeare" in catalogue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[x", r"own\.toml: not a catalogue in TOML"),
        ("x = 1", r"own\.toml, \[x\]: an entry is a table with a title"),
        ('[x]\nurl = "https://a"', "a table with a title"),
        ('[x]\ntitle = "t"\nmirror = "a"', r"\[x\]: unknown key 'mirror'; there are title"),
        ('[x]\ntitle = "t"\nurl = 3', r"\[x\]: url is 3, not of type str"),
        ('[x]\ntitle = "t"', "give one of files, url and nltk"),
        ('[x]\ntitle = "t"\nurl = "a"\nnltk = "b"', "give one of files, url and nltk"),
        ('["../x"]\ntitle = "t"\nurl = "a"', "cannot hold a slash"),
    ],
)
def test_a_bad_catalogue_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, message: str
) -> None:
    own_catalogue(tmp_path, monkeypatch, content)
    with pytest.raises(DataError, match=message):
        catalogue()


def test_a_missing_catalogue_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LM_CATALOGUE", str(tmp_path / "nowhere.toml"))
    with pytest.raises(DataError, match=r"nowhere\.toml: no such file"):
        catalogue()


def test_the_cache_is_the_users_own_unless_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LM_CACHE", raising=False)
    assert cache_folder().parts[-2:] == ("lmsuite", "corpora")
