"""A service in this process, without a socket, and a server of its own process."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import httpx

from hardening.command import started
from lmsuite.models.interface import LanguageModel
from lmsuite.serve.app import Service
from lmsuite.serve.limits import Limits
from lmsuite.serve.served import ServedModel, ServedModels

PATIENCE = 60.0  # seconds


class InProcess:
    """A service whose event loop runs in a thread, for tests that wait for each answer."""

    def __init__(self, models: Mapping[str, LanguageModel], limits: Limits, **how: Any) -> None:
        served = [ServedModel(name, model, 1_700_000_000) for name, model in models.items()]
        self.service = Service(ServedModels(served), limits, **how)
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._lifespan: Any = None

    def __enter__(self) -> Self:
        self._thread.start()
        self.run(self._begin())
        return self

    def __exit__(self, *raised: object) -> None:
        self.run(self._end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    def run(self, work: Any) -> Any:
        """The result of a coroutine."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(PATIENCE)

    def post(self, path: str, body: Any, **more: Any) -> httpx.Response:
        """The answer to a request."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        response: httpx.Response = self.run(self.client.post(path, content=content, **more))
        return response

    def get(self, path: str, **more: Any) -> httpx.Response:
        """The answer to a request."""
        response: httpx.Response = self.run(self.client.get(path, **more))
        return response

    async def _begin(self) -> None:
        transport = httpx.ASGITransport(app=self.service.app)
        self.client = httpx.AsyncClient(transport=transport, base_url="http://test")
        self._lifespan = self.service._lifespan(None)  # type: ignore[arg-type]
        await self._lifespan.__aenter__()

    async def _end(self) -> None:
        await self.client.aclose()
        await self._lifespan.__aexit__(None, None, None)


def events(body: str) -> list[Any]:
    """The objects of a stream, which must end as it should."""
    lines = body.split("\n\n")
    assert lines[-1] == "" and lines[-2] == "data: [DONE]"
    assert all(line.startswith("data: {") for line in lines[:-2])
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-2]]


def joined(chunks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The choices that the chunks of a stream make."""
    choices: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        for part in chunk["choices"]:
            whole = choices.setdefault(part["index"], {**part, "text": "", "logprobs": None})
            assert whole["finish_reason"] is None or whole["text"] == "", "it had ended"
            whole["text"] += part["text"]
            whole["finish_reason"] = part["finish_reason"]
            if part["logprobs"] is not None:
                so_far = whole["logprobs"] or {key: [] for key in part["logprobs"]}
                for key, values in part["logprobs"].items():
                    so_far[key] += values
                whole["logprobs"] = so_far
    return [choices[index] for index in sorted(choices)]


class Server:
    """``lm serve`` as a process."""

    def __init__(self, process: subprocess.Popen[bytes], address: str) -> None:
        self.process, self.address = process, address

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, and wait for the exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


@contextmanager
def server(
    folder: Path, *arguments: object, env: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """A server of models in this folder, at a free port."""
    process = started("serve", *arguments, "--port", 0, "--json", cwd=folder, env=env)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.stderr and process.stderr.read()
        yield Server(process, json.loads(line)["address"])
    finally:
        process.kill()
        process.communicate()
