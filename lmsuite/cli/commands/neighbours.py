"""``lm neighbours``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from lmsuite.cli.options import DEFAULT_FOLDER, JsonOption, ModelArgument, ModelsOption
from lmsuite.cli.streams import unescaped, write_json
from lmsuite.cli.tables import Column, show_table


def neighbours(
    model: ModelArgument,
    token: Annotated[
        str,
        typer.Argument(
            metavar="TOKEN", help="A token that the model knows; write \\n for a line end."
        ),
    ],
    count: Annotated[int, typer.Option("--n", min=1, help="How many neighbours.")] = 10,
    folder: ModelsOption = DEFAULT_FOLDER,
    as_json: JsonOption = False,
) -> None:
    """List a token's nearest tokens in an embedding.

    \b
    Examples:
      lm neighbours ffnn king
      lm neighbours rnn king --n 20 --json

    Two tokens are near if their learned vectors point the same way: the cosine of the angle between
    the vectors is 1 for the same direction and 0 for unrelated ones. Frequent tokens have better
    vectors than rare ones.
    """
    from lmsuite.analysis.neighbours import neighbours as nearest
    from lmsuite.store.opening import open_model

    opened = open_model(folder, model)
    found = nearest(opened.model, unescaped(token), count, name=opened.name)
    if as_json:
        write_json([asdict(each) for each in found])
        return
    columns = (Column("token"), Column("cosine", number=True))
    show_table(columns, [[each.text, f"{each.cosine:.3f}"] for each in found])
