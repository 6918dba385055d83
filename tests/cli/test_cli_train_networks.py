"""``lm train ffnn``, ``lm train rnn`` and ``lm check``, as a user meets them."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file, save_file

from hardening.command import Run, on_terminal, started
from lmsuite.models.ngram import NgramModel
from lmsuite.store.folder import ModelsFolder

TEXT = "the cat sat on the mat and the dog sat on the log.\nwhere had the dog sat?\n" * 40
SMALL = {
    "lstm": "rnn --cell lstm --hidden 40 --embed 8 --batch 16 --bptt 32 --weight-drop 0.2",
    "gru": "rnn --cell gru --hidden 40 --embed 8 --batch 16 --bptt 32 --dropout 0.2",
    "elman": "rnn --cell elman --hidden 64 --embed 8 --batch 16 --bptt 32 --layers 2",
    "ffnn": "ffnn --context 5 --embed 8 --hidden 100,50 --batch 512",
    "adaptive": "ffnn --context 5 --embed 8 --hidden 60 --batch 512 --cutoffs 8,12",
    "features": "rnn --hidden 30 --embed 8 --batch 16 --bptt 32 --ngram-features 3",
    "tied": "ffnn --context 5 --embed 30 --hidden 60,30 --batch 512 --tied",
}


@pytest.fixture
def text(tmp_path: Path) -> Path:
    file = tmp_path / "text.txt"
    file.write_text(TEXT)
    return file


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelsFolder:
    monkeypatch.setenv("LM_MODELS", str(tmp_path / "models"))
    return ModelsFolder(tmp_path / "models")


def arguments(network: str, text: Path, *more: str) -> list[str]:
    common = ["--tokenizer", "char", "--epochs", "4", "--threads", "2"]
    return ["train", *SMALL[network].split(), str(text), *common, *more]


def test_the_network_is_told_in_options_that_make_it_again(
    lm: Run, text: Path, folder: ModelsFolder
) -> None:
    for chosen in ("--tokenizer char", "--tied --embed 9 --hidden 9", "--layers 2 --variational"):
        own = ["--tokenizer", "char"] if "char" in chosen else []
        command = ("train", "rnn", text, *chosen.split(), "--epochs", "0.1", "--name", "one")
        told = lm(*command).done.err
        [options] = re.findall(r"^rnn: [\d,]+ parameters, (--.*)$", told, flags=re.M)
        assert lm("train", "rnn", text, *own, *options.split(), "--name", "two").done
        one, two = (load_file(folder.path(name)) for name in ("one", "two"))
        assert {name: array.tobytes() for name, array in one.items()} == {
            name: array.tobytes() for name, array in two.items()
        }


@pytest.mark.parametrize("network", SMALL)
def test_training_ends_with_what_to_know(network: str, text: Path, lm: Run) -> None:
    outcome = lm(*arguments(network, text, "--name", "m"))
    assert outcome.code == 0
    labels = [line.split()[0] for line in outcome.out.splitlines()]
    assert labels == ["trained", "validation", "saved", "next", "baseline"]
    assert "modified Kneser-Ney 7-gram, perplexity" in outcome.out
    assert "--epochs 4" in outcome.err  # what was chosen is shown
    assert 8 <= outcome.err.count("validation perplexity") <= 9  # untrained, and 7 or 8 times
    assert lm("eval", "m").code == 0
    assert lm("sample", "m", "the", "--max-tokens", "5").out.startswith("the")
    info = lm("info", "m").out
    assert "unknown tokens" in info
    assert "processes" in info


@pytest.mark.skipif(sys.platform == "win32", reason="no terminals of this kind")
def test_a_terminal_gets_a_bar(text: Path, lm_process: Run) -> None:
    drawn = on_terminal(lm_process, *arguments("lstm", text)).done.out.split("\r")
    assert any(
        all(part in line for part in ("% |", "left", "tokens/s", "loss", "perplexity", "lr"))
        for line in drawn
    )
    assert drawn[-1].startswith("100% |") or "100% |" in drawn[-2]


def test_quiet_is_quiet(text: Path, lm: Run) -> None:
    outcome = lm(*arguments("ffnn", text, "-q"))
    assert outcome.err == ""


def test_the_history_is_beside_the_model_and_the_checkpoint_gone(
    text: Path, lm: Run, folder: ModelsFolder
) -> None:
    lm(*arguments("gru", text, "--checkpoint-every", "0"))
    rows = [json.loads(line) for line in folder.history_path("rnn").read_text().splitlines()]
    assert rows[0]["step"] == 0
    assert rows[-1]["valid_perplexity"] < rows[0]["valid_perplexity"]
    assert not folder.checkpoint_path("rnn").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_says_how_to_go_on(
    number: signal.Signals, text: Path, folder: ModelsFolder
) -> None:
    words = arguments("lstm", text, "--epochs", "10000", "--patience", "0")
    process = started(*words)
    assert process.stderr is not None
    for line in process.stderr:
        if b"validation perplexity" in line:
            break
    os.killpg(process.pid, number)  # as Ctrl-C does: the workers too
    _, err = process.communicate(timeout=120)
    assert process.returncode == 128 + number
    last = err.decode().splitlines()[-1]
    assert last.startswith("error: interrupted at step ")
    assert last.endswith("lm " + " ".join(words) + " --resume")
    assert folder.checkpoint_path("rnn").exists()


def killed_and_resumed(network: str, text: Path, folder: ModelsFolder, delay: float) -> None:
    """Starts a training, kills it after `delay` seconds of progress, and resumes it to its end."""
    words = arguments(network, text, "--name", "killed", "--checkpoint-every", "0")
    process = started(*words)
    assert process.stderr is not None
    for line in process.stderr:
        if b"validation perplexity" in line:
            break
    time.sleep(delay)
    process.kill()
    process.communicate(timeout=120)
    finished = folder.path("killed").exists() and not folder.checkpoint_path("killed").exists()
    if not finished:  # it was not sooner done than killed
        resumed = started(*words, "--resume")
        _, err = resumed.communicate(timeout=120)
        assert resumed.returncode == 0, err.decode()


def assert_same(folder: ModelsFolder, one: str, other: str) -> None:
    first, second = load_file(folder.path(one)), load_file(folder.path(other))
    assert first.keys() == second.keys()
    for name, array in first.items():
        assert array.tobytes() == second[name].tobytes(), name
    curves = [
        [
            {k: v for k, v in json.loads(line).items() if k not in ("seconds", "tokens_per_second")}
            for line in folder.history_path(name).read_text().splitlines()
        ]
        for name in (one, other)
    ]
    assert curves[0] == curves[1]


@pytest.mark.parametrize("network", ["lstm", "ffnn"])
def test_killed_at_a_random_moment_it_resumes_to_the_bit(
    network: str, text: Path, folder: ModelsFolder, lm: Run
) -> None:
    assert lm(*arguments(network, text, "--name", "whole", "-q")).code == 0
    killed_and_resumed(network, text, folder, random.Random(network).uniform(0, 0.3))
    assert_same(folder, "whole", "killed")


@pytest.mark.slow
@pytest.mark.parametrize("network", SMALL)
def test_killed_at_five_random_moments_it_resumes_to_the_bit(
    network: str, text: Path, folder: ModelsFolder, lm: Run
) -> None:
    began = time.monotonic()
    more = ["--name", "whole", "-q", "--checkpoint-every", "0"]
    assert lm(*arguments(network, text, *more)).code == 0
    longest = time.monotonic() - began
    rng = random.Random(network)
    for _ in range(5):
        killed_and_resumed(network, text, folder, rng.uniform(0, longest))
        assert_same(folder, "whole", "killed")
        folder.path("killed").unlink()


def test_resume_of_a_finished_training_is_refused(text: Path, lm: Run) -> None:
    lm(*arguments("ffnn", text, "-q"))
    again = lm(*arguments("ffnn", text, "-q", "--resume"))
    assert "finished; without --resume it is trained anew" in again.error


def test_resume_at_the_very_start_begins(text: Path, lm: Run) -> None:
    outcome = lm(*arguments("ffnn", text, "--resume"))
    assert outcome.code == 0
    assert "beginning at the start" in outcome.err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["ffnn", "--hidden", "0"], "each of --hidden must be at least 1, not 0"),
        (["ffnn", "--hidden", "a,b"], "--hidden takes sizes"),
        (["ffnn", "--context", "0"], "--context must be at least 1, not 0"),
        (["rnn", "--hidden", "0"], "--hidden must be at least 1, not 0"),
        (["rnn", "--layers", "0"], "--layers must be at least 1"),
        (["rnn", "--tied", "--hidden", "8", "--embed", "4"], "--tied needs --embed equal"),
        (["rnn", "--dropout", "1"], "--dropout must be at least 0 and below 1, not 1"),
        (["rnn", "--batch", "0"], "--batch must be at least 1, not 0"),
        (["rnn", "--lr", "0"], "--lr must be above 0, not 0"),
        (["rnn", "--threads", "0"], "--threads must be at least 1, not 0"),
        (["rnn", "--epochs", "0"], "--epochs must be above 0"),
        (["rnn", "--minutes", "nan"], "--minutes must be finite and above 0, not nan"),
        (["rnn", "--clip", "-1"], "--clip must be at least 0, not -1"),
        (["rnn", "--warmup", "1"], "--warmup must be at least 0 and below 1, not 1"),
    ],
)
def test_options_out_of_range_are_wrong_usage(
    words: list[str], complaint: str, text: Path, lm: Run
) -> None:
    outcome = lm("train", *words, text, "-q")
    assert outcome.code == 2
    assert outcome.only_line.startswith(complaint)


def test_a_text_of_one_token_over_and_over_is_refused(tmp_path: Path, lm: Run) -> None:
    (tmp_path / "a.txt").write_text("a" * 1000)
    outcome = lm("train", "rnn", tmp_path / "a.txt", "--tokenizer", "char", "-q")
    assert "nothing to predict" in outcome.error


@pytest.mark.parametrize("kind", ["rnn", "ffnn"])
def test_a_text_of_a_line_trains(kind: str, tmp_path: Path, lm: Run) -> None:
    (tmp_path / "a.txt").write_text("to be or not to be\n")
    outcome = lm("train", kind, tmp_path / "a.txt", "--tokenizer", "char", "-q")
    assert outcome.code == 0


def test_check_passes_a_sound_model_and_fails_a_broken_one(
    text: Path, lm: Run, folder: ModelsFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm(*arguments("gru", text, "-q"))
    assert lm("check", "rnn").code == 0
    findings = json.loads(lm("check", "rnn", "--json").out)
    assert {finding["passed"] for finding in findings} == {True}
    assert len(findings) == 9
    from lmsuite.nn.layers import Linear

    backward = Linear.backward
    monkeypatch.setattr(Linear, "backward", lambda *given, **how: 1.01 * backward(*given, **how))
    broken = lm("check", "rnn")
    assert broken.code == 1
    assert "FAILED" in broken.out
    assert "fails 5 of 9 checks: gradient of embedding.table" in broken.err


def words(count: int) -> str:
    """A text of so many words, as frequent as words are."""
    drawn = random.Random(1).choices(
        range(count), [1 / (rank + 2.7) for rank in range(count)], k=3 * count
    )
    return " ".join(f"w{rank}" for rank in [*range(count), *drawn])


@pytest.mark.parametrize(
    ("options", "softmax"),
    [
        ("ffnn", "adaptive softmax: 500 tokens, and clusters of"),
        ("rnn", "adaptive softmax: 500 tokens, and clusters of"),
        ("ffnn --softmax full", "full softmax"),
        ("ffnn --max-vocab 6000", "full softmax"),
        ("ffnn --max-vocab 6000 --softmax adaptive", "adaptive softmax: 500 tokens"),
        ("rnn --untied --cutoffs 1500,5000", "1,500 tokens, and clusters of 3,500 by 16, "),
    ],
)
def test_the_softmax_is_chosen_by_its_cost(
    options: str, softmax: str, tmp_path: Path, lm: Run
) -> None:
    kind, *more = options.split()
    (tmp_path / "words").write_text(words(9000))
    sizes = ["--embed", "16", "--hidden", "16", "--tokenizer", "whitespace", "--epochs", "0.05"]
    batch = ["--batch", "256"] if kind == "ffnn" else ["--batch", "64"]
    outcome = lm("train", kind, tmp_path / "words", *sizes, *batch, *more, "--name", "m")
    assert outcome.code == 0, outcome.err
    assert ("--softmax adaptive --cutoffs" in outcome.err) == ("full" not in softmax)
    info = json.loads(lm("info", "m", "--json").out)
    assert info["output layer"].startswith(softmax) or softmax in info["output layer"]
    assert ("softmax" in info["settings"]) == ("full" not in softmax)
    assert lm("sample", "m", "--max-tokens", "3").code == 0


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ("--softmax full --cutoffs 8", "--softmax full has no --cutoffs"),
        ("--cutoffs 9,8", "--cutoffs must be at most 8 rising numbers, not 9,8"),
        ("--cutoffs 2", "each of --cutoffs must be at least 3, not 2"),
        ("--cutoffs 500", "--cutoffs must be below "),
        ("--softmax adaptive", "is too small to choose clusters for --softmax adaptive"),
    ],
)
def test_cut_offs_that_do_not_fit_are_refused(
    options: str, complaint: str, text: Path, lm: Run
) -> None:
    outcome = lm(*arguments("ffnn", text, *options.split(), "-q"))
    assert outcome.code == 2
    assert complaint in outcome.only_line


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--tied --embed 8 --hidden 9", "--tied needs --embed equal to the last of --hidden"),
        ("--tied --embed 8 --hidden 8 --direct", "--tied leaves no room for --direct"),
    ],
)
def test_embeddings_that_cannot_be_tied_are_refused(
    options: str, said: str, text: Path, lm: Run
) -> None:
    outcome = lm("train", "ffnn", str(text), *options.split(), "--epochs", "1")
    assert outcome.code == 2
    assert said in outcome.only_line


def test_what_is_tied_and_dropped_is_told(text: Path, lm: Run) -> None:
    """A size that the user gives and that cannot be tied undoes the recipe's choice."""
    common = (str(text), "--epochs", "0.1", "--tokenizer", "word", "-q")
    more = [f"w{n}" for n in range(600)]  # a vocabulary of words, which the recipe ties
    text.write_text(f"{' '.join(more)}\n{text.read_text()}\n")
    assert lm("train", "ffnn", *common, "--hidden", "12").code == 0
    assert "12 (tied to the output)" in lm("info", "ffnn").out
    assert lm("train", "ffnn", *common, "--hidden", "12", "--embed", "6").code == 0
    assert "tied to the output" not in lm("info", "ffnn").out
    assert lm("train", "rnn", *common, "--hidden", "12", "--weight-drop", "0.25").code == 0
    assert "weight_drop 0.25" in lm("info", "rnn").out


