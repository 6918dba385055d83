"""Signals end every command within two seconds, and nothing is lost; --minutes is kept."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from hardening.command import Run, started
from lmsuite.store.artefact import load_model

PROMISED = 2.0  # seconds
SLOWNESS = 6.0  # what a machine that has other work may need beyond that


def interrupted(
    folder: Path, arguments: list[str], after: float, number: int
) -> tuple[int, str, float]:
    """How a command ended that was sent a signal after some seconds: code, stderr, seconds."""

    def heed() -> None:  # also where the tests run under nohup
        signal.signal(number, signal.SIG_DFL)

    with started(*arguments, cwd=folder, out=subprocess.DEVNULL, before=heed) as process:
        try:
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(after)
            began = time.monotonic()
            process.send_signal(number)
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()
    return process.returncode, err.decode(), time.monotonic() - began


def evenly_drawn(folder: Path, lines: int, words: int) -> str:
    """A text of lines of 12 words, drawn evenly: a large vocabulary, which takes a network long."""
    rng = random.Random(1)
    text = "".join(
        " ".join(f"w{rng.randrange(words)}" for _ in range(12)) + "\n" for _ in range(lines)
    )
    (folder / "even.txt").write_text(text)
    return "even.txt"


LONG = ["train", "rnn", "even.txt", "--epochs", "50", "--checkpoint-every", "1", "-q"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(
    ("arguments", "after"),
    [
        ([*LONG, "--threads", "1"], 0.5),
        pytest.param(LONG, 3.0, marks=pytest.mark.slow),
        (["train", "ngram", "even.txt", "--n", "9", "--tokenizer", "char", "-q"], 0.6),
        (["tokenize", "even.txt", "--tokenizer", "bpe", "--bpe-size", "20000"], 1.0),
    ],
    ids=["rnn-early", "rnn-late", "ngram", "bpe"],
)
def test_a_signal_ends_a_command_at_any_moment(
    tmp_path: Path, arguments: list[str], after: float, number: int
) -> None:
    evenly_drawn(tmp_path, 15_000, 40_000)
    code, err, seconds = interrupted(tmp_path, arguments, after, number)
    assert code == 128 + number
    assert seconds < PROMISED + SLOWNESS
    assert "Traceback" not in err
    assert not list(tmp_path.glob("models/*.safetensors"))


def test_a_training_that_a_signal_ended_goes_on_to_the_same_end(
    lm_process: Run, tmp_path: Path
) -> None:
    """The step that the signal met is abandoned, and made again when the training is resumed."""
    (tmp_path / "even.txt").write_text("the cat sat on the mat\nthe dog sat on the log\n" * 300)
    training = ["train", "rnn", "even.txt", "--epochs", "12", "--hidden", "64", "--threads", "2"]
    assert lm_process(*training, "-q", "--name", "whole", cwd=tmp_path).done
    for after in (1.0, 1.3, 1.6):
        try:
            code, err, _ = interrupted(
                tmp_path, [*training, "-q", "--name", "parts", "--resume"], after, signal.SIGTERM
            )
        except BaseException as error:  # pytest.raises: it had ended before
            if "DID NOT RAISE" not in str(error):
                raise
            break
        # While it still starts, the signal itself ends it; 0: it came to its end all the same.
        assert code in (143, -signal.SIGTERM, 0), err
        if code == 0:
            break
    lm_process(*training, "-q", "--name", "parts", "--resume", cwd=tmp_path)
    whole = load_model(tmp_path / "models" / "whole.safetensors")
    parts = load_model(tmp_path / "models" / "parts.safetensors")
    for name, array in whole.arrays().items():
        assert array.tobytes() == parts.arrays()[name].tobytes(), name


def test_a_training_that_makes_no_step_is_an_error_and_leaves_no_model(
    lm_process: Run, tmp_path: Path
) -> None:
    evenly_drawn(tmp_path, 3_000, 30_000)
    done = lm_process("train", "rnn", "even.txt", "--minutes", "0.001", cwd=tmp_path)
    assert done.code == 1
    assert "error: no step of the training fits into 0.001 minutes" in done.err
    assert "give more --minutes" in done.err
    assert not list(tmp_path.glob("models/*.safetensors"))


@pytest.mark.slow
def test_minutes_are_kept_where_the_vocabulary_is_large(lm_process: Run, tmp_path: Path) -> None:
    evenly_drawn(tmp_path, 15_000, 40_000)
    began = time.monotonic()
    done = lm_process("train", "rnn", "even.txt", "--minutes", "0.3", cwd=tmp_path)
    seconds = time.monotonic() - began
    assert seconds < 18 + SLOWNESS
    if done.code == 0:  # else the machine was too slow for a step, and said so
        assert json.loads(lm_process("info", "rnn", "--json", cwd=tmp_path).out)
        assert "a sample of" in done.out
    else:
        assert "no step of the training fits" in done.err
