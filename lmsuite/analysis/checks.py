"""Check a model: its probabilities sum to one, scores equal those of steps, gradients are right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lmsuite.models.interface import LanguageModel
from lmsuite.models.neural import NeuralModel
from lmsuite.nn.gradient_check import GradientReport, check_gradients
from lmsuite.text.vocabulary import BOS

SUM_LIMIT = 1e-5
SCORE_LIMIT = 1e-4
GRADIENT_LIMIT = 1e-6
STATES = 50  # tokens of the random text, one state before each
TEXTS, LENGTH = 2, 4  # size of the batch on which gradients are compared


@dataclass(frozen=True)
class Finding:
    """The largest error that a check found."""

    what: str
    where: str
    error: float
    limit: float

    @property
    def passed(self) -> bool:
        return self.error <= self.limit


def check_distributions(model: LanguageModel, rng: np.random.Generator) -> Finding:
    """How far the sum of probabilities is from one, in the states along a text of random tokens."""
    state = model.start(1)
    errors = []
    for token in rng.integers(0, len(model.encoder.vocabulary), STATES):
        log_probs = model.log_probs(state)[0].astype(np.float64)
        with np.errstate(over="ignore"):  # an infinite sum is an infinite error
            errors.append(abs(float(np.exp(log_probs).sum()) - 1))
        state = model.step(state, np.array([token], np.int32))
    worst = int(np.argmax(np.nan_to_num(errors, nan=np.inf)))
    return Finding("distributions sum to one", f"token {worst}", errors[worst], SUM_LIMIT)


def check_scores(model: LanguageModel, rng: np.random.Generator) -> Finding:
    """How far, in nats per token, `score` is from the chain of steps along a random text.

    A network also runs the text as in training, and cell by cell by the plain definition.
    """
    what = "scores are those of the steps"
    tokens = rng.integers(0, len(model.encoder.vocabulary), STATES).astype(np.int32)
    state = model.start(1)
    chain = []
    for token in tokens:
        if token != BOS:
            chain.append(model.log_probs(state)[0, token])
        state = model.step(state, np.array([token], np.int32))
    if not chain:
        return Finding(what, "no token", 0.0, SCORE_LIMIT)
    expected = np.array(chain, np.float64)
    ways = [model.score(tokens)]
    if isinstance(model, NeuralModel):
        ways += model.scores_in_training(tokens)
    off = [_differences(scores, expected) for scores in ways]
    errors = np.max(off, axis=0)
    worst = int(np.argmax(errors))
    return Finding(what, f"token {worst}", float(errors[worst]), SCORE_LIMIT)


def _differences(scores: NDArray[np.float64], expected: NDArray[np.float64]) -> NDArray[np.float64]:
    errors = np.where(scores == expected, 0.0, np.inf)  # both may be -inf
    finite = np.isfinite(scores) & np.isfinite(expected)
    errors[finite] = np.abs(scores[finite] - expected[finite])
    return errors


def check_network(model: NeuralModel, samples: int, rng: np.random.Generator) -> list[Finding]:
    """The largest relative gradient error of each array of a network of this architecture.

    The batch has random tokens and a ``<s>``. The carried state is random. Dropout leaves out the
    same activations each time.
    """
    report = gradient_report(model, samples, rng)
    return [
        Finding(
            f"gradient of {error.name}",
            str(list(error.index)),
            error.relative,
            GRADIENT_LIMIT,
        )
        for error in report.errors
    ]


def gradient_report(
    model: NeuralModel, samples: int | None, rng: np.random.Generator
) -> GradientReport:
    """`check_gradients` of a model of the same architecture, in float64, freshly initialised.

    Args:
        model: only its settings and vocabulary are used, not its weights.
        samples: how many gradients of each array to compare; None for all.
        rng: for weights, tokens and the choice of gradients.
    """
    double = type(model).initial(model.encoder, model.settings, rng, np.float64)
    inputs, targets = double.example(rng, TEXTS, LENGTH)
    inputs[-1, 0] = BOS
    arrays, width = double.carry_shape
    carry = rng.standard_normal((arrays, TEXTS, width))
    seed = int(rng.integers(1 << 32))
    # Calls for the loss alone write their gradients to another buffer.
    parameters = double.parameters
    aside = double.with_buffers(parameters.values, np.zeros_like(parameters.gradients))

    def loss(of: NeuralModel = aside) -> float:
        rng_of_masks = np.random.default_rng(seed)
        return of.backpropagate(inputs, targets, carry.copy(), weight=0.1, rng=rng_of_masks)

    loss(double)
    return check_gradients(
        loss,
        {name: parameters[name] for name in parameters},
        {name: parameters.gradient(name) for name in parameters},
        samples=samples,
        rng=rng,
    )
