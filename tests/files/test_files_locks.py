"""One writer a model: the second is refused at once, and a dead one is in nobody's way."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("fcntl", reason="no locks of this kind")

from hardening import workplace
from hardening.command import exit_code, forked, lm, started
from lmsuite.errors import ModelFileError
from lmsuite.files import disk
from lmsuite.files.disk import LOCK, LockedError, locked, remove_stale, replaced
from lmsuite.store.writer_lock import only_writer

LONG = ["--epochs", "1000", "--patience", "0", "--checkpoint-every", "0", "--threads", "2"]
SMALL = ["--tokenizer", "char", "--embed", "8", "--hidden", "20", "-q"]
TRAINING = ["train", "rnn", "text.txt", "--name", "m", *SMALL, *LONG]
WRITERS = {
    "ngram": ["train", "ngram", "text.txt", "--tokenizer", "char", "--name", "m", "-q"],
    "ffnn": ["train", "ffnn", "text.txt", "--name", "m", "--epochs", "1", *SMALL],
    "rnn": ["train", "rnn", "text.txt", "--name", "m", "--epochs", "1", *SMALL],
    "resume": [*TRAINING, "--resume"],
    "mix": ["mix", "a", "b", "--name", "m"],
    "prune": ["prune", "b", "--entropy", "1e-3", "--name", "m"],
    "convert": ["convert", "a", "models/m.safetensors"],
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a text and two models, as the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LM_MODELS", raising=False)
    Path("text.txt").write_text(workplace.TEXT)
    for name in ("a", "b"):
        assert lm("train", "ngram", "text.txt", "--tokenizer", "char", "-q", "--name", name).done
    return tmp_path


@pytest.fixture
def training(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A training of the model m that is under way, with its first checkpoint written."""
    with started(*TRAINING) as process:
        until = time.monotonic() + 120
        while not Path("models/m.checkpoint").exists():
            assert process.poll() is None, process.stderr.read()  # type: ignore[union-attr]
            assert time.monotonic() < until
            time.sleep(0.01)
        yield process
        process.kill()


