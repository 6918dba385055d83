"""A server under load: rates of many streams, and mixed clients that do what clients do.

    python -m benchmarks --only serving
    python -m benchmarks.serving [--clients 200] [--seconds 120]

Clients and server share the machine. The clients are plain sockets, which take little time
themselves. Of the mixed clients some stream, some score, some leave in the middle, some read
slowly, and some send garbage; every answer must be what the request deserves.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import statistics
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measuring import Options, Row, require
from benchmarks.neural_models import trained
from lmsuite.generation import SamplingSettings, sample
from lmsuite.store.artefact import load_model

STREAMS = 64
TOKENS = 400
"""Of each stream."""


@contextlib.contextmanager
def server(path: Path, *options: object) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """``lm serve`` of a model file, and its port."""
    command = [sys.executable, "-m", "lmsuite", "serve", str(path), "--port", "0", "--json"]
    with subprocess.Popen([*command, *map(str, options)], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            address = json.loads(process.stdout.readline())["address"]
            yield process, int(address.rpartition(":")[2])
        finally:
            process.kill()


def rows(options: Options) -> Iterator[Row]:
    """In characters a second, and in seconds."""
    require("starlette")
    require("uvicorn")
    model = trained(options, 256)
    loaded = load_model(model.path)
    settings = SamplingSettings(max_tokens=TOKENS)
    ours, alone, first = [], [], []
    with server(model.path) as (_, port):
        for repeat in range(1 + options.repeats):
            begin = time.perf_counter()
            sample(loaded, "", settings, repeat, samples=STREAMS)
            alone.append(STREAMS * TOKENS / (time.perf_counter() - begin))
            begin = time.perf_counter()
            asyncio.run(_streams(port))
            ours.append(STREAMS * TOKENS / (time.perf_counter() - begin))
            first.append(asyncio.run(_first_token(port)))
    yield Row(
        f"serve {STREAMS} streams of {TOKENS} characters, LSTM H=256",
        "`generation.sample` of as many",
        "characters/s",
        tuple(ours[1:]),
        tuple(alone[1:]),
        more_is_better=True,
        reach=0.5,
        commands=(model.command,),
    )
    yield Row("first token of a served LSTM", "", "s", tuple(first[1:]), reach=0.02)


async def _streams(port: int) -> None:
    tokens = await asyncio.gather(*(_stream(port, seed) for seed in range(STREAMS)))
    assert tokens == [TOKENS] * STREAMS, tokens


async def _stream(port: int, seed: int) -> int:
    """The number of tokens of a stream, as its last chunk tells it."""
    body = {"prompt": "", "seed": seed, "max_tokens": TOKENS, "stream": True}
    body["stream_options"] = {"include_usage": True}
    last = b""
    async with contextlib.aclosing(_answer(port, "/v1/completions", body)) as chunks:
        async for chunk in chunks:
            last = (last + chunk)[-1000:]
    usage = last[last.rindex(b'"usage":') + 8 :]
    return int(json.loads(usage[: usage.index(b"}") + 1])["completion_tokens"])


async def _first_token(port: int) -> float:
    begin = time.perf_counter()
    body = {"prompt": "", "seed": 1, "max_tokens": 50, "stream": True}
    async with contextlib.aclosing(_answer(port, "/v1/completions", body)) as chunks:
        async for chunk in chunks:
            if b"data: " in chunk:
                break
    return time.perf_counter() - begin


async def _answer(
    port: int, path: str, body: dict[str, Any] | bytes, *, pause: float = 0.0
) -> AsyncIterator[bytes]:
    """What comes in answer to a request, as it comes; read slowly, with pauses."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n"
        writer.write(f"{head}content-length: {len(content)}\r\n\r\n".encode() + content)
        while chunk := await reader.read(512 if pause else 1 << 16):
            yield chunk
            if pause:
                await asyncio.sleep(pause)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@dataclass
class Findings:
    """What the mixed clients found."""

    seconds: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    memory: list[tuple[float, int]] = field(default_factory=list)
    """Seconds since the beginning, and bytes."""


def mixed_load(path: Path, clients: int, seconds: float, seed: int = 1) -> Findings:
    """Let so many clients at once do what they do, for so long."""
    with server(path) as (process, port):
        return asyncio.run(_mixed(port, process.pid, clients, seconds, seed))


