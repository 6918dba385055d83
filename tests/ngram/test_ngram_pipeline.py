"""Within a cap on memory: the same bytes."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from lmsuite.errors import TrainingError, UsageError
from lmsuite.files.disk_arrays import DiskArray
from lmsuite.models.ngram import NgramModel, NgramSettings
from lmsuite.ngram import blocks, estimate, planning, quantizing, table_blocks, workplace
from lmsuite.ngram.memory import bytes_of, with_unit
from lmsuite.ngram.packing import Packing
from lmsuite.ngram.pipeline import counted_in_parts
from lmsuite.ngram.planning import Plan, planned
from lmsuite.ngram.settings import SMOOTHINGS
from lmsuite.store.artefact import save_model
from lmsuite.text.encoding import Boundaries, TextEncoder, TextSettings

GIGABYTE = 1 << 30


@pytest.fixture(autouse=True)
def temporary_files_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of a few n-grams are many small files: a disk would take most of the time."""
    if Path("/dev/shm").is_dir():
        monkeypatch.setattr(tempfile, "tempdir", "/dev/shm")


IN_PARTS = [smoothing for smoothing in SMOOTHINGS if smoothing != "jelinek-mercer"]


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks and ranges of some hundred n-grams, however much memory there is."""
    monkeypatch.setattr(workplace, "planned", lambda *_: Plan(workers=1, part=700))
    monkeypatch.setattr(table_blocks, "AT_ONCE", 500)
    monkeypatch.setattr(quantizing, "AT_ONCE", 500)


def encoded(play: str, boundaries: Boundaries, tokenizer: str) -> tuple[TextEncoder, Any]:
    return TextEncoder.train(play[:25_000], TextSettings(tokenizer, boundaries))


@pytest.mark.parametrize("boundaries", list(Boundaries))
@pytest.mark.parametrize(
    "settings",
    [
        {"order": 5},
        {"order": 1},
        {"order": 2, "smoothing": "kneser-ney"},
        {"order": 3, "smoothing": "kneser-ney", "discount": 0.6, "prune": (0, 1)},
        {"order": 4, "prune": (0, 0, 1, 2)},
        {"order": 4, "prune": (0, 1), "interpolate_unigrams": False},
        *({"order": 3, "smoothing": smoothing} for smoothing in IN_PARTS[2:]),
        *({"order": 1, "smoothing": smoothing} for smoothing in IN_PARTS[2:]),
        {"order": 3, "smoothing": "absolute", "discount": 0.3, "interpolate_unigrams": False},
        {"order": 5, "smoothing": "katz", "prune": (0, 1, 2)},
        {"order": 5, "smoothing": "add-k", "k": 0.1, "prune": (0, 0, 1)},
        {"order": 4, "smoothing": "stupid-backoff", "prune": (0, 1)},
        {"order": 4, "entropy_prune": 1e-5},
        {"order": 3, "quantize": True},
        {"order": 4, "smoothing": "katz", "entropy_prune": 1e-6, "quantize": True},
    ],
    ids=str,
)
def test_the_file_is_the_same_to_the_byte(
    play: str, tmp_path: Path, small_parts: None, boundaries: Boundaries, settings: dict[str, Any]
) -> None:
    text, ids = encoded(play, boundaries, "word")
    paths = []
    for memory in (None, GIGABYTE):
        model = NgramModel.fit(text, ids, NgramSettings(**settings), memory=memory)
        paths.append(tmp_path / f"{memory}.safetensors")
        save_model(paths[-1], model)
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_frequent_first_word_is_in_many_ranges(
    play: str, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setattr(workplace, "planned", lambda *_: Plan(workers, part=1300))
    text, ids = encoded(play, Boundaries.STREAM, "char")
    settings = NgramSettings(order=6)
    whole, parts = (NgramModel.fit(text, ids, settings, memory=m) for m in (None, GIGABYTE))
    theirs = parts.arrays()
    for name, array in whole.arrays().items():
        np.testing.assert_array_equal(theirs[name], array, err_msg=name)


def same_table(ids: list[int], settings: NgramSettings, part: int, *, sentences: bool) -> None:
    text, impossible = np.array(ids, np.int32), np.array([1])
    whole = estimate.estimate(text, None, impossible, V, settings, sentences=sentences)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workplace, "planned", lambda *_: Plan(workers=1, part=part))
        parts = estimate.estimate(
            text, None, impossible, V, settings, sentences=sentences, memory=GIGABYTE
        )
    assert (parts.discounts, parts.messages) == (whole.discounts, whole.messages)
    theirs = parts.table.arrays()
    for name, array in whole.table.arrays().items():
        np.testing.assert_array_equal(theirs[name], array, err_msg=name)


V = 7
words = st.sampled_from([0, 3, 4, 5, 6])
sequences = st.lists(st.lists(words, max_size=12), min_size=3, max_size=12)
any_settings = st.builds(
    NgramSettings,
    order=st.integers(3, 6),
    smoothing=st.sampled_from(IN_PARTS),
    prune=st.sampled_from([(), (0, 1), (0, 0, 1), (0, 1, 2)]),
)


@given(sequences, any_settings, st.integers(5, 60))
@examples(max_examples=80)
def test_parts_of_any_size_give_the_table_of_lines(
    lines: list[list[int]], settings: NgramSettings, part: int
) -> None:
    lines = [*lines, [3, 4, 5, 6, 0, 3]]
    same_table([id for line in lines for id in [1, *line, 2]], settings, part, sentences=True)


@given(sequences, any_settings, st.integers(5, 60))
@examples(max_examples=80)
def test_parts_of_any_size_give_the_table_of_a_stream(
    texts: list[list[int]], settings: NgramSettings, part: int
) -> None:
    texts = [*texts, [3, 4, 5, 6, 0, 3]]
    ids = [id for text in texts for id in [1, *text]]
    same_table(ids[part % 2 :], settings, part, sentences=False)


def test_a_long_text_has_wide_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "_LONG", 100)
    monkeypatch.setattr(estimate, "_MOST", 100)
    ids = np.random.default_rng(1).integers(3, V, 500)
    given = {"impossible": np.array([1]), "vocabulary_size": V, "sentences": False}
    with workplace.workplace(threads=1) as place:
        place.begin({}, 100)
        counts = np.bincount(ids, minlength=V)
        source = blocks.TextSource(ids, sentences=False)
        counted_in_parts(source, counts, (0, 0, 0), 100, place, adjusted=False)
        assert place.scratch.read("ngrams-3.0", 1)[0].dtype == np.int64
    estimate.estimate(ids, None, settings=NgramSettings(), memory=GIGABYTE, **given)
    with pytest.raises(TrainingError, match=r"more than 99 tokens.*jelinek-mercer"):
        estimate.estimate(ids, None, settings=NgramSettings(smoothing="jelinek-mercer"), **given)


def test_memory_is_shared_by_the_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    megabyte, packing = 1 << 20, Packing(1000, 3)
    monkeypatch.setattr(planning, "resident_bytes", lambda: 100 * megabyte)
    # A part takes 11 MB or more; each process, this one included, takes 100 MB beside it.
    for memory, workers in ((115, 1), (299, 1), (330, 2), (440, 3), (450, 3)):
        assert planned(memory * megabyte, 1 << 30, packing, 3).workers == workers
    assert planned(4096 * megabyte, 1 << 20, packing, 8) == Plan(8, 1 << 20)
    with pytest.raises(UsageError, match="give 111M or more"):
        planned(100 * megabyte, 1 << 20, packing, 8)


def test_too_little_memory_is_refused_with_what_would_do(play: str) -> None:
    text, ids = encoded(play, Boundaries.LINES, "word")
    with pytest.raises(UsageError, match=r"memory 1M is too little .* tokens; give \d+M or more"):
        NgramModel.fit(text, ids, NgramSettings(), memory=1 << 20)


def test_what_does_not_keep_to_a_cap_is_refused(play: str) -> None:
    text, ids = encoded(play, Boundaries.LINES, "word")
    with pytest.raises(UsageError, match=r"held-out text again and again.*leave out memory"):
        NgramModel.fit(text, ids, NgramSettings(smoothing="jelinek-mercer"), memory=GIGABYTE)


def test_scores_are_the_same_within_memory(play: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No hash tables are made if there is no room, and pages that were read are given back."""
    text, ids = encoded(play, Boundaries.LINES, "word")
    whole, capped = (NgramModel.fit(text, ids, NgramSettings(), memory=m) for m in (None, GIGABYTE))
    monkeypatch.setattr("lmsuite.ngram.table.resident_bytes", lambda: GIGABYTE)
    np.testing.assert_array_equal(capped.score(ids), whole.score(ids))
    assert whole.table.indexes and not capped.table.indexes


