"""Activations y = f(x), element by element; each computes its slope from y alone.

The slope is a function of the *output*. This makes activations cheap: the cache is the output
itself, and the next layer keeps that anyway.

| name     | f(x)                  | f'(x) from y = f(x)   |
|----------|-----------------------|-----------------------|
| tanh     | tanh x                | 1 - y²                |
| sigmoid  | 1 / (1 + exp(-x))     | y (1 - y)             |
| relu     | max(0, x)             | 1 where y > 0, else 0 |
| hardtanh | max(-1, min(1, x))    | 1 where |y| < 1       |
| softsign | x / (1 + |x|)         | (1 - |y|)²            |
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from lmsuite.types import FloatArray


class Activation(ABC):
    """f and its slope, with the `forward` and `backward` of a layer."""

    @abstractmethod
    def apply(self, x: FloatArray) -> FloatArray:
        """f(x), in a new array."""

    @abstractmethod
    def slope(self, y: FloatArray) -> FloatArray:
        """f'(x) where y = f(x), in a new array."""

    def forward(self, inputs: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Outputs, and the cache for `backward`, which is the outputs again."""
        outputs = self.apply(inputs)
        return outputs, outputs

    def backward(self, d_outputs: FloatArray, cache: FloatArray) -> FloatArray:
        slope = self.slope(cache)
        slope *= d_outputs
        return slope


def sigmoid(x: FloatArray) -> FloatArray:
    """1 / (1 + exp(-x)), computed as (1 + tanh(x/2)) / 2: it is equal, and cannot overflow."""
    y: FloatArray = 0.5 * (1 + np.tanh(0.5 * x))
    return y


class Tanh(Activation):
    def apply(self, x: FloatArray) -> FloatArray:
        return np.tanh(x)

    def slope(self, y: FloatArray) -> FloatArray:
        slope = np.square(y)
        return np.subtract(1, slope, out=slope)


class Sigmoid(Activation):
    """As the function `sigmoid`, with one new array."""

    def apply(self, x: FloatArray) -> FloatArray:
        y = np.multiply(x, 0.5)
        np.tanh(y, out=y)
        y *= 0.5
        y += 0.5
        return y

    def slope(self, y: FloatArray) -> FloatArray:
        slope = np.subtract(1, y)
        slope *= y
        return slope


class Relu(Activation):
    def apply(self, x: FloatArray) -> FloatArray:
        return np.maximum(x, 0)

    def slope(self, y: FloatArray) -> FloatArray:
        return (y > 0).astype(y.dtype)


class HardTanh(Activation):
    def apply(self, x: FloatArray) -> FloatArray:
        return np.clip(x, -1, 1)

    def slope(self, y: FloatArray) -> FloatArray:
        return (np.abs(y) < 1).astype(y.dtype)


class Softsign(Activation):
    """Bergstra et al. (2009): like tanh, with tails that saturate more slowly."""

    def apply(self, x: FloatArray) -> FloatArray:
        y = np.abs(x)
        y += 1
        return np.divide(x, y, out=y)

    def slope(self, y: FloatArray) -> FloatArray:
        slope = np.abs(y)
        np.subtract(1, slope, out=slope)
        return np.square(slope, out=slope)


ACTIVATIONS: dict[str, Activation] = {
    "tanh": Tanh(),
    "relu": Relu(),
    "sigmoid": Sigmoid(),
    "hardtanh": HardTanh(),
    "softsign": Softsign(),
}
