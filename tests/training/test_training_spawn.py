"""A crew whose members are spawned, as on macOS and Windows, does what a forked one does."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lmsuite.errors import TrainingError
from lmsuite.executors.cores import can_fork, can_start_processes
from lmsuite.models.feedforward import FeedForward, FeedForwardSettings
from lmsuite.models.neural import NeuralModel
from lmsuite.models.recurrent import Recurrent, RecurrentSettings
from lmsuite.text.encoding import TextEncoder, TextSettings
from lmsuite.training import engine
from lmsuite.training.engine import Engine
from lmsuite.training.loop import TrainingResult, train
from lmsuite.training.settings import TrainingSettings
from lmsuite.training.workers import Crew

TEXT = "the cat sat on the mat and the dog sat on the cat\n" * 8
SHARED_MEMORY = Path("/dev/shm")
NETWORKS: dict[str, tuple[type[NeuralModel], Any]] = {
    "lstm": (Recurrent, RecurrentSettings(hidden=8, embed=8, dropout=0.2)),
    "features": (Recurrent, RecurrentSettings(hidden=8, embed=4, ngram_features=2, feature_rows=9)),
    "ffnn-adaptive": (
        FeedForward,
        FeedForwardSettings(context=2, embed=4, hidden=(6,), softmax="adaptive", cutoffs=(5, 7)),
    ),
}
COMMAND = """
import multiprocessing, sys
from lmsuite.cli.app import main
if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    main(sys.argv[1:])
"""


@pytest.fixture
def spawning() -> Iterator[None]:
    multiprocessing.set_start_method("spawn", force=True)
    try:
        yield
    finally:
        multiprocessing.set_start_method(None, force=True)


def segments(pid: int | None = None) -> set[str]:
    """The names of the shared memory of a process: of this one unless another is given."""
    return {path.name for path in SHARED_MEMORY.glob(f"lm{pid or os.getpid()}_*")}


def trained(name: str) -> TrainingResult:
    kind, architecture = NETWORKS[name]
    encoder, ids = TextEncoder.train(TEXT, TextSettings(tokenizer="word"))
    model = kind.initial(encoder, architecture, np.random.default_rng(1))
    settings = TrainingSettings(
        epochs=2, minutes=None, batch=6, bptt=5, learning_rate=0.01, threads=2
    )
    return train(model, ids, encoder.encode("the dog sat on the mat\n"), settings)


@pytest.mark.skipif(not can_fork(), reason="nothing to compare with")
@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_model_to_the_byte(
    name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "TINY", 0)
    monkeypatch.setattr(engine, "WAIT", 0)
    monkeypatch.setattr(engine, "SUM", 0)
    forked = trained(name)
    request.getfixturevalue("spawning")
    spawned = trained(name)
    assert forked.processes == spawned.processes == 2
    np.testing.assert_array_equal(spawned.model.parameters.values, forked.model.parameters.values)
    assert spawned.progress.history[-1].valid_loss == forked.progress.history[-1].valid_loss
    assert not segments()


def add_ranks(crew: Crew, numbers: np.ndarray, rank: int) -> None:
    for _ in range(50):
        numbers[rank] += rank + 1
        crew.barrier(rank)


class Adding:
    """What each member of a crew does; a member makes its array as rank 0 did."""

    def __init__(self, crew: Crew, end: str = "") -> None:
        self.crew, self.end = crew, end
        self.numbers = crew.shared((crew.size,), np.int64)

    def __reduce__(self) -> tuple[Any, ...]:
        return Adding, (self.crew, self.end)

    def serve(self, rank: int) -> None:
        if rank and self.end == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if rank and self.end == "failed":
            raise ValueError("no more")
        add_ranks(self.crew, self.numbers, rank)


def test_members_see_each_others_numbers(spawning: None) -> None:
    crew = Crew(2)
    assert crew.is_spawned and (segments() or not SHARED_MEMORY.is_dir())
    adding = Adding(crew)
    crew.start(adding.serve)
    adding.serve(0)
    crew.close()
    assert adding.numbers.tolist() == [50, 100]
    assert not segments()


@pytest.mark.parametrize(("end", "reason"), [("killed", "signal 9"), ("failed", "ValueError: no")])
def test_a_dead_member_is_an_error_and_leaves_no_memory(
    end: str, reason: str, spawning: None
) -> None:
    crew = Crew(2)
    adding = Adding(crew, end)
    crew.start(adding.serve)
    with pytest.raises(TrainingError, match=f"worker 1 of 2 died .*{reason}"):
        adding.serve(0)
    crew.close()
    assert not segments()


@pytest.mark.skipif(not SHARED_MEMORY.is_dir(), reason="needs /dev/shm")
def test_too_little_shared_memory_is_an_error(spawning: None) -> None:
    there = os.statvfs(SHARED_MEMORY)
    crew = Crew(2)
    with pytest.raises(TrainingError, match=r"no .* bytes of shared memory .*1 for threads"):
        crew.shared((2 * there.f_blocks * there.f_frsize,), np.uint8)
    assert not segments()


@pytest.mark.skipif(not SHARED_MEMORY.is_dir(), reason="needs /dev/shm")
@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)]
)
def test_an_interrupted_training_leaves_nothing(number: int, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(COMMAND)
    (tmp_path / "text").write_text(TEXT * 20)
    command = [sys.executable, "main.py", "train", "rnn", "text", "--tokenizer", "char"]
    sizes = ["--hidden", "64", "--batch", "16", "--epochs", "10000", "--patience", "0"]
    with subprocess.Popen(
        [*command, *sizes, "--threads", "2", "--checkpoint-every", "0"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        text=True,
    ) as running:
        history = tmp_path / "models" / "rnn.history.jsonl"
        wait_until(lambda: history.exists() or running.poll() is not None)
        assert running.poll() is None and len(segments(running.pid)) > 3
        # Ctrl-C reaches the whole group; what is killed is the first process alone.
        (os.killpg if number == signal.SIGINT else os.kill)(running.pid, number)
        _, said = running.communicate(timeout=60)
    if number == signal.SIGINT:
        assert running.returncode == 130
        assert "Traceback" not in said and "leaked" not in said
        assert "interrupted at step" in said.strip().splitlines()[-1]
    wait_until(lambda: not segments(running.pid))


def wait_until(condition: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@pytest.mark.parametrize("guard", ["", 'if __name__ == "__main__":\n    '])
def test_a_script_is_not_run_again_by_its_members(guard: str, tmp_path: Path) -> None:
    """Without the usual line, the members would begin the script's work anew."""
    (tmp_path / "script.py").write_text(
        "import multiprocessing\nfrom lmsuite.executors.cores import can_start_processes\n"
        "multiprocessing.set_start_method('spawn', force=True)\n"
        f"{guard}print(can_start_processes())\n"
    )
    done = subprocess.run(
        [sys.executable, tmp_path / "script.py"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(bool(guard))


def test_an_unknown_cell_stays_in_one_process(
    spawning: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The members would not know it."""
    from lmsuite.nn import kernels

    monkeypatch.setitem(kernels.CELLS, "own", kernels.CELLS["elman"])
    monkeypatch.setattr(engine, "TINY", 0)
    monkeypatch.setitem(NETWORKS, "own", (Recurrent, RecurrentSettings(cell="own", hidden=4)))
    assert can_start_processes()
    assert trained("own").processes == 1


def test_an_engine_is_sent_without_weights() -> None:
    kind, architecture = NETWORKS["lstm"]
    encoder, ids = TextEncoder.train(TEXT, TextSettings(tokenizer="word"))
    model = kind.initial(encoder, architecture, np.random.default_rng(1))
    settings = TrainingSettings(epochs=1, minutes=None, batch=6, bptt=5, learning_rate=0.01)
    from lmsuite.training.loop import make_batches

    sent = Engine(model, make_batches(model, ids, settings), settings, []).__reduce__()
    arrays = [each for each in sent[1] if isinstance(each, np.ndarray)]
    assert not arrays and sent[1][5].ids.size == 0
