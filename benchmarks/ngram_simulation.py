"""What a cluster would take for texts of 10^9 to 10^11 tokens, from the tasks of one run here.

    python -m benchmarks.ngram_simulation              # docs/ngram-simulation.json and .svg
    python -m benchmarks.ngram_simulation --redraw     # measure nothing

One run in one process gives, for each stage, the processor time of its tasks and the bytes that
they read and write. Both are taken to grow with the tokens; there are fewer new n-grams in a longer
text, so this is rather too much. A part is a million n-grams, or more where there would be more
than `_MOST_PARTS` of them. The stages come one after the other; in each, the tasks go to the first
worker that is free. A worker takes for a task its processor time, its bytes at `DISK`, and
`LATENCY` for each file in which it reads a section; all workers together read and write no faster
than `NETWORK`, the rate of the folder that they share. What the command itself does (sums over all
bigrams, collecting the table) is one task, and no worker helps with it. Reading the text is left
out.
"""

from __future__ import annotations

import argparse
import heapq
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.measuring import ROOT

DISK, NETWORK = 200e6, 2e9  # bytes a second: of one worker, and of all together
LATENCY = 0.005  # seconds for a section of a file, which takes two requests
TASK = 0.01  # seconds that the scheduler takes for a task, for which no other can be begun
ORDER, WORDS = 3, 24_000_000
TOKENS = (10**9, 10**10, 10**11)
WORKERS = tuple(2**power for power in range(9))
_PART, _MOST_PARTS = 1 << 20, 1 << 10
HERE = ("text", "unigrams", "words", "table")
"""Stages that are one task, of the command itself."""
BESIDE = {"text": "runs", "table": f"smoothed-{ORDER}"}
"""Those of them that go on while the tasks of a stage are done."""
EXCHANGES = ("merged", "answered", "smoothed")
"""Stages whose tasks read a section of as many files as there are parts."""


@dataclass(frozen=True)
class Stage:
    """The tasks of one stage, all together."""

    name: str
    tasks: int
    seconds: float
    """Of a processor."""
    wall: float
    read: int
    written: int


@dataclass(frozen=True)
class Run:
    """What was measured."""

    tokens: int
    part: int
    """Positions of a block, n-grams of a range."""
    stages: list[Stage]
    alone: float
    """Wall seconds in one process."""
    two: float
    """Wall seconds in two processes."""


def measured(words: int, repeats: int) -> Run:
    """Run the estimation here, in one process and in two, turn about."""
    import io

    from benchmarks.synthetic_text import write_text
    from lmsuite.models.ngram import NgramModel, NgramSettings
    from lmsuite.ngram import workplace as module
    from lmsuite.ngram.planning import Plan
    from lmsuite.ngram.workplace import TaskReport, workplace
    from lmsuite.text.encoding import Boundaries, TextEncoder, TextSettings

    text = io.BytesIO()
    write_text(words, text)
    encoder, ids = TextEncoder.train(
        text.getvalue().decode(), TextSettings("whitespace", Boundaries.LINES)
    )
    part = len(ids) // 16
    seconds: dict[int, list[float]] = {1: [], 2: []}
    reports: list[TaskReport] = []
    for _ in range(repeats):
        for threads in seconds:
            module.planned = lambda *_, threads=threads: Plan(threads, part)  # type: ignore[assignment]
            report = reports.append if threads == 1 else None
            began = time.perf_counter()
            with workplace(threads=threads, report=report) as place:
                NgramModel.fit(encoder, ids, NgramSettings(order=ORDER), place=place)
            seconds[threads].append(time.perf_counter() - began)
    sums: dict[str, list[float]] = defaultdict(lambda: [0.0] * 5)
    for stage, _, *cost in reports:
        for place_, amount in enumerate((1, *cost)):
            sums[stage][place_] += amount / repeats
    stages = [
        Stage(name, round(tasks), spent, wall, round(read), round(written))
        for name, (tasks, spent, wall, read, written) in sums.items()
    ]
    alone, two = (statistics.median(of_threads) for of_threads in seconds.values())
    return Run(len(ids), part, stages, alone, two)


def predicted_here(run: Run, workers: int) -> float:
    """Seconds of the run itself with so many workers; what no task reports stays as it is."""
    walls = {stage.name: stage.wall for stage in run.stages}
    rest = run.alone - sum(walls.values())
    for stage in run.stages:
        if stage.name not in HERE:
            each = [stage.wall / stage.tasks] * stage.tasks
            walls[stage.name] = _scheduled(each, workers, task=0.0)
    # Blocks are written, and the table is collected, while others work.
    beside = sum(min(walls[name], walls[other]) for name, other in BESIDE.items())
    return rest + sum(walls.values()) - (beside if workers > 1 else 0.0)


