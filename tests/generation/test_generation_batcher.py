"""One model, many readers: each gets what it would get alone, whatever the others do."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from functools import cache
from typing import Any

import numpy as np
import pytest
from bigram_model import BigramModel, encoder, random_model, uniform
from contract_cases import OTHER, Case, mixture, network, ngram
from contract_cases import cache as cache_case

from lmsuite.errors import DataError, LmError, UsageError
from lmsuite.generation import Piece, SamplingSettings, sample
from lmsuite.generation.batcher import AHEAD, Batcher, SharedStream, astream
from lmsuite.models.interface import LanguageModel, State
from lmsuite.text.encoding import Boundaries
from lmsuite.text.vocabulary import BOS
from lmsuite.types import FloatArray, IntArray

ENDLESS = 10**9
EXACT = [
    ngram("modified-kneser-ney", 3, Boundaries.STREAM),
    ngram("modified-kneser-ney", 3, Boundaries.LINES),
    cache_case(Boundaries.LINES),
]
NEARLY = [
    network("lstm", Boundaries.STREAM),
    network("gru", Boundaries.LINES),
    network("ffnn", Boundaries.STREAM),
    mixture(("witten-bell", "cache", "elman"), Boundaries.STREAM),
]
PROMPTS = ["", "The cow", OTHER, "Where had the\ncow"]
SETTINGS = [
    SamplingSettings(max_tokens=40),
    SamplingSettings(temperature=0.7, top_p=0.9, max_tokens=25, stop=("cow", "hay")),
    SamplingSettings(temperature=0, max_tokens=9),
    SamplingSettings(top_k=5, max_tokens=70),
]


@pytest.fixture(autouse=True)
def _no_thread_is_left_over() -> Iterator[None]:
    BEFORE.update(all_batcher_threads())
    yield
    gc.collect()
    wait_until(lambda: not batcher_threads())
    BEFORE.clear()


@cache
def model_of(case: Case) -> LanguageModel:
    return case.make()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


BEFORE: set[threading.Thread] = set()
"""Threads of batchers that others use, such as servers of other tests."""


def all_batcher_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "lmsuite-batcher"]


def batcher_threads() -> list[threading.Thread]:
    return [thread for thread in all_batcher_threads() if thread not in BEFORE]


def requests() -> list[tuple[str, SamplingSettings, int]]:
    return [(prompt, how, seed) for seed, prompt in enumerate(PROMPTS) for how in SETTINGS]


def text_of(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


def read_together(model: LanguageModel, most: int) -> list[list[Piece]]:
    """All requests, each read in a thread of its own that begins a moment after the one before."""
    with Batcher(model, most=most) as batcher, ThreadPoolExecutor(16) as readers:

        def read(number: int) -> list[Piece]:
            time.sleep(0.001 * number)
            return list(batcher.submit(*requests()[number]))

        return list(readers.map(read, range(len(requests()))))


@pytest.mark.parametrize("most", [64, 3])
@pytest.mark.parametrize("case", EXACT, ids=lambda case: case.name)
def test_a_text_is_exactly_that_of_sample(case: Case, most: int) -> None:
    model = model_of(case)
    for pieces, request in zip(read_together(model, most), requests(), strict=True):
        [alone] = sample(model, *request)
        assert text_of(pieces) == alone.text
        assert [piece.id for piece in pieces] == alone.ids
        assert [piece.log_prob for piece in pieces] == alone.log_probs
        reasons = {piece.finish_reason for piece in pieces[:-1]}
        assert reasons <= {None}
        stopped = len(pieces) < request[1].max_tokens
        assert pieces[-1].finish_reason == ("stop" if stopped else "length")


@pytest.mark.parametrize("case", NEARLY, ids=lambda case: case.name)
def test_the_numbers_of_a_network_are_those_of_its_text_alone(case: Case) -> None:
    """To 1e-5; so the texts are equal too, but where a random number falls that close to a border:
    in none of these."""
    model = model_of(case)
    for pieces, (prompt, how, seed) in zip(read_together(model, 64), requests(), strict=True):
        [alone] = sample(model, prompt, how, seed)
        assert text_of(pieces) == alone.text
        found = [piece.log_prob for piece in pieces]
        np.testing.assert_allclose(found, alone.log_probs, rtol=0, atol=1e-5)
        before = model.encoder.encode_prompt(prompt)
        drawn = np.array([piece.id for piece in pieces], np.int32)
        text = np.concatenate((before, after_ends(model, drawn)))
        scores = model.score(text)[(before != BOS).sum() :]
        np.testing.assert_allclose(found, scores[: len(found)], rtol=0, atol=1e-4)


def after_ends(model: LanguageModel, ids: IntArray) -> IntArray:
    """With ``<s>`` after each ``</s>``, as the model has read them."""
    return np.insert(ids, np.flatnonzero(ids == 2) + 1, np.int32(BOS))


def test_a_generator_gives_the_texts_that_sample_numbers() -> None:
    model = random_model(encoder("a b c d e f\n" * 3, "word"), seed=3)
    rng = np.random.default_rng(5)
    with Batcher(model) as batcher:
        texts = [text_of(list(batcher.submit("a", seed=rng, max_tokens=30))) for _ in range(3)]
    assert texts == [each.text for each in sample(model, "a", seed=5, samples=3, max_tokens=30)]


class WatchedModel(BigramModel):
    """Counts the steps; those of a gate that is closed do not end."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.gate = threading.Event()
        self.gate.set()
        self.steps = 0
        self.rows = 0
        self.fails = False

    def log_probs(self, state: State) -> FloatArray:
        assert self.gate.wait(60)
        if self.fails:
            raise MemoryError("no memory")
        self.steps += 1
        self.rows = len(state)
        return super().log_probs(state)


