"""Model files, checkpoints, learning curves and ARPA files, damaged by machines.

A hundred inputs of every format, and all that ever brought something down; the long runs are
``python -m hardening.fuzz_models`` and its like (`fuzzing` says what counts as a failure).
"""

from __future__ import annotations

import ctypes
import json
import os
import pickle
import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from random import Random

import numpy as np
import pytest

from hardening import fuzz_arpa, fuzz_checkpoints, fuzz_counts, fuzz_models
from hardening.command import lm_process
from hardening.fuzzing import PATIENT, Report, attack
from hardening.mutators import Safetensors
from lmsuite.errors import LmError, ModelFileError, UsageError
from lmsuite.mapped_ngram import MappedNgram
from lmsuite.models.cache import CacheModel, CacheSettings
from lmsuite.models.feedforward import FeedForward, FeedForwardSettings
from lmsuite.models.mixture import MOST_LEVELS, MOST_MODELS, Mixture
from lmsuite.models.ngram import NgramModel
from lmsuite.models.recurrent import Recurrent, RecurrentSettings
from lmsuite.store.artefact import load_model, save_model
from lmsuite.store.history import read_history
from lmsuite.text.encoding import TextEncoder, TextSettings
from lmsuite.training.checkpoint import ENTRY

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the fuzzers need Linux")

INPUTS = 100


def clean(report: Report) -> Report:
    """The report, if it has no failures."""
    shown = [f"{outcome.reason}\n{outcome.details}" for _, outcome in report.failures]
    assert not report.failed, "\n".join(shown)
    return report


@pytest.mark.slow
@pytest.mark.parametrize("fuzzer", [fuzz_models, fuzz_checkpoints, fuzz_arpa, fuzz_counts])
def test_damaged_files_are_refused_in_a_sentence_or_work(fuzzer: object) -> None:
    """No traceback, no warning, no NaN, no hang, no gigabyte, no file elsewhere, no code run."""
    make: Callable[[Random], Iterable[bytes]] = fuzzer.make_inputs  # type: ignore[attr-defined]
    inputs = islice(make(Random(1)), INPUTS)
    report = clean(attack(fuzzer.target, inputs, seconds=PATIENT))  # type: ignore[attr-defined]
    assert report.inputs == INPUTS
    assert report.accepted > INPUTS // 50  # the damage reaches what lies behind the first check
    assert report.refused > INPUTS // 5


@pytest.mark.parametrize(
    ("fuzzer", "sound"),
    [
        (fuzz_models, fuzz_models.sound_files),
        (fuzz_checkpoints, fuzz_checkpoints.sound_inputs),
        (fuzz_arpa, fuzz_arpa.sound_files),
        (fuzz_counts, fuzz_counts.sound_files),
    ],
)
def test_what_is_damaged_was_sound(fuzzer: object, sound: Callable[[], tuple[bytes, ...]]) -> None:
    """Every file that the fuzzers start from is accepted as it is."""
    report = clean(attack(fuzzer.target, sound()))  # type: ignore[attr-defined]
    assert report.accepted == report.inputs


@pytest.mark.slow
@pytest.mark.parametrize("fuzzer", [fuzz_models, fuzz_checkpoints, fuzz_arpa, fuzz_counts])
def test_claims_of_great_size_are_refused_before_they_are_believed(fuzzer: object) -> None:
    """Files below 1 MB that claim 10^12 n-grams, 10^9 layers or an endless nesting."""
    bombs: tuple[bytes, ...] = fuzzer.bombs()  # type: ignore[attr-defined]
    assert max(map(len, bombs)) < 1_000_000
    report = clean(attack(fuzzer.target, bombs, seconds=PATIENT))  # type: ignore[attr-defined]
    assert report.inputs == len(bombs)


@pytest.mark.parametrize("command", ["info", "check", "score", "convert"])
def test_the_real_command_refuses_in_one_line(command: str, tmp_path: Path) -> None:
    """A file that claims 10^9 layers, given to a process of its own that may have 1 GB."""
    claims = {m.kind: m for m in fuzz_models.models()}["rnn"]
    file = Safetensors.parsed(fuzz_models.saved(claims), "lmsuite")
    file.metadata["settings"]["layers"] = 10**9
    (tmp_path / "m.safetensors").write_bytes(file.built())
    done = lm_process(
        *(command, "m.safetensors", *["out.arpa"] * (command == "convert")),
        stdin=b"the cat\n",
        cwd=tmp_path,
        env={"OPENBLAS_NUM_THREADS": "1"},
        before=lambda: resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30)),
    )
    assert done.out == ""
    assert "the setting 'layers' must be at least 1 and at most 1000" in done.error
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]


# --- What the driver itself must notice -------------------------------------------------------