async def _mixed(port: int, pid: int, clients: int, seconds: float, seed: int) -> Findings:
    found = Findings()
    for kind in ("stream", "whole", "score"):  # each alone, before the load
        for number in range(10):
            await _visit(kind, port, random.Random(number), found, lone=True)
    end = time.monotonic() + seconds
    begin = time.monotonic()

    async def watch() -> None:
        while time.monotonic() < end:
            await asyncio.sleep(min(1.0, seconds / 20))
            found.memory.append((time.monotonic() - begin, _resident(pid)))

    async def client(number: int) -> None:
        rng = random.Random(seed * 100_000 + number)
        while time.monotonic() < end:
            kind = rng.choice(KINDS)
            await _visit(kind, port, rng, found)

    await asyncio.gather(watch(), *map(client, range(clients)))
    return found


KINDS = ("stream",) * 3 + ("whole",) * 3 + ("score",) * 3 + ("leave", "slow", "garbage")


async def _visit(
    kind: str, port: int, rng: random.Random, found: Findings, *, lone: bool = False
) -> None:
    """One request of a client, and whether its answer is what it deserves."""
    prompt = "".join(rng.choice("abc defg hi\n") for _ in range(rng.randrange(60)))
    body: dict[str, Any] | bytes = {"prompt": prompt, "max_tokens": 60, "seed": rng.randrange(99)}
    path, wanted, pause = "/v1/completions", {200}, 0.0
    if kind in ("stream", "leave", "slow") and isinstance(body, dict):
        body |= {"stream": True, "logprobs": 2}
        body["max_tokens"] = {"stream": 60, "leave": 1000, "slow": 200}[kind]
        pause = 0.02 if kind == "slow" else 0.0
    elif kind == "score":
        path, body = "/v1/score", {"texts": [prompt, prompt[::-1]]}
    elif kind == "garbage":
        wanted = {400, 404}
        body = rng.choice((b"", b"{", b"[1]", b'{"prompt": {}}', b'{"n": 1e99}', rng.randbytes(99)))
        path = rng.choice((path, "/v1/score", "/tokenize", "/nowhere"))
        if path == "/tokenize":
            body = b"nothing"
    begin, whole = time.perf_counter(), b""
    try:
        async with contextlib.aclosing(_answer(port, path, body, pause=pause)) as chunks:
            async for chunk in chunks:
                whole += chunk
                if kind == "leave" and len(whole) > 3000:
                    return
    except OSError as error:
        found.faults.append(f"{kind}: {error!r}")
        return
    taken = time.perf_counter() - begin
    status = int(whole[9:12] or 0)
    found.statuses[kind, status] += 1
    if status not in wanted or (kind in ("stream", "slow") and b"data: [DONE]" not in whole):
        found.faults.append(f"{kind}: {status} {whole[-200:]!r}")
    found.seconds[f"{kind}, alone" if lone else kind].append(taken)


def _resident(pid: int) -> int:
    """The bytes of memory that a process takes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    return pages * 4096


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("model", type=Path, help="a model file, best of characters")
    parser.add_argument("--clients", type=int, default=200, help="at the same time")
    parser.add_argument("--seconds", type=float, default=120.0, help="how long")
    given = parser.parse_args()
    found = mixed_load(given.model, given.clients, given.seconds)
    print(f"{found.statuses.total()} answers: {dict(sorted(found.statuses.items()))}")
    print(f"faults: {len(found.faults)} {found.faults[:5]}")
    for kind, seconds in sorted(found.seconds.items()):
        p50, p99 = np.percentile(seconds, (50, 99))
        print(f"{kind}: p50 {1e3 * p50:.0f} ms, p99 {1e3 * p99:.0f} ms of {len(seconds)}")
    third = len(found.memory) // 3
    early = statistics.median(size for _, size in found.memory[third : 2 * third])
    late = statistics.median(size for _, size in found.memory[2 * third :])
    print(f"memory: {early / 1e6:.0f} MB, later {late / 1e6:.0f} MB ({late / early - 1:+.1%})")
    sys.exit(1 if found.faults else 0)


if __name__ == "__main__":
    main()