def watched() -> WatchedModel:
    text = encoder("a b c d\n", "word")
    return WatchedModel(text, uniform(text).table)


def test_a_text_waits_for_a_slow_reader_and_others_do_not() -> None:
    model = watched()
    [alone] = sample(model, seed=1, max_tokens=5 * AHEAD)
    model.steps = 0
    with Batcher(model) as batcher:
        slow = batcher.submit(seed=1, max_tokens=ENDLESS)
        fast = list(batcher.submit(seed=2, max_tokens=10 * AHEAD))
        assert len(fast) == 10 * AHEAD
        before = model.steps
        time.sleep(0.05)
        assert model.steps == before  # nobody reads, so nothing is done
        assert before <= 11 * AHEAD
        assert [next(slow).id for _ in range(5 * AHEAD)] == alone.ids
        slow.close()


def test_texts_that_wait_and_go_on_at_every_piece_lose_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Readers that catch up in the very moment in which their text begins to wait."""
    monkeypatch.setattr("lmsuite.generation.batcher.AHEAD", 2)
    model = random_model(encoder("a b c d e f\n" * 3, "word"), seed=3)
    with Batcher(model, most=3) as batcher, ThreadPoolExecutor(6) as readers:
        streams = [batcher.submit("a", seed=seed, max_tokens=400) for seed in range(6)]
        texts = [text_of(pieces) for pieces in readers.map(list, streams)]
    assert texts == [sample(model, "a", seed=s, max_tokens=400)[0].text for s in range(6)]


@pytest.mark.parametrize("how", ["closed", "left", "dropped"])
def test_whoever_leaves_makes_room_at_once(how: str) -> None:
    with Batcher(watched(), most=1) as batcher:
        first: SharedStream | None = batcher.submit(max_tokens=ENDLESS)
        second = batcher.submit(max_tokens=3)
        assert first is not None
        next(first)
        if how == "closed":
            first.close()
            assert list(first) == []
        elif how == "left":
            with first:
                next(first)
        first = None
        assert len(list(second)) == 3


def test_who_leaves_before_beginning_leaves_nothing() -> None:
    model = watched()
    model.gate.clear()
    with Batcher(model) as batcher:
        kept = batcher.submit(max_tokens=2)
        for _ in range(5):
            batcher.submit(max_tokens=ENDLESS).close()
        model.gate.set()
        assert len(list(kept)) == 2
        assert len(list(batcher.submit(max_tokens=5))) == 5
        assert model.rows == 1


def test_the_error_of_one_reader_is_not_that_of_others() -> None:
    text = encoder("a b c", "whitespace")
    table = np.zeros((6, 6))
    table[[BOS, 3, 4], [3, 4, 3]] = 1.0  # nothing follows c
    with Batcher(BigramModel(text, table)) as batcher:
        streams = [batcher.submit(p, max_tokens=9) for p in ("a", "c", "a <s> b", "b")]
        assert text_of(list(streams[0])) == " b a b a b a b a b"
        with pytest.raises(LmError, match="no token any probability"):
            list(streams[1])
        with pytest.raises(DataError, match="reserved"):
            list(streams[2])
        assert list(streams[2]) == []
        with pytest.raises(DataError, match="the id 77 is no token"):
            list(batcher.submit(np.array([77])))
        assert len(list(streams[3])) == 9


def test_a_step_that_fails_ends_its_texts_alone() -> None:
    model = watched()
    with Batcher(model) as batcher:
        streams = [batcher.submit(max_tokens=ENDLESS) for _ in range(3)]
        for each in streams:
            next(each)
        model.fails = True
        for each in streams:
            with pytest.raises(MemoryError):
                for _ in each:
                    pass
        model.fails = False
        assert len(list(batcher.submit(max_tokens=4))) == 4


def test_closing_ends_the_thread_and_tells_readers() -> None:
    model = watched()
    batcher = Batcher(model)
    slow, blocked = (batcher.submit(max_tokens=ENDLESS) for _ in range(2))
    next(slow)
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(list, blocked)
        batcher.close()
        with pytest.raises(LmError, match="closed before the text had ended"):
            reading.result()
    with pytest.raises(LmError, match="closed before the text had ended"):
        list(slow)
    assert not batcher_threads()
    with pytest.raises(UsageError, match="the batcher is closed"):
        batcher.submit()
    batcher.close()
    with pytest.raises(UsageError, match="0 texts at a time"):
        Batcher(model, most=0)


def test_wrong_settings_are_refused_at_once() -> None:
    model = watched()
    with Batcher(model) as batcher:
        with pytest.raises(UsageError, match="temperature"):
            batcher.submit(temperature=-1)
        assert list(batcher.submit(max_tokens=0)) == []
    with pytest.raises(UsageError, match="temperature"):
        astream(model, temperature=-1)


async def async_text(pieces: Any) -> str:
    return "".join([piece.text async for piece in pieces])


@pytest.mark.parametrize("case", [EXACT[0], NEARLY[0]], ids=lambda case: case.name)
def test_an_async_stream_is_that_of_sample(case: Case) -> None:
    """A network's, too: its batch is of one text, as that of `sample`."""
    model = model_of(case)

    async def read() -> list[str]:
        return await asyncio.gather(
            *(async_text(astream(model, "The cow", seed=s, max_tokens=30)) for s in range(4))
        )

    expected = [sample(model, "The cow", seed=s, max_tokens=30)[0].text for s in range(4)]
    assert asyncio.run(read()) == expected