def _hangs(_: bytes) -> None:
    while True:
        pass


def _sleeps(_: bytes) -> None:
    time.sleep(60)


def _takes_memory(_: bytes) -> None:
    np.zeros(10**9)


def _writes_elsewhere(_: bytes) -> None:
    Path("/tmp/lmsuite-was-here").write_bytes(b"")


def _writes_elsewhere_in_secret(_: bytes) -> None:
    try:
        Path("../was-here").write_bytes(b"")
    except BaseException:
        return


def _moves_away(_: bytes) -> None:
    Path("here").write_bytes(b"")
    Path("here").rename("/tmp/lmsuite-was-here")


def _dies(_: bytes) -> None:
    ctypes.string_at(0)


def _exits(_: bytes) -> None:
    os._exit(0)


def _starts_a_process(_: bytes) -> None:
    os.system("true")


def _unpickles(_: bytes) -> None:
    pickle.loads(pickle.dumps(os.getcwd))


def _evaluates(data: bytes) -> None:
    eval(data)


def _raises(_: bytes) -> None:
    raise ValueError("of the program's own")


def _refuses_without_a_word(_: bytes) -> None:
    raise LmError("")


@pytest.mark.parametrize(
    ("target", "noticed"),
    [
        (_hangs, "more than 0.3 s"),
        (_sleeps, "more than 0.3 s"),
        (_takes_memory, "MemoryError"),
        (_writes_elsewhere, "outside of the folder"),
        (_writes_elsewhere_in_secret, "outside of the folder"),
        (_moves_away, "outside of the folder"),
        (_dies, "SIGSEGV"),
        (_exits, "exit code 0"),
        (_starts_a_process, "os.system"),
        (_unpickles, "pickle"),
        (_evaluates, "code was run"),
        (_raises, "ValueError"),
        (_refuses_without_a_word, "without a message"),
    ],
)
def test_a_fuzzer_notices(target: Callable[[bytes], None], noticed: str) -> None:
    """Whatever an input must not bring about is reported; the next input is tried all the same."""
    seconds = 0.3 if target in (_hangs, _sleeps) else 5.0
    report = attack(target, [b"1 + 1", b"2"], seconds=seconds)
    assert (report.inputs, report.failed, report.accepted) == (2, 2, 0)
    assert noticed in report.failures[0][1].reason
    assert report.failures[0][0] == b"1 + 1"


def test_a_fuzzer_counts() -> None:
    """What returns is accepted, what raises an LmError refused; the folder may be written to."""

    def target(data: bytes) -> None:
        Path("file").write_bytes(data)
        if data == b"bad":
            raise LmError("it is bad")

    report = attack(target, [b"good", b"bad", b"good"])
    assert (report.accepted, report.refused, report.failed) == (2, 1, 0)


def test_mutators_put_the_checksum_right(tmp_path: Path) -> None:
    """A file taken apart and built again is accepted; so what is refused is so for its damage."""
    files = [Safetensors.parsed(data, "lmsuite") for data in fuzz_models.sound_files()]
    for file in files:
        path = tmp_path / "again.safetensors"
        path.write_bytes(file.built())
        load_model(path)
    flipped = files[0].copy()
    flipped.arrays["model.order1.log_probs"][3] -= 0.125
    assert clean(attack(fuzz_models.target, [flipped.built()])).refused == 1
    flipped.metadata["checksum"] = flipped.checksum()
    assert clean(attack(fuzz_models.target, [flipped.built()])).accepted == 1


# --- What fell once ---------------------------------------------------------------------------


def words() -> TextEncoder:
    return TextEncoder.train(fuzz_models.TEXT, TextSettings())[0]


@pytest.mark.parametrize("half_life", [1e-4, 5e-324, 1e17, 1e300])
def test_a_half_life_without_decay_is_refused(half_life: float) -> None:
    """Nothing is left after one token, or everything for ever: then 0/0 would be a probability."""
    with pytest.raises(UsageError, match="half_life"):
        CacheSettings(half_life)


def test_a_mixture_is_of_few_models() -> None:
    """A cache takes a vocabulary's width of memory and nothing in the file."""
    text = words()
    cache = CacheModel(text, CacheSettings())
    ngram = fuzz_models.katz()
    with pytest.raises(UsageError, match="one cache"):
        Mixture({"a": cache, "b": cache}, [1, 1])
    many = {str(k): ngram for k in range(MOST_MODELS)}
    assert len(Mixture(many, np.ones(MOST_MODELS)).members) == MOST_MODELS
    with pytest.raises(UsageError, match=f"of {MOST_MODELS + 1} models"):
        Mixture(many | {"one more": ngram}, np.ones(MOST_MODELS + 1))
    model = Mixture({"a": ngram, "b": ngram}, [1, 1])
    for _ in range(MOST_LEVELS - 1):
        model = Mixture({"a": ngram, "b": model}, [1, 1])
    with pytest.raises(UsageError, match="levels"):
        Mixture({"a": ngram, "b": model}, [1, 1])


