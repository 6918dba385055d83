"""Worksheets: a model small enough for paper and pencil, questions, and their answers.

An even seed gives a tiny corpus and the probability of one word in it, an odd seed a tiny network
and one step of gradient descent. The answers come from the same code as those of ``lm trace``: the
lines of `lmsuite.analysis.ngram_trace`, and a graph of `lmsuite.nn.graph`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from lmsuite.analysis.ngram_trace import NgramTracer
from lmsuite.errors import DataError
from lmsuite.models.ngram import NgramModel, NgramSettings
from lmsuite.nn.graph import Node, cross_entropy
from lmsuite.text.encoding import Boundaries, TextEncoder, TextSettings
from lmsuite.types import Float64Array, FloatArray

ABSOLUTE, RELATIVE = 0.0006, 0.01
"""An answer may be off by so much, or by this part of it: so much may be lost by rounding."""
RATE = 0.1

_SUBJECTS = ("the cows", "the cats", "a king", "the king", "the sheep")
_VERBS = ("eat", "see", "like")
_OBJECTS = ("grass", "hay", "the king", "corn", "the grass")
_SMOOTHINGS = ("add-k", "witten-bell", "kneser-ney", "absolute")
_MARKED = re.compile(r"^\s*\(\s*(\d+)\s*\).*=(.*)$")


@dataclass(frozen=True)
class Question:
    """A gap of a worksheet."""

    text: str
    """What is asked for: a symbol, and how to compute it."""
    answer: float


@dataclass(frozen=True)
class Exercise:
    """A worksheet."""

    given: tuple[str, ...]
    """Lines that say what is given."""
    questions: tuple[Question, ...]

    def first_wrong(self, answers: str) -> str | None:
        """What is wrong with the first answer that is not right; None if all are right.

        Args:
            answers: the worksheet with its gaps filled in; or the answers alone, in their order.
                Each is a number or a fraction.
        """
        given = _answers(answers)
        for number, question in enumerate(self.questions, start=1):
            where = f"({number}) {question.text}"
            answer = given.get(number, "").strip(" _")
            if not answer:
                return f"{where}: there is no answer yet"
            try:
                value = float(Fraction(answer.replace("−", "-").replace(" ", "")))
            except (ValueError, ZeroDivisionError):
                return f"{where}: {answer!r} is not a number"
            if abs(value - question.answer) > max(ABSOLUTE, RELATIVE * abs(question.answer)):
                return f"{where}: {answer} is wrong"
        return None


def _answers(text: str) -> dict[int, str]:
    marked = [found for line in text.splitlines() if (found := _MARKED.match(line))]
    if marked:
        return {int(found[1]): found[2] for found in marked}
    return dict(enumerate(text.split(), start=1))


def exercise(seed: int) -> Exercise:
    """The worksheet of this seed."""
    rng = np.random.default_rng(seed)
    return _of_network(rng) if seed % 2 else _of_ngrams(rng)


def _of_network(rng: np.random.Generator) -> Exercise:
    """x -> a = x W + b -> h = f(a) -> y = h U + c -> L = −ln softmax(y)[target]."""

    def drawn(*shape: int) -> Float64Array:
        return np.array(rng.integers(1, 10, shape) * rng.choice([-1, 1], shape) / 10)

    activation = str(rng.choice(["tanh", "sigmoid"]))
    target = int(rng.integers(2))
    x, W, b = Node("x", drawn(2)), Node("W", drawn(2, 2)), Node("b", drawn(2))
    U, c = Node("U", drawn(2, 2)), Node("c", drawn(2))
    a = (x @ W + b).named("a")
    h = a.apply(activation).named("h")
    y = (h @ U + c).named("y")
    L = cross_entropy(y, target).named("L")
    [p] = L.beside
    L.backward()
    questions: list[Question] = []

    def ask(symbol: str, formula: str, array: FloatArray, index: tuple[int, ...]) -> None:
        name = f"{symbol}{''.join(str(i + 1) for i in index)}"
        i, j = index[0] + 1, index[-1] + 1
        questions.append(Question(f"{name} = {formula.format(i=i, j=j)}", float(array[index])))

    f = {"tanh": "tanh(a{i})", "sigmoid": "1 / (1 + exp(−a{i}))"}[activation]
    slope = {"tanh": "(1 − h{i}²)", "sigmoid": "h{i} (1 − h{i})"}[activation]
    pair = ((0,), (1,))
    for node, formula in (
        (a, "x1 W1{i} + x2 W2{i} + b{i}"),
        (h, f),
        (y, "h1 U1{i} + h2 U2{i} + c{i}"),
        (p, "exp(y{i}) / (exp(y1) + exp(y2))"),
    ):
        for index in pair:
            ask(node.name, formula, node.value, index)
    questions.append(Question(f"L = −ln p{target + 1}", float(L.value)))
    for node, formula in (
        (y, "p{i} − (1 if {i} is the target, else 0)"),
        (h, "U{i}1 dL/dy1 + U{i}2 dL/dy2"),
        (a, f"dL/dh{{i}} {slope}"),
        (b, "dL/da{i}"),
    ):
        for index in pair:
            ask(f"dL/d{node.name}", formula, node.gradient, index)
    for place in ((0, 0), (1, 0), (0, 1), (1, 1)):
        ask("dL/dW", "x{i} dL/da{j}", W.gradient, place)
    ask("dL/dU", "h{i} dL/dy{j}", U.gradient, (0, 1))
    ask("new W", f"W{{i}}{{j}} − {RATE:g} dL/dW{{i}}{{j}}", W.value - RATE * W.gradient, (0, 0))
    given = [
        f"A network with two inputs, two {activation} units and two outputs:",
        "  a = x W + b,  h = f(a),  y = h U + c,  p = softmax(y),  L = −ln p[target]",
        "",
    ]
    for node in (x, W, b, U, c):
        rows = np.atleast_2d(node.value)
        for i, row in enumerate(rows):
            names = [f"{node.name}{i + 1 if len(rows) > 1 else ''}{j + 1}" for j in range(len(row))]
            cells = zip(names, row.tolist(), strict=True)
            given.append("  " + "   ".join(f"{name} = {value:4.1f}" for name, value in cells))
    given += [f"  target = {target + 1}", "", "Give four decimals."]
    return Exercise(tuple(given), tuple(questions))


def _of_ngrams(rng: np.random.Generator) -> Exercise:
    """A bigram probability, from the counts of a few lines."""
    lines = [" ".join(str(rng.choice(part)) for part in _PARTS) for _ in range(5)]
    how = TextSettings(tokenizer="whitespace", boundaries=Boundaries.LINES)
    text = "".join(f"{line}\n" for line in lines)
    encoder, ids = TextEncoder.train(text, how)
    smoothing = str(rng.choice(_SMOOTHINGS))
    amount = 0.5 if smoothing in ("kneser-ney", "absolute") else None
    settings = NgramSettings(order=2, smoothing=smoothing, discount=amount)
    model = NgramModel.fit(encoder, ids, settings)
    sentence = str(rng.choice(lines))
    at = int(rng.integers(1, len(sentence.split())))
    traces = list(NgramTracer(model, ids).trace(sentence))
    words = [trace.token for trace in traces]
    questions = [
        Question(
            f"{_asked(level.order, words[at - 1])}, {line.symbol} = {line.formula}", line.value
        )
        for level in traces[at].levels
        for line in level.lines
    ]
    logs = [float(np.log(trace.prob)) for trace in traces]
    probabilities = ", ".join(f"{trace.prob:.4f}" for trace in traces)
    mean = float(-np.mean(logs))
    questions += [
        Question("cross-entropy of the line, in nats a token = −(ln p + … + ln p) / N", mean),
        Question("perplexity of the line = exp(cross-entropy)", float(np.exp(mean))),
    ]
    given = [
        f"A bigram model with {_described(smoothing)}, of these lines, each from <s> to </s>:",
        "",
        *(f"  {line}" for line in lines),
        "",
        f"What is p({words[at]} | {words[at - 1]})? w is “{words[at]}”. At order 2, h is",
        f"“{words[at - 1]}”; at order 1, h is empty. V counts the words, </s> and <unk>.",
        f"The line “{sentence}” has the probabilities {probabilities}.",
        "",
        "Give four decimals, or fractions.",
    ]
    return Exercise(tuple(given), tuple(questions))


_PARTS = (_SUBJECTS, _VERBS, _OBJECTS)


def _asked(order: int, before: str) -> str:
    return f"order {order}" if order == 1 else f"order {order}, h = {before}"


def _described(smoothing: str) -> str:
    return {
        "add-k": "add-one smoothing",
        "witten-bell": "Witten-Bell smoothing",
        "kneser-ney": "Kneser-Ney smoothing, D = 0.5",
        "absolute": "absolute discounting, D = 0.5",
    }[smoothing]


def require_right(sheet: Exercise, answers: str) -> None:
    """Raise DataError that names the first answer that is not right."""
    wrong = sheet.first_wrong(answers)
    if wrong is not None:
        raise DataError(wrong)
