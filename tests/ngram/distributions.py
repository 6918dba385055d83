"""Check n-gram models of every smoothing and order in contexts of every kind.

    python -m tests.ngram.distributions --contexts 10000 --seed 1

For every smoothing and every order from 1 to 8, models are made from ordinary and degenerate texts.
All other options are drawn at random. This ends when so many contexts have been checked. There are
two models for each text: one with float64 tables, without rounding, and one as it is saved, in
float32.

* Each distribution sums to one: within `EXACT` in float64, within `STORED` as saved.
* No probability is negative, not a number, or above one. Impossible tokens have probability zero.
* `score` gives exactly the same numbers as `step` and `log_probs`, one token after another.
* Both tables agree, within the rounding of float32. If the text is small, they also agree with
  `tests.ngram.formulas`.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
from numpy.typing import NDArray

from lmsuite.errors import TrainingError
from lmsuite.models.ngram import SMOOTHINGS, NgramModel, NgramSettings
from lmsuite.text.encoding import Boundaries, TextEncoder
from lmsuite.text.registry import make_tokenizer
from lmsuite.text.vocabulary import BOS, EOS, UNK, Vocabulary
from tests.ngram.formulas import Formula

ORDERS = range(1, 9)
EXACT = 1e-9
STORED = 2e-6
RELATIVE = 2.0**-24  # the relative rounding error of a float32
ROWS, LENGTH = 32, 12  # contexts checked side by side, and the length of the longest

Ids = NDArray[np.int32]
Rng = np.random.Generator


@dataclass
class Worst:
    """The results for one smoothing: the greatest errors, and the numbers of cases."""

    contexts: int = 0
    models: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    exact: float = 0.0  # the distance of a sum from one, in float64
    stored: float = 0.0  # the same, as saved
    rounding: float = 0.0  # the difference of a probability between the two tables
    compared: int = 0  # contexts that were compared with the formula
    formula: float = 0.0  # the distance of a probability from the formula's


def words_of(kind: str, rng: Rng) -> list[str]:
    """The tokens of a training text; ``\\n`` ends a line."""
    length = int(rng.integers(3, 400))
    match kind:
        case "random":
            types = int(rng.integers(3, 40))
            drawn = [f"w{i}" for i in rng.integers(0, types, length)]
        case "heavy tail":
            drawn = [f"w{min(i, 10**6)}" for i in rng.zipf(1.3, length * 4)]
        case "one type":
            drawn = ["a"] * length
        case "two types":
            drawn = [str(word) for word in rng.choice(["a", "b"], length, p=[0.9, 0.1])]
        case "all distinct":
            drawn = [f"w{i}" for i in range(length)]
        case "identical":
            drawn = ["a"] * 10_000 + ["b"] * int(rng.integers(0, 2))
        case "periodic":
            drawn = [f"w{i % int(rng.integers(2, 7))}" for i in range(length)]
        case "tiny":
            drawn = ["a", "b", "a"][: int(rng.integers(0, 3))]
        case "chain":  # a Markov chain of few transitions: long n-grams repeat
            jumps, at, drawn = rng.integers(0, 12, (12, 2)), 0, []
            for choice in rng.integers(0, 2, length * 3):
                at = int(jumps[at, choice])
                drawn.append(f"w{at}")
        case "unknown":
            drawn = [str(word) for word in rng.choice(["<unk>", "a", "b", "c"], length)]
    return with_line_ends(drawn, rng)


KINDS = (
    *("random", "heavy tail", "one type", "two types", "all distinct", "identical", "periodic"),
    *("tiny", "chain", "unknown"),
)


def with_line_ends(words: list[str], rng: Rng) -> list[str]:
    share = float(rng.choice([0.0, 0.02, 0.2]))
    ends = rng.random(len(words)) < share
    return [
        piece for word, end in zip(words, ends, strict=True) for piece in [word, "\n"][: 1 + end]
    ]


def encoder_of(words: Sequence[str], boundaries: Boundaries, rng: Rng) -> TextEncoder:
    """An encoder with the vocabulary of the text, or a part of it, or a slightly different one."""
    stream = boundaries is Boundaries.STREAM
    counts = Counter(word for word in words if stream or word != "\n")
    if stream:
        counts.setdefault("\n", 0)
    match rng.integers(0, 5):
        case 0:
            vocabulary = Vocabulary.build(counts, min_count=int(rng.integers(2, 4)))
        case 1:
            vocabulary = Vocabulary.build(counts, max_size=int(rng.integers(4, 12)))
        case 2:
            listed = [w for w in counts if w != "<unk>" and rng.random() < 0.7]
            vocabulary = Vocabulary([*listed, *(f"never{i}" for i in range(rng.integers(0, 30)))])
        case _:
            vocabulary = Vocabulary.build(counts)
    return TextEncoder(make_tokenizer("whitespace"), vocabulary, boundaries)


def settings_of(smoothing: str, order: int, rng: Rng) -> NgramSettings:
    """Any settings that go together."""
    chosen: dict[str, object] = {}
    if rng.random() < 0.3:
        cutoffs = [0, *np.sort(rng.integers(0, 4, order - 1)).tolist()]
        chosen["prune"] = tuple(cutoffs[: int(rng.integers(1, order + 1))])
    if rng.random() < 0.25 and smoothing != "stupid-backoff":
        chosen["entropy_prune"] = float(10.0 ** rng.uniform(-9, 0.5))
    if rng.random() < 0.2 and smoothing != "stupid-backoff":
        chosen["quantize"] = True
    if rng.random() < 0.3 and smoothing != "add-k":
        chosen["interpolate_unigrams"] = False
    if rng.random() < 0.3 and smoothing in ("absolute", "kneser-ney"):
        chosen["discount"] = float(rng.choice([1e-9, 0.1, 0.5, 0.999, 1 - 1e-9]))
    if smoothing == "add-k":
        chosen["k"] = float(rng.choice([1e-12, 1e-3, 1.0, 2.5, 1e9]))
    return NgramSettings(order=order, smoothing=smoothing, **chosen)  # type: ignore[arg-type]


def contexts_of(ids: Ids, size: int, rng: Rng) -> Ids:
    """Histories (T, B). Some have ``<s>`` in front: it leads to the beginning of a text."""
    T, B = LENGTH, ROWS
    histories = rng.integers(0, size, (T, B), dtype=np.int32)
    for column in range(B):
        match column % 8:
            case 0 | 1 if len(ids) > 1:  # as seen in training
                at = int(rng.integers(0, len(ids)))
                piece = ids[at : at + T]
                histories[T - len(piece) :, column] = piece
            case 2:
                histories[:, column] = rng.integers(0, size)
            case 3 if len(ids) > 1:  # as seen in training, except for one word
                at = int(rng.integers(0, len(ids)))
                piece = ids[at : at + T].copy()
                piece[rng.integers(0, len(piece))] = rng.integers(0, size)
                histories[T - len(piece) :, column] = piece
            case 4:
                histories[rng.integers(0, T), column] = BOS
            case 5 if len(ids):  # the beginning of the training text
                histories[: len(ids[:T]), column] = ids[:T]
                histories[:, column] = np.roll(histories[:, column], T - len(ids[:T]))
                histories[: T - len(ids[:T]), column] = BOS
            case 6:
                histories[:, column] = rng.choice([UNK, BOS, EOS], T)
            case 7:
                histories[: rng.integers(0, T + 1), column] = BOS
    histories[:, 0] = UNK
    histories[:, 1] = BOS
    return histories


def ask(model: NgramModel, histories: Ids) -> Iterator[tuple[Ids, NDArray[np.float64]]]:
    """The histories (t, B) and log-probabilities (B, V) after them, for t = 0, 1, ..., T."""
    state = model.start(histories.shape[1])
    for t, ids in enumerate(histories):
        yield histories[:t], model.log_probs(state)
        state = model.step(state, ids)
    yield histories, model.log_probs(state)


def check_model(
    ids: Ids, encoder: TextEncoder, settings: NgramSettings, worst: Worst, rng: Rng
) -> None:
    """Make both models of a text, and check them.

    Raises:
        AssertionError: a promise is broken.
        TrainingError: the text is too short for the settings.
    """
    exact = NgramModel.fit(encoder, ids, settings, dtype=np.float64)
    stored = NgramModel.fit(encoder, ids, settings)
    histories = contexts_of(ids, len(encoder.vocabulary), rng)
    formula = None
    if len(ids) <= 120 and not settings.entropy_prune and not settings.quantize:
        lines = encoder.boundaries is Boundaries.LINES
        formula = Formula(
            ids.tolist(),
            len(encoder.vocabulary),
            encoder.impossible.tolist(),
            settings,
            lines=lines,
        )
    chains: list[list[NDArray[np.float64]]] = [[], []]
    for (asked, precise), (_, rounded) in zip(
        ask(exact, histories), ask(stored, histories), strict=True
    ):
        for logs, name, limit in ((precise, "exact", EXACT), (rounded, "stored", STORED)):
            off = check_distributions(logs, encoder.impossible, exact.is_normalised)
            setattr(worst, name, max(getattr(worst, name), off))
            assert off <= limit, f"a distribution of the {name} table is {off:.2g} off one"
        worst.contexts += len(precise)
        if not settings.quantize and not settings.entropy_prune:
            # (Pruning and quantizing may decide differently in the two tables.)
            difference = float(np.abs(np.exp(precise) - np.exp(rounded)).max())
            worst.rounding = max(worst.rounding, difference)
            assert difference <= STORED, f"float32 changes a probability by {difference:.2g}"
        if len(asked) < LENGTH:
            following = histories[len(asked)]
            for chain, logs in zip(chains, (precise, rounded), strict=True):
                chain.append(logs[np.arange(len(logs)), following])
        if formula is not None:
            for column in range(0, ROWS, 5):
                expected = formula.after(asked[:, column].tolist())
                difference = float(np.abs(np.exp(precise[column]) - expected).max())
                worst.compared += 1
                worst.formula = max(worst.formula, difference)
                assert difference <= EXACT, (
                    f"{difference:.2g} off the formula after {asked[:, column].tolist()}"
                )
    for model, chain in zip((exact, stored), chains, strict=True):
        check_scores(model, histories, np.array(chain))


def check_distributions(
    logs: NDArray[np.float64], impossible: Ids, is_normalised: bool, above: float = 0.0
) -> float:
    """The greatest distance from one of the sums of probabilities (B, V); 0 for mere scores.

    No log-probability may be greater than `above`.
    """
    assert not np.isnan(logs).any(), "a probability is not a number"
    assert logs.max() <= above, f"a probability is {np.exp(logs.max()) - 1:.2g} above one"
    assert np.isneginf(logs[:, impossible]).all(), "an impossible token has a probability"
    if not is_normalised:
        return 0.0
    return float(np.abs(np.exp(logs).sum(axis=1) - 1).max())


def check_scores(model: NgramModel, histories: Ids, chain: NDArray[np.float64]) -> None:
    """`score` of the histories (T, B), one after the other, equals their `chain` (T, B)."""
    with_begin = np.concatenate([np.full((1, histories.shape[1]), BOS, np.int32), histories])
    scores = model.score(with_begin.T.ravel())
    expected = chain.T.ravel()[histories.T.ravel() != BOS]
    np.testing.assert_array_equal(scores, expected)


def case(smoothing: str, order: int, seed: Sequence[int], worst: Worst) -> None:
    """Check one random model of this seed.

    Raises:
        AssertionError: a promise is broken; the message describes the case.
    """
    rng = np.random.default_rng(seed)
    kind = str(rng.choice(KINDS))
    words = words_of(kind, rng)
    boundaries = Boundaries.LINES if rng.random() < 0.5 else Boundaries.STREAM
    settings = settings_of(smoothing, order, rng)
    encoder = encoder_of(words, boundaries, rng)
    text = " ".join(words)
    ids = encoder.encode(text)
    try:
        check_model(ids, encoder, settings, worst, rng)
        worst.models += 1
    except TrainingError as error:
        worst.refused[str(error).split(";")[0].split(":")[0][:48]] += 1
    except AssertionError as error:
        changed = {k: v for k, v in asdict(settings).items() if v != getattr(NgramSettings(), k)}
        raise AssertionError(
            f"{error}\n  seed {list(seed)}, {kind} text of {len(ids)} ids, {boundaries.value}, "
            f"{len(encoder.vocabulary)} in the vocabulary, {changed}\n  {text[:300]!r}"
        ) from error


def attack(
    contexts: int, seed: int, smoothings: Sequence[str] = SMOOTHINGS, orders: Sequence[int] = ORDERS
) -> Iterator[tuple[str, Worst]]:
    """Check so many contexts of every smoothing and order; yields the results by smoothing."""
    for smoothing in smoothings:
        worst = Worst()
        for order in orders:
            until = worst.contexts + contexts
            for number in itertools.count():
                if worst.contexts >= until:
                    break
                case(smoothing, order, (seed, SMOOTHINGS.index(smoothing), order, number), worst)
        yield smoothing, worst


def main() -> int:
    """Print one line for each smoothing."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--contexts", type=int, default=10_000, help="of each smoothing and order")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--smoothing", choices=SMOOTHINGS, action="append")
    parser.add_argument("--order", type=int, action="append")
    options = parser.parse_args()
    began = time.monotonic()
    found = attack(
        options.contexts, options.seed, options.smoothing or SMOOTHINGS, options.order or ORDERS
    )
    for smoothing, worst in found:
        sys.stdout.write(
            f"{smoothing:20} {worst.contexts:9,} contexts of {worst.models:5,} models "
            f"({worst.refused.total():,} texts refused); sums off one by {worst.exact:.1e}, "
            f"as saved {worst.stored:.1e}; rounding {worst.rounding:.1e}; off the formula "
            f"{worst.formula:.1e} in {worst.compared:,}\n"
        )
        sys.stdout.flush()
    sys.stdout.write(f"{time.monotonic() - began:.0f} s\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
