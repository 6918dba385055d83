"""What is fetched from elsewhere cannot do harm: archives, servers, checksums, compressed texts.

Every attack is made on the code that fetches in earnest, from a server on this machine.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import stat
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lmsuite.errors import DataError
from lmsuite.files import compression
from lmsuite.sources import archive, download
from lmsuite.sources.catalogue import Entry, catalogue
from lmsuite.sources.corpus import read_corpus

GOOD = b"The Jury said so.\n"
pytestmark = pytest.mark.filterwarnings("ignore:Security Violation")  # by NLTK, of this machine
PAGES: dict[str, bytes | tuple[int, str]] = {}  # what the server gives, or where it sends to


class _Server(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        page = PAGES.get(self.path, (404, ""))
        if isinstance(page, tuple):
            self.send_response(page[0])
            self.send_header("Location", page[1])
            self.end_headers()
        elif self.path == "/endless":
            self.send_response(200)
            self.end_headers()
            try:
                while True:
                    self.wfile.write(page)
            except OSError:
                pass  # the other side has had enough
        else:
            self.send_response(200)
            self.send_header("Content-Length", "many" if self.path == "/odd" else str(len(page)))
            self.end_headers()
            self.wfile.write(page)

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
    """The folder that fetching may change; `tmp_path` around it must stay as it is."""
    folder = tmp_path / "outer" / "cache"
    folder.mkdir(parents=True)
    monkeypatch.setenv("LM_CACHE", str(folder))
    return folder


@pytest.fixture
def corpus_of(
    server: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Callable[[], str]]:
    """Fetches the text of one of NLTK's corpora whose archive is given."""

    def offer(packed: bytes, pin: str | None = None) -> Callable[[], str]:
        PAGES["/brown.zip"] = packed
        PAGES["/index.xml"] = (
            '<nltk_data><packages><package id="brown" name="Brown" subdir="corpora" unzip="1" '
            f'url="{server}/brown.zip" size="{len(packed)}" unzipped_size="99" '
            'checksum="0"/></packages><collections/></nltk_data>'
        ).encode()
        # NLTK itself refuses to ask this machine; all else is as it is in use.
        monkeypatch.setattr("nltk.pathsec.ENFORCE", False)
        monkeypatch.setattr("nltk.downloader.Downloader.DEFAULT_URL", f"{server}/index.xml")
        return Entry("nltk:brown", "", nltk="brown", archive=pin).read

    return offer


