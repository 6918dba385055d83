"""Batches: every token once an epoch, lanes that continue, windows that stay within bounds."""

from __future__ import annotations

import numpy as np
import pytest

from lmsuite.errors import DataError
from lmsuite.text.vocabulary import BOS, EOS
from lmsuite.training.batches import Batches, Lanes, Windows, even_cuts
from lmsuite.training.unknown import MaskedWords
from lmsuite.types import IntArray

NOTHING_MASKED = MaskedWords(np.empty(0, np.int64), 0.0)
STREAM = np.arange(10, 110, dtype=np.int32)  # every id once, so that a pair shows its place
LINES = np.array([1, 10, 11, 12, 2, 1, 2, 1, 20, 21, 2, 1, 30, 31, 32, 33, 34, 2], np.int32)


def lanes(ids: IntArray, *, batch: int = 4, window: int = 5, lines: bool = False) -> Lanes:
    return Lanes(ids, NOTHING_MASKED, 7, batch=batch, window=window, shuffle_lines=lines)


def windows(ids: IntArray, *, batch: int = 8, context: int = 3, stream: bool = True) -> Windows:
    return Windows(ids, NOTHING_MASKED, 7, batch=batch, context=context, stream=stream)


def epoch_targets(batches: Batches, epoch: int) -> list[int]:
    steps = range(epoch * batches.steps_per_epoch, (epoch + 1) * batches.steps_per_epoch)
    return sorted(int(i) for step in steps for i in batches.batch(step).targets.reshape(-1))


@pytest.mark.parametrize("epoch", [0, 1, 5])
@pytest.mark.parametrize("make", [lanes, windows])
def test_an_epoch_predicts_every_token_once(make: type[Batches], epoch: int) -> None:
    assert epoch_targets(make(STREAM), epoch) == STREAM.tolist()  # type: ignore[arg-type]


def test_lines_are_shuffled_and_whole() -> None:
    batches = lanes(LINES, batch=1, window=4, lines=True)
    orders = set()
    for epoch in range(6):
        steps = range(epoch * batches.steps_per_epoch, (epoch + 1) * batches.steps_per_epoch)
        inputs = [i for s in steps for i in batches.batch(s).inputs[:, 0].tolist()]
        targets = [i for s in steps for i in batches.batch(s).targets[:, 0].tolist()]
        assert sorted(targets) == sorted(LINES[LINES != BOS].tolist())
        for before, token, following in zip(inputs, targets, inputs[1:], strict=False):
            assert following == (BOS if token == EOS else token)
            assert before == BOS or abs(token - before) == 1 or token == EOS
        orders.add(tuple(targets))
    assert len(orders) > 1


def test_a_lane_goes_on_where_its_window_ended_unless_it_starts_afresh() -> None:
    batches = lanes(np.arange(10, 2010, dtype=np.int32), batch=4, window=5)
    fresh = total = 0
    for step in range(1, batches.steps_per_epoch):
        before, batch = batches.batch(step - 1), batches.batch(step)
        begins = batch.inputs[0] == BOS
        np.testing.assert_array_equal(batch.inputs[0][~begins], before.targets[-1][~begins])
        # The text is a ring; its first token, 10, has the beginning before it.
        expected = np.where(batch.targets[1:] == 10, BOS, batch.targets[:-1])
        np.testing.assert_array_equal(batch.inputs[1:], expected)
        fresh, total = fresh + int(begins.sum()), total + begins.size
    assert 0.02 < fresh / total < 0.1  # 0.05 of 396


def test_an_epoch_starts_every_lane_afresh_at_another_cut() -> None:
    batches = lanes(STREAM)
    first = [batches.batch(epoch * batches.steps_per_epoch) for epoch in range(5)]
    assert all(batch.fresh and (batch.inputs[0] == BOS).all() for batch in first)
    assert len({int(batch.targets[0, 0]) for batch in first}) > 1


def test_batches_do_not_depend_on_what_was_read_before() -> None:
    for make in (lanes, windows):
        once, again = make(STREAM), make(STREAM)
        for step in range(40):
            once.batch(step)
        for step in (39, 3, 22):
            np.testing.assert_array_equal(once.batch(step).inputs, again.batch(step).inputs)
            np.testing.assert_array_equal(once.batch(step).targets, again.batch(step).targets)


def test_a_window_holds_the_tokens_before_and_pads_at_a_fresh_start() -> None:
    batches = windows(STREAM, context=3)
    padded = 0
    for step in range(10 * batches.steps_per_epoch):
        batch = batches.batch(step)
        for window, target in zip(batch.inputs.T.tolist(), batch.targets.tolist(), strict=True):
            read = [i for i in window if i != BOS]
            assert window == [BOS] * (3 - len(read)) + read
            assert read == list(range(target - len(read), target))
            padded += len(read) < 3
    assert 10 * 3 <= padded < 10 * 30  # 3 at the text's begin, about 5 at random


def test_a_window_does_not_cross_a_line() -> None:
    batches = windows(LINES, context=3, stream=False)
    found = {
        int(target): window
        for step in range(batches.steps_per_epoch)
        for window, target in zip(
            batches.batch(step).inputs.T.tolist(), batches.batch(step).targets.tolist(), strict=True
        )
        if target != EOS
    }
    assert found[10] == [BOS, BOS, BOS]
    assert found[12] == [BOS, 10, 11]
    assert found[34] == [31, 32, 33]


def test_shares_divide_a_batch() -> None:
    batch = lanes(STREAM, batch=5).batch(0)
    for size in (1, 2, 3, 5):
        shares = [batch.share(rank, size) for rank in range(size)]
        np.testing.assert_array_equal(np.hstack([s[0] for s in shares]), batch.inputs)
        np.testing.assert_array_equal(np.hstack([s[1] for s in shares]), batch.targets)


@pytest.mark.parametrize("length", [1, 2, 7, 33])
def test_a_short_text_makes_small_batches(length: int) -> None:
    for batches in (
        lanes(STREAM[:length], batch=32, window=64),
        windows(STREAM[:length], batch=64),
    ):
        assert epoch_targets(batches, 0) == STREAM[:length].tolist()


def test_the_whole_text_may_be_one_batch() -> None:
    assert windows(STREAM, batch=10_000).steps_per_epoch == 1


def test_nothing_to_predict_is_an_error() -> None:
    with pytest.raises(DataError, match="no token to predict"):
        lanes(np.array([BOS], np.int32))


def test_even_cuts_differ_by_one_at_most() -> None:
    # 100 in pieces of about 30: three of 33 or 34.
    assert np.diff(even_cuts(100, 30)).tolist() == [33, 33, 34]
    assert even_cuts(10, 64).tolist() == [0, 10]
