"""Numbers: distributions sum to one, whatever was trained on, and whatever is asked.

The long run of the n-gram half is ``python -m tests.attacks.distributions``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lmsuite.models.ngram import SMOOTHINGS, NgramModel, NgramSettings
from lmsuite.ngram import smoothing as smoothing_module
from lmsuite.text.encoding import TextEncoder, TextSettings
from tests.attacks import distributions


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_distributions_of_every_order_and_option_sum_to_one(smoothing: str) -> None:
    """To 1e-9 before rounding to the file's float32, to 2e-6 after it; as the formula says."""
    ((_, worst),) = distributions.attack(400, 1, [smoothing])
    assert worst.contexts >= 3200
    assert worst.models >= 8


@pytest.mark.slow
@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_ten_thousand_contexts_of_every_order(smoothing: str) -> None:
    """As above, of 10,000 contexts each."""
    ((_, worst),) = distributions.attack(10_000, 2, [smoothing])
    assert worst.contexts >= 80_000


def test_the_attack_notices_a_share_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """A smoothing that loses a millionth of what is left over is found out."""
    mixed = smoothing_module.mixed

    def leaking(*arguments: object) -> object:
        probs, weight = mixed(*arguments)  # type: ignore[arg-type]
        return probs, weight * (1 - 1e-6)

    monkeypatch.setattr(smoothing_module, "mixed", leaking)
    with pytest.raises(AssertionError, match=r"of the exact table is .* off one"):
        list(distributions.attack(400, 1, ["witten-bell"]))


def test_every_prefix_of_the_training_text(play: str) -> None:
    """A real text, whole: each of its first 2,000 tokens, after all before it."""
    encoder, ids = TextEncoder.train(play[:40_000], TextSettings())
    for smoothing in ("modified-kneser-ney", "katz"):
        settings = NgramSettings(order=5, smoothing=smoothing)
        for dtype, limit in ((np.float64, 1e-9), (np.float32, 2e-6)):
            model = NgramModel.fit(encoder, ids, settings, dtype=dtype)
            state = model.start(1)
            for token in ids[:2000]:
                total = np.exp(model.log_probs(state)[0]).sum()
                assert abs(total - 1) <= limit
                state = model.step(state, np.array([token]))


def test_float64_tables_are_for_checks_alone(tmp_path: Path) -> None:
    """A model file is float32: what is not is refused when it is read, by the array's name."""
    from lmsuite.errors import ModelFileError

    encoder, ids = TextEncoder.train("a b a c a b", TextSettings())
    model = NgramModel.fit(encoder, ids, NgramSettings(order=2), dtype=np.float64)
    with pytest.raises(ModelFileError, match=r"order1\.log_probs.*float64"):
        NgramModel.restore(encoder, model.settings_dict(), model.arrays())
