"""All measurements in one run: one table, and JSON.

    python -m benchmarks [--quick] [--only NAME] [--json FILE]

Every file of measurements has a function `rows`; a file whose peers are not here is skipped, and
the reason printed.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.measuring import MARKDOWN_HEAD, ROOT, Options, Row, SkippedError

# Those that measure processes come first: a child's peak memory counts from its parent's.
FILES = (
    "ngram_training",
    "start_up",
    "ngram_scoring",
    "python_calls",
    "nltk_kneser_ney",
    "text_encoding",
    "long_texts",
    "neural_training",
    "neural_words",
    "neural_cores",
    "neural_sampling",
    "neural_evaluation",
    "serving",
)
ON_REQUEST = ("ngram_large", "ngram_huge")
"""These run only where they are named: they take long."""
PACKAGES = ("lmsuite", "numpy", "kenlm", "nltk", "torch")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--quick", action="store_true", help="smaller and fewer: two minutes")
    parser.add_argument("--repeats", type=int, default=5, help="medians of so many (default 5)")
    parser.add_argument(
        "--only", action="append", choices=FILES + ON_REQUEST, help="this file alone"
    )
    parser.add_argument("--shape", default="", help="of the trainings of networks, only these")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all values there")
    shared = ROOT.parent / "shared" / "corpora"
    parser.add_argument("--texts", type=Path, default=shared, help="the folder of the corpora")
    given = parser.parse_args()

    about = machine()
    print(f"{about['processor']}, {about['cores']} cores, {about['memory_gb']} GB; ", end="")
    print(", ".join(f"{name} {version}" for name, version in about["versions"].items()), end="; ")
    print(f"load {about['load']:.2g} at the start")
    print(f"\n    {about['command']}\n\n{MARKDOWN_HEAD}", flush=True)
    found: list[Row] = []
    taken: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="lm-benchmarks-") as folder:
        options = Options(Path(folder), given.texts, given.quick, given.repeats, given.shape)
        for name in given.only or FILES:
            begin = time.monotonic()
            for row in rows_of(name, options):
                print(row.markdown(), flush=True)
                found.append(row)
            taken[name] = round(time.monotonic() - begin, 1)
    print("\nCommands:\n")
    for row in found:
        for command in row.commands:
            print(f"- {row.work}: `{command}`")
    spent = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in taken.items())
    print(f"\nThe measurements took {sum(taken.values()) / 60:.1f} minutes: {spent}.")
    if given.json:
        document = about | {"seconds": taken, "rows": [row.document() for row in found]}
        given.json.write_text(json.dumps(document, indent=1, default=str) + "\n", "utf-8")


def rows_of(name: str, options: Options) -> Iterator[Row]:
    """The rows of a file; why there are no more of them goes to stderr."""
    try:
        yield from importlib.import_module(f"benchmarks.{name}").rows(options)
    except SkippedError as reason:
        print(f"{name}: skipped: {reason}", file=sys.stderr)
    except ModuleNotFoundError as error:
        print(f"{name}: skipped: {error.name} is not installed", file=sys.stderr)


def machine() -> dict[str, Any]:
    """What the figures were measured with."""
    versions = {"Python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "absent"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(memory / 2**30),
        "load": os.getloadavg()[0],
        "system": platform.platform(),
        "versions": versions,
        "command": " ".join(["python -m benchmarks", *sys.argv[1:]]),
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
