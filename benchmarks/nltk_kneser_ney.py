"""A Kneser-Ney trigram of the first act, fitted, scored and sampled, against `nltk.lm`.

`nltk.lm` is a teaching library and its Kneser-Ney walks its counts at every look-up (ten words
from a trigram take it minutes, as its users report). So both sides get the same fitting text, one
act, but NLTK scores and draws a single word, and what is compared is time per token.

    python -m benchmarks --only nltk_kneser_ney
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from nltk.lm import KneserNeyInterpolated
from nltk.lm.preprocessing import padded_everygram_pipeline

from benchmarks.alternating import Comparison, compare
from benchmarks.measuring import Options, Row, rate_row
from lmsuite.generation import SamplingSettings, sample
from lmsuite.models.ngram import NgramModel, NgramSettings
from lmsuite.text.encoding import Boundaries, TextEncoder, TextSettings

PEER = "nltk.lm"
ORDER = 3
WORDS = 200  # generated and scored by us a repetition
NLTK_WORDS = 1  # and by NLTK
ACT = Path(__file__).resolve().parents[1] / "corpora" / "act1.txt"


def read_lines() -> list[str]:
    return [line for line in ACT.read_text(encoding="utf-8").split("\n") if line]


def fit_ours(lines: list[str]) -> NgramModel:
    settings = TextSettings(tokenizer="whitespace", boundaries=Boundaries.LINES)
    encoder, ids = TextEncoder.train("\n".join(lines), settings)
    return NgramModel.fit(encoder, ids, NgramSettings(order=ORDER, smoothing="kneser-ney"))


def fit_nltk(lines: list[str]) -> KneserNeyInterpolated:
    model = KneserNeyInterpolated(ORDER)
    model.fit(*padded_everygram_pipeline(ORDER, [line.split() for line in lines]))
    return model


def score_nltk(model: KneserNeyInterpolated, words: list[str]) -> float:
    starts = range(len(words) - ORDER + 1)
    return sum(
        math.log(model.score(words[i + ORDER - 1], words[i : i + ORDER - 1])) for i in starts
    )


def per_token(comparison: Comparison, ours: int, peer: int) -> Comparison:
    """The same comparison in seconds a token, for sides that did different amounts of work."""
    return Comparison(
        comparison.work,
        comparison.peer_name,
        tuple(seconds / ours for seconds in comparison.ours),
        tuple(seconds / peer for seconds in comparison.peer),
    )


def rows(options: Options) -> Iterator[Row]:
    """Fitting, scoring and generating; rates."""
    lines = read_lines()
    if options.quick:
        lines = lines[: len(lines) // 3]
    tokens = sum(len(line.split()) for line in lines)
    fitted = compare(
        f"fit a Kneser-Ney trigram of {len(lines)} lines",
        PEER,
        lambda: fit_ours(lines),
        lambda: fit_nltk(lines),
        repeats=options.repeats,
    )
    yield rate_row(fitted, tokens, "tokens/s")
    model, peer = fit_ours(lines), fit_nltk(lines)
    ids = model.encoder.encode("\n".join(lines))
    words = " ".join(lines).split()[: NLTK_WORDS + ORDER - 1]
    scored = compare(
        "score with it",
        PEER,
        lambda: model.score(ids),
        lambda: score_nltk(peer, words),
        repeats=options.repeats,
    )
    yield rate_row(per_token(scored, len(ids), NLTK_WORDS), 1, "tokens/s")
    settings = SamplingSettings(max_tokens=WORDS)

    def draw() -> None:
        sample(model, "", settings, 7)

    drawn = compare(
        "generate with it",
        PEER,
        draw,
        lambda: peer.generate(NLTK_WORDS, random_seed=7),
        repeats=options.repeats,
        warm_up=False,
    )
    yield rate_row(per_token(drawn, WORDS, NLTK_WORDS), 1, "tokens/s")
