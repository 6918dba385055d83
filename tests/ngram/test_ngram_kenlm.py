"""The same figures as KenLM's lmplz and query, to the last digit that they print."""

from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess
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


EIGHT_LINES = """\
we came home
we come home
you came home
you come home
they came home
they come home
all came late
all came late
"""
OF_LMPLZ = """
1 11 D1=0.4 D2=1.6 D3+=1.4
2 16 D1=0.3 D2=1.74286 D3+=3
"""  # what `lmplz -o 2` of KenLM 0.3.0 prints


def test_lmplz_counts_the_raw_count_of_its_last_word_and_we_do_not(
    fit: Any, tmp_path: Path
) -> None:
    """kpu/kenlm #405. The last word is `late`: seen twice, but after one word alone.

    Adjusted counts: `came` 4, `come` 3, `home` and `</s>` 2, the other five words 1. So n1, n2, n3,
    n4 = 5, 2, 1, 1 and Y = n1 / (n1 + 2 n2) = 5/9. With the raw count of `late` they are 4, 3, 1, 1
    and Y = 2/5, which are lmplz's. Bigrams have raw counts, and the same discounts.
    """
    printed = OF_LMPLZ
    if lmplz := shutil.which("lmplz"):
        command = [lmplz, "-o", "2", "-S", "100M", "-T", str(tmp_path)]
        done = subprocess.run(
            command, input=EIGHT_LINES, capture_output=True, text=True, check=True
        )
        printed = done.stderr
    rows = re.findall(r"^\d \d+ D1=(\S+) D2=(\S+) D3\+=(\S+)", printed, re.MULTILINE)
    theirs = [tuple(map(float, row)) for row in rows]
    y = 2 / 5
    assert theirs[0] == pytest.approx((1 - 2 * y * 3 / 4, 2 - 3 * y * 1 / 3, 3 - 4 * y), abs=1e-5)
    ours = [each.as_tuple() for each in fit(EIGHT_LINES, lines=True, order=2).discounts]
    y = 5 / 9
    assert ours[0] == pytest.approx((1 - 2 * y * 2 / 5, 2 - 3 * y * 1 / 2, 3 - 4 * y))
    assert ours[1] == pytest.approx(theirs[1], abs=1e-5)
