"""What a server has done, as Prometheus reads it (its text format, version 0.0.4)."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds in seconds."""


class Metrics:
    """Counters, for one event loop."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()  # by route and status
        self.prompt_tokens: Counter[str] = Counter()  # by model
        self.completion_tokens: Counter[str] = Counter()
        self.request_seconds = _Histogram()
        self.first_token_seconds = _Histogram()

    def page(self, texts_in_flight: int) -> str:
        """The answer to ``/metrics``."""
        lines = [
            *_counter("requests", "Requests answered.", ("route", "status"), self.requests),
            *_counter("prompt_tokens", "Tokens of prompts.", ("model",), self.prompt_tokens),
            *_counter("completion_tokens", "Tokens drawn.", ("model",), self.completion_tokens),
            "# HELP lmsuite_texts Texts that are being written or scored.",
            "# TYPE lmsuite_texts gauge",
            f"lmsuite_texts {texts_in_flight}",
            *self.request_seconds.lines("request_seconds", "Time of a request."),
            *self.first_token_seconds.lines(
                "first_token_seconds", "Time from a request to the first part of its answer."
            ),
        ]
        return "\n".join(lines) + "\n"


class _Histogram:
    """How many times lie below each bound."""

    def __init__(self) -> None:
        self._counts = [0] * (len(_BUCKETS) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count a time."""
        self._counts[bisect_left(_BUCKETS, seconds)] += 1
        self._sum += seconds

    def lines(self, name: str, about: str) -> list[str]:
        """Its part of the page."""
        full = f"lmsuite_{name}"
        lines = [f"# HELP {full} {about}", f"# TYPE {full} histogram"]
        total = 0
        for bound, count in zip((*map(str, _BUCKETS), "+Inf"), self._counts, strict=True):
            total += count
            lines.append(f'{full}_bucket{{le="{bound}"}} {total}')
        return [*lines, f"{full}_sum {self._sum:.6f}", f"{full}_count {total}"]


def _counter(
    name: str, about: str, labels: tuple[str, ...], counts: Counter[str] | Counter[tuple[str, int]]
) -> list[str]:
    full = f"lmsuite_{name}_total"
    lines = [f"# HELP {full} {about}", f"# TYPE {full} counter"]
    for key, count in sorted(counts.items(), key=lambda item: str(item[0])):
        values = key if isinstance(key, tuple) else (key,)
        shown = ",".join(
            f'{label}="{_escaped(str(value))}"' for label, value in zip(labels, values, strict=True)
        )
        lines.append(f"{full}{{{shown}}} {count}")
    return lines


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
