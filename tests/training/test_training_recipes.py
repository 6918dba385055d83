"""Recipes: settings that are valid for every text, and their borders."""

from __future__ import annotations

import pytest

from lmsuite.models.feedforward import FeedForwardSettings
from lmsuite.models.recurrent import RecurrentSettings
from lmsuite.training.recipes import feedforward_recipe, peak_rate, recurrent_recipe
from lmsuite.training.settings import TrainingSettings


@pytest.mark.parametrize("tokens", [1, 9_000, 60_000, 200_000, 1_000_000, 10**9])
@pytest.mark.parametrize("vocabulary", [5, 65, 512, 513, 100_000])
@pytest.mark.parametrize("minutes", [None, 0.1, 1.2, 10, 600])
def test_every_text_has_a_recipe(tokens: int, vocabulary: int, minutes: float | None) -> None:
    for recipe_for, kind in [
        (recurrent_recipe, RecurrentSettings),
        (feedforward_recipe, FeedForwardSettings),
    ]:
        recipe = recipe_for(tokens, vocabulary, minutes)
        kind(**recipe.model)  # raises if a value is out of range
        settings = TrainingSettings(minutes=minutes, **recipe.training)
        assert settings.epochs is not None
        if minutes is None:  # a few minutes' work
            assert settings.epochs * tokens <= 8e6


def test_minutes_enough_make_a_larger_network() -> None:
    # Characters of a text of a megabyte, in 1.2 and in 10 minutes.
    assert recurrent_recipe(1_000_000, 65, 1.2).model["hidden"] == 256
    assert recurrent_recipe(1_000_000, 65, 10).model["hidden"] == 512
    # Words of a third as many.
    assert recurrent_recipe(300_000, 14_000, 1.2).model["weight_drop"] == 0
    assert recurrent_recipe(300_000, 14_000, 10).model["weight_drop"] > 0


def test_a_recipes_rate_is_for_adam() -> None:
    recipe = recurrent_recipe(1_000_000, 65, None)
    assert peak_rate(recipe, "adamw") == 0.005
    assert peak_rate(recipe, "adadelta") == 1.0
