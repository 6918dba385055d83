"""Models for reports, trained once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from report_models import HOSTILE, trained_ngram, verse

from lmsuite.models.mixture import Mixture
from lmsuite.report.findings import Findings, gather
from lmsuite.report.model_charts import TrainedModel
from lmsuite.store.history import HistoryRow


@pytest.fixture(scope="session")
def models() -> list[TrainedModel]:
    """A word model, two character models (one with a learning curve), their mixture."""
    words = trained_ngram("words", "word", 3, lines=True)
    chars = trained_ngram(HOSTILE, "char", 5)
    curve = [HistoryRow(step, 0.1, 10.0 * step, 2.0, 3.0 / step, 0.1, 100.0) for step in (1, 2, 3)]
    short = replace(trained_ngram("short", "char", 2), history=curve)
    members = {"chars": chars.model, "short": short.model}
    return [words, chars, short, TrainedModel("mix", Mixture(members, np.array([0.6, 0.4])))]


@pytest.fixture(scope="session")
def findings(models: list[TrainedModel]) -> Findings:
    return gather(
        models,
        verse(60, seed=3),
        text_name=HOSTILE,
        prompt="my lord",
        seed=1,
        progress=lambda line: None,
    )