def test_a_text_shorter_than_the_order_is_refused() -> None:
    text, ids = TextEncoder.train("a b a\nb a\n", TextSettings("word", Boundaries.LINES))
    with pytest.raises(TrainingError, match="choose an order of at most 5"):
        NgramModel.fit(text, ids, NgramSettings(order=6), memory=GIGABYTE)


def test_temporary_files_have_no_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    column = DiskArray(np.int16)
    column.append(np.arange(1000))
    assert list(tmp_path.iterdir()) == []
    mapped = column.mapped()
    del column
    np.testing.assert_array_equal(mapped, np.arange(1000))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(TrainingError, match="TMPDIR"):
        DiskArray(np.int16)


def test_a_full_disk_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    code = (
        "import resource, signal, numpy as np\n"
        "from lmsuite.errors import TrainingError\n"
        "from lmsuite.files.disk_arrays import DiskArray\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, {hard}))\n"
        "try:\n"
        "    DiskArray(np.int64).append(np.zeros(10_000))\n"
        "except TrainingError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "cannot write temporary files in" in done.stdout


@pytest.mark.parametrize(
    ("amount", "count"), [("1G", 1 << 30), ("1.5g", 3 << 29), ("800MB", 800 << 20), ("77", 77)]
)
def test_amounts_of_memory(amount: str, count: int) -> None:
    assert bytes_of(amount) == count
    assert bytes_of(with_unit(count)) - count in range(1 << 20)


@pytest.mark.parametrize("amount", ["", "G", "-1G", "1 X", "1e9"])
def test_what_is_no_amount_is_refused(amount: str) -> None:
    with pytest.raises(UsageError, match="such as 800M"):
        bytes_of(amount)
