"""Sizes, rates and lengths that train well when the user gives none.

A recipe is chosen from three facts: how many tokens there are, whether the vocabulary is small
(characters) or large (words), and how many minutes were given. Large vocabularies over little text
need strong dropout and tied embeddings; so does a small text read many times. What the user gives
replaces the recipe's value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lmsuite.nn.optimizers import OPTIMIZERS

CHARACTERS = 512
"""Vocabularies up to this size are taken for characters, larger ones for words."""


@dataclass(frozen=True)
class Recipe:
    """Defaults by the names of the model's settings and of `TrainingSettings`."""

    model: dict[str, Any]
    training: dict[str, Any]


def recurrent_recipe(tokens: int, vocabulary: int, minutes: float | None) -> Recipe:
    """The recipe for `lm train rnn`."""
    if vocabulary > CHARACTERS:
        hidden = 128 if tokens < 100_000 else 256
        return Recipe(
            {"hidden": hidden, "embed": hidden, "tied": True, "dropout": 0.5},
            {"epochs": _epochs(tokens, 4e6, 40), "batch": 32, "bptt": 32, "learning_rate": 0.003},
        )
    if tokens < 400_000:
        hidden = 128 if tokens < 50_000 else 256
        return Recipe(
            {"hidden": hidden, "embed": 64, "dropout": 0.3},
            {"epochs": _epochs(tokens, 4e6, 40), "batch": 32, "bptt": 64, "learning_rate": 0.005},
        )
    if minutes is not None and minutes > 4e-6 * tokens:
        return Recipe(
            {"hidden": 512, "embed": 128, "dropout": 0.4},
            {"epochs": 40.0, "batch": 64, "bptt": 128, "learning_rate": 0.003},
        )
    return Recipe(
        {"hidden": 256, "embed": 64, "dropout": 0.0},
        {"epochs": _epochs(tokens, 8e6, 8), "batch": 32, "bptt": 64, "learning_rate": 0.005},
    )


def feedforward_recipe(tokens: int, vocabulary: int, minutes: float | None) -> Recipe:
    """The recipe for `lm train ffnn`."""
    if vocabulary > CHARACTERS:
        return Recipe(
            {"context": 4, "embed": 100, "hidden": (200,), "dropout": 0.4},
            {"epochs": _epochs(tokens, 4e6, 20), "batch": 128, "learning_rate": 0.001},
        )
    return Recipe(
        {"context": 16, "embed": 32, "hidden": (512, 256), "activation": "relu"},
        {"epochs": _epochs(tokens, 6e6, 20), "batch": 256, "learning_rate": 0.003},
    )


def _epochs(tokens: int, read: float, most: float) -> float:
    """As many epochs as read this many tokens, a few minutes' work, up to `most`."""
    return min(most, read / tokens)


def peak_rate(recipe: Recipe, optimizer: str) -> float:
    """The highest learning rate: the recipe's, which is for Adam's kin, or the optimizer's own."""
    if optimizer.startswith(("adam", "nadam")):
        return float(recipe.training["learning_rate"])
    return OPTIMIZERS[optimizer].learning_rate
