"""How long the shell waits: ``lm --help``, and ``lm sample`` to its first token.

python -m benchmarks --only start_up
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.measuring import Options, Row, lm, process, shown_command


def rows(options: Options) -> Iterator[Row]:
    """Whole processes, start to end."""
    models = options.folder / "models"
    process(lm("train", "ngram", "play", "--name", "play", "--models", models, "-q"))
    sample = lm("sample", "play", "--max-tokens", "1", "--seed", "1", "--models", models)
    for work, command, reach in (
        ("lm --help", lm("--help"), 0.15),
        ("lm sample ngram to the first token", sample, 0.35),
    ):
        process(command)
        seconds = tuple(process(command).seconds for _ in range(2 * options.repeats))
        yield Row(work, "", "s", seconds, reach=reach, commands=(shown_command(command),))
