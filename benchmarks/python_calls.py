"""What programs call: a sentence, a beam, a word of a stream, streams of many readers; loading.

    python -m benchmarks --only python_calls

Sentences and beams are beside `kenlm`, which reads the ARPA file of the same model. Streams are
beside ourselves: many threads beside one, many readers of a `Batcher` beside one batch of texts.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import numpy as np

import lmsuite
from benchmarks.alternating import Comparison, compare, seconds
from benchmarks.measuring import Options, Row, rate_row, require

WORDS, HELD_OUT = "tinyshakespeare/train.words.txt", "tinyshakespeare/valid.words.txt"
WORKS = "shakespeare/complete.txt"
LENGTH = 20  # words of a sentence
SINGLE, TOGETHER = 100, 2000  # sentences scored in so many calls; in one
HYPOTHESES, CHOICES = 16, 10
NUCLEUS = lmsuite.SamplingSettings(temperature=0.8, top_p=0.9, max_tokens=100)
READERS, BATCH, TOKENS = 32, 64, 2048
THREADS = ((1, 200), (2, 100), (8, 20), (32, 5))
"""How many threads, and of how many tokens a stream of each is."""


def rows(options: Options) -> Iterator[Row]:
    """The calls of n-gram models, then those of networks."""
    require("kenlm")
    yield from _beside_kenlm(options)
    yield from _words_of_a_stream(options)
    yield _network_sentence(options)
    yield from _streams(options)


def _repeats(options: Options) -> int:
    return max(5, options.repeats)


def _each(found: Comparison, calls: int, reach: float | None = None) -> Row:
    """A row of microseconds a call, from the seconds that both took for so many."""
    ours, theirs = (
        tuple(taken * 1e6 / calls for taken in side) for side in (found.ours, found.peer)
    )
    return Row(found.work, found.peer_name, "us", ours, theirs, reach)


def _beside_kenlm(options: Options) -> Iterator[Row]:
    import kenlm

    text = options.text(WORDS).read_text("utf-8")
    model = lmsuite.fit("ngram", text, n=5, tokenizer="whitespace", lines=True, valid=0)
    assert isinstance(model, lmsuite.NgramModel)
    arpa = options.folder / "python_calls.arpa"
    model.to_arpa(arpa)
    quietly = kenlm.Config()
    quietly.show_progress = False
    peer = kenlm.Model(str(arpa), quietly)
    repeats = _repeats(options)

    words = options.text(HELD_OUT).read_text("utf-8").split()
    cut = [" ".join(words[at : at + LENGTH]) for at in range(0, len(words) - LENGTH, LENGTH)]
    few = cut[:SINGLE]
    found = compare(
        f"score one sentence of {LENGTH} words, lines 5-gram",
        "kenlm.Model.score",
        lambda: [model.logprob(sentence) for sentence in few],
        lambda: [peer.score(sentence) for sentence in few],
        repeats=repeats,
    )
    yield _each(found, len(few), reach=40 / 3.1)

    many = (cut * (TOGETHER // len(cut) + 1))[:TOGETHER]
    found = compare(
        f"{TOGETHER:,} sentences in one call, each",
        "kenlm.Model.score",
        lambda: model.score(model.encoder.encode("\n".join(many))),
        lambda: [peer.score(sentence) for sentence in many],
        repeats=repeats,
    )
    yield _each(found, len(many), reach=4 / 3.1)

    found = compare(
        f"score_next, {HYPOTHESES} hypotheses x {CHOICES} words",
        "kenlm.Model.BaseScore",
        _our_beam(model, cut),
        _their_beam(peer, cut),
        repeats=repeats,
    )
    yield _each(found, SINGLE, reach=2)

    found = compare(
        f"load an ARPA file of {arpa.stat().st_size / 1e6:.0f} MB",
        "kenlm.Model",
        lambda: lmsuite.NgramModel.from_arpa(arpa),
        lambda: kenlm.Model(str(arpa), quietly),
        repeats=repeats,
    )
    yield Row(found.work, found.peer_name, "s", found.ours, found.peer, reach=4)


def _our_beam(model: lmsuite.LanguageModel, sentences: list[str]) -> Callable[[], object]:
    encoder = model.encoder
    histories = [encoder.encode_prompt(sentence)[:-2] for sentence in sentences[:HYPOTHESES]]
    state = model.join([model.read(model.start(1), history) for history in histories])
    chosen = [encoder.id(word) for word in sentences[HYPOTHESES].split()[:CHOICES]]
    rows = np.repeat(np.arange(HYPOTHESES), CHOICES)
    ids = np.tile(np.array(chosen, np.int32), HYPOTHESES)

    def run() -> None:
        for _ in range(SINGLE):
            model.score_next(model.select(state, rows), ids)

    return run


def _their_beam(peer: object, sentences: list[str]) -> Callable[[], object]:
    import kenlm

    states = []
    for sentence in sentences[:HYPOTHESES]:
        state = kenlm.State()
        peer.BeginSentenceWrite(state)
        for word in sentence.split()[:-2]:
            after = kenlm.State()
            peer.BaseScore(state, word, after)
            state = after
        states.append(state)
    chosen = sentences[HYPOTHESES].split()[:CHOICES]

    def run() -> None:
        for _ in range(SINGLE):
            for state in states:
                for word in chosen:
                    peer.BaseScore(state, word, kenlm.State())

    return run


def _words_of_a_stream(options: Options) -> Iterator[Row]:
    play = lmsuite.read_corpus("play").text
    yield _stream_row(lmsuite.fit("ngram", play, n=3, valid=0), 80, options)
    if not options.quick:
        works = options.text(WORKS).read_text("utf-8")
        yield _stream_row(lmsuite.fit("ngram", works, n=5, valid=0), 300, options)


def _stream_row(model: lmsuite.LanguageModel, reach: float, options: Options) -> Row:
    def draw() -> None:
        for _ in lmsuite.stream(model, "My lord,", NUCLEUS, seed=7):
            pass

    draw()
    taken = [seconds(draw) for _ in range(_repeats(options))]
    return Row(
        f"a word streamed, {model.settings.order}-gram, V = {len(model.encoder.vocabulary):,}, "
        f"T = {NUCLEUS.temperature}, top-p {NUCLEUS.top_p}",
        "",
        "us",
        tuple(each * 1e6 / NUCLEUS.max_tokens for each in taken),
        reach=reach,
    )


def _network_sentence(options: Options) -> Row:
    model = _network(192, lmsuite.TextSettings(boundaries="lines"))
    ids = model.encoder.encode(lmsuite.read_corpus("play").text)
    words = ids[ids > 2]
    many = np.concatenate(
        [np.array([1, *words[at : at + LENGTH - 1], 2], np.int32) for at in range(0, 64 * 19, 19)]
    )
    one = many[: LENGTH + 1]
    found = compare(
        f"score one sentence of {LENGTH} tokens, LSTM H = 192",
        "ours, in a call of 64 sentences",
        lambda: [model.score(one) for _ in range(64)],
        lambda: model.score(many),
        repeats=_repeats(options),
    )
    return _each(found, 64, reach=600 / 424)


def _network(hidden: int, settings: lmsuite.TextSettings) -> lmsuite.Recurrent:
    """An LSTM of the play's tokens, with the weights of before training: they cost as much."""
    encoder, _ = lmsuite.TextEncoder.train(lmsuite.read_corpus("play").text, settings)
    architecture = lmsuite.RecurrentSettings(hidden=hidden, embed=192)
    return lmsuite.Recurrent.initial(encoder, architecture, np.random.default_rng(1))


