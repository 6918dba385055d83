"""Whatever is wrong with the input: exit code 1, one line that helps, nothing lost.

Through the real command, as a process of its own: a fork, which has all imported already.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from hardening.command import Run

TRAIN = ("train", "ngram")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workplace: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LM_MODELS", raising=False)
    shutil.copy(workplace / "play.txt", "play.txt")


@pytest.fixture
def model(workplace: Path) -> Path:
    """A sound model file that may be damaged."""
    Path("models").mkdir()
    return Path(shutil.copy(workplace / "models" / "chars.safetensors", "models/m.safetensors"))


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        (b"", (), ("text.txt", "empty")),
        (b"\n \n", ("--tokenizer", "whitespace", "--lines"), ("token",)),
        (b"one two three four", ("--n", "9", "--tokenizer", "whitespace", "--valid", "0"), ("9",)),
        (b"aaaaaaaaaaaa", ("--tokenizer", "char"), ("token",)),
        (b"fine so far \xff\xfe and on", (), ("text.txt", "byte 12", "--encoding")),
        (
            b"a b\nc <s> d\n",
            ("--tokenizer", "whitespace", "--lines"),
            ("text.txt", "line 2", "<s>"),
        ),
    ],
    ids=["empty", "blank", "shorter than the order", "one token", "not UTF-8", "literal <s>"],
)
def test_texts(
    lm_fork: Run, content: bytes, options: tuple[str, ...], said: tuple[str, ...]
) -> None:
    Path("text.txt").write_bytes(content)
    outcome = lm_fork(*TRAIN, "text.txt", *options, "--quiet")
    for part in said:
        assert part in outcome.error
    assert outcome.out == ""
    assert not Path("models/ngram.safetensors").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((*TRAIN, "none.txt"), "none.txt: no such file or corpus"),
        ((*TRAIN, "models"), "models: nothing to read but 1 file of other endings (.safetensors)"),
        ((*TRAIN, "play.txt", "--valid", "none.txt"), "none.txt: no such file or corpus"),
        ((*TRAIN, "play.txt", "--vocab", "none.txt"), "none.txt"),
        ((*TRAIN, "play.txt", "--like", "none"), "no model 'none'"),
        (("eval", "m", "--text", "none.txt"), "none.txt: no such file or corpus"),
        (("score", "m", "none.txt"), "none.txt: no such file or corpus"),
        (("sample", "none"), "no model 'none' in models (there are: m)"),
        (("convert", "none.arpa", "x.safetensors"), "no model 'none.arpa'"),
        (("convert", "m", "none/x.arpa"), "cannot write none/x.arpa"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_files_that_are_not_there(
    lm_fork: Run, model: Path, arguments: tuple[str, ...], said: str
) -> None:
    assert said in lm_fork(*arguments).error


def test_an_empty_pipe(lm_fork: Run, model: Path) -> None:
    assert "standard input is empty" in lm_fork(*TRAIN, stdin=b"").error
    assert "standard input is empty" in lm_fork("eval", "m", stdin=b"").error


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)


def foreign(path: Path) -> None:
    save_file({"weight": load_file(path)["text.vocabulary"]}, path)


def picture(path: Path) -> None:
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(1000))


def newer(path: Path) -> None:
    with safe_open(path, "np") as file:
        manifest = json.loads(file.metadata()["lmsuite"])
    save_file(load_file(path), path, metadata={"lmsuite": json.dumps(manifest | {"format": 1000})})


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (truncated, "was cut short"),
        (flipped, "is damaged"),
        (foreign, "no model of lmsuite"),
        (picture, "is no model file"),
        (newer, "newer lmsuite"),
    ],
)
def test_model_files(lm_fork: Run, model: Path, damage: Callable[[Path], None], said: str) -> None:
    damage(model)
    error = lm_fork("sample", "m").error
    assert said in error
    assert "models/m.safetensors" in error


ARPA = """\\data\\
ngram 1=4
ngram 2=2

\\1-grams:
-1.0\t<unk>
-99\t<s>\t-0.3
-0.5\t</s>
-0.6\ta\t-0.2

