"""A disk that is full, read-only or gone: one line, the right exit code, the old file unharmed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import lmsuite
from hardening import command, workplace
from hardening.command import Outcome
from lmsuite.store.folder import ModelsFolder
from lmsuite.training.validated import ValidatedModel

resource = pytest.importorskip("resource", reason="no limits of this kind")

TRAIN = ["train", "ngram", "text.txt", "--tokenizer", "char", "-q"]
NETWORK = ["--tokenizer", "char", "--embed", "8", "--hidden", "200", "--threads", "1"]
FEEDFORWARD = ["train", "ffnn", "small.txt", *NETWORK, "--epochs", "1", "--checkpoint-every", "0"]
WRITERS = {
    "ngram": ([*TRAIN, "--n", "6", "--name", "m"], "models/m.safetensors"),
    "memory": ([*TRAIN, "--n", "6", "--name", "m", "--memory", "1G"], "models/m.safetensors"),
    "mix": (["mix", "a", "b", "--name", "m"], "models/m.safetensors"),
    "prune": (["prune", "b", "--entropy", "1e-9", "--name", "m"], "models/m.safetensors"),
    "convert": (["convert", "b", "models/m.safetensors"], "models/m.safetensors"),
    "arpa": (["convert", "b", "out/m.arpa"], "out/m.arpa"),
    "arpa-gz": (["convert", "b", "out/m.arpa.gz"], "out/m.arpa.gz"),
    "plot": (["plot", "b", "--by-order", "-o", "out/m.png"], "out/m.png"),
    "report": (["report", "a", "b", "-q", "-o", "out/m.html"], "out/m.html"),
    "explain-html": (["explain", "b", "the cat", "--html", "out/m.html"], "out/m.html"),
    "corpus": (["corpus", "fetch", "served", "--force", "-q"], "cache/served.txt"),
}
READERS = {
    "eval": ["eval", "a", "b"],
    "eval-json": ["eval", "--json"],
    "sample": ["sample", "b", "the", "--max-tokens", "2000"],
    "score": ["score", "b", "text.txt", "--tokens"],
    "compare": ["compare", "a", "b"],
    "explain": ["explain", "b", "the cat"],
    "check": ["check", "b"],
    "info": ["info", "b"],
    "models": ["models"],
    "tokenize": ["tokenize", "text.txt"],
    "plot-text": ["plot", "b", "--by-order", "--text"],
    "corpus-list": ["corpus", "list"],
    "corpus-show": ["corpus", "show", "play", "--text"],
    "help": ["--help"],
    "help-of-a-command": ["train", "ngram", "--help"],
    "version": ["--version"],
}
SLOW = ("plot", "report")
WITH_SLOW_ONES = [
    pytest.param(writer, marks=[pytest.mark.slow] if writer in SLOW else []) for writer in WRITERS
]
LIMIT = 8_000  # bytes of a file


def lm(
    arguments: Sequence[str],
    before: Callable[[], object] | None = None,
    *,
    out: str | int = os.devnull,
    err: str | None = None,
) -> Outcome:
    """``lm`` in a fork, which does `before` first; `out` and `err` are where it prints to."""
    with ExitStack() as files:
        to, log = (
            files.enter_context(Path(name).open("wb")).fileno() if isinstance(name, str) else name
            for name in (out, err)
        )
        return command.lm_fork(*arguments, before=before, out=to, err=log)


def refusal(*given: Any, **named: Any) -> str:
    """The one line of error of a command that fails; see `lm`. Notes may stand beside it."""
    ended = lm(*given, **named)
    lines = ended.err.splitlines(keepends=True)
    said = "".join(line for line in lines if not line.startswith(("note: ", "tuned on ")))
    return replace(ended, err=said).error


@pytest.fixture(scope="module")
def made(play: str) -> Iterator[Path]:
    """A folder with a text, two models a and b, and an earlier file of every writer."""
    workplace.import_all()
    with workplace.surroundings():
        Path("text.txt").write_text(play[:15_000])
        Path("small.txt").write_text(workplace.TEXT)
        Path("out").mkdir()
        assert command.lm(*TRAIN, "--n", "3", "--name", "a").done
        assert command.lm(*TRAIN, "--n", "6", "--name", "b").done
        assert command.lm(*TRAIN, "--n", "2", "--name", "m").done
        assert command.lm("corpus", "fetch", "served", "-q").done
        for _, file in WRITERS.values():
            if file.startswith("out"):
                Path(file).write_bytes(b"old")
        yield Path.cwd()


@pytest.fixture
def folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it as the current folder, and one for temporary files."""
    shutil.copytree(made, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp").chmod(0o777)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setenv("LM_CACHE", str(tmp_path / "copy" / "cache"))
    return tmp_path / "copy"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def limited(size: int = LIMIT) -> Callable[[], None]:
    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # as Python does at its start
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit


@pytest.mark.parametrize("writer", WITH_SLOW_ONES)
def test_without_room_the_old_file_stays_and_no_half_file(writer: str, folder: Path) -> None:
    """Where no file can grow above 8,000 bytes, nor can a temporary one."""
    arguments, file = WRITERS[writer]
    before = contents(folder)
    error = refusal(arguments, limited())
    assert "File too large" in error
    assert Path(file).name in error or (writer in ("memory", "prune") and "TMPDIR" in error)
    assert contents(folder) == before
    assert not list(Path(tempfile.gettempdir()).iterdir())
    assert lm(arguments).code == 0  # with room it would have worked
    assert contents(folder) != before


@pytest.fixture
def mounted(folder: Path) -> Iterator[Callable[..., Path]]:
    """Puts a file system with little room in place of a folder; needs the right to mount one."""
    places: list[Path] = []

    def mount(place: str, kilobytes: int) -> Path:
        kept = Path(place).rename(f"{place}.kept")
        kilobytes += sum(4 + file.stat().st_size // 1024 for file in kept.iterdir())
        Path(place).mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", place]
        if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("no right to mount a file system")
        places.append(Path(place).absolute())
        for file in kept.iterdir():
            shutil.copy(file, place)
        return Path(place)

    yield mount
    for place in places:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("place", ["models", "cache", pytest.param("out", marks=pytest.mark.slow)])
def test_on_a_full_disk_the_old_file_stays_and_no_half_file(
    place: str, folder: Path, mounted: Callable[..., Path]
) -> None:
    full = mounted(place, 32)
    for file in ("m.arpa", "m.png", "m.html"):
        (full / file).write_bytes(b"old")
    try:
        with (full / "filler").open("wb", buffering=0) as filler:
            while True:
                filler.write(bytes(1024))
    except OSError:
        pass
    before = contents(folder)
    for writer, (arguments, file) in WRITERS.items():
        if file.startswith(place):
            assert "No space left" in refusal(arguments), writer
            assert contents(folder) == before, writer
            shutil.rmtree(tempfile.gettempdir())  # where the model may have been saved instead
            Path(tempfile.gettempdir()).mkdir()


def test_a_training_without_room_for_checkpoints_goes_on_and_saves_the_model_elsewhere(
    folder: Path, mounted: Callable[..., Path]
) -> None:
    disk = mounted("models", 16)
    before = contents(folder)
    ended = lm([*FEEDFORWARD, "--name", "m"])
    *said, error = ended.err.splitlines()
    assert ended.code == 1
    assert any("no checkpoint: " in line and "the training goes on" in line for line in said)
    assert "free some space" in error
    (rescued,) = Path(tempfile.gettempdir()).iterdir()
    assert f"the new model is in {rescued} instead" in error
    assert (disk / "m.safetensors").read_bytes() == before[str(folder / "models/m.safetensors")]
    assert lm(["check", str(rescued / "m.safetensors")]).code == 0
    assert lm(["eval", "--models", str(rescued)]).code == 0
    assert lm(["check", "m"]).code == 0  # the old one


def test_a_model_that_fits_nowhere_is_still_in_its_checkpoint(folder: Path) -> None:
    """The disk fills up, or a limit is set, when the last checkpoint has been written."""

    def forbid() -> None:
        finish = ValidatedModel.save

        def save(made: ValidatedModel, folder: ModelsFolder) -> None:
            limited()()
            finish(made, folder)

        ValidatedModel.save = save  # type: ignore[method-assign]

    words = [*FEEDFORWARD, "--name", "new", "-q"]
    error = refusal(words, forbid)
    assert "the new model is in its checkpoint" in error
    assert error.endswith("--resume")
    assert not list(Path("models").glob(".*"))
    assert lm([*words, "--resume"]).code == 0
    assert not Path("models/new.checkpoint").exists()
    assert lm(["check", "new"]).code == 0


def test_a_read_only_folder_is_refused_before_the_work_and_read_all_the_same(
    folder: Path, mounted: Callable[..., Path]
) -> None:
    for place in ("models", "out", "cache"):
        mounted(place, 4096)
        subprocess.run(["mount", "-o", "remount,ro", place], check=True)
    before = contents(folder)
    for writer, (arguments, file) in WRITERS.items():
        error = refusal(arguments)
        assert "Read-only" in error, writer
        assert str(Path(file).parent) in error, writer
    assert "cannot write in the folder models" in refusal([*FEEDFORWARD, "--name", "n"])
    for reader, arguments in READERS.items():
        assert lm(arguments) == Outcome(0, "", "") or reader == "compare"
    assert contents(folder) == before


def test_without_permission_it_is_refused_and_read_all_the_same(folder: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("permission bits are nothing to root")
    for place in ("models", "out", "cache"):
        Path(place).chmod(0o500)
    for writer, (arguments, _) in WRITERS.items():
        assert "Permission denied" in refusal(arguments), writer
    assert lm(READERS["eval"]).code == 0
    for place in ("models", "out", "cache"):
        Path(place).chmod(0o700)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_another_users_folder_is_refused_and_read_all_the_same(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if any(path.stat().st_mode & 0o005 != 0o005 for path in Path(lmsuite.__file__).parents):
        pytest.skip("lmsuite is installed where no other user can read it")
    for path in (folder, *folder.parents):
        if path.owner() == "root" and path.stat().st_mode & 0o700 and path != Path("/tmp"):
            path.chmod(path.stat().st_mode | 0o055)

    monkeypatch.setenv("MPLCONFIGDIR", tempfile.gettempdir())

    def be_nobody() -> None:
        os.setgid(65534)
        os.setuid(65534)

    # Those that load no more code as they work, which nobody may not be allowed to read.
    for writer in ("ngram", "memory", "mix", "prune", "convert", "arpa", "corpus"):
        assert "Permission denied" in refusal(WRITERS[writer][0], be_nobody), writer
    assert lm(READERS["eval"], be_nobody) == Outcome(0, "", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device /dev/full")
@pytest.mark.parametrize(
    "command", [*(writer for writer in WRITERS if writer != "explain-html"), *READERS]
)
def test_standard_output_to_a_full_disk(command: str, folder: Path) -> None:
    """The error says so in one line; what was to be saved is saved, for it cannot be printed."""
    arguments = WRITERS[command][0] if command in WRITERS else READERS[command]
    before = contents(folder)
    assert "No space left" in refusal(arguments, out="/dev/full")
    if command in WRITERS:
        file = folder / WRITERS[command][1]
        assert file.read_bytes() != before[str(file)]
        assert not list(folder.rglob(".*"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device /dev/full")
def test_a_log_on_a_full_disk_stops_nothing(folder: Path) -> None:
    assert lm(FEEDFORWARD, err="/dev/full").code == 0
    assert lm(WRITERS["mix"][0], err="/dev/full").code == 0
    assert lm(["eval", "none"], err="/dev/full").code == 1


def test_a_reader_that_has_gone_loses_no_model(folder: Path) -> None:
    """``lm train … | true``: nobody reads what is printed; the model is saved, and all is quiet."""
    for writer in ("ngram", "mix", "prune"):
        arguments, file = WRITERS[writer]
        before = Path(file).read_bytes()
        reading, writing = os.pipe()
        os.close(reading)
        ended = lm(arguments, out=writing)
        os.close(writing)
        assert ended.code == 0
        assert "error" not in ended.err
        assert Path(file).read_bytes() != before, writer


def test_a_folder_removed_while_training_is_made_again(folder: Path) -> None:
    """Again and again, as fast as can be; the model is whole in the end."""
    words = [*FEEDFORWARD, "--name", "m"]
    with command.started(*words) as process:
        assert process.stderr is not None
        process.stderr.readline()
        for _ in range(5):
            shutil.rmtree("models", ignore_errors=True)
            time.sleep(0.02)
        rest = process.stderr.read().decode()
        assert process.wait(timeout=120) == 0, rest
    assert "Traceback" not in rest
    assert lm(["check", "m"]).code == 0
    assert lm(["eval", "m"]).code == 0
    assert not list(Path("models").glob(".*"))


def test_a_working_folder_removed_while_training(folder: Path) -> None:
    """Then there is no place called models any more: the model is saved elsewhere."""

    def vanish() -> None:
        finish = ValidatedModel.save

        def save(made: ValidatedModel, models: ModelsFolder) -> None:
            shutil.rmtree(folder, ignore_errors=True)
            finish(made, models)

        ValidatedModel.save = save  # type: ignore[method-assign]

    error = refusal([*FEEDFORWARD, "-q"], vanish)
    (rescued,) = Path(tempfile.gettempdir()).iterdir()
    assert f"the new model is in {rescued} instead" in error
    os.chdir(rescued)
    assert lm(["check", str(rescued / "ffnn.safetensors")]).code == 0


def test_a_folder_removed_while_sampling(folder: Path) -> None:
    with command.started("sample", "b", "the", "--max-tokens", "8000") as process:
        assert process.stdout is not None
        first = process.stdout.read(100)
        shutil.rmtree("models")
        rest = process.stdout.read()
        assert process.wait(timeout=120) == 0, process.stderr
    assert len(first + rest) > 6_000


@pytest.mark.slow
def test_a_folder_removed_while_reporting(folder: Path) -> None:
    def vanish(where: str) -> Callable[[], None]:
        def before() -> None:
            from lmsuite.report import findings as gathering

            gather = gathering.gather

            def gone(*given: object, **named: object) -> object:
                shutil.rmtree(where)
                return gather(*given, **named)  # type: ignore[arg-type]

            gathering.gather = gone  # type: ignore[assignment]

        return before

    arguments = WRITERS["report"][0]
    assert lm(arguments, vanish("models")).code == 0
    assert Path("out/m.html").read_bytes().endswith(b"</html>\n")
    assert "no models in models" in refusal(["report"])
    assert command.lm(*TRAIN, "--n", "3", "--name", "a").done
    assert command.lm(*TRAIN, "--n", "6", "--name", "b").done
    assert "cannot write out/m.html: No such file" in refusal(arguments, vanish("out"))
