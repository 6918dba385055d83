"""Recipes: good defaults for the sizes, rates and epochs that the user does not give.

Three facts choose a recipe: the number of tokens, whether the vocabulary is small (characters) or
large (words), and the minutes given. A small network with dropout reads a short text many times. A
larger network reads a long text a few times, and also a shorter text if there are enough minutes.
A value that the user gives replaces the recipe's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lmsuite.nn.optimizers import OPTIMIZERS

CHARACTERS = 512
"""Vocabularies up to this size are taken for characters, larger ones for words."""

LITTLE, MUCH = 50_000, 400_000
"""A text of fewer tokens than `LITTLE` is short; a text of at least `MUCH` tokens is long."""

FEATURE_ROWS, FEATURE_WEIGHTS = (1 << 16, 1 << 10), 5_000_000
"""The most and the fewest rows of n-gram features; and their weights, as far as these allow."""

AMPLE, AMPLE_FOR_WORDS = 4e-6, 1e-5
"""With more minutes per token than this, a larger network with more dropout does better."""


@dataclass(frozen=True)
class Recipe:
    """Defaults by the names of the model's settings and of `TrainingSettings`."""

    model: dict[str, Any]
    training: dict[str, Any]


def recurrent_recipe(tokens: int, vocabulary: int, minutes: float | None) -> Recipe:
    """The recipe for ``lm train rnn``."""
    if vocabulary > CHARACTERS:
        if tokens >= LITTLE and minutes is not None and minutes > AMPLE_FOR_WORDS * tokens:
            size, dropout, weight_drop, most = 320, 0.6, 0.4, 20
        else:
            size, dropout, weight_drop, most = (128 if tokens < LITTLE else 192), 0.5, 0.0, 40
        return Recipe(
            {"hidden": size, "embed": size, "tied": True}
            | {"dropout": dropout, "embed_dropout": 0.5, "weight_drop": weight_drop},
            _training(tokens, minutes, read=1.5e6, most=most, batch=32, bptt=32, rate=0.003),
        )
    if tokens < MUCH:
        hidden, most = (128, 50) if tokens < LITTLE else (256, 25)
        return Recipe(
            {"hidden": hidden, "embed": 64, "dropout": 0.3, "embed_dropout": 0.3}
            | _features(vocabulary, 5, dropout=0.5),
            _training(tokens, minutes, read=5e6, most=most, batch=32, bptt=64, rate=0.005),
        )
    if minutes is not None and minutes > AMPLE * tokens:
        return Recipe(
            {"hidden": 512, "embed": 128, "dropout": 0.3, "weight_drop": 0.2}
            | _features(vocabulary, 6, dropout=0.5),
            _training(tokens, minutes, read=0, most=40, batch=64, bptt=64, rate=0.003),
        )
    return Recipe(
        {"hidden": 256, "embed": 64, "dropout": 0.0} | _features(vocabulary, 6, dropout=0.3),
        _training(tokens, minutes, read=8e6, most=8, batch=32, bptt=64, rate=0.005),
    )


def feedforward_recipe(tokens: int, vocabulary: int, minutes: float | None) -> Recipe:
    """The recipe for ``lm train ffnn``."""
    if vocabulary > CHARACTERS:
        return Recipe(
            {"context": 4, "embed": 256, "hidden": (256,), "tied": True}
            | {"dropout": 0.5, "embed_dropout": 0.6},
            _training(tokens, minutes, read=2e6, most=20, batch=512, rate=0.002),
        )
    if tokens < LITTLE:
        return Recipe(
            {
                "context": 8,
                "embed": 16,
                "hidden": (128,),
                "activation": "relu",
                "dropout": 0.3,
                "embed_dropout": 0.3,
            },
            _training(tokens, minutes, read=2e6, most=50, batch=64, rate=0.003),
        )
    ample = minutes is not None and minutes > AMPLE * tokens
    most, dropout = (20, 0.2) if ample or tokens < MUCH else (4, 0.1)
    return Recipe(
        {
            "context": 16,
            "embed": 32,
            "hidden": (512, 256),
            "activation": "relu",
            "dropout": dropout,
            "embed_dropout": dropout,
        },
        _training(tokens, minutes, read=4e6, most=most, batch=256, rate=0.003),
    )


def feature_rows(vocabulary: int) -> int:
    """The rows of a table of n-gram features: many, but of no more than so many weights."""
    most, least = FEATURE_ROWS
    return max(least, min(most, FEATURE_WEIGHTS // vocabulary))


def _features(vocabulary: int, longest: int, *, dropout: float) -> dict[str, Any]:
    rows = feature_rows(vocabulary)
    return {"ngram_features": longest, "feature_rows": rows, "feature_dropout": dropout}


def _training(
    tokens: int, minutes: float | None, *, read: float, most: float, rate: float, **more: int
) -> dict[str, Any]:
    """At most `most` epochs; without a time limit, at most as many as read `read` tokens."""
    epochs = most if minutes is not None else min(most, read / tokens)
    return {"epochs": float(epochs), "learning_rate": rate, **more}


def peak_rate(recipe: Recipe, optimizer: str) -> float:
    """The highest learning rate: the recipe's for Adam and its variants, else the optimizer's."""
    if optimizer.startswith(("adam", "nadam")):
        return float(recipe.training["learning_rate"])
    return OPTIMIZERS[optimizer].learning_rate
