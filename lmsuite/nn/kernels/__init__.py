"""The tuned forms of the cells, and the names of the cells in a model's settings.

A kernel is a plain cell with a faster `forward`, `backward` and `advance`. It inherits the
parameters, `step` and `step_back`. Tests compare it with the plain cell's loop over these two.
"""

from __future__ import annotations

from lmsuite.nn.cells.cell import Cell
from lmsuite.nn.kernels.elman import Elman
from lmsuite.nn.kernels.gru import GRU
from lmsuite.nn.kernels.lstm import LSTM

CELLS: dict[str, type[Cell]] = {"elman": Elman, "gru": GRU, "lstm": LSTM}


def register_cell(name: str, cell: type[Cell]) -> None:
    """Give your own cell a name that models can use: ``RecurrentSettings(cell=name)``.

    A model file keeps only the name: register the class again before you load the file.

    Raises:
        ValueError: another class has the name, or the class lacks `step` or `step_back`.
    """
    missing = ", ".join(sorted(getattr(cell, "__abstractmethods__", ())))
    if missing:
        raise ValueError(f"the cell '{name}' lacks {missing}")
    known = CELLS.setdefault(name, cell)
    if known is not cell:
        raise ValueError(f"the name '{name}' belongs to the cell {known.__name__}")


__all__ = ["CELLS", "GRU", "LSTM", "Elman", "register_cell"]
