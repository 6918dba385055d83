"""What the models of a report write, at several temperatures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lmsuite.generation import sample
from lmsuite.models.interface import LanguageModel
from lmsuite.report.markup import Markup, element, quoted, together

TEMPERATURES = (0.5, 0.8, 1.1)
_CHARACTERS = 320


@dataclass(frozen=True)
class Written:
    """A text that a model wrote."""

    temperature: float
    text: str


def written_by(
    model: LanguageModel, chars_per_token: float, prompt: str, rng: np.random.Generator
) -> list[Written]:
    """A text of about the same length at each temperature, the prompt included.

    Raises:
        DataError: the prompt holds a reserved token.
    """
    tokens = max(round(_CHARACTERS / chars_per_token), 1)
    texts = []
    for temperature in TEMPERATURES:
        drawn = sample(model, prompt, seed=rng, temperature=temperature, max_tokens=tokens)[0]
        texts.append(Written(temperature, (prompt + drawn.text).strip("\n")))
    return texts


def samples_of(name: str, texts: Sequence[Written]) -> Markup:
    """The texts beside one another, under the name of the model."""
    return together(
        element("h3", quoted(name)),
        element(
            "div",
            (
                element(
                    "div",
                    element("h4", f"temperature {text.temperature:g}"),
                    element("blockquote", quoted(text.text)),
                )
                for text in texts
            ),
            class_="columns",
        ),
    )