def test_weights_whose_sum_overflows_are_refused() -> None:
    ngram = fuzz_models.katz()
    with pytest.raises(UsageError, match="weights"):
        Mixture({"a": ngram, "b": ngram}, [1e308, 1e308])


def networks() -> Iterator[FeedForward | Recurrent]:
    text, rng = words(), np.random.default_rng(1)
    for activation in ("tanh", "relu"):
        settings = FeedForwardSettings(2, 3, (4, 3), activation, direct=True)
        yield FeedForward.initial(text, settings, rng)
    for cell in ("lstm", "gru", "elman"):
        yield Recurrent.initial(text, RecurrentSettings(cell, 2, 3, 3), rng)


@pytest.mark.parametrize("network", list(networks()), ids=lambda model: str(model.settings)[:40])
def test_weights_that_overflow_are_refused(network: FeedForward | Recurrent) -> None:
    """Every weight as large as a float32 allows would make probabilities that are no numbers."""
    for name, array in network.arrays().items():
        damaged = dict(network.arrays()) | {name: np.full_like(array, 3e38)}
        with pytest.raises(ModelFileError, match="overflow"):
            type(network).restore(network.encoder, network.settings_dict(), damaged)


@pytest.mark.parametrize("network", list(networks()), ids=lambda model: str(model.settings)[:40])
def test_large_weights_that_do_not_overflow_are_used(network: FeedForward | Recurrent) -> None:
    """A bound that is reached gives probabilities still."""
    power = 1 / (len(network.arrays()) + 1)
    damaged = {
        name: np.sign(array) * np.float32(1e34**power) for name, array in network.arrays().items()
    }
    restored = type(network).restore(network.encoder, network.settings_dict(), damaged)
    scores = restored.score(network.encoder.encode(fuzz_models.OTHER))
    assert not np.isnan(scores).any()


def test_a_mapped_ngram_gives_no_probability_that_is_no_number(tmp_path: Path) -> None:
    file = Safetensors.parsed(fuzz_models.sound_files()[0], "lmsuite")
    file.arrays["model.order1.log_probs"][:] = np.nan
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(file.built())
    with pytest.raises(ModelFileError, match="no number"):
        MappedNgram(str(path)).score(["zebra"])


def test_an_arpa_file_may_lack_many_ngrams_but_not_nearly_all(tmp_path: Path) -> None:
    """One n-gram of 90 different words has 4,004 others within; 30 such files fit in 1 MB."""
    path = tmp_path / "m.arpa"
    path.write_bytes(fuzz_arpa.one_long(30, 30))
    assert NgramModel.from_arpa(path).table.sizes[28] == 2
    path.write_bytes(fuzz_arpa.one_long(101, 1))
    with pytest.raises(ModelFileError, match="more than 100 words"):
        NgramModel.from_arpa(path)


def parts(kind: str) -> Safetensors:
    """The file of the first model of this kind, taken apart."""
    files = (Safetensors.parsed(data, "lmsuite") for data in fuzz_models.sound_files())
    return next(file for file in files if file.metadata["kind"] == kind)


def refusal(data: bytes, path: Path) -> str:
    """What is said of a model file that is refused."""
    path.write_bytes(data)
    with pytest.raises(ModelFileError) as refused:
        load_model(path)
    return str(refused.value)


@pytest.mark.parametrize(
    ("kind", "setting", "value"),
    [
        ("rnn", "unknown_share", "much"),
        ("rnn", "unknown_share", float("nan")),
        ("rnn", "layers", 2.0),
        ("rnn", "tied", "no"),
        ("ffnn", "hidden", [4, 3.0]),
        ("ffnn", "direct", 1),
        ("ngram", "k", 10**400),
        ("ngram", "order", True),
        ("ngram", "prune", [0, "1"]),
        ("cache", "half_life", 10**400),
        ("cache", "half_life", True),
    ],
)
def test_a_setting_of_another_type_is_refused(
    kind: str, setting: str, value: object, tmp_path: Path
) -> None:
    """Even one that would do until somebody prints it."""
    file = parts(kind)
    file.metadata["settings"][setting] = value
    assert f"the setting '{setting}' must be" in refusal(file.built(), tmp_path / "m.safetensors")


def test_a_back_off_weight_beyond_all_numbers_is_refused(tmp_path: Path) -> None:
    """Else a probability overflows where it is drawn from."""
    file = parts("ngram")
    file.arrays["model.order2.log_backoffs"][0] = 3e38
    file.metadata["checksum"] = file.checksum()
    assert "has a value that is not a weight" in refusal(file.built(), tmp_path / "m.safetensors")


