"""Model files: what is written is read, and nothing else is."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bigram_model import BigramModel, encoder, random_model
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from lmsuite.errors import ModelFileError
from lmsuite.files.header import read_header
from lmsuite.files.tensors import mapped, write
from lmsuite.models import registry
from lmsuite.store.artefact import (
    FORMAT_VERSION,
    load_model,
    open_model_file,
    read_manifest,
    save_model,
    verify,
)
from lmsuite.store.records import Provenance, TrainingRecord, ValidationRecord

MADE = Provenance(
    command="lm train bigram 'a b.txt'",
    version="0.1.0",
    corpus="a b.txt",
    corpus_sha256="0" * 64,
    created="2026-01-01T00:00:00+00:00",
    validation=ValidationRecord("0.1", perplexity=12.5),
    training=TrainingRecord(steps=3),
)


@pytest.fixture(autouse=True)
def _bigrams_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.MODELS, "bigram", "bigram_model:BigramModel")


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "models" / "m.safetensors"
    save_model(path, random_model(encoder("abc é\n", "char")), MADE)
    return path


def rewrite(path: Path, change: Callable[[dict[str, Any], dict[str, Any]], None]) -> None:
    """Change the manifest and the arrays of a model file, which stays a sound safetensors file."""
    with safe_open(path, "np") as file:
        manifest = json.loads(file.metadata()["lmsuite"])
    arrays = load_file(path)
    change(manifest, arrays)
    save_file(arrays, path, metadata={"lmsuite": json.dumps(manifest)})


def test_a_model_comes_back_as_it_was(saved: Path) -> None:
    loaded, manifest = open_model_file(saved)
    assert isinstance(loaded, BigramModel)
    original = random_model(encoder("abc é\n", "char"))
    np.testing.assert_array_equal(loaded.table, original.table)
    assert loaded.encoder.fingerprint() == original.encoder.fingerprint()
    assert manifest.provenance == MADE
    assert manifest == read_manifest(saved)
    assert manifest.kind == "bigram"
    assert manifest.settings == {"note": ""}


def test_saving_twice_gives_the_same_bytes(saved: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.safetensors"
    save_model(again, load_model(saved), MADE)
    assert again.read_bytes() == saved.read_bytes()


def test_arrays_that_do_not_lie_in_c_order_are_kept(tmp_path: Path) -> None:
    text = encoder("abc", "char")
    table = np.arange(36.0).reshape(6, 6)
    path = tmp_path / "m.safetensors"
    for stored in (np.asfortranarray(table), table.T.copy().T, np.repeat(table, 2, 1)[:, ::2]):
        save_model(path, BigramModel(text, stored), MADE)
        loaded = load_model(path)
        np.testing.assert_array_equal(loaded.arrays()["table"], table)


def test_the_manifest_is_plain_json_in_a_sound_safetensors_file(saved: Path) -> None:
    with safe_open(saved, "np") as file:
        assert set(file.keys()) == {"text.vocabulary", "model.table"}
        document = json.loads(file.metadata()["lmsuite"])
    assert document["format"] == FORMAT_VERSION
    assert document["provenance"]["command"] == MADE.command


def test_what_is_no_text_in_a_files_name_is_kept(tmp_path: Path) -> None:
    """Whatever reader opens the file: safetensors refuses half a surrogate pair."""
    path, named = tmp_path / "m.safetensors", replace(MADE, corpus="te\udcffxt \ud83d.txt")
    save_model(path, random_model(encoder("abc", "char")), named)
    assert read_manifest(path).provenance == named
    with safe_open(path, "np") as file:
        assert json.loads(file.metadata()["lmsuite"])["provenance"]["corpus"] == named.corpus


def test_every_cut_is_refused(saved: Path) -> None:
    content = saved.read_bytes()
    for length in [*range(0, 200), *range(200, len(content), 37), len(content) - 1]:
        saved.write_bytes(content[:length])
        with pytest.raises(ModelFileError, match=saved.name):
            load_model(saved)


def test_every_flipped_byte_is_refused_or_harmless(saved: Path) -> None:
    """Padding and the prose of the provenance may change unnoticed; what the model is may not."""
    content = saved.read_bytes()
    original = load_model(saved)
    refused = 0
    for at in range(0, len(content), 7):
        damaged = bytearray(content)
        damaged[at] ^= 0x15
        saved.write_bytes(damaged)
        try:
            loaded = load_model(saved)
        except ModelFileError as error:
            assert saved.name in str(error)
            refused += 1
        else:
            np.testing.assert_array_equal(loaded.arrays()["table"], original.arrays()["table"])
            assert loaded.encoder.vocabulary.tokens == original.encoder.vocabulary.tokens
    assert refused > len(content) / 7 / 2


def test_bytes_after_the_end_are_refused(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes() + b"\0")
    with pytest.raises(ModelFileError, match="belong to no array"):
        load_model(saved)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"PK\x03\x04 a zip archive, say", "no model file"),
        (b"\\data\\\nngram 1=3\n", "lm convert"),
        (b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", "lm convert"),
        (b"\x02\0\0\0\0\0\0\0{}", "no model of lmsuite"),
        (b"\x02\0\0\0\0\0\0\0[]", "header is damaged"),
        (b"\xff\xff\xff\xff\0\0\0\0{}", "no model file"),
        (b"\xff\xff\xff\x00\0\0\0\0{}", "cut short"),
    ],
)
def test_foreign_files_are_named(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=said) as caught:
        load_model(path)
    assert str(path) in str(caught.value)


def test_a_header_that_claims_too_much_allocates_nothing(tmp_path: Path) -> None:
    header = json.dumps(
        {
            "__metadata__": {"lmsuite": "{}"},
            "a": {"dtype": "F64", "shape": [2**40], "data_offsets": [0, 2**43]},
        }
    ).encode()
    path = tmp_path / "m.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(ModelFileError, match="cut short"):
        load_model(path)


def test_another_programs_safetensors_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_file({"weight": np.zeros(3)}, path, metadata={"format": "pt"})
    with pytest.raises(ModelFileError, match="no model of lmsuite"):
        load_model(path)


def newer(manifest: dict[str, Any], arrays: dict[str, Any]) -> None:
    manifest["format"] = FORMAT_VERSION + 1
    manifest["something"] = "new"


def unknown_kind(manifest: dict[str, Any], arrays: dict[str, Any]) -> None:
    manifest["kind"] = "oracle"


def no_settings(manifest: dict[str, Any], arrays: dict[str, Any]) -> None:
    del manifest["settings"]


def strange_entry(manifest: dict[str, Any], arrays: dict[str, Any]) -> None:
    manifest["provenance"]["weather"] = "fine"


def wrong_type(manifest: dict[str, Any], arrays: dict[str, Any]) -> None:
    manifest["kind"] = ["bigram"]


def format_in_words(manifest: dict[str, Any], arrays: dict[str, Any]) -> None:
    manifest["format"] = "one"


def strange_setting(manifest: dict[str, Any], arrays: dict[str, Any]) -> None:
    manifest["settings"]["depth"] = 3


def other_weights(manifest: dict[str, Any], arrays: dict[str, Any]) -> None:
    arrays["model.table"][0, 0] += 1


def other_vocabulary(manifest: dict[str, Any], arrays: dict[str, Any]) -> None:
    arrays["text.vocabulary"][-1] ^= 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (newer, "newer lmsuite"),
        (unknown_kind, "'oracle'"),
        (no_settings, "settings"),
        (strange_entry, "weather"),
        (wrong_type, "kind"),
        (format_in_words, "format"),
        (strange_setting, "depth"),
        (other_weights, "checksum"),
        (other_vocabulary, "checksum"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused_by_name(
    saved: Path, change: Callable[[dict[str, Any], dict[str, Any]], None], said: str
) -> None:
    rewrite(saved, change)
    with pytest.raises(ModelFileError, match=said) as caught:
        load_model(saved)
    assert str(saved) in str(caught.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(ModelFileError, match="cannot read"):
            load_model(path)


def test_a_model_that_cannot_be_saved_leaves_the_old_one(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = saved.read_bytes()
    other = random_model(encoder("abc é\n", "char"), seed=2)
    monkeypatch.setattr("os.fsync", _full_disk)
    with pytest.raises(ModelFileError, match="No space left"):
        save_model(saved, other, replace(MADE, corpus="other"))
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def _full_disk(descriptor: int) -> None:
    raise OSError(28, "No space left on device")


def test_arrays_are_mapped_and_read_only(saved: Path) -> None:
    table = load_model(saved).arrays()["table"]
    assert not table.flags.writeable and not table.flags.owndata


def test_a_large_file_is_checked_when_asked(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rewrite(saved, other_weights)
    monkeypatch.setattr("lmsuite.store.artefact._CHECKED_AT_ONCE", 0)
    load_model(saved)
    with pytest.raises(ModelFileError, match="checksum"):
        verify(saved)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dtype": "F8"}, "describes array 'model.table' badly"),
        ({"dtype": None}, "describes array 'model.table' badly"),
        ({"shape": 3}, "describes array 'model.table' badly"),
        ({"shape": [-9, -9]}, "does not lie"),
        ({"shape": [9.0, 9]}, "does not lie"),
        ({"shape": [9, 10]}, "does not lie"),
        ({"shape": [2**62, 4, 9]}, "does not lie"),
        ({"data_offsets": [8, 656]}, "does not lie"),
        ({"data_offsets": [656, 8]}, "does not lie|belong to no array|cut short"),
        ({"data_offsets": [0, 648, 0]}, "badly"),
        ({"data_offsets": ["0", 648]}, "header is damaged"),
    ],
)
def test_headers_that_point_elsewhere_are_refused(
    saved: Path, change: dict[str, Any], said: str
) -> None:
    content = saved.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    assert header["model.table"] == {"dtype": "F64", "shape": [9, 9], "data_offsets": [0, 648]}
    header["model.table"] |= change
    changed = json.dumps(header).encode()
    saved.write_bytes(len(changed).to_bytes(8, "little") + changed + content[8 + length :])
    with pytest.raises(ModelFileError, match=said):
        load_model(saved)


def test_our_files_are_those_of_the_safetensors_library(tmp_path: Path) -> None:
    arrays = {
        "wide": np.arange(3, dtype=np.float64),
        "narrow": np.array([[True, False]]),
        "empty": np.zeros((0, 3), np.uint16),
        "é": np.arange(5, dtype=np.uint8),
        "turned": np.arange(6, dtype=">i4").reshape(2, 3).T,
    }
    path = tmp_path / "a.safetensors"
    with path.open("wb") as stream:
        write(stream, arrays, {"note": "ü"})
    theirs, ours = load_file(path), mapped(path, read_header(path))
    assert theirs.keys() == ours.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(theirs[name], array)
        np.testing.assert_array_equal(ours[name], array)
        assert ours[name].flags.aligned
    with safe_open(path, "np") as file:
        assert file.metadata() == {"note": "ü"}


def test_a_loaded_ngram_model_has_what_its_first_search_needs(tmp_path: Path) -> None:
    """No call of a server waits for what could have been made when the model was loaded."""
    import lmsuite

    made = lmsuite.fit("ngram", "the cat sat on the mat\n" * 20, n=3)
    lmsuite.save_model(tmp_path / "m.safetensors", made)
    loaded = lmsuite.load_model(tmp_path / "m.safetensors")
    assert isinstance(made, lmsuite.NgramModel) and isinstance(loaded, lmsuite.NgramModel)
    made.to_arpa(tmp_path / "m.arpa")
    for model in (made, loaded, lmsuite.NgramModel.from_arpa(tmp_path / "m.arpa")):
        before = set(vars(model.table))
        assert "_flat" in before
        ids = model.encoder.encode("the cat sat")
        model.score(ids)
        model.score_next(model.read(model.start(1), ids), ids[:1])
        assert set(vars(model.table)) == before
        assert not model.table.indexes
