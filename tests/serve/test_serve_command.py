"""``lm serve`` as a process: what it says, who reaches it, and how it ends."""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving import Server, server

from hardening.command import lm, lm_process, started
from lmsuite.models.interface import LanguageModel

ENDLESS = {"max_tokens": 10**8, "stream": True, "logprobs": 0}
PROMISED = 2.0  # seconds
SLOWNESS = 8.0  # what a machine that has other work may need beyond that


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def asked(address: str, body: dict[str, Any]) -> socket.socket:
    """A connection on which a completion is asked for."""
    host, _, port = address.removeprefix("http://").rpartition(":")
    connection = socket.create_connection((host, int(port)), timeout=60)
    content = json.dumps(body).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nhost: {host}:{port}\r\nconnection: close\r\n"
    connection.sendall(f"{head}content-length: {len(content)}\r\n\r\n".encode() + content)
    return connection


def rest(connection: socket.socket) -> bytes:
    """All that still comes."""
    parts = []
    while part := connection.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)


def test_it_says_where_it_is_and_what_to_try(folder: Path) -> None:
    process = started("serve", "words", "--port", 0, cwd=folder)
    assert process.stdout is not None
    try:
        first = process.stdout.readline().decode()
        assert first.startswith("serving words at http://127.0.0.1:")
        assert "reached from this machine alone" in first
        lines = [process.stdout.readline().decode() for _ in range(4)]
        assert [line.split()[0] for line in lines[1:]] == ["a", "curl", "Python"]
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert process.stderr is not None
        assert process.stderr.read() == b"interrupted\n"
    finally:
        process.kill()
        process.communicate()


def test_it_listens_to_this_machine_alone(running: Server) -> None:
    """No other address of this machine is bound."""
    port = int(running.address.rpartition(":")[2])
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.2", port), timeout=5).close()
    assert httpx.get(f"{running.address}/health").json() == {"status": "ok"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--host", "0.0.0.0"], "--host 0.0.0.0 can be reached by others: give --api-key"),
        (["--host", "::"], "--no-auth"),
        (["--api-key", "x", "--no-auth"], "--no-auth contradicts --api-key"),
        (["--api-key", " "], "--api-key must be"),
        (["--max-n", "0"], "--max-n must be at least 1"),
        (["--seconds", "0"], "--seconds must be above 0"),
    ],
)
def test_wrong_usage(folder: Path, arguments: list[str], said: str) -> None:
    ended = lm("serve", "words", *arguments, cwd=folder, env={"LM_API_KEY": ""})
    assert ended.code == 2
    assert said in ended.err


def test_what_cannot_be_served(folder: Path, running: Server, tmp_path: Path) -> None:
    port = running.address.rpartition(":")[2]
    ended = lm_process("serve", "words", "--port", port, cwd=folder)
    assert "choose another with --port" in ended.error
    assert "no model 'none'" in lm_process("serve", "none", cwd=folder).error
    assert "no models in" in lm_process("serve", cwd=tmp_path).error


def test_the_extra_is_named_if_it_is_missing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "uvicorn", None)
    ended = lm("serve", "words", cwd=folder)
    assert ended.code == 2
    assert "pip install 'lmsuite[serve]'" in ended.only_line


def test_a_key_from_the_environment(folder: Path) -> None:
    with server(folder, "words", env={"LM_API_KEY": "geheim"}) as running:
        assert httpx.get(f"{running.address}/health").status_code == 401
        headers = {"authorization": "Bearer geheim"}
        assert httpx.get(f"{running.address}/v1/models", headers=headers).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_ends_its_text(folder: Path, stream: bool) -> None:
    with server(folder, "chars", "--max-tokens", 10**9) as running:
        connection = asked(running.address, {**ENDLESS, "stream": stream})
        if stream:
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")

        def in_flight() -> str:
            lines = httpx.get(f"{running.address}/metrics").text.splitlines()
            return next(line for line in lines if line.startswith("lmsuite_texts "))

        until(lambda: in_flight() == "lmsuite_texts 1")
        connection.close()
        until(lambda: in_flight() == "lmsuite_texts 0")


def test_a_term_signal_lets_streams_end(folder: Path, models: dict[str, LanguageModel]) -> None:
    with server(folder, "chars", "--max-tokens", 10**9, "--grace", 60) as running:
        connection = asked(running.address, {**ENDLESS, "max_tokens": 10_000})
        beginning = connection.recv(1000)
        assert beginning.startswith(b"HTTP/1.1 200")
        running.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{running.address}/health")
        whole = rest(connection)
        assert b'"finish_reason":"length"' in whole
        assert whole.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
        assert running.process.wait(60) == 143


@pytest.mark.parametrize(
    ("numbers", "grace"),
    [([signal.SIGINT], 60.0), ([signal.SIGTERM], 0.3), ([signal.SIGTERM, signal.SIGTERM], 60.0)],
)
def test_it_ends_at_once_or_after_its_grace(folder: Path, numbers: list[int], grace: float) -> None:
    with server(folder, "chars", "--max-tokens", 10**9, "--grace", grace) as running:
        connection = asked(running.address, ENDLESS)
        assert connection.recv(1000)
        began = time.monotonic()
        for number in numbers:
            running.process.send_signal(number)
            time.sleep(0.2)
        assert running.process.wait(60) == 128 + numbers[0]
        assert time.monotonic() - began < PROMISED + SLOWNESS
        assert running.process.stderr is not None
        assert running.process.stderr.read() == b"interrupted\n"
        connection.close()


def test_garbage_that_is_no_http(running: Server) -> None:
    host, _, port = running.address.removeprefix("http://").rpartition(":")
    for garbage in (b"\x00" * 100, b"GET\r\n\r\n", b"\r\n\r\n"):
        with socket.create_connection((host, int(port)), timeout=60) as connection:
            connection.sendall(garbage)
            connection.shutdown(socket.SHUT_WR)
            answer = rest(connection)
            assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
    assert httpx.get(f"{running.address}/health").status_code == 200
