"""How time and memory grow, drawn: n-gram training with the text, an LSTM's step with its size.

For n-grams, the temporary files are drawn, too.

    python -m benchmarks.growth [--only lstm] [--most 1000000]
    python -m benchmarks.growth --redraw        # from the numbers that are there

The pictures go to docs/ngram-growth.svg and docs/lstm-growth.svg, and the numbers to .json files
beside them. A program that is not here is left out, and the reason printed.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks import lstm_growth, ngram_growth
from benchmarks.measuring import ROOT
from benchmarks.ngram_training import GIGABYTE

SUBJECTS: dict[str, Any] = {"ngram": ngram_growth, "lstm": lstm_growth}
"""Modules with the sizes, the programs, the words of the picture, and `measure`."""
OURS, PEER = (("#1b5e8c", "o"), ("#5fa8d3", "s")), ("#c1572b", "^")
"""Colours and marks; a subject's last program is the peer."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--only", choices=SUBJECTS, help="this picture alone")
    parser.add_argument("--most", type=int, help="the largest size measured")
    parser.add_argument("--redraw", action="store_true", help="measure nothing")
    given = parser.parse_args()
    for name in [given.only] if given.only else SUBJECTS:
        numbers = ROOT / "docs" / f"{name}-growth.json"
        if given.redraw:
            points = json.loads(numbers.read_text("utf-8"))
        else:
            points = measured(SUBJECTS[name], given.most)
            numbers.parent.mkdir(exist_ok=True)
            numbers.write_text(json.dumps(points, indent=1) + "\n", "utf-8")
        draw(SUBJECTS[name], points, numbers.with_suffix(".svg"))


def measured(subject: Any, most: int | None) -> list[dict[str, Any]]:
    """A point for each size and program; sizes above `most` are left out."""
    points = []
    for size in subject.SIZES:
        if most is not None and size > most:
            break
        for program, cost in subject.measure(size):
            took = f"{cost.seconds:.4g} s, {cost.peak / 1e6:.0f} MB"
            took += f", {cost.disk / 1e6:.0f} MB on disk" if subject.HAS_FILES else ""
            print(f"{program}, {size:,} {subject.SIZE}: {took}", flush=True)
            point = {"program": program, subject.SIZE: size}
            points.append(point | {"seconds": cost.seconds, "peak": cost.peak, "disk": cost.disk})
    return points


def draw(subject: Any, points: list[dict[str, Any]], path: Path) -> None:
    """Time, memory and temporary files, side by side, against the size; all axes logarithmic."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot, ticker

    matplotlib.rcParams["svg.hashsalt"] = "lmsuite"
    panels = [
        (subject.SECONDS, "seconds", subject.SECONDS_SCALE),
        ("peak memory (GB)", "peak", 1 / GIGABYTE),
        *([("temporary files (GB)", "disk", 1 / GIGABYTE)] if subject.HAS_FILES else []),
    ]
    size = (5 * len(panels), 4)
    figure, every = pyplot.subplots(1, len(panels), figsize=size, layout="constrained")
    styles = (*OURS[: len(subject.PROGRAMS) - 1], PEER)
    for program, (colour, mark) in zip(subject.PROGRAMS, styles, strict=True):
        style = {"color": colour, "marker": mark, "markersize": 4, "linewidth": 1.5}
        for axes, (_, what, scale) in zip(every, panels, strict=True):
            own = [point for point in points if point["program"] == program and point[what]]
            sizes = [point[subject.SIZE] for point in own]
            if own:
                values = [point[what] * scale for point in own]
                axes.plot(sizes, values, label=program, **style)
    for axes, (title, *_) in zip(every, panels, strict=True):
        axes.set(xscale="log", yscale="log", xlabel=subject.SIZE_LABEL, title=title)
        axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("")
        if subject.TICKS:
            axes.set_xticks(subject.SIZES, map(str, subject.SIZES))
            axes.minorticks_off()
        axes.grid(True, which="major", color="#dddddd", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    every[0].legend(frameon=False)
    figure.suptitle(subject.TITLE)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


if __name__ == "__main__":
    main()
