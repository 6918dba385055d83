"""``lm train rnn``."""

from __future__ import annotations

from typing import Annotated

import typer

from lmsuite.cli.neural_training import train_network
from lmsuite.cli.options import ResumeOption, StartOptions, TrainingOptions
from lmsuite.cli.settings_options import Given
from lmsuite.models.settings import RecurrentSettings
from lmsuite.training.settings import TrainingSettings


def train_rnn(
    context: typer.Context,
    *,
    architecture: Annotated[Given, RecurrentSettings],
    training: Annotated[Given, TrainingSettings],
    going_on: StartOptions,
    resume: ResumeOption = False,
    common: TrainingOptions,
) -> None:
    """Train a recurrent network.

    \b
    Examples:
      lm train rnn --minutes 1
      lm train rnn play.txt --tokenizer char --cell gru --hidden 128 --name chars
      lm train rnn --from chars other.txt --lr 0.001 --name both

    It uses truncated backpropagation through time over contiguous text: each batch begins with the
    state in which the one before it ended.
    """
    from lmsuite.models.recurrent import Recurrent

    train_network(context, common, training, Recurrent, architecture, going_on, resume=resume)
