"""Answers of `/v1/completions` are what direct calls of the library give, however they combine."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from covering import covering
from serving import InProcess, events, joined

from lmsuite.generation import Sample, SamplingSettings, sample
from lmsuite.models.interface import LanguageModel
from lmsuite.serve.replies import LOWEST
from lmsuite.text.vocabulary import BOS, EOS

NEAR = {"rtol": 0, "atol": 1e-5}  # a network rounds otherwise in a batch
SEED = 11


def read_ids(model: LanguageModel, wire: list[int]) -> np.ndarray[Any, Any]:
    """Ids as a model reads them: a text begins anew after its end."""
    ids: list[int] = []
    for token in wire:
        ids += [token, BOS] if token == EOS else [token]
    return np.array(ids, np.int32)


@cache
def samples(model: LanguageModel, ids: tuple[int, ...], max_tokens: int, n: int) -> list[Sample]:
    """Texts from the library alone."""
    settings = SamplingSettings(max_tokens=max_tokens, temperature=0.8)
    return sample(model, np.array(ids, np.int32), settings, SEED, samples=n)


@cache
def distributions(model: LanguageModel, wire: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Before every token the log-probabilities of all, by the definition: step after step."""
    state, rows = model.start(1), []
    for token in wire:
        rows.append(model.log_probs(state)[0])
        for each in read_ids(model, [token]).tolist():
            state = model.step(state, np.array([each], np.int32))
    return np.array(rows)


class Expected:
    """What a request must be answered."""

    def __init__(self, model: LanguageModel, prompt: str | list[int], **asked: Any) -> None:
        self.model = model
        self.encoder = model.encoder
        given = isinstance(prompt, str)
        ids = self.encoder.encode_prompt(prompt) if given else read_ids(model, prompt)
        self.wire = [token for token in ids.tolist() if token != BOS]
        self.prompt = prompt if given else self.encoder.decode(self.wire)
        self.drawn = samples(model, tuple(ids.tolist()), asked["max_tokens"], asked["n"])
        self.asked = asked

    def check(self, choice: dict[str, Any], k: int) -> None:
        drawn, echo, top = self.drawn[k], self.asked["echo"], self.asked["logprobs"]
        assert choice["text"] == (self.prompt if echo else "") + drawn.text
        stopped = len(drawn.ids) < self.asked["max_tokens"]
        assert choice["finish_reason"] == ("stop" if stopped else "length")
        if top is None:
            assert choice["logprobs"] is None
            return
        found = choice["logprobs"]
        rows = distributions(self.model, (*self.wire, *drawn.ids))
        tokens = self.wire + drawn.ids
        if not echo:
            rows, tokens = rows[len(self.wire) :], drawn.ids
        assert {len(values) for values in found.values()} == {len(tokens)}
        if not tokens:
            return
        own = np.maximum(rows[np.arange(len(tokens)), tokens], LOWEST)
        np.testing.assert_allclose(found["token_logprobs"], own, **NEAR)
        for row, token, value, alternatives in zip(
            rows, tokens, found["token_logprobs"], found["top_logprobs"], strict=True
        ):
            values = sorted(alternatives.values(), reverse=True)
            best = np.sort(row)[::-1][:top]
            assert value in values  # the very same number
            if top:
                is_greedy = row[token] == row.max()
                assert (value == values[0]) == is_greedy
                np.testing.assert_allclose(
                    values[: min(top, len(values) - 1)], best[: len(values) - 1], **NEAR
                )
            assert top <= len(alternatives) + 1 and len(alternatives) <= top + 1
        self.check_places(choice["text"], found)

    def check_places(self, text: str, found: dict[str, Any]) -> None:
        places = found["text_offset"]
        assert places == sorted(places)
        whole = "".join(found["tokens"])
        if "bytes:" in whole or "</s>" in whole:
            return
        assert whole == text
        for place, token in zip(places, found["tokens"], strict=True):
            assert text[place : place + len(token)] == token


PROMPTS: dict[str, Any] = {
    "text": "The cow",
    "texts": ["The cow", "", "the zebra,\nand  the"],
    "ids": [5, 4, 2, 6],
    "lists": [[5, 4], [7], [2, 3, 2]],
}


@pytest.mark.parametrize(
    ("model", "max_tokens", "kind", "n", "logprobs", "stream", "echo"),
    covering(
        ("words", "lstm", "bytes"),
        (0, 1, 6),
        PROMPTS,
        (1, 2),
        (None, 0, 2),
        (False, True),
        (False, True),
        strength=3,
    ),
)
def test_every_three_options_together(
    service: InProcess,
    models: dict[str, LanguageModel],
    model: str,
    max_tokens: int,
    kind: str,
    n: int,
    logprobs: int | None,
    stream: bool,
    echo: bool,
) -> None:
    asked = {"echo": echo, "logprobs": logprobs, "n": n, "max_tokens": max_tokens}
    options = {"stream_options": {"include_usage": True}} if stream else {}
    body = {"model": model, "prompt": PROMPTS[kind], "seed": SEED, "temperature": 0.8}
    response = service.post("/v1/completions", {**body, **asked, "stream": stream, **options})
    assert response.status_code == 200, response.text
    if stream:
        *chunks, last = events(response.text)
        assert last["choices"] == []
        assert all(chunk["usage"] is None for chunk in chunks)
        choices, usage = joined(chunks), last["usage"]
    else:
        answer = response.json()
        assert answer["object"] == "text_completion" and answer["model"] == model
        choices, usage = answer["choices"], answer["usage"]
    prompts = PROMPTS[kind] if kind in ("texts", "lists") else [PROMPTS[kind]]
    expected = [Expected(models[model], prompt, **asked) for prompt in prompts]
    assert [choice["index"] for choice in choices] == list(range(n * len(prompts)))
    for choice in choices:
        expected[choice["index"] // n].check(choice, choice["index"] % n)
    prompt_tokens = sum(len(each.wire) for each in expected)
    completion_tokens = sum(len(drawn.ids) for each in expected for drawn in each.drawn)
    assert usage == {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


@pytest.mark.parametrize("echo", [False, True])
@pytest.mark.parametrize("name", ["mix", "chars", "spaces", "ffnn"])
def test_every_family_and_kind_of_token(
    service: InProcess, models: dict[str, LanguageModel], name: str, echo: bool
) -> None:
    asked = {"echo": echo, "logprobs": 3, "n": 3, "max_tokens": 40}
    body = {"model": name, "prompt": "The cow\nhad", "seed": SEED, "temperature": 0.8}
    expected = Expected(models[name], "The cow\nhad", **asked)
    whole = service.post("/v1/completions", {**body, **asked}).json()["choices"]
    streamed = joined(
        events(service.post("/v1/completions", {**body, **asked, "stream": True}).text)
    )
    for choices in (whole, streamed):
        for k, choice in enumerate(choices):
            expected.check(choice, k)
