"""How time and memory grow with the text, drawn: n-gram training, ours and lmplz.

Each text is drawn by `synthetic_text`; every point is one training, a whole process. The picture
goes to docs/ngram-growth.svg, and the numbers to docs/ngram-growth.json.

    python -m benchmarks.growth [--most 20000000]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.measuring import ROOT, Cost, SkippedError
from benchmarks.ngram_training import GIGABYTE, Contest
from benchmarks.synthetic_text import write_text

TOKENS = (10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000, 20_000_000)
OURS, CAPPED, PEER = "lm train ngram", "lm train ngram --memory 1G", "lmplz -S 4G + build_binary"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--most", type=int, default=TOKENS[-1], help="tokens of the longest text")
    given = parser.parse_args()
    points = [point for tokens in TOKENS if tokens <= given.most for point in measure(tokens)]
    docs = ROOT / "docs"
    docs.mkdir(exist_ok=True)
    (docs / "ngram-growth.json").write_text(json.dumps(points, indent=1) + "\n", "utf-8")
    draw(points, docs / "ngram-growth.svg")


def measure(tokens: int) -> list[dict[str, Any]]:
    """A point for each program."""
    with tempfile.TemporaryDirectory(prefix="lm-growth-") as name:
        folder = Path(name)
        text = folder / "text.txt"
        with text.open("wb") as stream:
            write_text(tokens, stream)
        contest = Contest(text, folder, memory="4G")
        programs = {
            OURS: contest.train_ours,
            CAPPED: lambda: contest.train_ours("--memory", "1G"),
            PEER: contest.train_peer,
        }
        points = []
        for program, train in programs.items():
            try:
                cost: Cost = train()
            except SkippedError as reason:
                print(f"{program}, {tokens:,} tokens: skipped: {reason}")
                continue
            print(f"{program}, {tokens:,} tokens: {cost.seconds:.2f} s, {cost.peak / 1e6:.0f} MB")
            points.append(
                {"program": program, "tokens": tokens, "seconds": cost.seconds, "peak": cost.peak}
            )
    return points


def draw(points: list[dict[str, Any]], path: Path) -> None:
    """Time and memory, side by side, against tokens; both axes logarithmic."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot, ticker

    matplotlib.rcParams["svg.hashsalt"] = "lmsuite"
    figure, (time, memory) = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for program, colour, mark in zip(
        (OURS, CAPPED, PEER), ("#1b5e8c", "#5fa8d3", "#c1572b"), "os^", strict=True
    ):
        own = [point for point in points if point["program"] == program]
        if not own:
            continue
        tokens = [point["tokens"] for point in own]
        style = {"color": colour, "marker": mark, "markersize": 4, "linewidth": 1.5}
        time.plot(tokens, [point["seconds"] for point in own], label=program, **style)
        memory.plot(tokens, [point["peak"] / GIGABYTE for point in own], label=program, **style)
    for axes, title in ((time, "wall time (s)"), (memory, "peak memory (GB)")):
        axes.set(xscale="log", yscale="log", xlabel="tokens", title=title)
        axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("")
        axes.grid(True, which="major", color="#dddddd", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    time.legend(frameon=False)
    figure.suptitle("A 5-gram with modified Kneser-Ney, text file to saved model")
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