def test_the_second_writer_is_refused_at_once_and_told_who_is_the_first(
    training: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, arguments in WRITERS.items():
        began = time.monotonic()
        message = lm(*arguments).error
        assert time.monotonic() - began < 10, name  # about 0.3; the first goes on for minutes
        assert "models/m.safetensors is being written by process" in message, name
        assert f" {training.pid} (lm {' '.join(TRAINING)[:50]}" in message, name
        monkeypatch.setattr(disk, "TIMEOUT", 0.02)  # all have the same
    assert lm("models").out.count("\n") == 3  # the heading, a and b
    assert lm("train", "ngram", "text.txt", "--tokenizer", "char", "--name", "other", "-q").done
    assert lm("eval", "--json").done
    assert training.poll() is None


def test_a_training_killed_is_resumed_at_once(training: subprocess.Popen[bytes]) -> None:
    """Its workers live on for a moment, and its lock is left behind: neither is in the way."""
    assert Path(f"models/.m.safetensors{LOCK}").exists()
    training.send_signal(signal.SIGKILL)
    training.wait()
    with only_writer(Path("models/m.safetensors"), "lm"):
        pass
    assert not list(Path("models").glob(".*"))


def test_a_training_interrupted_leaves_no_lock(training: subprocess.Popen[bytes]) -> None:
    training.send_signal(signal.SIGINT)
    assert training.wait(timeout=120) == 130
    assert not list(Path("models").glob(".*"))


def exit_codes(processes: list[int]) -> list[int]:
    return [exit_code(process) for process in processes]


def wait_for(path: Path) -> None:
    until = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < until
        time.sleep(0.002)


def test_a_worker_that_outlives_its_killed_parent_holds_nothing(tmp_path: Path) -> None:
    ready, end = tmp_path / "ready", tmp_path / "end"

    def parent() -> None:
        with locked(tmp_path / "m", "parent"), replaced(tmp_path / "x"):
            worker = forked(lambda: wait_for(end))
            ready.write_text(str(worker))
            time.sleep(60)

    process = forked(parent)
    wait_for(ready)
    with pytest.raises(LockedError, match="parent"), locked(tmp_path / "m", "me"):
        pass
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    with locked(tmp_path / "m", "me"):
        pass
    remove_stale(tmp_path)
    end.touch()
    assert {path.name for path in tmp_path.iterdir()} == {"ready", "end"}


def test_a_worker_that_ends_in_its_own_way_ends_no_lock(tmp_path: Path) -> None:
    def other() -> None:
        with pytest.raises(LockedError), locked(tmp_path / "m", ""):
            pass

    with locked(tmp_path / "m", "parent"):
        try:
            child = os.fork()
            if child == 0:
                raise SystemExit  # unwinds what the parent holds
        except SystemExit:
            pass
        else:
            assert exit_codes([child]) == [0]
            assert exit_codes([forked(other)]) == [0]
            child = -1
    if child == 0:
        os._exit(0)
    assert not list(tmp_path.iterdir())


def test_many_at_once_are_never_two_at_once(tmp_path: Path) -> None:
    """Six processes count together in a file, while others sweep, and some are killed."""
    counter, rounds = tmp_path / "counter", 15
    counter.write_text("0")
    killed = tmp_path / "killed"
    killed.mkdir()

    def count() -> None:
        for _ in range(rounds):
            with locked(counter, "", wait=True):
                number = int(counter.read_text())
                time.sleep(0.0002)
                with replaced(counter) as stream:
                    stream.write(b"%d" % (number + 1))

    def sweep() -> None:
        for _ in range(20 * rounds):
            remove_stale(tmp_path)

    def hang() -> None:
        with locked(tmp_path / "hung", "", wait=True), replaced(tmp_path / "half") as stream:
            stream.write(b"half")
            time.sleep(60)

    processes = [forked(count) for _ in range(6)] + [forked(sweep) for _ in range(2)]
    rng = random.Random(1)
    for _ in range(20):
        process = forked(hang)
        time.sleep(rng.uniform(0, 0.02))
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
    assert exit_codes(processes) == [0] * 8
    assert int(counter.read_text()) == 6 * rounds
    remove_stale(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"counter", "killed"}


@pytest.mark.parametrize("is_swept", [False, True])
def test_a_lock_removed_after_it_was_opened_is_no_lock(
    is_swept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between opening and locking, its holder ends and another takes a new file of that name."""
    import fcntl

    opened, swapped = tmp_path / "opened", tmp_path / "swapped"
    lock = fcntl.flock

    def late(descriptor: int, operation: int) -> None:
        if not opened.exists():
            opened.touch()
            wait_for(swapped)
        lock(descriptor, operation)

    def contend() -> None:
        monkeypatch.setattr("fcntl.flock", late)
        if is_swept:
            remove_stale(tmp_path)
        with pytest.raises(LockedError, match="second"), locked(tmp_path / "m", ""):
            pass

    with locked(tmp_path / "m", "first"):
        process = forked(contend)
        wait_for(opened)
    with locked(tmp_path / "m", "second"):
        swapped.touch()
        assert exit_codes([process]) == [0]
    assert {path.name for path in tmp_path.iterdir()} == {"opened", "swapped"}


def test_what_is_locked_here_is_not_lost_by_looking(tmp_path: Path) -> None:
    """Nor does the process that has it locked get it twice."""
    with locked(tmp_path / "m", "mine"), replaced(tmp_path / "x") as stream:
        remove_stale(tmp_path)
        with pytest.raises(LockedError, match="mine"), locked(tmp_path / "m", ""):
            pass

        def other() -> None:
            remove_stale(tmp_path)
            with pytest.raises(LockedError, match="mine"), locked(tmp_path / "m", ""):
                pass

        assert exit_codes([forked(other)]) == [0]
        stream.write(b"whole")
    assert (tmp_path / "x").read_bytes() == b"whole"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("reason", [errno.ENOLCK, errno.ENOSYS])
def test_without_locks_all_else_works(
    reason: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On file systems that know no locks."""

    def refused(*_: object) -> None:
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr("fcntl.flock", refused)
    left = tmp_path / ".m.0123abcd.lmsuite-tmp"
    left.touch()  # perhaps another's, who can tell
    with locked(tmp_path / "m", ""), replaced(tmp_path / "m") as stream:
        stream.write(b"whole")
    assert (tmp_path / "m").read_bytes() == b"whole"
    assert {path.name for path in tmp_path.iterdir()} == {"m", left.name}


@pytest.mark.parametrize(
    "note",
    [b"", b"\xff\xfe", b"{}", b"[1]", b"null", b'{"process": "x"}', b"[" * 5000, b"9" * 5000],
)
def test_a_strange_note_in_a_lock_does_no_harm(
    note: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "TIMEOUT", 0.02)
    ready = tmp_path / "ready"

    def hold() -> None:
        with locked(tmp_path / "n", note.decode("latin-1")):
            ready.touch()
            time.sleep(60)

    process = forked(hold)
    wait_for(ready)
    with (
        pytest.raises(ModelFileError, match=r"/n is being written by another process"),
        only_writer(tmp_path / "n", "lm"),
    ):
        pass
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)


def test_a_link_in_place_of_a_lock_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / f".m{LOCK}").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ModelFileError, match="cannot write in"), only_writer(tmp_path / "m", "lm"):
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_one_corpus_fetched_by_many_at_once_ends_well() -> None:
    """Even if the server has another text for each of them."""

    def fetch() -> None:
        assert lm("corpus", "fetch", "served", "--force", "-q").done

    with workplace.surroundings():
        for _ in range(5):
            assert exit_codes([forked(fetch) for _ in range(4)]) == [0] * 4
            assert lm("corpus", "show", "served", "--text").out.startswith("served ")
        assert {path.name for path in Path("cache").iterdir()} == {"served.txt", "served.sha256"}
