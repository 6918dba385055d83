"""The commands that take a text take it in every form; and texts of documents, from end to end."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hardening.command import Run
from lmsuite.files.plain import DOCUMENT_END as END
from lmsuite.models.interface import LanguageModel
from lmsuite.store.artefact import load_model, read_manifest

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
zstandard = pytest.importorskip("zstandard")
pytest.importorskip("fsspec")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LM_MODELS", raising=False)


@pytest.fixture
def lines(play: str) -> list[str]:
    """Two hundred lines of the play, empty ones too."""
    return play.split("\n")[:200]


def jsonl(records: list[str]) -> bytes:
    return "".join(json.dumps({"text": each}) + "\n" for each in records).encode()


def table(records: list[str]) -> bytes:
    stream = io.StringIO()
    csv.writer(stream).writerows([("text", "n"), *((each, 1) for each in records)])
    return stream.getvalue().encode()


def columns(records: list[str]) -> bytes:
    stream = io.BytesIO()
    parquet.write_table(pyarrow.table({"text": records}), stream)
    return stream.getvalue()


def plain(records: list[str]) -> bytes:
    return "".join(f"{each}\n" for each in records).encode()


FORMS: dict[str, Callable[[list[str]], bytes]] = {
    "a.txt": plain,
    "a.txt.gz": lambda records: gzip.compress(plain(records)),
    "a.bz2": lambda records: bz2.compress(plain(records[:9])) + bz2.compress(plain(records[9:])),
    "a.xz": lambda records: lzma.compress(plain(records)),
    "a.zst": lambda records: zstandard.compress(plain(records)),
    "a.jsonl.zst": lambda records: zstandard.compress(jsonl(records)),
    "a.csv": table,
    "a.parquet": columns,
}


def assert_equal(model: LanguageModel, other: LanguageModel, what: str) -> None:
    assert model.encoder.fingerprint() == other.encoder.fingerprint(), what
    for key, array in other.arrays().items():
        np.testing.assert_array_equal(model.arrays()[key], array, err_msg=f"{what} {key}")


@pytest.mark.parametrize("boundaries", ["--stream", "--lines"])
def test_an_equal_text_gives_an_equal_model(lm: Run, lines: list[str], boundaries: str) -> None:
    sources = []
    for name, form in FORMS.items():
        Path(name).write_bytes(form(lines))
        sources.append(name)
    folder = Path("folder/below")
    folder.mkdir(parents=True)
    (folder / "1.txt").write_bytes(plain(lines[:50])[:-1])
    (folder / "2.jsonl").write_bytes(jsonl(lines[50:60]))
    (folder.parent / "c.csv.gz").write_bytes(gzip.compress(table(lines[60:])))
    sources += ["folder", "folder/**/*", f"file://{Path.cwd()}/a.csv"]
    models = []
    for number, source in enumerate(sources):
        name = f"m{number}"
        options = ("--n", "3", boundaries, "--valid", "0.2", "--name", name, "-q")
        assert lm("train", "ngram", source, *options).done
        models.append(Path(f"models/{name}.safetensors"))
    first = load_model(models[0])
    for path, source in zip(models, sources, strict=True):
        assert_equal(load_model(path), first, source)
        ours, theirs = (read_manifest(each).provenance for each in (models[0], path))
        assert theirs.corpus_sha256 == ours.corpus_sha256
        assert theirs.validation.sha256 == ours.validation.sha256
    assert list(read_manifest(models[-3]).provenance.corpus_files) == [
        "folder/below/1.txt",
        "folder/below/2.jsonl",
        "folder/c.csv.gz",
    ]
    assert "folder/c.csv.gz" in lm("info", f"m{len(models) - 3}").done.out


def test_every_command_takes_a_text_in_every_form(lm: Run, lines: list[str]) -> None:
    Path("train.parquet").write_bytes(columns(lines))
    Path("held.jsonl.gz").write_bytes(gzip.compress(jsonl(lines[:40])))
    Path("held.txt").write_bytes(plain(lines[:40]))
    train = ("train", "ngram", "train.parquet", "-q", "--smoothing", "witten-bell")
    assert lm(*train, "--name", "a", "--valid", "held.jsonl.gz").done
    assert lm(*train, "--name", "b", "--n", "2", "--like", "a").done
    for command in (
        ("eval", "a", "b", "--json", "--text"),
        ("compare", "a", "b", "--text"),
        ("score", "a"),
        ("tokenize",),
        ("tokenize", "--like", "a", "--ids"),
        ("mix", "a", "b", "--weights", "1,1", "--text"),
        ("sample", "a", "--seed", "1", "--max-tokens", "9", "--novelty"),
        ("corpus", "show"),
    ):
        packed, plainly = (lm(*command, name).done for name in ("held.jsonl.gz", "held.txt"))
        assert without_speed(packed.out) == without_speed(plainly.out), command
        assert packed.out
    assert lm("prune", "a", "--counts", "0,1", "--train", "train.parquet", "--name", "c").done
    piped = lm("score", "a", "--format", "jsonl", stdin=jsonl(lines[:40])).done.out
    assert piped == lm("score", "a", "held.txt").done.out


def without_speed(out: str) -> str:
    """What a command says, but for how long it took."""
    if not out.startswith("[{"):
        return out
    rows = json.loads(out)
    return json.dumps([{k: v for k, v in row.items() if "second" not in k} for row in rows])


def test_what_lm_takes_a_text_to_be(lm: Run) -> None:
    Path("r.csv").write_bytes(b'id,review\n1,"good, and\r\nlong"\n2,<s> bad\n')
    shown = ("corpus", "show", "r.csv", "--field", "review")
    assert lm(*shown).done.out == "good, and\nlong\n<s> bad\n"
    assert lm(*shown, "--skip-symbols").done.out == "good, and\nlong\n  bad\n"
    records = lm(*shown, "--json").done.out.splitlines()
    assert [json.loads(each)["text"] for each in records] == ["good, and\nlong", "<s> bad"]
    assert "no field text; there are: id, review; choose one with --field" in (
        lm("corpus", "show", "r.csv").error
    )
    assert "name" in lm("corpus", "show", "play").done.out


def test_symbols_are_refused_or_white_space(lm: Run) -> None:
    Path("a.txt").write_text("the <s> cat </s> sat\n" * 20)
    Path("b.txt").write_text("the cat sat\n" * 20)
    train = ("train", "ngram", "--tokenizer", "whitespace", "--lines", "--n", "2", "-q")
    train = (*train, "--smoothing", "witten-bell")
    assert "a.txt, line 1: the token <s> is reserved" in lm(*train, "a.txt").error
    assert lm(*train, "a.txt", "--skip-symbols", "--name", "a").done
    assert lm(*train, "b.txt", "--name", "b").done
    a, b = (load_model(Path(f"models/{name}.safetensors")) for name in "ab")
    assert_equal(a, b, "")


def test_what_was_passed_over_is_a_note_and_what_is_wrong_a_line(lm: Run) -> None:
    folder = Path("folder")
    folder.mkdir()
    (folder / "a.txt").write_text("the cat sat on the mat\n" * 20)
    (folder / "a.png").write_bytes(b"\x89PNG")
    shown = lm("corpus", "show", "folder").done
    assert shown.err == "note: folder: passed over 1 file of other endings (.png)\n"
    (folder / "b.jsonl").write_text('{"text": "a"}\n{"text"\n')
    refused = lm("train", "ngram", "folder", "-q")
    assert "error: folder/b.jsonl, line 2: no JSON" in refused.err
    assert refused.code == 1
    assert not Path("models/ngram.safetensors").exists()


@pytest.fixture
def documents(play: str) -> list[str]:
    """Speeches of the play."""
    return [speech for speech in play.split("\n\n")[:120] if "\n" in speech]


TINY = ("--embed", "8", "--epochs", "1", "--threads", "1", "-q", "--documents")
KINDS = {
    "ngram": ("--n", "3", "-q", "--documents"),
    "ffnn": ("--hidden", "8", *TINY),
    "rnn": ("--hidden", "8", *TINY),
}


@pytest.mark.parametrize("kind", KINDS)
def test_documents_from_end_to_end(lm: Run, documents: list[str], kind: str) -> None:
    Path("d.jsonl").write_bytes(jsonl(documents))
    folder = Path("d")
    folder.mkdir()
    for number, text in enumerate(documents):
        (folder / f"{number:03}.txt").write_text(f"{text}\n")
    Path("cut.txt").write_text("\n%%\n".join(documents) + "\n")
    for name, source in (("m", ["d.jsonl"]), ("f", ["d"]), ("c", ["cut.txt", "--delimiter", "%%"])):
        assert lm("train", kind, *source, *KINDS[kind], "--name", name).done
    model, same, cut = (load_model(Path(f"models/{name}.safetensors")) for name in "mfc")
    assert_equal(same, model, "a folder")
    assert_equal(cut, model, "a file of several")

    assert "Bootstrap over" in lm("compare", "m", "f").done.out
    held = json.loads(lm("eval", "m", "--text", "d.jsonl", "--json").done.out)
    predicted = sum(len(model.encoder.tokens(text)) for text in documents)
    assert held[0]["tokens"] == predicted
    assert held[0]["chars"] == sum(len(text) + 1 for text in documents)

    scored = lm("score", "m", "d.jsonl").done.out.splitlines()
    assert len(scored) == len(documents)
    assert scored[0].split("\t")[3] == documents[0].replace("\n", "\\n")
    each = [float(line.split("\t")[0]) for line in scored]
    assert each == pytest.approx([model.logprob(text) for text in documents], abs=1e-3)

    drawn = json.loads(lm("sample", "m", "--seed", "1", "--json", "--max-tokens", "4000").done.out)
    assert END not in drawn["text"]
    assert 2 not in drawn["ids"][:-1]
    shown = lm("tokenize", "--like", "m", "d.jsonl").done.out.splitlines()
    assert len(shown) == len(documents)


def test_the_validation_text_is_whole_documents(lm: Run, documents: list[str]) -> None:
    Path("d.jsonl").write_bytes(jsonl(documents))
    for name, how in (("end", ()), ("random", ("--valid-by", "random"))):
        assert lm("train", "ngram", "d.jsonl", "--documents", "-q", "--name", name, *how).done
        kept = gzip.decompress(Path(f"models/{name}.valid.txt.gz").read_bytes()).decode()
        assert kept.endswith(END)
        held_out = kept.removesuffix(END).split(END)
        assert set(held_out) <= set(documents)
        assert abs(len(kept) - sum(map(len, documents)) / 10) < max(map(len, documents))
        if name == "end":
            assert held_out == documents[-len(held_out) :]


def test_models_of_documents_and_of_a_stream_meet_at_lines(lm: Run, documents: list[str]) -> None:
    Path("d.jsonl").write_bytes(jsonl(documents))
    for name, how in (("docs", "--documents"), ("stream", "--stream")):
        train = ("train", "ngram", "d.jsonl", how, "-q", "--name", name, "--tokenizer", "char")
        assert lm(*train).done
    alone = lm("eval", "stream", "--json", "--text", "d.jsonl").done.out
    both = json.loads(lm("eval", "docs", "stream", "--json", "--text", "d.jsonl").done.out)
    assert without_speed(json.dumps([both[1]])) == without_speed(alone)
    assert both[0]["chars"] == both[1]["chars"]
    compared = json.loads(lm("compare", "docs", "stream", "--text", "d.jsonl", "--json").done.out)
    assert compared["unit"] == "documents"
    assert compared["units"] == len(documents)
    assert compared["figures"][1]["bits_per_char"] == pytest.approx(both[1]["bits_per_char"])
    places = [place["line"] for place in compared["places"]]
    assert max(places) <= sum(text.count("\n") + 1 for text in documents)


def test_two_boundaries_exclude_each_other_unless_one_is_from_a_file(lm: Run) -> None:
    Path("a.txt").write_text("the cat sat on the mat\n" * 20)
    train = ("train", "ngram", "a.txt", "-q", "--smoothing", "witten-bell")
    refused = lm(*train, "--lines", "--documents")
    assert (refused.code, refused.only_line) == (2, "--lines and --documents exclude each other")
    for given, typed, boundaries in (
        ("documents = true", (), "documents"),
        ("documents = true", ("--lines",), "lines"),
        ("lines = true", ("--documents",), "documents"),
        ("stream = true", ("--documents",), "documents"),
        ("documents = false", (), "stream"),
    ):
        Path("c.toml").write_text(given)
        assert lm(*train, "--config", "c.toml", *typed).done
        encoder = load_model(Path("models/ngram.safetensors")).encoder
        assert encoder.boundaries == boundaries
