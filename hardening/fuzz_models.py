"""Fuzz model files of every kind: a damaged one is refused with a sentence, or works.

    python -m hardening.fuzz_models --runs 100000 --seed 1

Most inputs get a correct checksum, so that the checks of the contents meet the damage. A model that
opens is used as the commands use it, and must give no traceback, no warning of numpy and no NaN.
One input in ten goes through the commands themselves.
"""

from __future__ import annotations

import gzip
import io
import math
import tempfile
import warnings
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from hardening.fuzzing import main
from hardening.in_process import RefusedError, lm
from hardening.mutators import (
    Safetensors,
    damaged,
    edited,
    json_value,
    nested,
    with_damaged_arrays,
    with_lies,
)
from lmsuite.analysis.checks import check_distributions, check_network
from lmsuite.analysis.evaluation import evaluate
from lmsuite.analysis.explanation import explain
from lmsuite.analysis.network_trace import trace_network
from lmsuite.analysis.ngram_trace import NgramTracer
from lmsuite.errors import LmError
from lmsuite.files.stored_text import sha256_of
from lmsuite.generation import SamplingSettings, sample
from lmsuite.mapped_ngram import MappedNgram
from lmsuite.models.cache import CacheModel, CacheSettings
from lmsuite.models.feedforward import FeedForward, FeedForwardSettings
from lmsuite.models.interface import LanguageModel
from lmsuite.models.mixture import Mixture
from lmsuite.models.neural import NeuralModel
from lmsuite.models.ngram import NgramModel, NgramSettings
from lmsuite.models.recurrent import Recurrent, RecurrentSettings
from lmsuite.store.artefact import load_model, open_model_file, read_manifest, save_model
from lmsuite.store.records import Provenance, TrainingRecord, ValidationRecord
from lmsuite.text.encoding import Boundaries, TextEncoder, TextSettings

ENTRY = "lmsuite"
TEXT = "the cat sat on the mat,\nand the dog sat on the cat.\n\nthe cat ate the mat; a dog!\n" * 2
OTHER = "the dog ate\nzebra the mat, a cat\n\nthe the"
COMMANDS_EVERY, GRADIENTS_EVERY = 10, 8  # inputs
FILE, MADE_FILE, TEXT_FILE = "model.safetensors", "made.safetensors", "text.txt"
VALID_FILE = "model.valid.txt.gz"
COMMANDS = (
    ("info", FILE),
    ("info", FILE, "--json"),
    ("check", FILE, "--samples", "1"),
    ("score", FILE, TEXT_FILE),
    ("score", FILE, TEXT_FILE, "--tokens", "--json"),
    ("eval", FILE, "--text", TEXT_FILE),
    ("eval", FILE),
    ("sample", FILE, "the", "--max-tokens", "5", "--seed", "1"),
    ("sample", FILE, "--max-tokens", "5", "--samples", "2", "--seed", "1", "--json"),
    ("convert", FILE, MADE_FILE),
    ("convert", FILE, "made.arpa.gz"),
    ("explain", FILE, "the cat"),
    ("trace", FILE, "the cat"),
    ("trace", FILE, "the cat", "--training", TEXT_FILE, "--json"),
    ("trace", FILE, "the cat", "--html", "page.html"),
    ("models", "--models", "."),
    ("models", "--models", ".", "--json"),
    ("prune", FILE, "--entropy", "1e-3", "--name", "small", "--models", "."),
    ("mix", FILE, FILE, "--name", "mixed", "--models", "."),
    ("plot", FILE, "--by-order", "--text", "--on", TEXT_FILE),
    ("plot", FILE, "--text"),
    ("neighbours", FILE, "cat"),
    ("report", FILE, "-o", "report.html"),
)
PROVENANCE = Provenance(
    command="lm train",
    corpus="play",
    corpus_sha256="0" * 64,
    created="2026-01-01T00:00:00+00:00",
    validation=ValidationRecord(
        split="0.1",
        sha256=sha256_of("the cat"),
        cross_entropy=1.25,
        perplexity=3.5,
        bits_per_char=2.5,
    ),
    training=TrainingRecord(steps=10, settings={"notes": ["a", "b"]}),
)


