"""From gradients to better parameters: each optimizer is the previous one plus one idea.

All work in place on flat arrays. An update is a dozen vector operations, and memory traffic would
take most of the time. So an update works in blocks that stay in the processor's cache. Workers that
share the parameters have one optimizer each, for their own slice.

In the formulae, w is a parameter, g its gradient, η the learning rate, and t the number of the
update, counted from 1.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from math import sqrt
from typing import ClassVar, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from lmsuite.types import FloatArray, IntArray

Flat: TypeAlias = FloatArray
"""An array over parameters, (size,)."""

BLOCK = 1 << 15
"""Parameters updated at a time: many, so calls cost little, but few enough for the cache."""


class Optimizer(ABC):
    """Updates `size` parameters. It keeps its moments between updates, in flat arrays."""

    name: ClassVar[str]
    learning_rate: ClassVar[float]
    """The rate to try first."""
    moments: ClassVar[tuple[str, ...]] = ()
    """Names of the arrays that are kept: each has one number for each parameter."""

    def __init__(
        self,
        size: int,
        dtype: DTypeLike = np.float32,
        *,
        state: Mapping[str, Flat] | None = None,
    ) -> None:
        """Begin with zero moments, or continue with those in `state`, which are used in place.

        Raises:
            ValueError: the names or sizes in `state` are not those of this optimizer.
        """
        if state is None:
            state = {name: np.zeros(size, dtype) for name in self.moments}
        if set(state) != set(self.moments) or any(a.shape != (size,) for a in state.values()):
            given = {name: array.shape for name, array in state.items()}
            raise ValueError(f"{self.name} needs {self.moments} of shape ({size},), not {given}")
        self.size = size
        self._state = [state[name] for name in self.moments]
        self._scratch = np.empty((2, min(size, BLOCK)), dtype)

    def state_arrays(self) -> dict[str, Flat]:
        """The moments by name: save them to continue later."""
        return dict(zip(self.moments, self._state, strict=True))

    def update(self, values: Flat, gradients: Flat, learning_rate: float, step: int) -> None:
        """Change values (size,) in place, not the gradients; `step` counts updates from 1."""
        for begin in range(0, self.size, BLOCK):
            part = slice(begin, min(begin + BLOCK, self.size))
            state = [array[part] for array in self._state]
            tmp = self._scratch[:, : part.stop - begin]
            self._update(values[part], gradients[part], state, tmp, learning_rate, step)

    def update_rows(
        self,
        values: FloatArray,
        gradients: FloatArray,
        rows: IntArray,
        learning_rate: float,
        step: int,
    ) -> None:
        """Change some rows of values (V, E) alone, by their gradients (R, E).

        The other rows, whose gradient is zero, and their moments stay as they are until a gradient
        comes, as with PyTorch's ``SparseAdam``: to let the moments of a large table fade at every
        step would take longer than all else.
        """
        tables = [array.reshape(values.shape) for array in self._state]
        at_once = max(1, BLOCK // values.shape[1])
        for begin in range(0, len(rows), at_once):
            part = rows[begin : begin + at_once]
            w, state = values[part], [table[part] for table in tables]
            g = gradients[begin : begin + at_once].reshape(-1)
            tmp = np.empty((2, w.size), w.dtype)
            flat = [array.reshape(-1) for array in state]
            self._update(w.reshape(-1), g, flat, tmp, learning_rate, step)
            values[part] = w
            for table, array in zip(tables, state, strict=True):
                table[part] = array

    @abstractmethod
    def _update(self, w: Flat, g: Flat, state: list[Flat], tmp: Flat, rate: float, t: int) -> None:
        """Update one block. tmp (2, len(w)) is scratch space."""


class SGD(Optimizer):
    """Go downhill, in proportion to the slope: w -= η g. Robbins and Monro (1951)."""

    name = "sgd"
    learning_rate = 0.5

    def _update(self, w: Flat, g: Flat, state: list[Flat], tmp: Flat, rate: float, t: int) -> None:
        w -= np.multiply(g, rate, out=tmp[0])


class Momentum(Optimizer):
    """Idea: keep rolling. v = μ v + g, w -= η v. Polyak (1964)."""

    name = "momentum"
    learning_rate = 0.05
    moments = ("velocity",)
    decay = 0.9  # μ

    def _update(self, w: Flat, g: Flat, state: list[Flat], tmp: Flat, rate: float, t: int) -> None:
        (v,) = state
        v *= self.decay
        v += g
        w -= np.multiply(v, rate, out=tmp[0])


class Nesterov(Momentum):
    """Idea: look ahead to where the momentum leads. v = μ v + g, w -= η (g + μ v).

    Nesterov (1983), in the form of Sutskever et al. (2013); here w is the look-ahead point.
    """

    name = "nesterov"

    def _update(self, w: Flat, g: Flat, state: list[Flat], tmp: Flat, rate: float, t: int) -> None:
        (v,) = state
        v *= self.decay
        v += g
        ahead = np.multiply(v, self.decay, out=tmp[0])
        ahead += g
        ahead *= rate
        w -= ahead


class AdaGrad(Optimizer):
    """Idea: a rate for each parameter. The more a parameter has moved, the smaller its rate.

    s += g², w -= η g / (sqrt(s) + ε). Duchi et al. (2011).
    """

    name = "adagrad"
    learning_rate = 0.05
    moments = ("square",)
    epsilon = 1e-8

    def _update(self, w: Flat, g: Flat, state: list[Flat], tmp: Flat, rate: float, t: int) -> None:
        (s,) = state
        s += np.square(g, out=tmp[0])
        _scaled_step(w, g, s, tmp, rate, self.epsilon)


class RMSProp(Optimizer):
    """Idea: forget old squares, so the rate does not shrink to nothing.

    s = ρ s + (1 - ρ) g², w -= η g / (sqrt(s) + ε). Tieleman and Hinton (2012).
    """

    name = "rmsprop"
    learning_rate = 0.002
    moments = ("square",)
    decay = 0.9  # ρ
    epsilon = 1e-8

    def _update(self, w: Flat, g: Flat, state: list[Flat], tmp: Flat, rate: float, t: int) -> None:
        (s,) = state
        _average_square(s, g, self.decay, tmp[0])
        _scaled_step(w, g, s, tmp, rate, self.epsilon)


class AdaDelta(Optimizer):
    """Idea: the size of past steps gives the step the units of w, so no rate must be tuned.

    s = ρ s + (1 - ρ) g², d = g sqrt(u + ε) / sqrt(s + ε), u = ρ u + (1 - ρ) d², w -= η d.
    Zeiler (2012), where η = 1.
    """

    name = "adadelta"
    learning_rate = 1.0
    moments = ("square", "step_square")
    decay = 0.95  # ρ
    epsilon = 1e-6

    def _update(self, w: Flat, g: Flat, state: list[Flat], tmp: Flat, rate: float, t: int) -> None:
        s, u = state
        d, other = tmp
        _average_square(s, g, self.decay, other)
        np.add(u, self.epsilon, out=d)
        np.add(s, self.epsilon, out=other)
        d /= other
        np.sqrt(d, out=d)
        d *= g
        _average_square(u, d, self.decay, other)
        d *= rate
        w -= d


class Adam(Optimizer):
    """Idea: momentum *and* a rate for each parameter, both corrected for their start at zero.

    m = β1 m + (1 - β1) g, s = β2 s + (1 - β2) g²,
    w -= η m' / (sqrt(s') + ε) with m' = m / (1 - β1^t), s' = s / (1 - β2^t).
    Kingma and Ba (2015), algorithm 1.
    """

    name = "adam"
    learning_rate = 0.003
    moments = ("mean", "square")
    decay_mean = 0.9  # β1
    decay_square = 0.999  # β2
    epsilon = 1e-8

    def _update(self, w: Flat, g: Flat, state: list[Flat], tmp: Flat, rate: float, t: int) -> None:
        m, s = state
        _average(m, g, self.decay_mean, tmp[0])
        _average_square(s, g, self.decay_square, tmp[0])
        self._corrected_step(w, m, s, tmp, rate / (1 - self.decay_mean**t), t)

    def _corrected_step(
        self, w: Flat, direction: Flat, s: Flat, tmp: Flat, rate: float, t: int
    ) -> None:
        """w -= rate · direction / (sqrt(s') + ε), with s' put into the two numbers."""
        correction = (1 - self.decay_square**t) ** 0.5
        _scaled_step(w, direction, s, tmp, rate * correction, self.epsilon * correction)


class Nadam(Adam):
    """Idea: Adam with Nesterov's look-ahead: m' = β1 m / (1 - β1^(t+1)) + (1 - β1) g / (1 - β1^t).

    Dozat (2016), with β1 constant.
    """

    name = "nadam"

    def _update(self, w: Flat, g: Flat, state: list[Flat], tmp: Flat, rate: float, t: int) -> None:
        m, s = state
        beta = self.decay_mean
        ahead, other = tmp
        _average(m, g, beta, ahead)
        _average_square(s, g, self.decay_square, ahead)
        np.multiply(m, beta / (1 - beta ** (t + 1)), out=ahead)
        ahead += np.multiply(g, (1 - beta) / (1 - beta**t), out=other)
        correction = (1 - self.decay_square**t) ** 0.5
        np.sqrt(s, out=other)
        other += self.epsilon * correction
        ahead /= other
        ahead *= rate * correction
        w -= ahead


class AdamW(Adam):
    """Idea: shrink the weights beside Adam's step, not through its gradient: w -= η λ w first.

    Loshchilov and Hutter (2019).
    """

    name = "adamw"
    weight_decay = 0.01  # λ

    def _update(self, w: Flat, g: Flat, state: list[Flat], tmp: Flat, rate: float, t: int) -> None:
        w *= 1 - rate * self.weight_decay
        super()._update(w, g, state, tmp, rate, t)


OPTIMIZERS: dict[str, type[Optimizer]] = {
    optimizer.name: optimizer
    for optimizer in (
        SGD,
        Momentum,
        Nesterov,
        AdaGrad,
        RMSProp,
        AdaDelta,
        Adam,
        Nadam,
        AdamW,
    )
}


def squared_norm(gradients: Flat) -> float:
    """The sum of squares. The sums of all slices add up to the sum of the whole."""
    return float(np.dot(gradients, gradients))


def clip_by_global_norm(gradients: Flat, limit: float) -> float:
    """Scale all gradients, in place, to a norm of at most `limit`. Returns the norm before that.

    All have the same factor, so the direction stays: Pascanu et al. (2013).
    """
    norm = sqrt(squared_norm(gradients))
    if norm > limit:
        gradients *= limit / norm
    return norm


def add_penalty(values: Flat, gradients: Flat, l1: float, l2: float) -> float:
    """The penalty l1 sum |w| + l2/2 sum w². Adds its gradient l1 sign(w) + l2 w in place."""
    penalty = 0.0
    if l1:
        gradients += l1 * np.sign(values)
        penalty += l1 * float(np.abs(values).sum())
    if l2:
        gradients += l2 * values
        penalty += 0.5 * l2 * squared_norm(values)
    return penalty


def _average(mean: Flat, x: Flat, decay: float, tmp: Flat) -> None:
    """mean = decay · mean + (1 - decay) · x, in place."""
    mean *= decay
    mean += np.multiply(x, 1 - decay, out=tmp)


def _average_square(square: Flat, x: Flat, decay: float, tmp: Flat) -> None:
    """square = decay · square + (1 - decay) · x², in place."""
    np.multiply(x, x, out=tmp)
    tmp *= 1 - decay
    square *= decay
    square += tmp


def _scaled_step(
    w: Flat, direction: Flat, square: Flat, tmp: Flat, rate: float, epsilon: float
) -> None:
    """w -= rate · direction / (sqrt(square) + epsilon), in place."""
    size, step = tmp
    np.sqrt(square, out=size)
    size += epsilon
    np.divide(direction, size, out=step)
    step *= rate
    w -= step
