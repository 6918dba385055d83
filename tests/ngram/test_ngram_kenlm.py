"""The same figures as KenLM's lmplz and query, to the last digit that they print."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lmsuite.models.ngram import NgramModel, NgramSettings
from lmsuite.text.encoding import Boundaries, TextEncoder, TextSettings
from lmsuite.text.vocabulary import BOS, UNK
from lmsuite.types import IntArray

LINES = TextSettings(tokenizer="whitespace", boundaries=Boundaries.LINES)
SLOW = pytest.mark.slow


@functools.cache
def encoded(folder: Path, unit: str) -> tuple[TextEncoder, IntArray, IntArray]:
    encoder, train = TextEncoder.train((folder / f"train.{unit}.txt").read_text("utf-8"), LINES)
    return encoder, train, encoder.encode((folder / f"valid.{unit}.txt").read_text("utf-8"))


def settings_of(case: dict[str, Any]) -> NgramSettings:
    args = list(case["args"])
    prune = tuple(map(int, args[1:])) if args[:1] == ["--prune"] else ()
    return NgramSettings(
        order=case["order"], prune=prune, interpolate_unigrams="--interpolate_unigrams" not in args
    )


@pytest.mark.parametrize(
    ("unit", "index"),
    [("words", index) for index in range(8)]
    + [("chars", 0), ("chars", 2), ("chars", 5)]
    + [pytest.param("chars", index, marks=SLOW) for index in (1, 3, 4, 6, 7)],
)
def test_counts_discounts_and_perplexities(shared: Path, unit: str, index: int) -> None:
    case = json.loads((shared / "reference" / "kenlm.json").read_text("utf-8"))[unit][index]
    encoder, train, valid = encoded(shared / "corpora" / "tinyshakespeare", unit)
    model = NgramModel.fit(encoder, train, settings_of(case))
    assert list(model.table.sizes) == list(case["ngrams"].values())
    discounts = [discounts.as_tuple() for discounts in model.discounts]
    np.testing.assert_allclose(discounts, list(case["discounts"].values()), atol=1e-5, rtol=0)

    log_probs, predicted = model.score(valid), valid[valid != BOS]
    assert len(predicted) == case["tokens"]
    known = predicted != UNK
    assert int((~known).sum()) == case["oov"]
    perplexities = np.exp(-log_probs.mean()), np.exp(-log_probs[known].mean())
    expected = case["perplexity_with_oov"], case["perplexity_without_oov"]
    np.testing.assert_allclose(perplexities, expected, rtol=1e-5)


def test_stream_characters_agree_with_an_independent_script(shared: Path) -> None:
    folder = shared / "corpora" / "tinyshakespeare"
    encoder, train = TextEncoder.train(
        (folder / "train.txt").read_text("utf-8"), TextSettings(tokenizer="char")
    )
    model = NgramModel.fit(encoder, train, NgramSettings(order=7))
    valid = encoder.encode((folder / "valid.txt").read_text("utf-8"))
    assert -model.score(valid).mean() == pytest.approx(1.5165, abs=0.0005)