def target(data: bytes) -> None:
    """Open the model file and do with it what the commands would."""
    path = Path(FILE)
    path.write_bytes(data)
    choice = zlib.crc32(data)
    if choice % COMMANDS_EVERY == 0:
        Path(TEXT_FILE).write_text(OTHER, encoding="utf-8")
        Path(VALID_FILE).write_bytes(gzip.compress(b"the cat", mtime=0))
        command(COMMANDS[choice // COMMANDS_EVERY % len(COMMANDS)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try_mapped(path)
        read_manifest(path)
        model, manifest = open_model_file(path)
        use(model, gradients=choice % GRADIENTS_EVERY == 0)
        save_model(Path(MADE_FILE), model, manifest.provenance)
        again = load_model(Path(MADE_FILE))
        ids = model.encoder.encode(OTHER)
        assert np.array_equal(model.score(ids), again.score(ids)), "another model after saving"


def command(arguments: tuple[str, ...]) -> None:
    """Run a command of `lm` that may end well or with one line; never for want of memory.

    Which of the two says nothing of the file: an n-gram model has no learning curve to plot.
    """
    try:
        ended = lm(arguments)
    except RefusedError as refusal:
        assert "not enough memory" not in str(refusal), refusal
        return
    assert "not enough memory" not in ended.err, ended.err
    assert not ended.code or "NaN" not in ended.out


def use(model: LanguageModel, *, gradients: bool = True) -> None:
    """Score, sum, sample, explain and write; what the model cannot do it says in an `LmError`.

    A network's gradients, which depend on its settings alone, are checked only if asked for.
    """
    ids = model.encoder.encode(OTHER)
    scores = model.score(ids)
    assert not np.isnan(scores).any(), "a score that is no number"
    state = model.start(2)
    for token in (ids[0], 0, len(model.encoder.vocabulary) - 1):
        assert not np.isnan(model.log_probs(state)).any(), "a probability that is no number"
        state = model.step(state, np.array([token, token], np.int32))
    if model.is_normalised:
        finding = check_distributions(model, np.random.default_rng(1))
        assert not math.isnan(finding.error)
    if gradients and isinstance(model, NeuralModel):
        check_network(model, 1, np.random.default_rng(1))
    evaluation = evaluate(model, OTHER, name="it", rng=np.random.default_rng(1))
    assert not math.isnan(evaluation.perplexity)
    list(map(str, model.summary().values()))
    uses: tuple[Callable[[LanguageModel], None], ...] = (_drawn, _explained, _traced, _written)
    for step in uses:
        try:
            step(model)
        except LmError as error:
            assert str(error).strip()


def _drawn(model: LanguageModel) -> None:
    for settings in (SamplingSettings(max_tokens=5), SamplingSettings(0.5, 3, 0.9, max_tokens=5)):
        for text in sample(model, model.encoder.encode("the")[:1], settings, 1):
            assert not np.isnan(text.log_probs).any()


def _explained(model: LanguageModel) -> None:
    for token in explain(model, "the cat"):
        assert not math.isnan(token.log_prob)


def _traced(model: LanguageModel) -> None:
    if isinstance(model, NeuralModel):
        trace = trace_network(model, "the cat")
        assert not any(np.isnan(node.gradient).any() for node in trace.parameters)
    elif isinstance(model, NgramModel):
        for token in NgramTracer(model, model.encoder.encode(OTHER)).trace("the cat"):
            assert not math.isnan(token.prob)


def _written(model: LanguageModel) -> None:
    if isinstance(model, NgramModel):
        model.to_arpa(io.BytesIO())
        model.prune_entropy(1e-3)


def try_mapped(path: Path) -> None:
    """Score with `lmsuite.mapped_ngram`, which refuses nothing but what it trips over."""
    try:
        scores = MappedNgram(str(path)).score(["the", "cat", "zebra", "\ud800", "the"])
    except LmError as error:
        assert str(error).strip()
    else:
        assert not any(map(math.isnan, scores)), "a mapped n-gram model gives what is no number"


@cache
def sound_files() -> tuple[bytes, ...]:
    """A file of every kind of model, small."""
    return tuple(map(saved, models()))


@cache
def katz() -> NgramModel:
    """A small n-gram model."""
    text, ids = TextEncoder.train(TEXT, TextSettings())
    return NgramModel.fit(text, ids, NgramSettings(order=3, smoothing="katz"))


def models() -> Iterator[LanguageModel]:
    """Models of every kind, of words, characters and bytes, in streams and in lines."""
    stream, ids = TextEncoder.train(TEXT, TextSettings(boundaries=Boundaries.STREAM))
    lines, line_ids = TextEncoder.train(TEXT, TextSettings(boundaries=Boundaries.LINES))
    chars, char_ids = TextEncoder.train(TEXT, TextSettings(tokenizer="char"))
    pairs, pair_ids = TextEncoder.train(TEXT, TextSettings(tokenizer="bpe", bpe_size=270))
    rng = np.random.default_rng(1)
    katz = NgramModel.fit(stream, ids, NgramSettings(order=3, smoothing="katz"))
    yield katz
    yield NgramModel.fit(lines, line_ids, NgramSettings(order=3))
    yield NgramModel.fit(lines, line_ids, NgramSettings(order=1, smoothing="mle"))
    yield NgramModel.fit(chars, char_ids, NgramSettings(order=5))
    yield NgramModel.fit(pairs, pair_ids, NgramSettings(order=2, smoothing="witten-bell"))
    yield NgramModel.fit(stream, ids, NgramSettings(order=2, smoothing="stupid-backoff"))
    yield NgramModel.fit(chars, char_ids, NgramSettings(order=3, quantize=True))
    yield NgramModel.fit(lines, line_ids, NgramSettings(order=2, quantize=True))
    settings = FeedForwardSettings(context=2, embed=3, hidden=(4, 3), activation="relu")
    yield FeedForward.initial(lines, settings, rng)
    forward = FeedForward.initial(stream, FeedForwardSettings(2, 3, (4,), direct=True), rng)
    yield forward
    yield FeedForward.initial(pairs, FeedForwardSettings(1, 2, (3,), "sigmoid"), rng)
    cells = [
        RecurrentSettings("lstm", layers=2, hidden=3, embed=2, dropout=0.1, unknown_share=0.1),
        RecurrentSettings("gru", hidden=3, embed=3, tied=True),
        RecurrentSettings("elman", hidden=3, embed=2),
    ]
    recurrent = [Recurrent.initial(stream, cell, rng) for cell in cells]
    yield from recurrent
    yield Recurrent.initial(lines, cells[0], rng)
    memory = CacheModel(stream, CacheSettings(4.0))
    yield memory
    mixed = Mixture({"k": katz, "c": memory, "r": recurrent[0]}, [0.5, 0.2, 0.3])
    yield mixed
    yield Mixture({"m": mixed, "f": forward}, [0.5, 0.5])


def saved(model: LanguageModel) -> bytes:
    """The bytes of the model's file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / FILE
        save_model(path, model, PROVENANCE)
        return path.read_bytes()


def make_inputs(rng: Random) -> Iterator[bytes]:
    """Sound files with damage of every kind, most with their checksum put right."""
    files = sound_files()
    taken_apart = [Safetensors.parsed(data, ENTRY) for data in files]
    big = bombs()
    while True:
        kind = rng.random()
        if kind < 0.15:
            yield damaged(rng, rng.choice(files), files)
        elif kind < 0.152:
            yield rng.choice(big)
        else:
            yield _with_contents_damaged(rng, rng.choice(taken_apart), taken_apart)


def _with_contents_damaged(rng: Random, file: Safetensors, others: list[Safetensors]) -> bytes:
    told = metadata = None
    kind = rng.random()
    if kind < 0.55:
        file = with_damaged_arrays(rng, file)
    if kind > 0.4:
        file = file.copy()
        for _ in range(rng.choice((1, 1, 2, 4))):
            file.metadata = _edited_manifest(rng, file.metadata, others)
    if rng.random() < 0.1:
        told = with_lies(rng, file.described())
    if isinstance(file.metadata, dict) and rng.random() < 0.95:
        file.metadata["checksum"] = file.checksum()
    data = file.built(metadata, told)
    return damaged(rng, data) if rng.random() < 0.03 else data


def _edited_manifest(rng: Random, manifest: Any, others: list[Safetensors]) -> Any:
    if not isinstance(manifest, dict):
        return manifest
    kind = rng.random()
    part = rng.choice(("settings", "text", "provenance", "kind", "checksum", "format"))
    if kind < 0.6 and part in manifest:
        manifest[part] = edited(rng, manifest[part])
    elif kind < 0.8:
        manifest[part] = rng.choice(others).metadata.get(part)
    elif kind < 0.9:
        manifest[part] = json_value(rng)
    else:
        return edited(rng, manifest)
    return manifest


@cache
def bombs() -> tuple[bytes, ...]:
    """Small files that would take all memory, all time or all stack, if they were believed."""
    return tuple(_bombs())


def _bombs() -> Iterator[bytes]:
    files = {m.kind: Safetensors.parsed(saved(m), ENTRY) for m in models()}
    for kind, name in [
        *(("rnn", name) for name in ("layers", "hidden", "embed")),
        *(("ffnn", name) for name in ("context", "embed")),
        *(("ngram", name) for name in ("order", "k", "entropy_prune")),
        ("cache", "half_life"),
    ]:
        for value in (10**9, 10**12, 10**30, 10**400, 1e-320, 1e300, 1e-3, 5.0):
            yield _with_settings(files[kind], {name: value})
    yield _with_settings(files["ffnn"], {"hidden": [1] * 300_000})
    yield _with_settings(files["ngram"], {"order": 10**9, "prune": [0] * 100_000})
    for name in ("model.order2.words", "model.order1.log_probs", "text.vocabulary"):
        for shape in ([10**12], [10**9, 10**9], [-1], [0, 10**30], [1] * 65, [2**63, 0]):
            told = files["ngram"].described()
            told[name]["shape"] = shape
            yield files["ngram"].built(told=told)
            for entry in told.values():
                entry |= {"shape": shape, "data_offsets": [0, 0]}
            yield files["ngram"].built(told=told)[: -sum(map(len, _blobs(files["ngram"])))]
    for depth in (100, 900, 3000, 20_000):
        for lists in (True, False):
            yield files["cache"].built(told=nested(depth, lists))
            for place in ("settings", "text", "provenance", "kind"):
                yield files["cache"].built({**files["cache"].metadata, place: nested(depth, lists)})
            provenance = files["cache"].metadata["provenance"] | {"training": nested(depth, False)}
            yield files["cache"].built({**files["cache"].metadata, "provenance": provenance})
    yield from _many_caches()
    long = int("9" * 4300)
    told = files["cache"].described()
    told["text.vocabulary"]["data_offsets"] = [0, long]
    yield files["cache"].built(told=told)


def _with_settings(file: Safetensors, settings: dict[str, Any]) -> bytes:
    changed = file.metadata | {"settings": file.metadata["settings"] | settings}
    return file.built(changed)


def _blobs(file: Safetensors) -> list[bytes]:
    return [array.tobytes() for array in file.arrays.values()]


def _many_caches() -> Iterator[bytes]:
    """Mixtures of many caches, each as wide in memory as the vocabulary and nothing in the file."""
    text = TextEncoder.train(" ".join(map(str, range(60_000))), TextSettings())[0]
    wide = Safetensors.parsed(saved(CacheModel(text, CacheSettings())), ENTRY)
    cached = {"kind": "cache", "settings": {"half_life": 4.0}}
    names = [f"{number}" for number in range(6000)]
    yield _mixture(wide, dict.fromkeys(names, cached), "model.")
    settings: dict[str, Any] = cached
    arrays = {}
    for depth in range(150):
        members = [{"name": "a", **cached}, {"name": "b", **settings}]
        settings = {"kind": "mixture", "settings": {"members": members}}
        arrays["model." + "1." * depth + "weights"] = np.ones(2)
        if depth in (1, 10, 149):
            yield _rebuilt(wide, settings, arrays)


def _mixture(file: Safetensors, members: dict[str, Any], prefix: str) -> bytes:
    described = [{"name": name, **member} for name, member in members.items()]
    settings = {"kind": "mixture", "settings": {"members": described}}
    return _rebuilt(file, settings, {prefix + "weights": np.ones(len(described))})


def _rebuilt(file: Safetensors, described: dict[str, Any], arrays: dict[str, Any]) -> bytes:
    rebuilt = Safetensors(file.metadata | described, file.entry, file.arrays | arrays)
    rebuilt.metadata["checksum"] = rebuilt.checksum()
    return rebuilt.built()


if __name__ == "__main__":
    main("model files", target, make_inputs)
