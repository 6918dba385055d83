"""Many clients at once: each gets what it deserves, and nothing is left behind."""

from __future__ import annotations

import statistics
from pathlib import Path

import numpy as np
import pytest

from benchmarks.serving import mixed_load
from lmsuite.models.interface import LanguageModel
from lmsuite.serve.scoring import Scorer


@pytest.mark.parametrize(
    ("clients", "seconds"), [(30, 2.0), pytest.param(200, 15.0, marks=pytest.mark.slow)]
)
def test_mixed_clients_get_what_they_deserve(folder: Path, clients: int, seconds: float) -> None:
    found = mixed_load(folder / "models" / "chars.safetensors", clients, seconds)
    assert found.faults == []
    assert {status for kind, status in found.statuses if kind != "garbage"} == {200}
    assert {kind for kind, _ in found.statuses} >= {"stream", "whole", "score", "garbage", "slow"}
    half = len(found.memory) // 2
    early, late = (
        statistics.median(size for _, size in part)
        for part in (found.memory[half // 2 : half], found.memory[half:])
    )
    assert late < 1.2 * early  # the promised 5 % need minutes: `python -m benchmarks.serving`


@pytest.mark.parametrize("name", ["words", "lstm", "mix", "chars"])
def test_scores_of_many_together_are_those_of_each_alone(
    models: dict[str, LanguageModel], name: str
) -> None:
    model = models[name]
    rng = np.random.default_rng(3)
    size = len(model.encoder.vocabulary)
    texts = [rng.integers(3, size, length).astype(np.int32) for length in (0, 1, 5, 40, 200, 3)]
    scorer = Scorer(model)
    try:
        waiting = [
            (text, k, scorer.submit(text, k)) for k in (0, 1, 4) for text in texts for _ in range(9)
        ]
        for text, k, future in waiting:
            scores = future.result(60)
            np.testing.assert_allclose(scores.log_probs, model.score(text), rtol=0, atol=1e-4)
            assert scores.best.shape == (len(text), min(k, size)) or not len(text)
    finally:
        scorer.close()
