"""The table of the benchmarks: its arithmetic, the text it draws, and what is skipped."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks import __main__ as benchmarks
from benchmarks.alternating import Comparison
from benchmarks.measuring import Options, Row, SkippedError, process, rate_row, require
from benchmarks.synthetic_text import VOCABULARY, write_text

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
