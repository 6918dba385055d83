"""Evaluating a trained LSTM on held-out text, against PyTorch's nn.LSTM with the same weights.

    python -m benchmarks --only neural_evaluation

Ours is what ``lm eval`` does with a text, in-process, without the interval. A *stream* is one long
text, read from its beginning to its end, token after token; *lines* know nothing of each other, and
both sides read 64 at a time. The cross-entropies of both sides must agree.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.alternating import compare
from benchmarks.apart import Apart
from benchmarks.measuring import Options, Row, rate_row, require
from benchmarks.neural_models import HELD_OUT, trained
from lmsuite.analysis.evaluation import evaluate
from lmsuite.store.artefact import load_model

OURS, PEER = "benchmarks.neural_evaluation:our_evaluation", "benchmarks.torch_peers:evaluation"
SIZES = ((512, False, 12_000), (256, False, 30_000), (512, True, 60_000), (256, True, 100_000))
"""H, whether in lines, and how many characters at least."""
AGREEMENT = 1e-4
"""Nats a token by which the cross-entropies may differ."""


def rows(options: Options) -> Iterator[Row]:
    """In tokens a second."""
    require("torch")
    held_out = options.text(HELD_OUT).read_text("utf-8")
    for hidden, lines, length in SIZES[:1] if options.quick else SIZES:
        model = trained(options, hidden, lines=lines)
        text = held_out[: held_out.index("\n", length) + 1]
        with Apart(OURS, model.path, text) as ours, Apart(PEER, model.path, text) as peer:
            what = "64 lines at a time" if lines else "one stream"
            found = compare(
                f"evaluate an LSTM H={hidden}, {what}",
                peer.about,
                ours,
                peer,
                repeats=options.repeats,
            )
            (tokens, mine), theirs = ours(), peer()
        if abs(mine - theirs) > AGREEMENT:
            raise RuntimeError(f"{found.work}: {mine} nats a token, and the peer finds {theirs}")
        yield rate_row(found, tokens, "tokens/s", reach=1.5, commands=(model.command,))


def our_evaluation(path: Path, text: str) -> Iterator[tuple[int, float]]:
    """How many tokens a text has, and its mean cross-entropy: the side of a comparison."""
    model = load_model(path)
    result = (0, 0.0)
    while True:
        yield result
        evaluation = evaluate(model, text, name="lstm")
        result = (evaluation.tokens, evaluation.cross_entropy)