def test_an_order_without_arrays_is_refused_before_its_cut_offs_are_listed(tmp_path: Path) -> None:
    file = parts("ngram")
    file.metadata["settings"]["order"] = 10**12
    assert "no arrays for its order" in refusal(file.built(), tmp_path / "m.safetensors")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("split", 0.1),
        ("split", "nan"),
        ("split", "-1"),
        ("sha256", 7),
        ("perplexity", "low"),
        ("perplexity", float("-inf")),
        ("cross_entropy", [1.0]),
        ("bits_per_char", 10**400),
        ("tokens", True),
    ],
)
def test_a_validation_result_of_another_type_is_refused(
    name: str, value: object, tmp_path: Path
) -> None:
    """Else it is the table of models that trips over it."""
    file = parts("cache")
    file.metadata["provenance"]["validation"][name] = value
    message = refusal(file.built(), tmp_path / "m.safetensors")
    assert "damaged manifest: in 'provenance', in 'validation', " in message


def test_a_vocabulary_that_its_tokenizer_cannot_write_is_refused(tmp_path: Path) -> None:
    """The tokens of bpe are bytes by other letters; of others no text could be made."""
    files = (Safetensors.parsed(data, "lmsuite") for data in fuzz_models.sound_files())
    file = next(f for f in files if f.metadata["text"]["tokenizer"]["name"] == "bpe")
    tokens = bytes(file.arrays["text.vocabulary"]).split(b"\xff")
    tokens[5] = "猫".encode()
    file.arrays["text.vocabulary"] = np.frombuffer(b"\xff".join(tokens), np.uint8)
    file.metadata["checksum"] = file.checksum()
    assert "no token of the tokenizer bpe" in refusal(file.built(), tmp_path / "m.safetensors")


@pytest.mark.parametrize("places", [{}, [], [0], [0, 8, 8], {"0": 0}, [0, 10**4299], [-8, 0]])
def test_arrays_in_no_place_are_refused(places: object, tmp_path: Path) -> None:
    file = parts("cache")
    told = file.described() | {"x": {"dtype": "U8", "shape": [0], "data_offsets": places}}
    assert "is damaged" in refusal(file.built(told=told), tmp_path / "m.safetensors")


def test_a_mixture_whose_weights_are_not_normalised_is_the_same_after_saving(
    tmp_path: Path,
) -> None:
    """To normalise twice can change the last bit."""
    ngram = fuzz_models.katz()
    path = tmp_path / "m.safetensors"
    for weights in ([0.2, 0.3, 0.2], [1.5, 1.2, 0.3], [0.7, 0.1, 0.1]):
        model = Mixture({"a": ngram, "b": ngram, "c": ngram}, weights)
        save_model(path, model)
        again = load_model(path)
        assert isinstance(again, Mixture)
        assert np.array_equal(again.weights, model.weights)


@pytest.mark.parametrize(
    ("field", "value"),
    [("valid_loss", float("inf")), ("seconds", "1"), ("step", 1.5), ("step", -1), ("epoch", None)],
)
def test_a_row_of_a_learning_curve_has_finite_numbers(
    field: str, value: object, tmp_path: Path
) -> None:
    rows = [json.loads(line) for line in fuzz_checkpoints.curve().splitlines()]
    rows[2][field] = value
    path = tmp_path / "m.history.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(ModelFileError, match="line 3: no row of a learning curve"):
        read_history(path)


def test_a_loss_below_zero_is_on_no_curve() -> None:
    """A logarithmic scale has no place for its perplexity."""
    row = json.loads(fuzz_checkpoints.curve().splitlines()[3])
    below = json.dumps(row | {"valid_loss": -1e9}).encode()
    inputs = [bytes([fuzz_checkpoints.CURVE]) + fuzz_checkpoints.curve() + below]
    assert clean(attack(fuzz_checkpoints.target, inputs)).accepted == 1


@pytest.mark.parametrize("damage", ["flip", "best"])
def test_a_checkpoint_whose_arrays_were_damaged_is_refused(damage: str) -> None:
    """By its checksum; and if that was put right, by the model that would come of it."""
    file = Safetensors.parsed(fuzz_checkpoints.trainings()[0].checkpoint, ENTRY)
    if damage == "flip":
        file.arrays["values"].view(np.uint32)[3] ^= 1
    else:
        file.arrays["best"][3] = np.nan
        file.metadata["progress"]["best_loss"] = 0.0
        file.metadata["checksum"] = file.checksum()
    report = clean(attack(fuzz_checkpoints.target, [b"\0" + file.built()]))
    assert report.refused == 1
