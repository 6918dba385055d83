"""``lm train rnn``."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from lmsuite.cli.neural_options import CHOSEN, NeuralOptions
from lmsuite.cli.neural_training import given, train_network
from lmsuite.cli.option_groups import expanded
from lmsuite.cli.options import TrainingOptions


class CellName(StrEnum):
    """The choices of ``--cell``: `lmsuite.nn.kernels.CELLS`, known without it."""

    LSTM = "lstm"
    GRU = "gru"
    ELMAN = "elman"


@expanded
def train_rnn(
    context: typer.Context,
    *,
    cell: Annotated[
        CellName, typer.Option("--cell", help="The kind of recurrent layer.")
    ] = CellName.LSTM,
    layers: Annotated[
        int, typer.Option("--layers", max=1000, help="Recurrent layers, stacked.")
    ] = 1,
    hidden: Annotated[
        int | None, typer.Option("--hidden", help="The size of each layer.", show_default=CHOSEN)
    ] = None,
    bptt: Annotated[
        int | None,
        typer.Option("--bptt", help="Steps that a gradient is followed back.", show_default=CHOSEN),
    ] = None,
    tied: Annotated[
        bool | None,
        typer.Option(
            "--tied/--untied",
            help="Let the embeddings serve as the output's weights too.",
            show_default=CHOSEN,
        ),
    ] = None,
    variational: Annotated[
        bool, typer.Option("--variational", help="Drop the same activations at every step.")
    ] = False,
    neural: NeuralOptions,
    common: TrainingOptions,
) -> None:
    """Train a recurrent network.

    \b
    Examples:
      lm train rnn --minutes 1
      lm train rnn play.txt --tokenizer char --cell gru --hidden 128 --name chars

    Truncated backpropagation through time over contiguous text; the state is carried on.
    """
    from lmsuite.models.recurrent import Recurrent
    from lmsuite.training.recipes import recurrent_recipe

    settings = given(cell=cell, layers=layers, hidden=hidden, tied=tied, variational=variational)
    train_network(context, common, neural, Recurrent, recurrent_recipe, settings, given(bptt=bptt))