def test_check_of_an_ngram_model_sums_its_probabilities(text: Path, lm: Run) -> None:
    lm("train", "ngram", text, "-q")
    assert "distributions sum to one" in lm("check", "ngram").out


def test_check_compares_scores_with_those_of_the_steps(
    text: Path, lm: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of every model, one without probabilities too."""
    lm("train", "ngram", text, "--smoothing", "stupid-backoff", "-q")
    [finding] = json.loads(lm("check", "ngram", "--json").out)
    assert finding["what"] == "scores are those of the steps"
    assert finding["passed"]
    score = NgramModel.score
    monkeypatch.setattr(NgramModel, "score", lambda self, ids: score(self, ids) - 0.001)
    broken = lm("check", "ngram")
    assert broken.code == 1
    assert "fails 1 of 1 checks: scores are those of the steps" in broken.err


def test_a_damaged_checkpoint_is_refused(text: Path, lm: Run, folder: ModelsFolder) -> None:
    folder.root.mkdir()
    checkpoint = folder.checkpoint_path("ffnn")
    checkpoint.write_bytes(b"no checkpoint at all")
    assert "is no model file" in lm(*arguments("ffnn", text, "-q", "--resume")).error
    save_file(load_file_of(text, lm, folder), checkpoint)
    assert "no checkpoint of a training" in lm(*arguments("ffnn", text, "-q", "--resume")).error


def load_file_of(text: Path, lm: Run, folder: ModelsFolder) -> dict[str, Any]:
    lm(*arguments("ffnn", text, "-q", "--name", "other"))
    return load_file(folder.path("other"))
