"""The reader without numpy gives the numbers of the one with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmsuite.errors import DataError, ModelFileError
from lmsuite.mapped_ngram import MappedNgram
from lmsuite.models.cache import CacheModel, CacheSettings
from lmsuite.models.ngram import NgramModel, NgramSettings
from lmsuite.store.artefact import FORMAT_VERSION, save_model
from lmsuite.text.encoding import Boundaries, TextEncoder, TextSettings

TEXT = "the cow eats hay\nthe cow eats corn\na cow is not a crow\n\nthe crow eats the corn\n"


def saved(path: Path, text: str, boundaries: Boundaries, **settings: Any) -> NgramModel:
    encoder, ids = TextEncoder.train(text, TextSettings("whitespace", boundaries))
    model = NgramModel.fit(encoder, ids, NgramSettings(**settings))
    save_model(path, model)
    return model


@pytest.mark.parametrize("boundaries", list(Boundaries))
@pytest.mark.parametrize("order", [1, 2, 5])
def test_the_numbers_are_those_of_the_model(
    play: str, tmp_path: Path, boundaries: Boundaries, order: int
) -> None:
    path = tmp_path / "m.safetensors"
    model = saved(path, play[:50_000], boundaries, order=order)
    mapped = MappedNgram(str(path))
    end = boundaries.end if boundaries.has_sequences else ""
    for line in play[40_000:60_000].splitlines():
        assert mapped.score(line.split()) == model.score(model.encoder.encode(line + end)).tolist()


def test_a_vocabulary_of_more_than_two_bytes(tmp_path: Path) -> None:
    words = [f"w{number}" for number in range(70_000)]
    path = tmp_path / "m.safetensors"
    model = saved(path, " ".join([*words, *words[::7]]) + "\n", Boundaries.LINES, order=2)
    line = ["w69999", "w7", "w69993", "w0", "none"]
    assert (
        MappedNgram(str(path)).score(line)
        == model.score(model.encoder.encode(" ".join(line))).tolist()
    )


def test_it_needs_no_numpy(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    saved(path, TEXT, Boundaries.LINES)
    code = (
        "import sys\n"
        "from lmsuite.mapped_ngram import MappedNgram\n"
        f"assert len(MappedNgram({str(path)!r}).score(['the', 'cow'])) == 3\n"
        "print(sorted({'numpy', 'typing', 'dataclasses', 'pathlib'} & sys.modules.keys()))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_reserved_tokens_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    saved(path, TEXT, Boundaries.LINES)
    with pytest.raises(DataError, match="<s> is reserved"):
        MappedNgram(str(path)).score(["<s>", "cow"])


def test_other_models_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    model = saved(path, TEXT, Boundaries.LINES, quantize=True)
    with pytest.raises(ModelFileError, match="is quantized"):
        MappedNgram(str(path))
    save_model(path, CacheModel(model.encoder, CacheSettings()))
    with pytest.raises(ModelFileError, match="not an n-gram model"):
        MappedNgram(str(path))


def test_it_reads_the_format_that_is_written() -> None:
    assert FORMAT_VERSION == 1


@pytest.mark.parametrize("content", [b"", b"\x02\0\0\0\0\0\0\0{}", b"\xff" * 20, b"{" * 10_000])
def test_what_is_no_model_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    for wrong in (path, tmp_path, tmp_path / "none"):
        with pytest.raises(ModelFileError, match=str(wrong)):
            MappedNgram(str(wrong))


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    path = tmp_path_factory.mktemp("mapped") / "m.safetensors"
    saved(path, TEXT, Boundaries.LINES)
    return path, path.read_bytes()


@given(st.data())
def test_damage_is_refused_or_gives_numbers(
    content: tuple[Path, bytes], data: st.DataObject
) -> None:
    path, sound = content
    damaged = bytearray(sound[: data.draw(st.integers(len(sound) // 2, len(sound)))])
    for _ in range(data.draw(st.integers(0, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(damaged)
    try:
        assert len(MappedNgram(str(path)).score(["the", "cow", "eats", "hay"])) in {4, 5}
    except ModelFileError:
        return
