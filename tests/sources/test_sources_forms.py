"""A text in every form that it comes in: the same text; or one line that says what is wrong."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import tarfile
import threading
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmsuite.errors import DataError, TextWarning, UsageError
from lmsuite.files.plain import DOCUMENT_END as END
from lmsuite.sources.corpus import joined, read_corpus
from lmsuite.sources.finding import ENDINGS, PACKED
from lmsuite.sources.formats import Piece, records_of
from lmsuite.sources.settings import ReadingSettings

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
fsspec = pytest.importorskip("fsspec")
zstandard = pytest.importorskip("zstandard")

RECORDS = ["to be or not to be", "", 'that is "the" question, é', "a\ttab?\nand a line"]
TEXT = "".join(f"{record}\n" for record in RECORDS)
NO_TABS = [record.replace("\t", " ").replace("\n", " ") for record in RECORDS]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LM_CACHE", str(tmp_path / "cache"))


def as_csv(records: Sequence[str], field: str = "text") -> bytes:
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerows([["id", field], *([number, each] for number, each in enumerate(records))])
    return stream.getvalue().encode()


def as_tsv(records: Sequence[str]) -> bytes:
    return "".join(f"{each}\n" for each in ["text\tid", *(f"{r}\t1" for r in records)]).encode()


def as_jsonl(records: Sequence[Any], field: str = "text") -> bytes:
    return "".join(f"{json.dumps({field: each, 'id': 1})}\n" for each in records).encode()


def as_parquet(records: Sequence[Any], field: str = "text") -> bytes:
    stream = io.BytesIO()
    parquet.write_table(pyarrow.table({"id": range(len(records)), field: records}), stream)
    return stream.getvalue()


FORMATS: dict[str, Callable[[Sequence[str]], bytes]] = {
    ".csv": as_csv,
    ".jsonl": as_jsonl,
    ".ndjson": as_jsonl,
    ".json": as_jsonl,
    ".parquet": as_parquet,
}
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.compress,
}


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("packing", ["", *PACKERS])
def test_the_same_text_whatever_its_form(ending: str, packing: str) -> None:
    data = FORMATS[ending](RECORDS)
    name = f"a{ending}{packing}"
    Path(name).write_bytes(PACKERS[packing](data) if packing else data)
    assert read_corpus(name).text == TEXT
    assert read_corpus(name, documents=True).text == END.join([*RECORDS, ""])


def test_tables_of_tabs_have_no_quotes() -> None:
    Path("a.tsv").write_bytes(as_tsv(NO_TABS))
    assert read_corpus("a.tsv").text == "".join(f"{each}\n" for each in NO_TABS)


def test_what_is_piped_in_has_the_format_that_is_said() -> None:
    stdin = io.BytesIO(gzip.compress(as_jsonl(RECORDS)))
    assert read_corpus("-", stdin=stdin, format="jsonl").text == TEXT
    assert not stdin.closed
    assert read_corpus("-", stdin=io.BytesIO(as_parquet(RECORDS)), format="parquet").text == TEXT


def make_folder(write: Callable[[str, bytes], Any]) -> None:
    """Four files of one record each; some of other endings, and hidden ones."""
    first, second, third, fourth = RECORDS
    write("b.txt", first.encode())
    write("b/c", gzip.compress(f"{second}\n".encode()))
    write("c.CSV.bz2", bz2.compress(as_csv([third])))
    write("d.jsonl", as_jsonl([fourth]))
    write("empty.txt", b"")
    for other in ("a.png", "b/a.json", "b/e.tar.gz"):
        write(other, b"nothing to read\n")
    for hidden in (".a.txt", ".hidden/a.txt", "b/.a.txt"):
        write(hidden, b"hidden\n")


def write_below(folder: Path) -> Callable[[str, bytes], None]:
    def write(name: str, data: bytes) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    return write


@pytest.mark.parametrize("source", ["d", "d/", "d/**", "{url}", "{url}/**"])
def test_a_folder_or_pattern_is_its_texts_in_the_order_of_their_paths(
    source: str, tmp_path: Path
) -> None:
    make_folder(write_below(tmp_path / "d"))
    source = source.format(url=f"file://{tmp_path}/d")
    with pytest.warns(TextWarning, match=r"passed over 3 files of other endings \(\.[jpt]"):
        corpus = read_corpus(source)
    assert corpus.text == TEXT
    names = [name.rpartition("/d/")[2].removeprefix("d/") for name in corpus.origin.files]
    assert names == ["b.txt", "b/c", "c.CSV.bz2", "d.jsonl", "empty.txt"]
    assert corpus.name == source


def test_files_in_memory_are_read_as_those_on_the_disk() -> None:
    memory = fsspec.filesystem("memory")
    make_folder(lambda name, data: memory.pipe(f"/forms/{name}", data))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TextWarning)
            for source in ("memory://forms", "memory://forms/**"):
                assert read_corpus(source).text == TEXT
        assert read_corpus("memory://forms/b.txt").text == RECORDS[0]
        assert read_corpus("memory://forms/*.jsonl").text == RECORDS[3] + "\n"
        with pytest.raises(DataError, match=r"^memory://forms/x: no such file$"):
            read_corpus("memory://forms/x")
        with pytest.raises(DataError, match=r"^memory://forms/\*\.md: nothing to read there"):
            read_corpus("memory://forms/*.md")
    finally:
        memory.rm("/forms", recursive=True)


def test_a_hidden_folder_that_is_named_is_read(tmp_path: Path) -> None:
    write = write_below(tmp_path / ".hidden")
    write("a.txt", b"a\n")
    write(".b.txt", b"b\n")
    for source in (".hidden", ".hidden/*", f"file://{tmp_path}/.hidden"):
        assert read_corpus(source).text == "a\n"


def test_other_endings_are_read_if_it_is_said_what_they_are() -> None:
    Path("a.log").write_text("one")
    Path("b.log").write_text("two\n")
    with pytest.raises(DataError, match=r"nothing to read but 2 files of other endings \(\.log\)"):
        read_corpus("*.log")
    assert read_corpus("*.log", format="text").text == "one\ntwo\n"
    assert read_corpus("a.log").text == "one"  # a file that is named is always read
    Path(".hidden").write_text("hidden")
    assert read_corpus(".hidden").text == "hidden"


def test_every_ending_is_read_in_a_folder_packed_or_not(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    files = [f"f{ending}{packing}" for ending in ENDINGS for packing in ("", *PACKED)]
    for name in files:
        (folder / name).write_bytes(b"")
    with pytest.raises(DataError, match="is empty"):
        read_corpus("d", format="text")
    (folder / "z.txt").write_text("z\n")
    assert read_corpus("d", format="text").text == "z\n"
    assert [Path(name).name for name in read_corpus("d", format="text").origin.files] == sorted(
        [*files, "z.txt"]
    )


def test_the_checksums_are_those_of_the_files() -> None:
    import hashlib

    for name, data in (("a.csv", as_csv(RECORDS)), ("b.parquet", as_parquet(RECORDS))):
        Path(name).write_bytes(data)
        packed = gzip.compress(data)
        Path(f"{name}.gz").write_bytes(packed)
        corpus = read_corpus([name, f"{name}.gz"])
        assert corpus.origin.files == {
            name: hashlib.sha256(data).hexdigest(),
            f"{name}.gz": hashlib.sha256(packed).hexdigest(),
        }


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.jsonl", b'{"text": "a"}\n{"text": ', r"^a\.jsonl, line 2: no JSON"),
        ("a.jsonl", b'{"text": "a"}\n\n[1]\n', r"^a\.jsonl, line 3: a list, where an object"),
        ("a.jsonl", b'{"text": "a"}\n{"body": "b", "n": 1}\n', "line 2: no field text; .*body, n;"),
        ("a.jsonl", b'{"text": 3}', "line 1: field text is a number, not text"),
        ("a.jsonl", b'{"text": "\\ud800"}', "line 1: half a character"),
        ("a.jsonl", b'{"text": "a"}\n{"text": "\xff"}\n', "line 2: not utf-8 at byte 10"),
        ("a.jsonl", b"[" * 100_000, "line 1: no JSON that can be read"),
        ("a.jsonl", b'{"text": ' + b"9" * 5000 + b"}", "line 1: no JSON that can be read"),
        ("a.csv", b"id,body\n1,a\n", "line 1: no field text; there are: id, body;"),
        ("a.csv", b'id,text\n1,"a\nb"\n2,a,b\n', "line 4: 3 fields, where the first row has 2"),
        ("a.csv", b'text\n"a\n', r"^a\.csv, line 2: no row of a table"),
        ("a.tsv", b"text\tid\na\n", "line 2: 1 field, where the first row has 2"),
        ("a.parquet", b"PAR1 and no more", r"^a\.parquet: damaged Parquet"),
        ("a.parquet", as_parquet(["a"], "body"), "no field text; there are: id, body;"),
        ("a.parquet", as_parquet([1, 2]), "column text is int64, not text"),
        ("a.txt", as_parquet(["a"]), r"^a\.txt: a table of Apache Parquet, no text"),
        ("a.txt", b"%PDF-1.7\n%", r"^a\.txt: a PDF document, no text; save"),
        ("a.csv", b"\x89PNG\r\n\x1a\n" + bytes(99), r"^a\.csv: a picture, no text"),
        ("a", b"\x7fELF" + bytes(99), "a: a program, no text"),
    ],
)
def test_what_cannot_be_read_is_named(name: str, data: bytes, message: str) -> None:
    Path(name).write_bytes(data)
    with pytest.raises(DataError, match=message) as caught:
        read_corpus(name)
    assert "\n" not in str(caught.value)


def test_archives_are_refused_by_what_they_are() -> None:
    Path("a.txt").write_text("text\n")
    with zipfile.ZipFile("a.zip", "w") as archive:
        archive.write("a.txt")
    with tarfile.open("a.tar.gz", "w:gz") as tar:
        tar.add("a.txt")
    with pytest.raises(DataError, match="a zip archive"):
        read_corpus("a.zip")
    with pytest.raises(DataError, match="a tar archive"):
        read_corpus("a.tar.gz")


def test_records_that_are_null_are_passed_over_and_counted() -> None:
    Path("a.jsonl").write_bytes(as_jsonl(["a", None, "b"]))
    Path("a.parquet").write_bytes(as_parquet([None, "a", None, "b"]))
    for name, count in (("a.jsonl", "1 record"), ("a.parquet", "2 records")):
        with pytest.warns(TextWarning, match=f"{name}: passed over {count} whose text is null"):
            assert read_corpus(name).text == "a\nb\n"


def test_the_field_is_the_one_that_is_named() -> None:
    Path("a.csv").write_bytes(as_csv(RECORDS, "review"))
    assert read_corpus("a.csv", field="review").text == TEXT
    Path("a.parquet").write_bytes(as_parquet(RECORDS, "review"))
    assert read_corpus("a.parquet", field="review").text == TEXT


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-8-sig", "utf-16-le"])
@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".txt"])
def test_records_of_any_encoding(encoding: str, ending: str) -> None:
    data = TEXT.encode() if ending == ".txt" else FORMATS[ending](RECORDS)
    Path(f"a{ending}").write_bytes(data.decode().encode(encoding))
    assert read_corpus(f"a{ending}", encoding=encoding).text == TEXT


def test_bytes_that_are_no_text_can_be_replaced() -> None:
    Path("a.txt").write_bytes(b"a\xffb\n")
    Path("a.jsonl").write_bytes(b'{"text": "a\xffb"}\n{"text": "\\ud800c"}\n')
    assert read_corpus("a.txt", errors="replace").text == "a\ufffdb\n"
    assert read_corpus("a.jsonl", errors="replace").text == "a\ufffdb\n\ufffdc\n"
    with pytest.raises(DataError, match="not utf-8 at byte 1"):
        read_corpus("a.txt")


def test_symbols_are_white_space_if_that_is_asked_for() -> None:
    Path("a.txt").write_text("<s> a <unk>\tb <s>c </s>\n</s>\n<s>")
    assert read_corpus("a.txt", skip_symbols=True).text == "  a  \tb <s>c  \n \n "


def test_a_setting_that_there_is_not_is_named() -> None:
    with pytest.raises(UsageError, match=r"read by format, field, .* not by colour"):
        read_corpus("play", colour="red")
    with pytest.raises(UsageError, match="format must be one of text, jsonl"):
        read_corpus("play", format="xml")


@pytest.mark.parametrize(
    ("text", "delimiter", "pieces"),
    [
        ("", None, []),
        ("a\nb\n", None, [("a\nb", True)]),
        ("a\nb", None, [("a\nb", False)]),
        ("\n", None, [("", True)]),
        ("a\n---\nb\n---\n", "---", [("a", True), ("b", True)]),
        ("---\na\n\n---\n---\nb", "---", [("a\n", True), ("b", False)]),
        ("a --- b\n----\n", "---", [("a --- b\n----", True)]),
        ("a\nb\n\n\nc\n", "", [("a\nb", True), ("c", True)]),
        ("", "---", []),
    ],
)
def test_a_plain_text_is_cut_at_its_delimiter(
    text: str, delimiter: str | None, pieces: list[tuple[str, bool]]
) -> None:
    for size in (1, 2, 100):
        found = list(records_of(cut(text, size), delimiter))
        assert records(found) == pieces


def cut(text: str, size: int) -> list[str]:
    """The text in parts of this size."""
    return [text[begin : begin + size] for begin in range(0, len(text), size)]


def records(pieces: Iterable[Piece]) -> list[tuple[str, bool]]:
    """Each record in one piece."""
    whole: list[tuple[str, bool]] = []
    is_open = False
    for text, ends in pieces:
        before = whole.pop()[0] if is_open else ""
        whole.append((before + text, ends))
        is_open = not ends
    return whole


@given(st.text("ab\n", max_size=30), st.integers(1, 5))
def test_a_plain_text_keeps_every_character(text: str, size: int) -> None:
    assert "".join(joined([records_of(cut(text, size), None)], ReadingSettings())) == text


FILES = st.lists(
    st.lists(st.text("ab \n\x1e", max_size=5), max_size=3).flatmap(
        lambda texts: st.tuples(st.just(texts), st.booleans())
    ),
    max_size=4,
)


@given(FILES, st.integers(1, 3))
def test_documents_and_lines_differ_in_the_ends_of_records_alone(
    files: list[tuple[list[str], bool]], size: int
) -> None:
    """Whatever the pieces: each record is cut into some of this size."""

    def pieces(record: str, ends: bool) -> Iterator[Piece]:
        for begin in range(0, len(record), size):
            yield Piece(record[begin : begin + size], False)
        yield Piece("", ends)

    def given_files() -> list[list[Piece]]:
        return [
            [
                piece
                for number, text in enumerate(texts, start=1)
                for piece in pieces(text, number < len(texts) or ended)
            ]
            for texts, ended in files
        ]

    settings = ReadingSettings()
    stream = "".join(joined(given_files(), settings))
    documents = "".join(joined(given_files(), settings, documents=True))
    records = [text for texts, _ in files for text in texts]
    lines = "\n".join(records)
    last_ended = [ended for texts, ended in files if texts][-1:] == [True]
    assert stream == (lines + "\n" * last_ended if records else "")
    clean = [record.replace(END, " ") for record in records]
    assert documents == (END.join(clean) + END * last_ended if records else "")


def test_a_shard_that_vanishes_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from lmsuite.sources import finding

    Path("a.txt").write_text("a\n")
    Path("b.txt").write_text("b\n")
    find = finding._chosen

    def found(*given: Any) -> list[finding.File]:
        files = find(*given)
        Path("b.txt").unlink()
        return files

    monkeypatch.setattr(finding, "_chosen", found)
    with pytest.raises(DataError, match=r"^b\.txt: no such file$"):
        read_corpus("*.txt")


def test_links_that_make_a_circle_are_not_followed(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    (folder / "a.txt").write_text("a\n")
    (folder / "again").symlink_to(folder)
    assert read_corpus("d").text == "a\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("served")
    (folder / "a.jsonl.gz").write_bytes(gzip.compress(as_jsonl(RECORDS)))

    class Quiet(SimpleHTTPRequestHandler):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given, directory=str(folder))

        def log_message(self, format: str, *args: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()


def test_a_file_at_an_address_is_fetched_and_read(server: str) -> None:
    corpus = read_corpus(f"{server}/a.jsonl.gz?download=true", quiet=True)
    assert corpus.text == TEXT
    assert not Path("cache").exists()
    with pytest.raises(DataError, match="the server answered 404"):
        read_corpus(f"{server}/b.txt", quiet=True)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://example.org/a.txt", "over https only"),
        ("http://127.0.0.1:1/a.txt", "cannot be reached"),
        ("nothing://a", r"^nothing://a: cannot be reached \(Protocol not known"),
        ("file:///nowhere/a.txt", r"^file:///nowhere/a\.txt: no such file$"),
    ],
)
def test_what_cannot_be_reached_is_named(url: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_corpus(url, quiet=True)


def test_packages_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    Path("a.parquet").write_bytes(as_parquet(RECORDS))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(DataError, match=r"pip install 'lmsuite\[parquet\]'"):
        read_corpus("a.parquet")
    with pytest.raises(DataError, match=r"pip install 'lmsuite\[urls\]'"):
        read_corpus("memory://a.txt")
