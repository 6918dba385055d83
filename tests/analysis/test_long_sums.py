"""The sum of numbers that come in parts is the sum that numpy makes of all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmsuite.analysis import long_sums
from lmsuite.analysis.long_sums import LongSum


@given(
    count=st.integers(0, 5000),
    at_once=st.integers(128, 3000),
    cuts=st.lists(st.integers(0, 5000), max_size=6),
)
def test_it_is_numpys_to_the_bit(count: int, at_once: int, cuts: list[int]) -> None:
    values = np.random.default_rng(count).standard_normal(count) * 10.0**6
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(long_sums, "AT_ONCE", at_once)  # numpy itself sums up to 128 in one go
        total = LongSum(count)
        for part in np.split(values, sorted(cuts)):
            total.add(part)
        assert total.total() == values.sum()
