"""Clients that know nothing of this server, as they are: openai, llm, the evaluation harness."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from serving import Server

from lmsuite.generation import SamplingSettings, sample
from lmsuite.models.interface import LanguageModel


def drawn(model: LanguageModel, prompt: str, seed: int, **changes: Any) -> str:
    return sample(model, prompt, SamplingSettings(**changes), seed)[0].text


def test_openai(running: Server, models: dict[str, LanguageModel]) -> None:
    openai = pytest.importorskip("openai")
    client = openai.OpenAI(base_url=f"{running.address}/v1", api_key="none", max_retries=0)
    assert [model.id for model in client.models.list()] == ["words", "lstm", "chars"]
    assert client.models.retrieve("chars").object == "model"
    made = client.completions.create(model="chars", prompt="The cow", seed=3, max_tokens=30)
    assert made.choices[0].text == drawn(models["chars"], "The cow", 3, max_tokens=30)
    assert made.usage.completion_tokens == 30
    chunks = client.completions.create(
        model="chars",
        prompt="The cow",
        seed=3,
        max_tokens=30,
        logprobs=2,
        stream=True,
        stream_options={"include_usage": True},
        extra_body={"top_k": 5, "min_p": 0.01, "repeat_penalty": 1.1},
    )
    *parts, last = list(chunks)
    expected = {"max_tokens": 30, "top_k": 5, "min_p": 0.01, "repetition_penalty": 1.1}
    assert "".join(part.choices[0].text for part in parts) == drawn(
        models["chars"], "The cow", 3, **expected
    )
    assert last.usage.total_tokens == 37
    chat = client.chat.completions.create(
        model="words", messages=[{"role": "user", "content": "The cow"}], seed=1, max_tokens=9
    )
    assert chat.choices[0].message.content == drawn(models["words"], "The cow", 1, max_tokens=9)
    with pytest.raises(openai.NotFoundError, match="there is no model 'gpt'"):
        client.completions.create(model="gpt", prompt="x")
    with pytest.raises(openai.BadRequestError, match="temperature must be") as refused:
        client.completions.create(model="words", prompt="x", temperature=-1)
    assert refused.value.param == "temperature"
    assert refused.value.request_id.startswith("req_")


def test_openai_async(running: Server, models: dict[str, LanguageModel]) -> None:
    openai = pytest.importorskip("openai")

    async def read(client: Any, seed: int) -> str:
        stream = await client.chat.completions.create(
            model="chars",
            messages=[{"role": "user", "content": "The cow"}],
            seed=seed,
            max_tokens=40,
            stream=True,
        )
        return "".join([chunk.choices[0].delta.content async for chunk in stream])

    async def main() -> list[str]:
        async with openai.AsyncOpenAI(base_url=f"{running.address}/v1", api_key="x") as client:
            return await asyncio.gather(*(read(client, seed) for seed in range(8)))

    alone = [drawn(models["chars"], "The cow", seed, max_tokens=40) for seed in range(8)]
    assert asyncio.run(main()) == alone


def test_llm(running: Server, models: dict[str, LanguageModel], tmp_path: Path) -> None:
    """It streams, asks for the usage, and gives no `max_tokens`."""
    pytest.importorskip("llm")
    (tmp_path / "extra-openai-models.yaml").write_text(
        f"- model_id: cow\n  model_name: chars\n  api_base: {running.address}/v1\n"
        "  completion: true\n"
    )
    environment = {**os.environ, "LLM_USER_PATH": str(tmp_path), "OPENAI_API_KEY": "none"}
    command = [sys.executable, "-m", "llm", "-m", "cow", "The cow", "-o", "seed", "5"]
    for more in ([], ["--no-stream"]):
        done = subprocess.run(
            [*command, *more], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.removesuffix("\n") == drawn(models["chars"], "The cow", 5)
    assert len(done.stdout) > 150


TASKS = {
    "choice": {
        "output_type": "multiple_choice",
        "doc_to_text": "{{context}}",
        "doc_to_target": "{{answer}}",
        "doc_to_choice": "{{choices}}",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    },
    "rolling": {
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "{{text}}",
        "metric_list": [
            {"metric": "word_perplexity"},
            {"metric": "byte_perplexity"},
            {"metric": "bits_per_byte"},
        ],
    },
    "generate": {
        "output_type": "generate_until",
        "doc_to_text": "{{context}}",
        "doc_to_target": "{{written}}",
        "generation_kwargs": {"until": ["\n", "."], "do_sample": False, "max_gen_toks": 12},
        "metric_list": [{"metric": "exact_match"}],
    },
}


def harness() -> str | None:
    """A Python that has lm_eval with what its API models need; None if there is none."""
    named = os.environ.get("LMSUITE_LM_EVAL")
    if named:
        return named
    found = all(map(importlib.util.find_spec, ("lm_eval", "tenacity", "aiohttp")))
    return sys.executable if found else None


@pytest.mark.slow
@pytest.mark.parametrize("name", ["words", "lstm", "chars"])
def test_the_evaluation_harness(
    folder: Path, models: dict[str, LanguageModel], name: str, tmp_path: Path
) -> None:
    """Its `local-completions`, with the tokenizer that it finds itself, on tasks of a few lines."""
    python = harness()
    if python is None:
        pytest.skip("lm_eval is not installed; LMSUITE_LM_EVAL can name a Python that has it")
    from serving import server

    model = models[name]
    documents = [
        {
            "context": context,
            "choices": [" the hay", " corn if", " sat"],
            "answer": 1,
            "text": f"{context} sat in the hay.\nThe cat sat there.\n",
            "written": sample(model, context, temperature=0, max_tokens=12, stop=("\n", "."))[
                0
            ].text,
        }
        for context in ("The cow", "What if the cats", "Where had the cow", "Eating the grass,")
    ]
    (tmp_path / "documents.jsonl").write_text("".join(json.dumps(d) + "\n" for d in documents))
    for task, settings in TASKS.items():
        common = {
            "task": task,
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": {"test": str(tmp_path / "documents.jsonl")}},
            "test_split": "test",
        }
        (tmp_path / f"{task}.yaml").write_text(json.dumps(common | settings))  # JSON is YAML
    with server(folder, name) as running:
        arguments = (
            f"model={name},base_url={running.address}/v1/completions,num_concurrent=1,max_retries=1"
        )
        command = [python, "-m", "lm_eval", "--model", "local-completions"]
        command += ["--model_args", arguments, "--tasks", ",".join(TASKS)]
        command += ["--include_path", str(tmp_path), "--output_path", str(tmp_path / "out")]
        command += ["--batch_size", "3", "--log_samples"]
        environment = {
            **{key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
            "HF_HOME": str(tmp_path / "hf"),
            "HF_HUB_OFFLINE": "1",
            "HF_DATASETS_OFFLINE": "1",
        }
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, cwd=tmp_path
        )
    assert done.returncode == 0, done.stderr
    [results] = (tmp_path / "out").rglob("results_*.json")
    found = json.loads(results.read_text())["results"]

    def log_prob(context: str, more: str) -> float:
        """Of `more` after the context, in the running text."""
        before = model.encoder.encode_prompt(context)
        whole = model.encoder.encode_prompt(context + more)
        scores = model.score(whole)
        return float(scores[np.count_nonzero(before != 1) :].sum())

    choices = np.array(
        [[log_prob(d["context"], choice) for choice in d["choices"]] for d in documents]
    )
    lengths = np.array([len(choice) for choice in documents[0]["choices"]])
    assert found["choice"]["acc,none"] == np.mean(choices.argmax(axis=1) == 1)
    assert found["choice"]["acc_norm,none"] == np.mean((choices / lengths).argmax(axis=1) == 1)
    for sample_file in (tmp_path / "out").rglob("samples_choice_*.jsonl"):
        for line in map(json.loads, sample_file.read_text().splitlines()):
            values = [float(pair[0][0]) for pair in line["resps"]]
            np.testing.assert_allclose(values, choices[line["doc_id"]], rtol=1e-6)
    texts = [d["text"] for d in documents]
    total = sum(log_prob("", text) for text in texts)
    size = sum(len(text.encode()) for text in texts)
    words = sum(len(re.split(r"\s+", text)) for text in texts)
    bits = -total / size / math.log(2)
    assert found["rolling"]["bits_per_byte,none"] == pytest.approx(bits, rel=1e-6)
    assert found["rolling"]["word_perplexity,none"] == pytest.approx(
        math.exp(-total / words), rel=1e-5
    )
    assert found["generate"]["exact_match,none"] == 1.0


README = Path(__file__).resolve().parents[2] / "README.md"


def test_the_readme_works_as_typed(running: Server, models: dict[str, LanguageModel]) -> None:
    """But for the address, and the names of the models."""
    [block] = re.findall(
        r"^## Serving\n.*?```bash\n(.*?)^```", README.read_text("utf-8"), re.M | re.S
    )
    script = block[block.index("curl") :].replace("http://127.0.0.1:8000", running.address)
    script = script.replace("best", "chars").replace(
        "llm openai", f"{sys.executable} -m llm openai"
    )
    script = script.replace("python -c", f"{sys.executable} -c")
    done = subprocess.run(["bash", "-e", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer, _, more = done.stdout.partition("\n")
    assert json.loads(answer)["choices"][0]["text"] == drawn(models["words"], "My lord,", 7)
    assert more.startswith(drawn(models["chars"], "My lord,", 7) + "\n")
    assert len(more) > 300