def _streams(options: Options) -> Iterator[Row]:
    lstm = _network(512, lmsuite.TextSettings(tokenizer="char"))
    ngram = lmsuite.fit("ngram", lmsuite.read_corpus("play").text, n=3, valid=0)
    for threads, tokens in THREADS[1:2] if options.quick else THREADS[1:]:
        found = compare(
            f"streams of an LSTM H = 512 in {threads} threads, together",
            "one thread",
            lambda threads=threads, tokens=tokens: _in_threads(lstm, threads, tokens),
            lambda: _in_threads(lstm, 1, THREADS[0][1]),
            repeats=_repeats(options),
        )
        scaled = Comparison(
            found.work,
            found.peer_name,
            tuple(taken / (threads * tokens) for taken in found.ours),
            tuple(taken / THREADS[0][1] for taken in found.peer),
        )
        yield rate_row(scaled, 1, "tokens/s", reach=1.0)
    for what, model, reach, peer, batch in (
        ("an LSTM H = 512", lstm, 0.5, f"one batch of {BATCH}", BATCH),
        ("a 3-gram", ngram, 1.0, "one stream", 1),
    ):
        found = compare(
            f"{READERS} readers of a Batcher, {what}, together",
            peer,
            lambda model=model: _readers(model),
            lambda model=model, batch=batch: lmsuite.sample(
                model, "", seed=7, samples=batch, max_tokens=TOKENS // batch
            ),
            repeats=_repeats(options),
        )
        yield rate_row(found, TOKENS, "tokens/s", reach=reach)


def _in_threads(model: lmsuite.LanguageModel, threads: int, tokens: int) -> None:
    """A stream in each of so many threads."""

    def draw(seed: int) -> None:
        for _ in lmsuite.stream(model, "", seed=seed, max_tokens=tokens):
            pass

    _run([threading.Thread(target=draw, args=(seed,)) for seed in range(threads)])


def _readers(model: lmsuite.LanguageModel) -> None:
    """A reader in each of `READERS` threads, and one batcher."""

    def read(stream: lmsuite.SharedStream) -> None:
        for _ in stream:
            pass

    with lmsuite.Batcher(model) as batcher:
        streams = [
            batcher.submit("", seed=seed, max_tokens=TOKENS // READERS) for seed in range(READERS)
        ]
        _run([threading.Thread(target=read, args=(stream,)) for stream in streams])


def _run(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
