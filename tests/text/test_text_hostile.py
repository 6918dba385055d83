"""Whatever text, vocabulary, config, prompt or argument is fed to ``lm``: a result or one line.

A short run of each fuzzer here, a longer one among the slow tests; those of hundreds of thousands
are typed: ``python -m hardening.fuzz_corpora --runs 100000``.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from random import Random
from types import ModuleType

import pytest

from hardening import (
    fuzz_arguments,
    fuzz_config,
    fuzz_corpora,
    fuzz_forms,
    fuzz_prompts,
    fuzz_vocabulary,
)
from hardening.command import Outcome, lm_process
from hardening.fuzzing import PATIENT, Target, attack
from hardening.in_process import RefusedError, check, lm, lm_must
from hardening.texts import ENCODINGS, raw
from lmsuite.errors import LmError
from lmsuite.files.plain import read_text
from lmsuite.text.encoding import TextEncoder, TextSettings
from lmsuite.text.settings import TOKENIZERS
from lmsuite.training.baseline import Baseline

FUZZERS = [
    *(fuzz_arguments, fuzz_config, fuzz_corpora, fuzz_forms, fuzz_prompts, fuzz_vocabulary),
]
Inputs = Callable[[Random], Iterator[bytes]]


def _called(module: object) -> str:
    return getattr(module, "__name__", "").rpartition("fuzz_")[2]


def _no_failures(target: Target, make_inputs: Inputs, count: int, seed: int) -> None:
    report = attack(target, islice(make_inputs(Random(seed)), count), seconds=PATIENT)
    assert report.inputs == count
    assert not report.failures
    assert report.accepted > count // 50, "the inputs are too bad to get anywhere"


@pytest.mark.parametrize("fuzzer", FUZZERS, ids=_called)
def test_fifty_hostile_inputs(fuzzer: ModuleType) -> None:
    _no_failures(fuzzer.target, fuzzer.make_inputs, 50, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("fuzzer", FUZZERS, ids=_called)
def test_three_hundred_hostile_inputs(fuzzer: ModuleType) -> None:
    _no_failures(fuzzer.target, fuzzer.make_inputs, 300, seed=2)


@pytest.mark.slow
def test_small_files_that_hold_much_are_refused() -> None:
    files = fuzz_forms.bombs()
    report = attack(
        fuzz_forms.target, [bytes([form, 16]) + data for form, data in files], seconds=PATIENT
    )
    assert not report.failures
    assert report.refused == len(files)


def _lm(*arguments: str | bytes, stdin: bytes | None = None) -> Outcome:
    """``lm`` as a process of its own; it may say no, but in one line."""
    ended = lm_process(*map(os.fsdecode, arguments), stdin=stdin)
    check(ended)
    return ended


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder but for ``text.txt``."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("LM_MODELS", raising=False)
    Path("text.txt").write_text("the king of the hill\nis not the queen of it\n" * 20)
    return folder


@pytest.mark.slow
def test_bytes_in_the_arguments_of_real_processes(here: Path) -> None:
    rng = Random(1)
    train = ("train", "ngram", "text.txt", "--n", "2", "--smoothing", "witten-bell")
    assert _lm(*train).code == 0
    codes = set()
    for _ in range(8):
        data = raw(rng, 8).replace(b"\0", b"")[:2000]
        codes |= {
            _lm("sample", "ngram", "--max-tokens", "3", "--", data).code,
            _lm("score", "ngram", stdin=data).code,
            _lm("sample", "--", data).code,
            _lm(*train, "--name", data).code,
        }
    assert codes == {0, 1, 2}


@pytest.mark.slow
def test_command_lines_of_real_processes(here: Path) -> None:
    fuzz_arguments.prepared()
    for data in islice(fuzz_arguments.make_inputs(Random(3)), 25):
        _lm(*data.split(b"\0")[:-1])


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (f"n = {'[' * 5000}", "nested too deep"),
        (f"n = {'9' * 5000}", "is not TOML"),
        (f"n = 0x{'f' * 5000}", "more than 64 bits"),
        (f"prune = [0, 0x{'f' * 5000}]", "more than 64 bits"),
        ("prune = [[0, 1]]", "a list within a list"),
        ("prune = [{a = 1}]", "is a table"),
        ("n = '\\u0000'", "--n"),
        ('vocab = "\\u0000"', "no name of a file"),
        ('name = "a\\u0000b"', "is no name for a model"),
        ('name = "a\\nb"', "is no name for a model"),
        (f"memory = '{'9' * 400}G'", ""),
        ("hidden = 1000000000", "GB to be trained"),
        (f"hidden = {(1 << 63) - 1}", "GB to be trained"),
        (f"hidden = '{'9' * 400}'", "must be finite"),
        ("layers = 1000000000", "--layers"),
        ("tokenizer = 'bpe'\nbpe-size = 1000000000", ""),
        (f"tokenizer = 'bpe'\nbpe-size = {(1 << 63) - 1}", ""),
    ],
    ids=lambda value: value[:20],
)
def test_configs_that_once_were_too_much(here: Path, config: str, said: str) -> None:
    Path("config.toml").write_text(config, encoding="utf-8")
    network = ("layers", "hidden")
    kind = ["rnn"] if config.startswith(network) else ["ngram", "--smoothing=witten-bell"]
    if config.startswith("memory"):
        kind = ["ngram", "--smoothing=kneser-ney", "--discount=0.5"]
    arguments = ["train", *kind, "text.txt", "--config", "config.toml", "--models", "m"]
    if said:
        with pytest.raises(RefusedError, match=said):
            lm(arguments)
    else:
        lm_must(arguments)


def test_a_temperature_next_to_zero_takes_the_most_probable(here: Path) -> None:
    # No two tokens are equally probable anywhere: of equals, only 0 always takes the first.
    text = "the cat sat here the cat sat here the dog sat here " * 3
    (here / "unequal.txt").write_text(text, "utf-8")
    lm_must(["train", "ngram", "unequal.txt", "--name", "unequal", "--smoothing", "witten-bell"])
    options = ["sample", "unequal", "the", "--max-tokens", "9", "--temp"]
    assert lm_must([*options, "1e-308"]).out == lm_must([*options, "0"]).out


@pytest.mark.parametrize("encoding", ENCODINGS, ids=ascii)
def test_every_encoding_reads_or_says_no(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "text"
    read = 0
    for content in (b"the king", b"\xff\xfe\x00", b"\x1b$B", "é\u2028".encode(), b"+AG-"):
        file.write_bytes(content)
        try:
            assert isinstance(read_text(file, encoding), str)
            read += 1
        except LmError as error:
            assert str(error)
    assert read or encoding not in ("utf-8", "latin-1")


def test_want_of_memory_is_a_failure_unless_it_was_asked_for(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("lmsuite.text.encoding.TextEncoder.train", refuse)
    (here / "large.toml").write_text("bpe-size = 100000\n")
    for little in (["tokenize", "text.txt"], ["train", "ngram", "text.txt"]):
        with pytest.raises(AssertionError, match="not enough memory"):
            lm(little)
    for much in (
        ["tokenize", "text.txt", "--bpe-size", "100000"],
        ["train", "rnn", "text.txt", "--hidden=100000"],
        ["train", "ngram", "text.txt", "--config", "large.toml"],
    ):
        with pytest.raises(RefusedError):
            lm(much)


ENDLESS = (
    *("a", "a-", "'", "_", "-", ".", "1,", "A.", "e\u0301", "\u0301", "😀", '"', "&", "[", "( "),
    *(" ", "\t", "\r", "\x1c", "ab ", "can not ", "gonna ", "'tis", "$"),
)
"""What a line without end may be made of."""


@pytest.mark.slow
@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_no_line_takes_a_tokenizer_long(tokenizer: str) -> None:
    texts = [unit * (100_000 // len(unit.encode())) for unit in ENDLESS]
    report = attack(lambda data: _there_and_back(data.decode(), tokenizer), map(str.encode, texts))
    assert report.inputs == len(ENDLESS)
    assert not report.failures


def _there_and_back(text: str, tokenizer: str) -> None:
    encoder, ids = TextEncoder.train(text, TextSettings(tokenizer=tokenizer))
    decoded = encoder.decode(ids)
    assert decoded == text or not encoder.lossless


def test_a_word_without_end_is_learned_from_in_pieces() -> None:
    report = attack(lambda data: _there_and_back(data.decode(), "bpe"), [b"a" * 200_000])
    assert not report.failures


def test_an_infinite_perplexity_can_be_compared() -> None:
    baseline = Baseline(3, 20.0, 10.0, oov=1)
    assert baseline.against(math.inf, math.inf).endswith("the network's is infinite (infinite)")
    assert baseline.against(10.0, 9.0).endswith("50.0% lower (10.0% lower)")
    assert Baseline(3, math.inf, math.inf, oov=0).against(10.0, 10.0).endswith("is 10.00")