def test_many_readers_in_one_event_loop_share_steps() -> None:
    model = model_of(EXACT[0])

    async def read() -> list[str]:
        async with Batcher(model) as batcher:
            return await asyncio.gather(
                *(async_text(batcher.submit(*request)) for request in requests())
            )

    assert asyncio.run(read()) == [sample(model, *request)[0].text for request in requests()]


def test_the_event_loop_is_never_blocked() -> None:
    """The step ends when the loop lets it; a loop that waited for it would wait for ever."""
    model = watched()
    model.gate.clear()

    async def read() -> str:
        reading = asyncio.create_task(async_text(astream(model, seed=1, max_tokens=5)))
        for _ in range(10):
            await asyncio.sleep(0.001)
        assert not reading.done()
        model.gate.set()
        return await reading

    assert asyncio.run(read()) == sample(model, seed=1, max_tokens=5)[0].text


@pytest.mark.parametrize("how", ["while waiting", "between pieces", "break", "aclosing"])
def test_who_leaves_an_async_stream_ends_its_work(how: str) -> None:
    model = watched()

    async def consume() -> None:
        if how == "while waiting":
            model.gate.clear()
            async for _ in astream(model, max_tokens=ENDLESS):
                raise AssertionError
        elif how == "aclosing":
            async with aclosing(astream(model, max_tokens=ENDLESS)) as pieces:
                async for _ in pieces:
                    return
        else:
            async for _ in astream(model, max_tokens=ENDLESS):
                if how == "break":
                    return
                await asyncio.sleep(60)

    async def main() -> None:
        task = asyncio.create_task(consume())
        await asyncio.sleep(0.02)
        task.cancel()
        model.gate.set()
        await asyncio.wait([task])
        del task
        deadline = time.monotonic() + 60
        while batcher_threads():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.002)

    asyncio.run(main())
    assert model.steps <= 2 * AHEAD


def test_a_cancelled_reader_of_a_batcher_leaves_the_others_alone() -> None:
    model = watched()

    async def main() -> int:
        async with Batcher(model, most=2) as batcher:
            reading = asyncio.create_task(async_text(batcher.submit(max_tokens=ENDLESS)))
            waiting = batcher.submit(max_tokens=ENDLESS)
            await anext(waiting)
            third = batcher.submit(max_tokens=20)
            reading.cancel()
            pieces = [piece async for piece in third]
            closed = asyncio.create_task(async_text(batcher.submit(max_tokens=ENDLESS)))
            await asyncio.sleep(0.01)
        with pytest.raises(LmError, match="closed"):
            await closed
        return len(pieces)

    assert asyncio.run(main()) == 20


def test_readers_whose_event_loop_has_ended_are_forgotten() -> None:
    model = watched()
    with Batcher(model) as batcher:

        async def leave() -> None:
            await anext(batcher.submit(max_tokens=ENDLESS))

        asyncio.run(leave())
        assert len(list(batcher.submit(max_tokens=3))) == 3
        wait_until(lambda: model.rows <= 1)
