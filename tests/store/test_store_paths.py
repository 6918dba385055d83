"""A path is a str or any PathLike, wherever a library call takes one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

import lmsuite
from lmsuite.store.artefact import read_manifest, verify
from lmsuite.store.folder import ModelsFolder
from lmsuite.store.history import read_history
from lmsuite.training.loop import TrainingFiles, train


class Like:
    """A path that is neither a str nor a Path."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __fspath__(self) -> str:
        return str(self._path)


@pytest.mark.parametrize("form", [str, Path, Like], ids=["str", "Path", "PathLike"])
def test_every_form_of_a_path_will_do(
    tmp_path: Path, form: Callable[[Path], str | os.PathLike[str]]
) -> None:
    text = "the cat sat on the mat\nthe dog sat\n" * 20
    (tmp_path / "text.txt").write_text(text)
    assert lmsuite.read_corpus(form(tmp_path / "text.txt")).text == text
    assert lmsuite.read_corpus([form(tmp_path / "text.txt")]).text == text
    model = lmsuite.fit("ngram", text, n=2)
    path = form(tmp_path / "new" / "m.safetensors")
    lmsuite.save_model(path, model)
    assert lmsuite.load_model(path).settings_dict() == model.settings_dict()
    assert read_manifest(path).kind == "ngram"
    verify(path)
    assert ModelsFolder(form(tmp_path / "new")).names() == ["m"]  # type: ignore[arg-type]
    assert isinstance(model, lmsuite.NgramModel)
    model.to_arpa(form(tmp_path / "m.arpa"))
    assert lmsuite.NgramModel.from_arpa(form(tmp_path / "m.arpa")).table.sizes == model.table.sizes
    ids = model.encoder.encode(text)
    network = lmsuite.fit("rnn", text, hidden=4, embed=4, epochs=0.1, tied=False)
    files = TrainingFiles(form(tmp_path / "c"), form(tmp_path / "h"))  # type: ignore[arg-type]
    settings = lmsuite.TrainingSettings(epochs=0.1, minutes=None, batch=2, learning_rate=0.1)
    train(network, network.encoder.encode(text), ids[:20] * 0 + 3, settings, files=files)  # type: ignore[arg-type]
    assert read_history(form(tmp_path / "h"))


def test_a_name_is_a_corpus() -> None:
    assert lmsuite.read_corpus("play").text == lmsuite.read_corpus(["play"]).text