def zipped(*members: tuple[str | zipfile.ZipInfo, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in members:
            opened.writestr(name, content)
    return packed.getvalue()


def of_kind(kind: int, target: bytes = b"/etc/passwd") -> bytes:
    """An archive with a file, and a member of that kind (a link, a device, a pipe)."""
    info = zipfile.ZipInfo("brown/ca02")
    info.create_system = 3  # Unix
    info.external_attr = (kind | 0o644) << 16
    return zipped(("brown/ca01", GOOD), (info, target))


def renamed(before: bytes, after: bytes) -> bytes:
    """An archive with a name that zipfile itself would not write."""
    assert len(before) == len(after)
    return zipped(("brown/ca01", GOOD), (before.decode(), b"x")).replace(before, after)


def flagged(offset: int, value: int) -> bytes:
    """An archive whose only member claims another value at this place of its headers."""
    packed = bytearray(zipped(("brown/ca01", GOOD)))
    packed[packed.index(b"PK\x03\x04") + offset - 2] = value
    packed[packed.index(b"PK\x01\x02") + offset] = value
    return bytes(packed)


HOSTILE = {
    "parent": zipped(("brown/ca01", GOOD), ("../../escaped", b"x")),
    "parent within": zipped(("brown/ca01", GOOD), ("brown/../../../escaped", b"x")),
    "absolute": zipped(("brown/ca01", GOOD), ("/tmp/escaped", b"x")),
    "drive": zipped(("brown/ca01", GOOD), ("C:/escaped", b"x")),
    "backslashes": zipped(("brown/ca01", GOOD), ("..\\..\\escaped", b"x")),
    "zero byte": renamed(b"brown/caQ2", b"brown/ca\x002"),
    "symbolic link": of_kind(stat.S_IFLNK),
    "character device": of_kind(stat.S_IFCHR),
    "block device": of_kind(stat.S_IFBLK),
    "pipe": of_kind(stat.S_IFIFO),
    "socket": of_kind(stat.S_IFSOCK),
    "encrypted": flagged(8, 1),
    "unusual packing": flagged(10, zipfile.ZIP_LZMA),
    "unknown packing": flagged(10, 97),
    "twice": renamed(b"brown/caQ1", b"brown/ca01"),
}


def names_below(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*")}


@pytest.mark.parametrize("attack", HOSTILE)
def test_a_hostile_archive_is_refused_whole(
    corpus_of: Callable[..., Callable[[], str]], tmp_path: Path, attack: str
) -> None:
    before = names_below(tmp_path)
    with pytest.raises(DataError, match=r"the archive is refused: .*nothing was kept"):
        corpus_of(HOSTILE[attack])()
    assert names_below(tmp_path) == before


def test_a_sound_archive_is_read_and_never_unpacked(
    corpus_of: Callable[..., Callable[[], str]], cache: Path
) -> None:
    packed = zipped(("brown/", b""), ("brown/cb01", b"second \n\n"), ("brown/ca01", GOOD))
    read = corpus_of(packed, pin=f"sha256:{hashlib.sha256(packed).hexdigest()}")
    assert read() == "The Jury said so.\n\nsecond\n\n"
    assert names_below(cache) == {"nltk-brown.txt", "nltk-brown.sha256"}


def test_white_space_at_the_end_of_a_member_may_be_longer_than_a_piece(
    corpus_of: Callable[..., Callable[[], str]],
) -> None:
    white = b" " * 200_000
    packed = zipped(("brown/ca01", b"a" + white + b"b" + white), ("brown/ca02", b"c"))
    assert corpus_of(packed)() == "a" + white.decode() + "b\n\nc\n\n"


@pytest.mark.parametrize("kind", ["sha256", "md5"])
def test_an_archive_of_another_checksum_is_not_opened(
    corpus_of: Callable[..., Callable[[], str]],
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    pin = f"{kind}:{hashlib.new(kind, b'the right archive').hexdigest()}"
    monkeypatch.setattr(download, "texts_in", None)
    with pytest.raises(DataError, match=rf"{kind} checksum .* instead of .*nothing was kept"):
        corpus_of(zipped(("brown/ca01", GOOD)), pin=pin)()
    assert names_below(cache) == set()


def test_an_archive_that_unpacks_to_too_much_is_refused(
    corpus_of: Callable[..., Callable[[], str]], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "UNPACKED", 1 << 20)
    honest = zipped(*((f"brown/ca{n:02}", b"a" * (1 << 18)) for n in range(5)))
    liar = honest.replace((1 << 18).to_bytes(4, "little"), (9).to_bytes(4, "little"))
    for bomb in (honest, liar):
        with pytest.raises(DataError, match="brown: "):
            corpus_of(bomb)()
    assert names_below(cache) == set()


def test_an_archive_cut_or_damaged_anywhere_is_refused_or_read_right(
    corpus_of: Callable[..., Callable[[], str]], cache: Path, tmp_path: Path
) -> None:
    packed = zipped(("brown/ca01", GOOD * 3), ("brown/ca02", GOOD))
    first, second = GOOD.rstrip() + b"\n\n", (GOOD * 3).rstrip() + b"\n\n"
    refused = 0
    for place in range(len(packed)):
        for damaged in (
            packed[:place],
            packed[:place] + bytes([packed[place] ^ 0xFF]) + packed[place + 1 :],
            packed[:place] + bytes([packed[place] ^ 1]) + packed[place + 1 :],
        ):
            path = _file(tmp_path, damaged)
            try:
                text = b"".join(archive.texts_in(path, archive.re.compile(".*"), name="x"))
            except DataError:
                refused += 1
            else:
                # Names have no checksum in the archive: a member may change its place, or go.
                assert text in (first, second, first + second, second + first)
    assert refused > len(packed)


def _file(folder: Path, content: bytes) -> Path:
    path = folder / "archive.zip"
    path.write_bytes(content)
    return path


def test_a_server_that_sends_without_end_is_left(
    server: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    PAGES["/endless"] = b"a" * 65536
    with pytest.raises(DataError, match="more than 1000000 bytes; refused, nothing was kept"):
        download.download(f"{server}/endless", cache / "x.txt", sha256=None, limit=1_000_000)
    assert names_below(cache) == set()


def test_an_odd_length_is_no_length(server: str, cache: Path) -> None:
    PAGES["/odd"] = GOOD
    right = hashlib.sha256(GOOD).hexdigest()
    assert download.download(f"{server}/odd", cache / "x.txt", sha256=right) == right


@pytest.mark.parametrize(
    "place",
    [
        "http://corpora.invalid/x",
        "//corpora.invalid/x",
        "ftp://127.0.0.1/x",
        "file:///etc/passwd",
        "https://[/x",
        "http://localhost@corpora.invalid/x",
        "http://127.0.0.1.corpora.invalid/x",
    ],
)
def test_a_redirection_away_from_https_is_not_followed(
    server: str, cache: Path, place: str
) -> None:
    PAGES["/away"] = (302, place)
    with pytest.raises(DataError, match=r"https only|no (usable )?address|is not allowed"):
        download.download(f"{server}/away", cache / "x.txt", sha256=None)
    assert names_below(cache) == set()


def test_https_never_leads_to_http_even_of_this_machine() -> None:
    follow = download._HttpsRedirects().redirect_request
    request = download.urllib.request.Request("https://corpora.invalid/x")
    with pytest.raises(DataError, match="https only"):
        follow(request, io.BytesIO(), 302, "", {}, "http://127.0.0.1/x")  # type: ignore[arg-type]
    led = follow(request, io.BytesIO(), 302, "", {}, "https://b.invalid/")  # type: ignore[arg-type]
    assert led is not None
    assert led.full_url == "https://b.invalid/"


@pytest.mark.parametrize("url", ["https://[", "https://a b/", "https://\x00/", "https://x:port/"])
def test_an_address_that_is_none_is_an_error_of_one_line(cache: Path, url: str) -> None:
    with pytest.raises(DataError):
        download.download(url, cache / "x.txt", sha256=None)


def test_what_has_the_wrong_checksum_never_takes_its_place(server: str, cache: Path) -> None:
    PAGES["/good.txt"] = GOOD
    places: list[str] = []
    with pytest.raises(DataError, match="nothing was kept"):
        download.download(
            f"{server}/good.txt", cache / "x.txt", sha256="0" * 64, announce=places.append
        )
    assert (names_below(cache), places) == (set(), [])


@pytest.mark.parametrize("moment", ["before the text", "after the text"])
def test_a_fetch_killed_between_its_two_files_leaves_the_old_text_or_the_new(
    server: str, cache: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    entry = Entry("works", "", url=f"{server}/works.txt")
    PAGES["/works.txt"] = b"old\n"
    assert entry.read() == "old\n"
    PAGES["/works.txt"] = b"new\n"
    replace = Path.replace

    def killed(self: Path, target: Path) -> Path:
        if target.suffix == ".txt":
            if moment == "after the text":
                replace(self, target)
            raise KeyboardInterrupt
        return replace(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            entry.fetch(force=True)
    assert entry.read() == ("new\n" if moment == "after the text" else "old\n")
    entry.fetch(force=True)
    assert entry.read() == "new\n"
    assert len((cache / "works.sha256").read_text().splitlines()) == 1


def test_a_damaged_record_of_checksums_means_fetching_again(server: str, cache: Path) -> None:
    entry = Entry("works", "", url=f"{server}/works.txt")
    PAGES["/works.txt"] = GOOD
    entry.fetch()
    (cache / "works.sha256").write_bytes(b"")
    assert not entry.available
    assert entry.read() == GOOD.decode()
    (cache / "works.sha256").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="--force"):
        entry.read()


def test_every_fetched_corpus_but_a_revised_one_is_pinned_by_checksum() -> None:
    unpinned = [entry.name for entry in catalogue().values() if entry.pin == "unpinned"]
    assert unpinned == ["shakespeare"]  # its publisher revises it; the first copy is the pin


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('url = "https://a"\nsha256 = "12"', "64 digits"),
        ('nltk = "a"\narchive = "crc32:12"', "archive is sha256: or md5:"),
        ('nltk = "a"\nsha256 = "' + "0" * 64 + '"', "sha256 is for a url"),
        ('url = "https://a"\narchive = "md5:' + "0" * 32 + '"', "archive for nltk"),
        ('nltk = "a"\nmembers = "("', "no regular expression"),
        ("files = [3]", "a list of names"),
    ],
)
def test_a_catalogue_entry_that_could_not_be_kept_to_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, message: str
) -> None:
    own = tmp_path / "own.toml"
    own.write_text(f'[x]\ntitle = "t"\n{line}\n')
    monkeypatch.setenv("LM_CATALOGUE", str(own))
    with pytest.raises(DataError, match=message):
        catalogue()


def test_a_gzip_file_that_unpacks_to_too_much_is_refused(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.gz"
    bomb.write_bytes(gzip.compress(b"a" * (100 << 20), 9))
    assert bomb.stat().st_size < 200_000
    with pytest.raises(DataError, match="unpacks to more than 100 times its size"):
        read_corpus([str(bomb)])


def test_a_gzip_text_of_repetitions_is_read(tmp_path: Path) -> None:
    text = b"again and again\n" * 60_000
    packed = gzip.compress(text)
    assert len(text) > compression.RATIO * len(packed)
    (tmp_path / "again.gz").write_bytes(packed + gzip.compress(b"and more\n"))
    assert read_corpus([str(tmp_path / "again.gz")]).text == text.decode() + "and more\n"