\\2-grams:
-0.3\t<s> a
-0.4\ta </s>

\\end\\
"""


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("ngram 1=4", "ngram 1=5", "line"),
        ("\\2-grams:\n-0.3\t<s> a\n-0.4\ta </s>\n\n", "", "line"),
        ("-0.4\ta </s>", "-0.4\t<s> a", "line 13"),
        ("-0.6\ta", "nan\ta", "line 9"),
        ("-0.6\ta", "minus\ta", "line 9"),
        ("</s>\n\n\\end\\\n", "", "line 13"),
        ("\\data\\\n", "", "line 1"),
    ],
    ids=["count", "section", "duplicate", "nan", "no number", "cut", "no \\data\\"],
)
def test_arpa_files(lm_fork: Run, old: str, new: str, line: str) -> None:
    assert old in ARPA
    Path("x.arpa").write_text(ARPA.replace(old, new), encoding="utf-8")
    error = lm_fork("convert", "x.arpa", "x.safetensors").error
    assert "x.arpa" in error
    assert line in error
    assert not Path("x.safetensors").exists()


def test_that_arpa_file_is_otherwise_sound(lm_fork: Run) -> None:
    Path("x.arpa").write_text(ARPA, encoding="utf-8")
    assert lm_fork("convert", "x.arpa", "x.safetensors").code == 0


def test_an_unwritable_models_folder(lm_fork: Run) -> None:
    Path("file").write_bytes(b"")
    assert "cannot make the folder file/models" in (
        lm_fork(*TRAIN, "play.txt", "-q", "--models", "file/models").error
    )
    if Path("/proc").is_dir():  # where not even root can make a file
        assert "cannot write in the folder /proc: " in (
            lm_fork(
                *TRAIN, "play.txt", "-q", "--smoothing", "witten-bell", "--models", "/proc"
            ).error
        )


def test_a_limit_on_file_sizes_while_saving_loses_nothing(lm_fork: Run, model: Path) -> None:
    resource = pytest.importorskip("resource")
    before = model.read_bytes()
    outcome = lm_fork(
        *(*TRAIN, "play.txt", "-q", "--name", "m", "--smoothing", "witten-bell"),
        before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
    )
    assert outcome.error == (
        "cannot write models/m.safetensors: File too large; nothing was changed; the new model is "
        "lost: it cannot be saved in the folder for temporary files either"
    )
    assert model.read_bytes() == before
    assert [path.name for path in Path("models").iterdir()] == [model.name]


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of 128 KB; needs the right to mount one."""
    folder = Path("disk")
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no right to mount a file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_while_saving_loses_nothing(
    lm_fork: Run, small_disk: Path, tmp_path: Path
) -> None:
    options = ("-q", "--smoothing", "witten-bell", "--models", small_disk)
    assert lm_fork(*TRAIN, "play.txt", "--n", "1", *options).code == 0
    before = {path.name: path.read_bytes() for path in small_disk.iterdir()}
    environment = {"TMPDIR": str(tmp_path)}
    outcome = lm_fork(*TRAIN, "play.txt", "--n", "5", *options, env=environment)
    assert "ngram.safetensors: No space left on device; nothing was changed" in outcome.error
    (rescued,) = tmp_path.glob("lmsuite-*")
    assert f"the new model is in {rescued} instead" in outcome.error
    assert lm_fork("eval", "--models", rescued).code == 0
    assert {path.name: path.read_bytes() for path in small_disk.iterdir()} == before
    assert lm_fork("eval", "--models", small_disk).code == 0


def test_a_text_with_carriage_returns_alone_is_read_in_lines(lm: Run, tmp_path: Path) -> None:
    path = tmp_path / "mac.txt"
    path.write_bytes(b"one two\rthree\r")
    outcome = lm("tokenize", str(path))
    assert outcome.out == "one two\nthree\n"
    [line] = outcome.err.splitlines()
    assert line.startswith("note: ") and "carriage returns are its only line ends" in line
