"""What is refused, and how: by name, with a 4xx in the API's shape."""

from __future__ import annotations

import asyncio
import base64
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from bigram_model import BigramModel, encoder, uniform
from contract_cases import OTHER
from serving import InProcess, events

from lmsuite.generation import SamplingSettings, sample
from lmsuite.generation.batcher import Batcher
from lmsuite.generation.conditions import Bias
from lmsuite.models.interface import LanguageModel, State
from lmsuite.serve.limits import Limits
from lmsuite.types import FloatArray

COMPLETIONS = "/v1/completions"


def refusal(response: httpx.Response, status: int = 400) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["x-request-id"].startswith("req_")
    body = response.json()
    assert body.keys() == {"error"}
    error: dict[str, Any] = body["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    return error


@pytest.mark.parametrize(
    ("body", "param", "said"),
    [
        ({"promt": "x"}, "promt", "knows no field 'promt'"),
        ({"suffix": "x"}, "suffix", "suffix is not supported"),
        ({"prompt": {}}, "prompt", "prompt must be a text"),
        ({"prompt": []}, "prompt", "prompt must be a text"),
        ({"prompt": ["a", 1]}, "prompt", "prompt must be a text"),
        ({"prompt": [1, True]}, "prompt", "prompt must be a text"),
        ({"prompt": [5, 10**30]}, None, "is no token"),
        ({"prompt": [-1]}, None, "the id -1 is no token"),
        ({"prompt": "a <s> b", "model": "spaces"}, None, "reserved"),
        ({"temperature": "hot"}, "temperature", "temperature must be a number"),
        ({"temperature": -0.1}, "temperature", "at least 0"),
        ({"top_p": 0}, "top_p", "above 0"),
        ({"min_p": 2}, "min_p", "at most 1"),
        ({"top_k": -1}, "top_k", "at least 0"),
        ({"repeat_penalty": 0}, "repeat_penalty", "repeat_penalty must be"),
        ({"max_tokens": 501}, "max_tokens", "at most 500"),
        ({"max_tokens": 1.5}, "max_tokens", "a whole number"),
        ({"n": 17}, "n", "at most 16"),
        ({"n": 0}, "n", "at least 1"),
        ({"best_of": 17}, "best_of", "at most 16"),
        ({"n": 3, "best_of": 2}, "best_of", "at least n"),
        ({"best_of": 2, "stream": True}, "best_of", "cannot be streamed"),
        ({"logprobs": 21}, "logprobs", "at most 20"),
        ({"logprobs": True}, "logprobs", "a whole number"),
        ({"echo": 1}, "echo", "true or false"),
        ({"seed": -1}, "seed", "at least 0"),
        ({"stop": [""]}, "stop", "at least one character"),
        ({"stop": ["x"] * 17}, "stop", "17 texts"),
        ({"stop": 3}, "stop", "several values"),
        ({"logit_bias": {"x": 1}}, "logit_bias", "numbers from -100 to 100"),
        ({"logit_bias": {"5": 101}}, "logit_bias", "numbers from -100 to 100"),
        ({"logit_bias": {"99999": 1}}, "logit_bias", "99999"),
        ({"stream_options": 3}, "stream_options", "include_usage"),
        ({"prompt": ["x"] * 600}, None, "600 texts in one request"),
        ([], None, "must be a JSON object"),
        (b"{", None, "is not JSON"),
        (b'{"n": NaN}', None, "NaN"),
        (b'{"prompt": "\\ud800"}', None, "not Unicode"),
        (b"\xff\xfe", None, "not Unicode"),
        (b"[" * 100_000, None, "nested too deep"),
        (b'{"n": ' + b"9" * 5000 + b"}", None, "is not JSON"),
    ],
)
def test_what_is_wrong_is_named(
    service: InProcess, body: Any, param: str | None, said: str
) -> None:
    error = refusal(service.post(COMPLETIONS, body))
    assert said in error["message"]
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"


def test_routes_and_models_that_are_not_there(service: InProcess) -> None:
    error = refusal(service.post(COMPLETIONS, {"model": "../../etc/passwd"}), 404)
    assert error["code"] == "model_not_found" and error["param"] == "model"
    refusal(service.get("/v1/models/none"), 404)
    refusal(service.get("/nowhere"), 404)
    refusal(service.get("/v1/completions/"), 404)
    response = service.get(COMPLETIONS)
    refusal(response, 405)
    assert response.headers["allow"] == "POST"
    assert service.get("/health").json() == {"status": "ok"}


def test_a_chat_is_its_messages_joined(
    service: InProcess, models: dict[str, LanguageModel]
) -> None:
    messages = [
        {"role": "system", "content": ""},
        {"role": "user", "content": [{"type": "text", "text": "The cow"}]},
        {"role": "assistant", "content": "sat"},
    ]
    body = {"messages": messages, "seed": 2, "max_completion_tokens": 9, "user": "me"}
    [choice] = service.post("/v1/chat/completions", body).json()["choices"]
    assert choice["message"]["content"] == (
        sample(models["words"], "The cow\nsat", seed=2, max_tokens=9)[0].text
    )
    chunks = events(service.post("/v1/chat/completions", {**body, "stream": True}).text)
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    text = "".join(chunk["choices"][0]["delta"]["content"] for chunk in chunks)
    assert text == choice["message"]["content"]
    for wrong in ({"tools": [1]}, {"messages": []}, {"messages": [3]}, {"logprobs": True}):
        refusal(service.post("/v1/chat/completions", {**body, **wrong}))


def test_the_tokens_of_a_text(service: InProcess, models: dict[str, LanguageModel]) -> None:
    info = service.get("/tokenizer_info").json()
    assert (info["eos_token"], info["bos_token"], info["pad_token"]) == ("</s>", "<s>", None)
    for name, model in models.items():
        text = "The cow\nsat, and" if name != "mix" else "The cow sat"
        for field in ("prompt", "content"):
            body = {field: text, "add_special_tokens": False, "model": name}
            ids = service.post("/tokenize", body).json()["tokens"]
        assert ids == [token for token in model.encoder.encode_prompt(text).tolist() if token != 1]
        back = service.post("/detokenize", {"tokens": ids, "model": name}).json()
        assert back["prompt"] == back["content"] == model.encoder.decode(ids)
        assert service.post("/tokenize", {"prompt": "</s>", "model": name}).json()["tokens"] == [2]
        assert service.post("/tokenize", {"prompt": "<s>", "model": name}).json()["tokens"] == [1]
    refusal(service.post("/detokenize", {"tokens": [10**6]}))
    refusal(service.post("/tokenize", {"prompt": 3}))


@pytest.mark.parametrize("in_context", [False, True])
def test_scores_are_those_of_the_library(
    service: InProcess, models: dict[str, LanguageModel], in_context: bool
) -> None:
    texts = ["The cow sat,\nand the zebra", "", "hay"]
    for name, model in models.items():
        for by in ("word", "token", "line"):
            body = {"texts": texts, "model": name, "by": by, "in_context": in_context}
            answer = service.post("/v1/score", body).json()
            assert [each["index"] for each in answer["data"]] == [0, 1, 2]
            for text, found in zip(texts, answer["data"], strict=True):
                if not text:
                    assert found["tokens"] == 0 and found["words"] == []
                    continue
                expected = model.surprisal(text, by=by, in_context=in_context)
                assert len(expected) == len(found["words"])
                for mine, theirs in zip(found["words"], expected, strict=True):
                    assert mine["surprisal"] == pytest.approx(theirs.surprisal, abs=1e-5)
                    assert {**mine, "surprisal": 0} == {**vars(theirs), "surprisal": 0}
                total = sum(word.surprisal for word in expected) * -np.log(2)
                assert found["log_prob"] == pytest.approx(total, abs=1e-4)
    refusal(service.post("/v1/score", {"texts": []}))
    refusal(service.post("/v1/score", {"texts": [1]}))
    refusal(service.post("/v1/score", {"texts": "x", "by": "page"}))


def test_stop_bias_and_penalties(service: InProcess, models: dict[str, LanguageModel]) -> None:
    model = models["words"]
    body: dict[str, Any] = {"prompt": "The cow", "seed": 5, "max_tokens": 60}
    stopped = service.post(COMPLETIONS, {**body, "stop": [".", "\n"]}).json()["choices"][0]
    [drawn] = sample(model, "The cow", seed=5, max_tokens=60, stop=(".", "\n"))
    assert (stopped["text"], stopped["finish_reason"]) == (drawn.text, "stop")
    penalties = {"presence_penalty": 1.5, "frequency_penalty": 0.5}
    punished = service.post(COMPLETIONS, {**body, **penalties}).json()["choices"][0]["text"]
    assert punished == sample(model, "The cow", seed=5, max_tokens=60, **penalties)[0].text
    hay = model.encoder.id("hay")
    biased = service.post(COMPLETIONS, {**body, "logit_bias": {str(hay): 100}, "max_tokens": 3})
    assert biased.json()["choices"][0]["text"] == " hay hay hay"
    none = service.post(COMPLETIONS, {**body, "logit_bias": {str(hay): -100}, "logprobs": 0})
    assert " hay" not in none.json()["choices"][0]["logprobs"]["tokens"]
    with Batcher(model) as batcher:
        pieces = list(batcher.submit("The", max_tokens=2, conditions=[Bias({hay: 100.0})]))
    assert [piece.id for piece in pieces] == [hay, hay]


def test_the_best_of_several(service: InProcess, models: dict[str, LanguageModel]) -> None:
    body = {"prompt": "The cow", "seed": 5, "max_tokens": 8, "n": 2, "best_of": 6}
    answer = service.post(COMPLETIONS, body).json()
    drawn = sample(models["words"], "The cow", seed=5, max_tokens=8, samples=6)
    drawn.sort(key=lambda each: -np.mean(each.log_probs))
    assert [choice["text"] for choice in answer["choices"]] == [each.text for each in drawn[:2]]
    assert answer["usage"]["completion_tokens"] == 48


def test_a_space_at_the_end_of_a_prompt_is_not_doubled(
    service: InProcess, models: dict[str, LanguageModel]
) -> None:
    body = {"seed": 5, "max_tokens": 8, "logprobs": 1}
    for name in ("words", "spaces"):
        [plain], [spaced] = (
            service.post(COMPLETIONS, {**body, "model": name, "prompt": prompt}).json()["choices"]
            for prompt in ("The cow", "The cow ")
        )
        assert "The cow " + spaced["text"] == "The cow" + plain["text"]
        assert "".join(spaced["logprobs"]["tokens"]).removesuffix("</s>") == spaced["text"]


def test_concurrent_seeds_are_lone_ones(
    service: InProcess, models: dict[str, LanguageModel]
) -> None:
    """32 at once, while others score: each has the text that `lm sample` gives."""

    async def all_of(name: str) -> list[str]:
        body = {"model": name, "prompt": "The cow", "max_tokens": 80, "temperature": 0.9}
        scores = [
            service.client.post("/v1/score", json={"model": name, "texts": [OTHER] * 4})
            for _ in range(8)
        ]
        texts = [
            service.client.post(COMPLETIONS, json={**body, "seed": seed}) for seed in range(32)
        ]
        answers = await asyncio.gather(*texts, *scores)
        assert {answer.status_code for answer in answers} == {200}
        return [answer.json()["choices"][0]["text"] for answer in answers[:32]]

    for name in ("words", "lstm", "bytes"):
        settings = SamplingSettings(max_tokens=80, temperature=0.9)
        alone = [sample(models[name], "The cow", settings, seed)[0].text for seed in range(32)]
        assert service.run(all_of(name)) == alone


class GatedModel(BigramModel):
    """Its steps wait for a gate."""

    def __init__(self) -> None:
        text = encoder("a b c d\n", "word")
        super().__init__(text, uniform(text).table)
        self.gate = threading.Event()
        self.steps = 0

    def log_probs(self, state: State) -> FloatArray:
        assert self.gate.wait(60)
        self.steps += 1
        return super().log_probs(state)


@pytest.fixture
def gated() -> GatedModel:
    return GatedModel()


@pytest.fixture
def narrow(gated: GatedModel) -> Iterator[InProcess]:
    limits = Limits(max_body=500, max_prompt=5, max_tokens=10**6, max_streams=2, seconds=1.5)
    with InProcess({"gated": gated}, limits) as running:
        yield running
        gated.gate.set()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_every_limit_is_kept(narrow: InProcess, gated: GatedModel) -> None:
    error = refusal(narrow.post(COMPLETIONS, {"prompt": "x" * 500}), 413)
    assert "500 bytes" in error["message"]

    async def endless() -> Any:
        for _ in range(10**6):
            yield b" " * 100

    refusal(narrow.run(narrow.client.post(COMPLETIONS, content=endless())), 413)
    error = refusal(narrow.post(COMPLETIONS, {"prompt": "a b c d a b"}))
    assert error["code"] == "context_length_exceeded"
    assert "6 tokens; the most are 5" in error["message"]
    refusal(narrow.post(COMPLETIONS, {"prompt": ["a", "b", "c"]}))

    async def full() -> list[httpx.Response]:
        async def post() -> httpx.Response:
            return await narrow.client.post(COMPLETIONS, json={"max_tokens": 1})

        return await asyncio.gather(*(post() for _ in range(3)))

    late, also_late, refused = narrow.run(full())
    refusal(late, 408)
    assert "1.5 seconds" in refusal(also_late, 408)["message"]
    assert refused.headers["retry-after"] == "1"
    assert refusal(refused, 429)["type"] == "rate_limit_error"
    gated.gate.set()
    assert narrow.post(COMPLETIONS, {"max_tokens": 1}).status_code == 200


def test_a_stream_whose_time_is_up_says_so(narrow: InProcess, gated: GatedModel) -> None:
    gated.gate.set()
    body = {"max_tokens": 10**6, "stream": True}
    chunks = events(narrow.post(COMPLETIONS, body).text)
    assert "1.5 seconds" in chunks[-1]["error"]["message"]
    assert all("choices" in chunk for chunk in chunks[:-1])
    steps = gated.steps
    time.sleep(0.05)
    assert gated.steps <= steps + 2  # nobody writes on


def test_the_default_keeps_to_the_limit(models: dict[str, LanguageModel]) -> None:
    with InProcess({"words": models["words"]}, Limits(max_tokens=7)) as service:
        answer = service.post(COMPLETIONS, {"prompt": "The cow"}).json()
        assert answer["usage"]["completion_tokens"] == 7
        assert 'value="7"' in service.get("/").text


def test_an_error_of_the_model_is_told(models: dict[str, LanguageModel]) -> None:
    text = encoder("a b c", "whitespace")
    table = np.zeros((6, 6))
    table[[1, 3, 4], [3, 4, 5]] = 1.0  # a b c, and nothing follows
    with InProcess({"dead": BigramModel(text, table)}, Limits()) as service:
        error = refusal(service.post(COMPLETIONS, {"max_tokens": 9}))
        assert "no token any probability" in error["message"]
        *parts, last = events(service.post(COMPLETIONS, {"max_tokens": 9, "stream": True}).text)
        assert "".join(part["choices"][0]["text"] for part in parts) == "a b c"
        assert "no token any probability" in last["error"]["message"]
        found = service.post(
            COMPLETIONS, {"prompt": "a a", "echo": True, "logprobs": 1, "max_tokens": 0}
        ).json()["choices"][0]["logprobs"]
        assert found["token_logprobs"] == [0.0, -9999.0]


def test_a_key_is_asked_for_everywhere(models: dict[str, LanguageModel]) -> None:
    with InProcess({"words": models["words"]}, Limits(), key="geheim é") as service:
        right = "geheim é"
        basic = base64.b64encode(f"anyone:{right}".encode()).decode()
        for path in (
            *("/", "/health", "/metrics", "/v1/models", "/tokenizer_info", "/nowhere"),
            *("/v1/completions", "/v1/chat/completions", "/v1/score", "/tokenize", "/detokenize"),
        ):
            for wrong in (None, b"Bearer wrong", b"Bearer", b"Basic x", b"Basic eDp5", b"geheim"):
                headers = {} if wrong is None else {b"authorization": wrong}
                response = service.get(path, headers=headers)
                assert refusal(response, 401)["code"] == "invalid_api_key"
                assert response.headers["www-authenticate"].startswith("Basic ")
        for good in (f"Bearer {right}".encode(), f"Basic {basic}".encode()):
            assert service.get("/health", headers={b"authorization": good}).status_code == 200


def test_other_sites_and_names_are_refused(models: dict[str, LanguageModel]) -> None:
    hosts = {"127.0.0.1", "localhost"}
    with InProcess({"words": models["words"]}, Limits(), hosts=hosts) as service:
        for host in ("evil.example", "127.0.0.1.evil.example:8000", "[::1]:80", "[", "a:b:c"):
            refusal(service.get("/health", headers={"host": host}), 403)
        here = {"host": "localhost:8000"}
        assert service.get("/health", headers=here).status_code == 200
        for origin in ("http://evil.example", "null", "http://localhost:8001", "http://["):
            refusal(service.get("/health", headers={**here, "origin": origin}), 403)
        own = service.get("/health", headers={**here, "origin": "http://localhost:8000"})
        assert own.status_code == 200
        assert not [name for name in own.headers if name.startswith("access-control")]
        assert own.headers["x-content-type-options"] == "nosniff"


def test_the_metrics_count(models: dict[str, LanguageModel]) -> None:
    with InProcess({'a"b\\': models["words"]}, Limits()) as service:
        service.post(COMPLETIONS, {"prompt": "The cow", "max_tokens": 5, "n": 2})
        service.post(COMPLETIONS, {"n": 0})
        service.get("/x/y")
        lines = service.get("/metrics").text.splitlines()
    assert 'lmsuite_requests_total{route="/v1/completions",status="200"} 1' in lines
    assert 'lmsuite_requests_total{route="/v1/completions",status="400"} 1' in lines
    assert 'lmsuite_requests_total{route="other",status="404"} 1' in lines
    assert 'lmsuite_prompt_tokens_total{model="a\\"b\\\\"} 2' in lines
    assert 'lmsuite_completion_tokens_total{model="a\\"b\\\\"} 10' in lines
    assert "lmsuite_request_seconds_count 3" in lines
    assert "lmsuite_texts 0" in lines
    assert 'lmsuite_first_token_seconds_bucket{le="+Inf"} 1' in lines
    for line in lines:
        assert line.startswith("# ") or float(line.rpartition(" ")[2]) >= 0
