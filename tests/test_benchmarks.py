"""The table of the benchmarks: its arithmetic, the text it draws, and what is skipped."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks import __main__ as benchmarks
from benchmarks import ablations, growth, lstm_growth
from benchmarks.alternating import Comparison
from benchmarks.apart import Apart
from benchmarks.lstm_growth import memory_of
from benchmarks.measuring import Options, Row, SkippedError, process, rate_row, require
from benchmarks.neural_shapes import SHAPES, lstm
from benchmarks.neural_training import mean_row
from benchmarks.synthetic_text import VOCABULARY, write_text
from lmsuite.models.recurrent import RecurrentSettings

ROOT = Path(__file__).resolve().parents[1]


def test_a_ratio_is_of_medians_and_the_spread_of_pairs() -> None:
    row = Row("work", "peer", "s", (1.0, 2.0, 9.0), (4.0, 4.0, 3.0), reach=0.6)
    assert row.ratio == 0.5
    assert row.spread == (0.25, 3.0)
    assert row.is_reached
    assert "| **0.5** (0.25 to 3) | at most 0.6 | yes |" in row.markdown()


def test_rates_are_to_be_high() -> None:
    found = Comparison("work", "peer", (2.0, 2.0), (3.0, 3.0))
    row = rate_row(found, 600, "tokens/s", reach=2.0)
    assert (row.ours, row.theirs, row.ratio) == ((300.0, 300.0), (200.0, 200.0), 1.5)
    assert row.is_reached is False
    assert "| at least 2 | no |" in row.markdown()


def test_a_row_without_peer_is_measured_by_itself() -> None:
    row = Row("start", "", "s", (0.1, 0.2, 0.3), reach=0.15)
    assert row.ratio is None and row.is_reached is False
    assert Row("start", "", "s", (0.1,)).is_reached is None
    assert json.dumps(row.document())


def test_the_text_is_decided_by_its_seed() -> None:
    texts = []
    for seed in (1, 1, 2):
        stream = io.BytesIO()
        write_text(20_000, stream, seed)
        texts.append(stream.getvalue())
    assert texts[0] == texts[1] != texts[2]
    words = texts[0].split()
    assert 20_000 <= len(words) < 20_500
    assert 2000 < len(set(words)) < VOCABULARY
    pairs = set(pairwise(words))
    assert len(pairs) < 0.8 * len(words)  # contexts have favourites


def test_the_cost_of_a_process() -> None:
    cost = process([sys.executable, "-c", "x = b'x' * 200_000_000"])
    assert 0.2e9 < cost.peak < 2e9 and 0.01 < cost.seconds < 10
    with pytest.raises(SkippedError, match="failed with 3: last words"):
        process([sys.executable, "-c", "import sys; print('last words', file=sys.stderr); exit(3)"])


def test_what_is_not_here_is_skipped_with_a_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SkippedError, match=r"lmsuite\[bench\]"):
        require("no_such_peer")
    monkeypatch.setattr("benchmarks.ngram_training.TINY", "none.txt")
    assert list(benchmarks.rows_of("ngram_training", Options(tmp_path, tmp_path))) == []
    assert "ngram_training: skipped: there is no" in capsys.readouterr().err


def test_the_command_writes_a_table_and_json(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks", "--only", "start_up", "--repeats", "1"]
    done = subprocess.run(
        [*command, "--json", str(tmp_path / "rows.json")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "| lm --help |" in done.stdout
    document = json.loads((tmp_path / "rows.json").read_text("utf-8"))
    assert document["rows"][0]["work"] == "lm --help"
    assert document["cores"] >= 1 and document["versions"]["numpy"]


def test_the_arithmetic_of_a_step() -> None:
    # 4H(E + H) + HV = 4 * 512 * (128 + 512) + 512 * 65 multiply-adds a token, forward
    shape = lstm(512)
    assert shape.multiply_adds() == 1_344_000
    assert shape.flops() == 6 * 64 * 64 * 1_344_000
    assert shape.multiply_adds(of_inputs=False) == 1_344_000 - 4 * 512 * 128
    two_layers = replace(shape, settings=RecurrentSettings(layers=2, hidden=512, embed=128))
    assert two_layers.multiply_adds() == 1_344_000 + 4 * 512 * (512 + 512)
    elman = replace(shape, settings=RecurrentSettings(cell="elman", hidden=512, embed=128))
    assert elman.multiply_adds() == 512 * (128 + 512) + 512 * 65
    feedforward = SHAPES[-1]
    assert feedforward.multiply_adds() == 5 * 60 * 100 + 100 * 10_000
    assert len({shape.name for shape in SHAPES}) == len(SHAPES) == 12


def test_ratios_have_a_geometric_mean() -> None:
    found = [
        Row("a", "peer", "tokens/s", (ours,), (1.0,), more_is_better=True) for ours in (1.0, 4.0)
    ]
    mean = mean_row(found)
    assert mean.ours == pytest.approx((2.0,))
    assert mean.is_reached


def counting(first: int) -> Iterator[int]:
    """A side of a comparison."""
    count = first
    while True:
        yield count
        count += 1
        if count == first + 3:
            raise ValueError("three is too much")


def test_a_side_has_a_process_of_its_own_that_rests() -> None:
    with Apart(f"{__name__}:counting", 7) as side:
        assert side.pid != os.getpid()
        assert side.about == 7
        assert side() == 8
        state = Path(f"/proc/{side.pid}/stat")
        if state.exists():
            deadline = time.monotonic() + 60
            while (now := state.read_text("ascii").rpartition(")")[2].split()[0]) != "T":
                assert time.monotonic() < deadline, now
        assert side() == 9
        with pytest.raises(RuntimeError, match="three is too much"):
            side()
    with pytest.raises(ProcessLookupError):
        os.killpg(side.pid, 0)


def test_networks_are_skipped_without_their_peer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.measuring.importlib.util.find_spec", lambda name: None)
    for name in ("neural_training", "neural_sampling", "neural_evaluation"):
        assert list(benchmarks.rows_of(name, Options(tmp_path, tmp_path))) == []
        assert f"{name}: skipped: torch is not installed" in capsys.readouterr().err


def test_memory_is_that_of_all_processes() -> None:
    if not Path("/proc/self/smaps_rollup").exists():
        pytest.skip("needs /proc")
    alone = memory_of(os.getpid())
    assert alone > 10e6
    more = "import sys; x = b'x' * 100_000_000; print(); sys.stdin.read()"
    command = [sys.executable, "-c", more]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout and child.stdin
        child.stdout.readline()
        assert memory_of(child.pid) > 100e6
        assert memory_of(os.getpid()) > alone + 90e6
        child.stdin.close()


def test_growth_is_drawn_from_its_numbers(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    points = [
        {"program": program, "hidden": size, "seconds": size / 1e4, "peak": size * 10**6}
        for program in lstm_growth.PROGRAMS[:1]
        for size in lstm_growth.SIZES
    ]
    growth.draw(lstm_growth, points, tmp_path / "picture.svg")
    picture = (tmp_path / "picture.svg").read_text("utf-8")
    assert "<!-- lmsuite -->" in picture and "<!-- PyTorch -->" not in picture


@pytest.mark.slow
def test_an_ablation_is_the_recipe_and_its_changes(tmp_path: Path) -> None:
    for name in ("train", "valid"):
        (tmp_path / name).write_text("the cat sat on the mat\nthe dog sat on the log\n" * 20)
    subject = ablations.Subject("ffnn", "train", "valid", "--tokenizer char", {})
    changes = {"smaller": "--hidden 4", "larger": "--hidden 4 --embed 99 --seed 2"}
    found = list(ablations.rows(subject, tmp_path, "2", changes))
    assert [(name, change) for name, change, _ in found] == [("the recipe", ""), *changes.items()]
    assert len({result.loss for _, _, result in found}) == 3
    assert all(0 < result.loss < 4 and result.epoch > 0 for _, _, result in found)
