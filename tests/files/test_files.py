"""Replacing files at once, the models folder, and the validation text beside a model."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lmsuite.errors import DataError, ModelFileError, UsageError
from lmsuite.files.atomic import replacing
from lmsuite.files.disk import LOCK, TEMPORARY
from lmsuite.files.stored_text import sha256_of
from lmsuite.store.artefact import make_folder
from lmsuite.store.folder import ModelsFolder, valid_path_beside
from lmsuite.store.validation_text import (
    beside_new_model,
    load_validation_text,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_old_file_is_there_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with replacing(path) as stream:
        stream.write(b"new")
        stream.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, failure: type[BaseException]
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(failure), replacing(path) as stream:
        stream.write(b"half")
        raise failure
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_a_limit_on_the_file_size_leaves_the_old_file(tmp_path: Path) -> None:
    """A real failure of the system's write, as on a full disk."""
    resource = pytest.importorskip("resource")
    path = tmp_path / "file"
    path.write_bytes(b"old")
    child = os.fork()
    if child == 0:
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            with replacing(path) as stream:
                stream.write(bytes(100_000))
        except ModelFileError as error:
            os._exit(0 if "File too large" in str(error) else 2)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_a_temporary_file_left_by_a_killed_process_is_swept(tmp_path: Path) -> None:
    (tmp_path / f".m.safetensors.0123abcd{TEMPORARY}").write_bytes(b"half")
    (tmp_path / f".m.safetensors{LOCK}").write_bytes(b"stale")
    assert ModelsFolder(tmp_path).names() == []
    with replacing(tmp_path / "m.safetensors") as stream:
        stream.write(b"whole")
    assert names(tmp_path) == ["m.safetensors"]


def test_what_is_not_ours_is_not_swept(tmp_path: Path) -> None:
    """Nor are links and folders that look like ours, nor what is being written just now."""
    kept = [".m.0123abcd.tmp", ".x.lock", f"m.0123abcd{TEMPORARY}", f".m.0123{TEMPORARY}"]
    for name in kept:
        (tmp_path / name).write_bytes(b"")
    (tmp_path / f".link{LOCK}").symlink_to(tmp_path / "m")
    (tmp_path / f".folder{LOCK}").mkdir()
    with replacing(tmp_path / "one") as one, replacing(tmp_path / "other") as other:
        one.write(b"1")
        other.write(b"2")
    expected = [*kept, f".link{LOCK}", f".folder{LOCK}", "one", "other"]
    assert names(tmp_path) == sorted(expected)


def test_a_link_stays_and_what_it_names_is_replaced(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_bytes(b"old")
    link.symlink_to(real)
    with replacing(link) as stream:
        stream.write(b"new")
    assert link.is_symlink()
    assert real.read_bytes() == b"new"


def test_a_device_is_written_to_not_replaced() -> None:
    with replacing(Path("/dev/null")) as stream:
        stream.write(b"gone")
    assert not Path("/dev/null").is_file()


def test_where_nothing_can_be_written_the_message_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    proc = [Path("/proc/file")] if Path("/proc").is_dir() else []  # not even root can make it
    for path in (tmp_path / "none" / "file", tmp_path, tmp_path / "file" / "below", *proc):
        with pytest.raises(ModelFileError, match=f"cannot write {path}"), replacing(path) as stream:
            stream.write(b"new")


def test_folders_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "link").symlink_to("nowhere")
    for path, reason in (
        (tmp_path / "file" / "models", f"{tmp_path / 'file'} is not a folder"),
        (tmp_path / "link", "it is not a folder"),
        (tmp_path.joinpath(*["a"] * 1500), "1500 folders would have to be made for it"),
        (tmp_path / ("a" * 1000), "File name too long"),
    ):
        with pytest.raises(ModelFileError, match=f"cannot make the folder {path}: {reason}"):
            make_folder(path)
    assert not (tmp_path / "a").exists()
    make_folder(tmp_path.joinpath(*["a"] * 50))
    assert tmp_path.joinpath(*["a"] * 50).is_dir()


def test_names_in_a_folder(tmp_path: Path) -> None:
    folder = ModelsFolder(tmp_path / "models")
    assert folder.names() == []
    folder.root.mkdir()
    for name in ("b.safetensors", "a.safetensors", ".x.safetensors", "a.valid.txt.gz", "c.arpa"):
        (folder.root / name).write_bytes(b"")
    assert folder.names() == ["a", "b"]
    assert folder.resolve("a") == folder.path("a") == folder.root / "a.safetensors"
    assert folder.resolve(str(folder.root / "c.arpa")) == folder.root / "c.arpa"
    assert valid_path_beside(folder.path("a")).name == "a.valid.txt.gz"
    assert folder.history_path("a").name == "a.history.jsonl"
    assert folder.checkpoint_path("a").name == "a.checkpoint"


def test_a_name_goes_before_a_file_of_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = ModelsFolder(Path("models"))
    make_folder(folder.root)
    Path("a").write_bytes(b"")
    assert folder.resolve("a") == Path("a")
    folder.path("a").write_bytes(b"")
    assert folder.resolve("a") == folder.path("a")


def test_a_model_that_does_not_exist_is_answered_with_those_that_do(tmp_path: Path) -> None:
    folder = ModelsFolder(tmp_path)
    with pytest.raises(ModelFileError, match="none yet"):
        folder.resolve("a")
    folder.path("b").write_bytes(b"")
    folder.path("c").write_bytes(b"")
    for wrong in ("a", "x/a.safetensors", ".", "..", ""):
        with pytest.raises(ModelFileError, match=r"there are: b, c|is a folder"):
            folder.resolve(wrong)


@pytest.mark.parametrize("name", ["", ".", "../x", "a/b", "a\\b", ".hidden", "a\0b"])
def test_impossible_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="no name for a model"):
        ModelsFolder(tmp_path).path(name)


def save(path: Path, text: str) -> None:
    with beside_new_model(path.with_name("m.safetensors"), text):
        pass


def test_a_validation_text_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "m.valid.txt.gz"
    text = "Grüße,\r\n\x00 \ud800 end"
    save(path, text)
    first = path.read_bytes()
    assert load_validation_text(path, sha256_of(text)) == text
    save(path, text)
    assert path.read_bytes() == first


def test_a_validation_text_of_another_training_or_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.valid.txt.gz"
    with pytest.raises(DataError, match="No such file"):
        load_validation_text(path, "")
    save(path, "one")
    with pytest.raises(DataError, match="another training"):
        load_validation_text(path, sha256_of("two"))
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(DataError, match="cannot read"):
        load_validation_text(path, sha256_of("one"))


def test_old_model_old_text_new_model_new_text(tmp_path: Path) -> None:
    """At every moment of a save the text that belongs to either model is there to be found."""
    path, model = tmp_path / "m.valid.txt.gz", tmp_path / "m.safetensors"
    save(path, "old")
    with beside_new_model(model, "new"):
        assert load_validation_text(path, sha256_of("old")) == "old"
        assert load_validation_text(path, sha256_of("new")) == "new"
    assert load_validation_text(path, sha256_of("new")) == "new"
    with pytest.raises(DataError, match="another training"):
        load_validation_text(path, sha256_of("old"))
    with pytest.raises(KeyError), beside_new_model(model, "newer"):
        raise KeyError
    assert load_validation_text(path, sha256_of("new")) == "new"
    assert names(tmp_path) == ["m.valid.txt.gz"]
    save(path, "")
    assert names(tmp_path) == []
