"""One step of a network as an ONNX graph: what `LanguageModel.step` and `log_probs` compute.

A recurrent network has the inputs ``ids`` (B,) and ``state`` (L S, B, H), zeros at first, and the
outputs ``log_probs`` (B, V) of the next token and ``state_after``. The first id is that of ``<s>``;
an ``<s>`` resets the state of its text. With n-gram features the state has one array more, the last
tokens. A feed-forward network has the input ``window``
(B, context), the last ids, oldest first, with ``<s>`` before the beginning, and the output
``log_probs``. The graph holds the settings, the text's description and the vocabulary as metadata.

The nodes are the equations of `lmsuite.nn.cells`, in their order.
"""

from __future__ import annotations

import json
from typing import Any, BinaryIO

import numpy as np

from lmsuite.errors import LmError
from lmsuite.exporting.arrays import described
from lmsuite.exporting.equations import in_equations, no_network
from lmsuite.models.interface import LanguageModel
from lmsuite.models.neural import NeuralModel
from lmsuite.models.settings import RecurrentSettings
from lmsuite.nn.ngram_features import FACTOR, PRIME
from lmsuite.text.vocabulary import BOS

_OPSET, _IR = 17, 8  # of 2022, which every runtime of today reads

_ACTIVATIONS = {"tanh": "Tanh", "sigmoid": "Sigmoid", "relu": "Relu", "softsign": "Softsign"}


def write_onnx(model: LanguageModel, stream: BinaryIO, name: str) -> None:
    """Write the graph.

    Raises:
        LmError: the model is no network, or has a cell or a softmax that no graph is known for.
        LmError: the library `onnx` is not installed.
    """
    if not isinstance(model, NeuralModel):
        raise no_network(model, name, "ONNX")
    arrays = in_equations(model, name)
    try:
        import onnx
    except ImportError:
        raise LmError("ONNX needs the library onnx: pip install 'lmsuite[onnx]'") from None
    graph = _Graph({letter: np.asarray(array, np.float32) for letter, array in arrays.items()})
    if model.kind == "ffnn":
        graph.feed_forward(model)
    else:
        graph.recurrent(model, name)
    made = onnx.helper.make_model(
        onnx.helper.make_graph(graph.nodes, model.kind, graph.inputs, graph.outputs, graph.values),
        opset_imports=[onnx.helper.make_opsetid("", _OPSET)],
        ir_version=_IR,
        producer_name="lmsuite",
    )
    tokens = {"vocabulary": list(model.encoder.vocabulary.tokens)}
    facts = {name: json.dumps(value) for name, value in (described(model) | tokens).items()}
    onnx.helper.set_model_props(made, facts)
    onnx.checker.check_model(made)
    stream.write(made.SerializeToString())


