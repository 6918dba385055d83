"""Nearest tokens, by a table whose angles are known."""

from __future__ import annotations

import numpy as np
import pytest
from bigram_model import BigramModel, encoder, uniform

from lmsuite.analysis.neighbours import neighbours
from lmsuite.errors import DataError, UsageError
from lmsuite.models.mixture import Mixture
from lmsuite.types import FloatArray

TEXT = encoder("a b c d\n", "whitespace")  # ids: <unk> <s> </s> then a b c d and the newline
NAMES = [TEXT.vocabulary.tokens[i] for i in range(3, 8)]


class Embedded(BigramModel):
    """Every token has a vector in the plane."""

    def embedding(self) -> FloatArray:
        angles = np.radians([90.0, 0.0, 0.0, 0.0, 60.0, 180.0, 1.0, 45.0])
        lengths = np.arange(1, 9)
        return (lengths * np.stack([np.cos(angles), np.sin(angles)])).T.astype(np.float32)


def test_cosines_whatever_the_lengths() -> None:
    model = Embedded(TEXT, uniform(TEXT).table)
    found = neighbours(model, NAMES[0], 9, name="m")  # at 0 degrees, as <s> and </s> are
    shown = [TEXT.token_text(i) for i in (6, 7, 4, 0, 5)]
    assert [each.text for each in found] == shown
    expected = np.cos(np.radians([1, 45, 60, 90, 180]))
    np.testing.assert_allclose([each.cosine for each in found], expected, atol=1e-6)
    assert [each.id for each in neighbours(model, NAMES[0], 2, name="m")] == [6, 7]


def test_says_what_has_no_embedding_and_what_is_no_token() -> None:
    with pytest.raises(UsageError, match=r"^m \(bigram\) has no embedding"):
        neighbours(uniform(TEXT), "a", 3, name="m")
    model = Embedded(TEXT, uniform(TEXT).table)
    mixture = Mixture({"flat": uniform(TEXT), "net": model}, (1, 1))
    with pytest.raises(UsageError, match="ask net"):
        neighbours(mixture, "a", 3, name="m")
    with pytest.raises(DataError, match="does not know 'zebra'"):
        neighbours(model, "zebra", 3, name="m")
    with pytest.raises(DataError, match="2 tokens: a b"):
        neighbours(model, "a b", 3, name="m")
    with pytest.raises(DataError, match="holds no token"):
        neighbours(model, "", 3, name="m")