def predicted(run: Run, tokens: int, workers: int, part: int) -> dict[str, float]:
    """Seconds of each stage, for so many tokens and workers."""
    growth = tokens / run.tokens
    taken = {}
    for stage in run.stages:
        moved = (stage.read + stage.written) * growth
        seconds = stage.seconds * growth + moved / DISK
        if stage.name in HERE:
            taken[stage.name] = seconds
            continue
        tasks = max(1, round(stage.tasks * growth * run.part / part))
        is_exchange = stage.name.startswith(EXCHANGES) and stage.name != "smoothed-2"
        each = seconds / tasks + (LATENCY * tasks if is_exchange else 0.0)
        taken[stage.name] = max(_scheduled([each] * tasks, workers, TASK), moved / NETWORK)
    for name, other in BESIDE.items():  # what is done while others work
        taken[name] = max(taken[name] - taken[other], 0.0)
    return taken


def _scheduled(tasks: list[float], workers: int, task: float) -> float:
    """When the last task ends, if each goes to the first worker that is free, one after another."""
    free = [0.0] * workers
    begun = 0.0
    for seconds in tasks:
        begun = max(begun + task, free[0])
        heapq.heapreplace(free, begun + seconds)
    return max(free)


def points(run: Run) -> Iterator[dict[str, Any]]:
    """A point for each text and number of workers."""
    for tokens in TOKENS:
        part = max(_PART, tokens // _MOST_PARTS)
        for workers in WORKERS:
            stages = predicted(run, tokens, workers, part)
            slowest = max(stages, key=stages.__getitem__)
            moved = sum(stage.read + stage.written for stage in run.stages) * tokens / run.tokens
            parts = -(-tokens // part)
            yield {
                "tokens": tokens,
                "workers": workers,
                "seconds": sum(stages.values()),
                "bytes": moved,
                "limit": slowest,
                "share": stages[slowest] / sum(stages.values()),
                "parts": parts,
                # The last tasks of a stage leave workers idle unless each has several.
                "cut finer": parts < 4 * workers,
            }


def draw(found: list[dict[str, Any]], path: Path) -> None:
    """Time against workers, a line a text; hollow where parts must be cut finer."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    matplotlib.rcParams["svg.hashsalt"] = "lmsuite"
    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    for tokens, colour in zip(TOKENS, ("#4e79a7", "#e15759", "#76b7b2"), strict=True):
        own = [point for point in found if point["tokens"] == tokens]
        hours = [point["seconds"] / 3600 for point in own]
        workers = [point["workers"] for point in own]
        axes.plot(workers, hours, color=colour, label=f"{tokens:.0e} tokens".replace("+", ""))
        for point, at in zip(own, hours, strict=True):
            face = "white" if point["cut finer"] else colour
            axes.plot(point["workers"], at, "o", color=colour, markerfacecolor=face)
        last = own[-1]
        axes.annotate(
            f"{last['limit']}: {last['share']:.0%}",
            (last["workers"], hours[-1]),
            textcoords="offset points",
            xytext=(-4, 6),
            ha="right",
            fontsize=8,
        )
    axes.set(xscale="log", yscale="log", xlabel="workers", ylabel="hours, without reading the text")
    axes.set_xticks(WORKERS, map(str, WORKERS))
    axes.minorticks_off()
    axes.set_title(
        f"A {ORDER}-gram on a cluster: {DISK / 1e6:.0f} MB/s a worker, {NETWORK / 1e9:.0f} GB/s "
        "for all (simulated)\nhollow: fewer than four parts a worker",
        fontsize=9,
    )
    axes.yaxis.set_major_formatter("{x:g}")
    axes.grid(True, color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ngram_simulation")
    parser.description = __doc__
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--words", type=int, default=WORDS, help="of the text that is measured")
    parser.add_argument("--repeats", type=int, default=3, help="medians of so many")
    parser.add_argument("--redraw", action="store_true", help="measure nothing")
    given = parser.parse_args()
    numbers = ROOT / "docs" / "ngram-simulation.json"
    if given.redraw:
        document = json.loads(numbers.read_text("utf-8"))["run"]
        stages = [Stage(**stage) for stage in document.pop("stages")]
        run = Run(**document, stages=stages)
    else:
        run = measured(given.words, given.repeats)
    expected = predicted_here(run, 2)
    print(
        f"two processes here: {run.two:.1f} s measured, {expected:.1f} s predicted "
        f"({expected / run.two:.2f}); one: {run.alone:.1f} s"
    )
    found = list(points(run))
    for point in found:
        print(
            f"{point['tokens']:.0e} tokens, {point['workers']:3} workers: "
            f"{point['seconds'] / 3600:8.2f} h, {point['bytes'] / 1e9:8.1f} GB moved, "
            f"{point['limit']} takes {point['share']:.0%}"
            + (", cut finer" if point["cut finer"] else "")
        )
    document = {"run": asdict(run), "predicted for two": expected, "points": found}
    numbers.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    draw(found, numbers.with_suffix(".svg"))


if __name__ == "__main__":
    main()
