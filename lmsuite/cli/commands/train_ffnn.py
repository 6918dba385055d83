"""``lm train ffnn``."""

from __future__ import annotations

from typing import Annotated

import typer

from lmsuite.cli.neural_training import train_network
from lmsuite.cli.options import ResumeOption, StartOptions, TrainingOptions
from lmsuite.cli.settings_options import Given, Without
from lmsuite.models.settings import FeedForwardSettings
from lmsuite.training.settings import TrainingSettings


def train_ffnn(
    context: typer.Context,
    *,
    architecture: Annotated[Given, FeedForwardSettings],
    training: Annotated[Given, TrainingSettings, Without(("bptt",))],
    going_on: StartOptions,
    resume: ResumeOption = False,
    common: TrainingOptions,
) -> None:
    """Train a feed-forward network.

    \b
    Examples:
      lm train ffnn --minutes 1
      lm train ffnn play.txt --tokenizer char --context 12 --hidden 400,200 --name chars
      lm train ffnn --from chars other.txt --lr 0.001 --name both

    The model of Bengio et al. (2003): embeddings of the last tokens, hidden layers, softmax.
    """
    from lmsuite.models.feedforward import FeedForward

    train_network(context, common, training, FeedForward, architecture, going_on, resume=resume)
