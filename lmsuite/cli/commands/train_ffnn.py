"""``lm train ffnn``."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from lmsuite.cli.neural_options import CHOSEN, NeuralOptions
from lmsuite.cli.neural_training import given, train_network
from lmsuite.cli.option_groups import expanded
from lmsuite.cli.options import TrainingOptions
from lmsuite.errors import UsageError


class ActivationName(StrEnum):
    """The choices of ``--activation``: `lmsuite.nn.activations.ACTIVATIONS`, known without it."""

    TANH = "tanh"
    RELU = "relu"
    SIGMOID = "sigmoid"
    HARDTANH = "hardtanh"
    SOFTSIGN = "softsign"


@expanded
def train_ffnn(
    context: typer.Context,
    *,
    window: Annotated[
        int | None,
        typer.Option("--context", help="Tokens that a prediction sees.", show_default=CHOSEN),
    ] = None,
    hidden: Annotated[
        str | None,
        typer.Option(
            "--hidden",
            metavar="SIZES",
            help="Sizes of the hidden layers, joined by commas: 100 or 200,100.",
            show_default=CHOSEN,
        ),
    ] = None,
    activation: Annotated[
        ActivationName | None,
        typer.Option("--activation", help="The hidden layers' non-linearity.", show_default=CHOSEN),
    ] = None,
    direct: Annotated[
        bool, typer.Option("--direct", help="Connect the embeddings to the output as well.")
    ] = False,
    neural: NeuralOptions,
    common: TrainingOptions,
) -> None:
    """Train a feed-forward network.

    \b
    Examples:
      lm train ffnn --minutes 1
      lm train ffnn play.txt --tokenizer char --context 12 --hidden 400,200 --name chars

    The model of Bengio et al. (2003): embeddings of the last tokens, hidden layers, softmax.
    """
    from lmsuite.models.feedforward import FeedForward
    from lmsuite.training.recipes import feedforward_recipe

    settings = given(context=window, hidden=_sizes(hidden), activation=activation)
    if direct:
        settings["direct"] = True
    train_network(context, common, neural, FeedForward, feedforward_recipe, settings, {})


def _sizes(hidden: str | None) -> tuple[int, ...] | None:
    try:
        return None if hidden is None else tuple(int(size) for size in hidden.split(","))
    except ValueError:
        raise UsageError(
            f"--hidden takes sizes joined by commas, as 200,100, not {hidden}"
        ) from None
