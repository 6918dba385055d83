"""The tuned forms of the cells, and the cells by the name that a model's settings give.

A kernel is its plain cell with `forward`, `backward` and `advance` written for speed: it inherits
the parameters, `step` and `step_back`. Tests hold each to the loop that follows from these two.
"""

from __future__ import annotations

from lmsuite.nn.cells.cell import Cell
from lmsuite.nn.kernels.elman import Elman
from lmsuite.nn.kernels.gru import GRU
from lmsuite.nn.kernels.lstm import LSTM

CELLS: dict[str, type[Cell]] = {"elman": Elman, "gru": GRU, "lstm": LSTM}


def register_cell(name: str, cell: type[Cell]) -> None:
    """Let models have cells of your own, by a name: ``RecurrentSettings(cell=name)``.

    A model file keeps the name alone: register the class again before you load it.

    Raises:
        ValueError: another class has the name, or this one lacks `step` or `step_back`.
    """
    missing = ", ".join(sorted(getattr(cell, "__abstractmethods__", ())))
    if missing:
        raise ValueError(f"the cell '{name}' lacks {missing}")
    known = CELLS.setdefault(name, cell)
    if known is not cell:
        raise ValueError(f"the name '{name}' belongs to the cell {known.__name__}")


__all__ = ["CELLS", "GRU", "LSTM", "Elman", "register_cell"]
