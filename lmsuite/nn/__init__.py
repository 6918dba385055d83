"""The array workshop: layers, cells, losses and optimizers with every gradient derived by hand.

It needs only numpy. It works in float32 (for training) and in float64 (for gradient checks). This
network learns XOR, and its gradients are checked:

>>> import numpy as np
>>> from lmsuite.nn import *
>>> x, y = np.array([[0, 0], [0, 1], [1, 0], [1, 1.0]]), np.array([[0], [1], [1], [0.0]])
>>> p = Parameters(Linear.shapes("hidden", 2, 4) | Linear.shapes("output", 4, 1), np.float64)
>>> net = Sequential(Linear(p, "hidden"), ACTIVATIONS["tanh"], Linear(p, "output"))
>>> net.initialise(np.random.default_rng(0))
>>> loss = lambda: net.backpropagate(x, y, binary_cross_entropy)
>>> adam = Adam(len(p), np.float64)
>>> for step in range(1, 301):
...     before = loss()
...     adam.update(p.values, p.gradients, 0.05, step)
>>> loss() < 0.1, check_gradients(loss, p.arrays(), p.gradient_arrays()).worst.relative < 1e-6
(True, True)

You can write your own cell: one step and its reverse. `register_cell` makes it known to models:

>>> class ReluCell(Cell):
...     # h_t = max(0, x_t W + b + h_{t-1} U)
...     def step(self, drive, recurrent, state):
...         h = np.maximum(0, drive + recurrent)
...         return h, h
...     def step_back(self, d_state, h):
...         d_a = d_state * (h > 0)
...         return d_a, d_a, np.zeros_like(d_state)

A `Node` is a value that remembers how it was computed. `backward` fills the gradients of all that
it depends on, and every number on the way can be looked at:

>>> x, w, b = Node("x", 0.5), Node("w", -2.0), Node("b", 1.5)
>>> h = (x * w + b).tanh().named("h")
>>> h.backward()
>>> print(h.formula, f"dh/dw = {w.gradient:.3f}")
tanh(x · w + b) dh/dw = 0.393

Rules: `Layer.shapes(prefix, ...)` declares the arrays, `Layer(parameters, prefix)` makes views of
them, and `initialise(rng)` fills them. `forward` returns (outputs, cache). `backward(d_outputs,
cache)` *writes* the gradients of the parameters. Several layers may share an embedding's table, so
`backward` *adds* to the gradient of a table. `lmsuite.types` explains the letters of the shapes.
"""

from __future__ import annotations

from lmsuite.nn.activations import ACTIVATIONS
from lmsuite.nn.adaptive import adaptive_cross_entropy, adaptive_log_softmax
from lmsuite.nn.attention import Attention
from lmsuite.nn.cells.cell import Cell
from lmsuite.nn.drive import DenseDrive, EmbeddedDrive
from lmsuite.nn.gradient_check import check_gradients
from lmsuite.nn.graph import Edge, Node, concatenated, cross_entropy
from lmsuite.nn.kernels import CELLS, GRU, LSTM, Elman, register_cell
from lmsuite.nn.layers import Dropout, Embedding, Linear, ProjectedLinear, Sequential, TiedLinear
from lmsuite.nn.losses import (
    binary_cross_entropy,
    hinge,
    log_softmax,
    multiclass_hinge,
    softmax_cross_entropy,
    squared_error,
)
from lmsuite.nn.ngram_features import NgramFeatures, WithFeatures, context_rows
from lmsuite.nn.optimizers import (
    OPTIMIZERS,
    SGD,
    Adam,
    AdamW,
    add_penalty,
    clip_by_global_norm,
)
from lmsuite.nn.output import Softmax
from lmsuite.nn.parameter import Parameters
from lmsuite.nn.recurrent_layer import Bidirectional, RecurrentLayer
from lmsuite.nn.schedules import SCHEDULES
from lmsuite.nn.sequences import Average, length_mask, pad

__all__ = [
    "ACTIVATIONS",
    "CELLS",
    "GRU",
    "LSTM",
    "OPTIMIZERS",
    "SCHEDULES",
    "SGD",
    "Adam",
    "AdamW",
    "Attention",
    "Average",
    "Bidirectional",
    "Cell",
    "DenseDrive",
    "Dropout",
    "Edge",
    "Elman",
    "EmbeddedDrive",
    "Embedding",
    "Linear",
    "NgramFeatures",
    "Node",
    "Parameters",
    "ProjectedLinear",
    "RecurrentLayer",
    "Sequential",
    "Softmax",
    "TiedLinear",
    "WithFeatures",
    "adaptive_cross_entropy",
    "adaptive_log_softmax",
    "add_penalty",
    "binary_cross_entropy",
    "check_gradients",
    "clip_by_global_norm",
    "concatenated",
    "context_rows",
    "cross_entropy",
    "hinge",
    "length_mask",
    "log_softmax",
    "multiclass_hinge",
    "pad",
    "register_cell",
    "softmax_cross_entropy",
    "squared_error",
]