class _Graph:
    """Collects nodes; the name of a node is that of its output."""

    def __init__(self, arrays: dict[str, Any]) -> None:
        self.nodes: list[Any] = []
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []
        self.values: list[Any] = []
        for letter, array in arrays.items():
            self._value(letter, array)
        self._is_tied = arrays.keys().isdisjoint(("W", "U"))

    def _value(self, name: str, array: Any) -> str:
        from onnx import numpy_helper

        self.values.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def _node(self, operation: str, inputs: list[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(operation, inputs, [output], output, **attributes))
        return output

    def _input(self, name: str, shape: list[Any], *, ids: bool) -> None:
        from onnx import TensorProto, helper

        kind = TensorProto.INT64 if ids else TensorProto.FLOAT
        self.inputs.append(helper.make_tensor_value_info(name, kind, shape))

    def _output(self, name: str, shape: list[Any]) -> None:
        from onnx import TensorProto, helper

        self.outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))

    def _linear(self, x: str, weights: str, bias: str, output: str) -> str:
        product = self._node("MatMul", [x, weights], f"{output}_product")
        return self._node("Add", [product, bias], output)

    def _output_weights(self, name: str) -> str:
        """Those of this name, or if they are the embeddings', these."""
        if self._is_tied:
            return self._node("Transpose", ["C"], "C_transposed", perm=[1, 0])
        return name

    def _log_probs(self, logits: str, model: NeuralModel) -> None:
        """log softmax(y) over the possible tokens."""
        size = len(model.encoder.vocabulary)
        mask = np.zeros(size, np.float32)
        mask[model.encoder.impossible] = -np.inf
        possible = self._node("Add", [logits, self._value("possible", mask)], "y_possible")
        self._node("LogSoftmax", [possible], "log_probs", axis=-1)
        self._output("log_probs", ["B", size])

    def feed_forward(self, model: NeuralModel) -> None:
        """The graph of `FeedForward`."""
        settings = model.settings
        self._input("window", ["B", settings.context], ids=True)
        vectors = self._node("Gather", ["C", "window"], "vectors", axis=0)
        shape = self._value("x_shape", np.array([-1, settings.context * settings.embed]))
        x = a = self._node("Reshape", [vectors, shape], "x")
        for number in range(1, len(settings.hidden) + 1):
            z = self._linear(a, f"H_{number}", f"d_{number}", f"z_{number}")
            if settings.activation == "hardtanh":
                bounds = [
                    self._value(f"{bound}_{number}", np.float32(value))
                    for bound, value in (("low", -1.0), ("high", 1.0))
                ]
                a = self._node("Clip", [z, *bounds], f"a_{number}")
            else:
                a = self._node(_ACTIVATIONS[settings.activation], [z], f"a_{number}")
        y = self._linear(a, self._output_weights("U"), "b", "y")
        if settings.direct:
            direct = self._node("MatMul", [x, "W"], "direct")
            y = self._node("Add", [y, direct], "y_direct")
        self._log_probs(y, model)

    def recurrent(self, model: NeuralModel, name: str) -> None:
        """The graph of one step of `Recurrent`."""
        settings = model.settings
        cells = {"elman": (self._elman, 1), "gru": (self._gru, 1), "lstm": (self._lstm, 2)}
        if settings.cell not in cells:
            raise LmError(
                f"{name} has a cell of its own, {settings.cell}; ONNX export knows "
                f"{', '.join(cells)}"
            )
        cell, states = cells[settings.cell]
        arrays = settings.layers * states + bool(settings.ngram_features)
        self._input("ids", ["B"], ids=True)
        self._input("state", [arrays, "B", settings.hidden], ids=False)
        bos = self._value("bos", np.array(BOS, np.int64))
        is_bos = self._node("Equal", ["ids", bos], "is_bos")
        goes_on = self._node("Cast", [self._node("Not", [is_bos], "is_word")], "goes_on", to=1)
        axes = self._value("last_axis", np.array([1]))
        column = self._node("Unsqueeze", [goes_on, axes], "goes_on_column")
        before = self._node("Mul", ["state", column], "state_before")
        rows = self._split(before, "state_row", arrays, axis=0)
        first_axis = self._value("first_axis", np.array([0]))
        rows = [self._node("Squeeze", [row, first_axis], f"{row}_array") for row in rows]
        x = self._node("Gather", ["C", "ids"], "x_0", axis=0)
        after = []
        for layer in range(settings.layers):
            number = layer + 1
            own = rows[layer * states : (layer + 1) * states]
            drive = self._linear(x, f"W_{number}", f"b_{number}", f"drive_{number}")
            past = self._node("MatMul", [own[0], f"U_{number}"], f"recurrent_{number}")
            after += cell(drive, past, own, number)
            x = after[layer * states]
        y = self._linear(x, self._output_weights("W"), "b", "y")
        if settings.ngram_features:
            tokens, y = self._features(rows[-1], y, settings)
            after.append(tokens)
        whole = [self._node("Unsqueeze", [each, first_axis], f"{each}_row") for each in after]
        self._node("Concat", whole, "state_after", axis=0)
        self._log_probs(y, model)
        self._output("state_after", [arrays, "B", settings.hidden])

    def _features(self, before: str, y: str, settings: RecurrentSettings) -> tuple[str, str]:
        """The last tokens (B, H) after this one, and the logits with those of the features."""
        count = settings.ngram_features
        one, axis = self._value("one", np.array(1)), self._value("columns", np.array([1]))
        token = self._node("Add", ["ids", one], "token")
        newest = self._node("Unsqueeze", [token, axis], "newest")
        starts = self._value("oldest_kept", np.array([0]))
        ends = self._value("newest_dropped", np.array([count - 1]))
        kept = self._node("Slice", [before, starts, ends, axis], "kept_tokens")
        older = self._node(
            "Cast",
            [
                kept,
            ],
            "older",
            to=7,
        )
        recent = self._node("Concat", [newest, older], "recent", axis=1)
        A, P, R = (
            self._value(name, np.array(value))
            for name, value in (("A", FACTOR), ("P", PRIME), ("R", settings.feature_rows))
        )
        hashed = one
        for n, now in enumerate(self._split(recent, "recent_token", count, axis=1), start=1):
            scaled = self._node("Mul", [hashed, A], f"scaled_{n}")
            hashed = self._node("Mod", [self._node("Add", [scaled, now], f"sum_{n}"), P], f"s_{n}")
            square = self._node("Mul", [hashed, hashed], f"square_{n}")
            mixed = self._node("Mod", [square, P], f"mixed_{n}")
            r = self._node("Squeeze", [self._node("Mod", [mixed, R], f"row_{n}"), axis], f"r_F_{n}")
            weights = self._node("Gather", ["F", r], f"F_{n}", axis=0)
            y = self._node("Add", [y, weights], f"y_{n}")
        numbers = self._node("Cast", [recent], "recent_numbers", to=1)
        pads = self._value("pads", np.array([0, 0, 0, settings.hidden - count]))
        return self._node("Pad", [numbers, pads], "tokens_after"), y

    def _split(self, array: str, name: str, parts: int, *, axis: int) -> list[str]:
        """Equal parts along an axis."""
        from onnx import helper

        names = [f"{name}_{number}" for number in range(parts)]
        if parts == 1:
            return [self._node("Identity", [array], names[0])]
        self.nodes.append(helper.make_node("Split", [array], names, name, axis=axis))
        return names

    def _elman(self, drive: str, past: str, state: list[str], n: int) -> list[str]:
        a = self._node("Add", [drive, past], f"a_{n}")  # (1)
        return [self._node("Tanh", [a], f"h_{n}")]  # (2)

    def _gru(self, drive: str, past: str, state: list[str], n: int) -> list[str]:
        [h_before] = state
        x_n, x_r, x_z = self._split(drive, f"x_nrz_{n}", 3, axis=1)
        u_r, u_z, u_q = self._split(past, f"u_rzq_{n}", 3, axis=1)
        r = self._node("Sigmoid", [self._node("Add", [x_r, u_r], f"a_r_{n}")], f"r_{n}")  # (1)
        z = self._node("Sigmoid", [self._node("Add", [x_z, u_z], f"a_z_{n}")], f"z_{n}")  # (2)
        q = self._node("Add", [u_q, f"b_q_{n}"], f"q_{n}")  # (3)
        reset = self._node("Mul", [r, q], f"rq_{n}")
        candidate = self._node("Add", [x_n, reset], f"a_n_{n}")
        new = self._node("Tanh", [candidate], f"n_{n}")  # (4)
        # (5) h = (1 - z) n + z h_{t-1} = n + z (h_{t-1} - n)
        change = self._node("Sub", [h_before, new], f"change_{n}")
        kept = self._node("Mul", [z, change], f"kept_{n}")
        return [self._node("Add", [new, kept], f"h_{n}")]

    def _lstm(self, drive: str, past: str, state: list[str], n: int) -> list[str]:
        _, c_before = state
        a = self._node("Add", [drive, past], f"a_{n}")  # (1)
        parts = self._split(a, f"a_oifg_{n}", 4, axis=1)
        o, i, f = (  # (2) to (4)
            self._node("Sigmoid", [part], f"{gate}_{n}")
            for gate, part in zip("oif", parts, strict=False)
        )
        g = self._node("Tanh", [parts[3]], f"g_{n}")  # (5)
        remembered = self._node("Mul", [f, c_before], f"fc_{n}")
        written = self._node("Mul", [i, g], f"ig_{n}")
        c = self._node("Add", [remembered, written], f"c_{n}")  # (6)
        h = self._node("Mul", [o, self._node("Tanh", [c], f"tanh_c_{n}")], f"h_{n}")  # (7)
        return [h, c]
