"""The options that ``lm train ffnn`` and ``lm train rnn`` share."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import typer

from lmsuite.cli.options import SeedOption

CHOSEN = "by the size of the text"


class OptimizerName(StrEnum):
    """The choices of ``--optimizer``: `lmsuite.nn.optimizers.OPTIMIZERS`, known without it."""

    SGD = "sgd"
    MOMENTUM = "momentum"
    NESTEROV = "nesterov"
    ADAGRAD = "adagrad"
    RMSPROP = "rmsprop"
    ADADELTA = "adadelta"
    ADAM = "adam"
    NADAM = "nadam"
    ADAMW = "adamw"


class ScheduleName(StrEnum):
    """The choices of ``--schedule``: `lmsuite.nn.schedules.SCHEDULES`, known without it."""

    CONSTANT = "constant"
    STEP = "step"
    EXPONENTIAL = "exponential"
    COSINE = "cosine"
    PLATEAU = "plateau"


@dataclass(frozen=True)
class NeuralOptions:
    """How a network is trained. None stands for an option that was not given."""

    epochs: Annotated[
        float | None,
        typer.Option(
            "--epochs",
            metavar="N",
            help="Read the text so many times, at most if --minutes is given too.",
            show_default=CHOSEN,
        ),
    ] = None
    minutes: Annotated[
        float | None,
        typer.Option(
            "--minutes",
            metavar="M",
            help="Fit the training, with all before and after it, into so many minutes.",
            show_default=False,
        ),
    ] = None
    batch: Annotated[
        int | None,
        typer.Option(
            "--batch",
            help="Sequences (rnn) or tokens (ffnn) to an update.",
            show_default=CHOSEN,
        ),
    ] = None
    embed: Annotated[
        int | None,
        typer.Option("--embed", help="The size of a token's vector.", show_default=CHOSEN),
    ] = None
    dropout: Annotated[
        float | None,
        typer.Option(
            "--dropout",
            help="The share of hidden activations left out at random in training.",
            show_default=CHOSEN,
        ),
    ] = None
    embed_dropout: Annotated[
        float | None,
        typer.Option(
            "--embed-dropout", help="The same share of the embeddings.", show_default=CHOSEN
        ),
    ] = None
    optimizer: Annotated[
        OptimizerName, typer.Option("--optimizer", help="How a gradient becomes an update.")
    ] = OptimizerName.ADAM
    then: Annotated[
        OptimizerName | None,
        typer.Option(
            "--then", help="Another optimizer for the last fifth, as sgd.", show_default=False
        ),
    ] = None
    lr: Annotated[
        float | None,
        typer.Option(
            "--lr",
            help="The highest learning rate.",
            show_default=f"{CHOSEN}; the optimizer's own unless it is adam",
        ),
    ] = None
    schedule: Annotated[
        ScheduleName, typer.Option("--schedule", help="How the learning rate falls.")
    ] = ScheduleName.COSINE
    warmup: Annotated[
        float,
        typer.Option("--warmup", help="Share of the training in which the rate rises from zero."),
    ] = 0.02
    clip: Annotated[
        float, typer.Option("--clip", help="The largest norm of a gradient; 0 for any.")
    ] = 0.5
    l1: Annotated[float, typer.Option("--l1", help="The weight of the sum of |w| in the loss.")] = (
        0.0
    )
    l2: Annotated[
        float, typer.Option("--l2", help="The weight of half the sum of w² in the loss.")
    ] = 0.0
    patience: Annotated[
        int,
        typer.Option(
            "--patience", help="Stop after so many validations without a new best; 0 for never."
        ),
    ] = 8
    seed: SeedOption = 1
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads",
            help="Processes that share the work; the result depends on their number.",
            show_default="all cores",
        ),
    ] = None
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with this training where it was interrupted."),
    ] = False
    checkpoint_every: Annotated[
        float,
        typer.Option(
            "--checkpoint-every", metavar="SECONDS", help="How often the training is saved."
        ),
    ] = 60.0
