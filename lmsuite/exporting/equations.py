"""The arrays of a network under the letters of its equations.

Feed-forward, after Bengio et al. (2003), with x the vectors of the window one after another::

    a_1 = f(x H_1 + d_1),  a_l = f(a_{l-1} H_l + d_l),  y = b + a U (+ x W)
    with tied embeddings U = Cᵀ

Recurrent, with x_t the vector of w_t, or the hidden vector of the layer below::

    drive = x_t W_l + b_l,  recurrent = h_{t-1} U_l,  s_t = step(drive, recurrent, s_{t-1})
    y = h W + b;  with tied embeddings W = Cᵀ
    with n-gram features y = h W + b + F[r_1] + ... + F[r_K], r as in `nn.ngram_features`

The blocks of columns in W_l and U_l are those of the cell: ``lstm`` o i f g, ``gru`` n r z in W_l
and r z q in U_l, ``elman`` one. P(w) = softmax(y), over the possible tokens.
"""

from __future__ import annotations

from lmsuite.errors import LmError
from lmsuite.models.interface import LanguageModel
from lmsuite.models.neural import NeuralModel
from lmsuite.types import Array


def in_equations(model: NeuralModel, name: str) -> dict[str, Array]:
    """The network's arrays by their letters.

    Raises:
        LmError: the network has other arrays than the equations, such as a softmax in clusters.
    """
    arrays = dict(model.arrays())
    named = {"C": arrays.pop("embedding.table")}
    settings = model.settings
    if model.kind == "ffnn":
        for number in range(len(settings.hidden)):
            named[f"H_{number + 1}"] = arrays.pop(f"hidden.{number}.W")
            named[f"d_{number + 1}"] = arrays.pop(f"hidden.{number}.b")
        output = arrays.pop("output.W", None)
        if output is not None:
            named["U"] = output[: settings.hidden[-1]]
            if settings.direct:
                named["W"] = output[settings.hidden[-1] :]
    else:
        for number in range(settings.layers):
            for own, letter in (("Wx", "W"), ("Wh", "U"), ("b", "b"), ("b_q", "b_q")):
                if f"layer.{number}.{own}" in arrays:
                    named[f"{letter}_{number + 1}"] = arrays.pop(f"layer.{number}.{own}")
        output = arrays.pop("output.W", None)
        if output is not None:
            named["W"] = output
        if "features.table" in arrays:
            named["F"] = arrays.pop("features.table")
    if "output.b" in arrays:
        named["b"] = arrays.pop("output.b")
    is_whole = "b" in named and ("U" in named or "W" in named or settings.tied)
    if arrays or not is_whole:
        raise LmError(
            f"{name} has arrays beyond the equations of a network with one softmax "
            f"({', '.join(sorted(arrays)[:3])}): only a model with a full softmax and a cell of "
            "lmsuite can be exported"
        )
    return named


def no_network(model: LanguageModel, name: str, form: str) -> LmError:
    """The error of a model that has no form of a network."""
    return LmError(f"{name} is of kind {model.kind}; {form} is for networks (ffnn, rnn)")
