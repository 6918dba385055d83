"""Models for reports, trained once."""

from __future__ import annotations

import numpy as np
import pytest
from report_subjects import HOSTILE, subject, verse

from lmsuite.models.mixture import Mixture
from lmsuite.report.contents import Contents, gather
from lmsuite.report.subject import Subject
from lmsuite.store.history import HistoryRow


@pytest.fixture(scope="session")
def subjects() -> list[Subject]:
    """A word model, two character models (one with a learning curve), their mixture."""
    words, chars = subject("words", "word", 3, lines=True), subject(HOSTILE, "char", 5)
    curve = [HistoryRow(step, 0.1, 10.0 * step, 2.0, 3.0 / step, 0.1, 100.0) for step in (1, 2, 3)]
    short = subject("short", "char", 2)
    short = Subject(short.name, short.model, short.provenance, curve)
    members = {"chars": chars.model, "short": short.model}
    return [words, chars, short, Subject("mix", Mixture(members, np.array([0.6, 0.4])))]


@pytest.fixture(scope="session")
def contents(subjects: list[Subject]) -> Contents:
    return gather(
        subjects,
        verse(60, seed=3),
        text_name=HOSTILE,
        prompt="my lord",
        seed=1,
        progress=lambda line: None,
    )
