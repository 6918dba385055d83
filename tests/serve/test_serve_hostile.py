"""Whatever is sent to the server: a result or a 4xx. (`python -m hardening.fuzz_requests`)"""

from __future__ import annotations

from itertools import islice
from random import Random

import pytest

from hardening import fuzz_requests
from hardening.fuzzing import PATIENT, attack


def _no_failures(count: int, seed: int) -> None:
    inputs = islice(fuzz_requests.make_inputs(Random(seed)), count)
    report = attack(fuzz_requests.target, inputs, seconds=PATIENT)
    assert report.inputs == count
    assert not report.failures
    assert report.accepted > count // 50


def test_hostile_requests() -> None:
    _no_failures(200, seed=1)


@pytest.mark.slow
def test_more_hostile_requests() -> None:
    _no_failures(600, seed=2)
