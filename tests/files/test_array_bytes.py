"""Arrays as bytes: what comes back is what was given, compressed or not."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from lmsuite.files import array_bytes
from lmsuite.files.array_bytes import packed, unpacked

kinds = st.sampled_from(["u1", "<u2", "<i4", "<u8", "<i8", "<f4", "<f8"])
any_arrays = st.lists(kinds.flatmap(lambda kind: arrays_of.arrays(kind, st.integers(0, 90))))


@given(any_arrays, st.booleans())
def test_what_comes_back_is_what_was_given(given: list[Any], compressed: bool) -> None:
    data = packed(given, compressed=compressed)
    assert data == packed(given, compressed=compressed)
    back = unpacked(data)
    assert [array.dtype for array in back] == [array.dtype for array in given]
    for ours, theirs in zip(back, given, strict=True):
        np.testing.assert_array_equal(ours, theirs)
        ours[:] = 0  # it can be written to


def test_sorted_keys_and_small_counts_are_compressed(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    keys = np.sort(rng.zipf(1.3, 10_000).clip(max=1 << 40).astype(np.uint64) << np.uint64(8))
    counts = rng.geometric(0.7, 10_000).astype(np.int32)
    data = packed([keys, counts])
    assert len(data) < (keys.nbytes + counts.nbytes) / 4
    monkeypatch.setattr(array_bytes, "_zstd", lambda: (None, None))
    with pytest.raises(ValueError, match="zstandard is missing"):
        unpacked(data)
    plain = packed([keys, counts])
    np.testing.assert_array_equal(unpacked(plain)[0], keys)


def test_what_is_cut_short_is_refused() -> None:
    data = packed([np.arange(10), np.arange(1000)])
    for size in (0, 1, 20, 100, len(data) - 1):
        with pytest.raises(Exception, match=r".+"):
            unpacked(data[:size])


def test_threads_can_work_side_by_side() -> None:
    numbers = [np.random.default_rng(seed).integers(0, 1 << 30, 50_000) for seed in range(4)]
    failures = []

    def work(array: Any) -> None:
        for _ in range(20):
            if not np.array_equal(unpacked(packed([array]))[0], array):
                failures.append(array)

    threads = [threading.Thread(target=work, args=(array,)) for array in numbers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
