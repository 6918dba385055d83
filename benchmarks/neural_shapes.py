"""The networks that are trained for measurement, and the arithmetic of their steps."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lmsuite.models.feedforward import FeedForwardSettings
from lmsuite.models.recurrent import RecurrentSettings
from lmsuite.training.clusters import SoftmaxCost

GATES = {"elman": 1, "gru": 3, "lstm": 4}
NAMES = {"elman": "Elman", "gru": "GRU", "lstm": "LSTM"}
RUN = 1.2e11
"""Floating-point operations of a measurement: half a second to a second of two cores."""
MOST_STEPS = 100
BATCHES = 10
"""Different ones, again and again."""
CLIP = 0.5
RATE = 0.001


@dataclass(frozen=True)
class Shape:
    """A network and its batch."""

    settings: RecurrentSettings | FeedForwardSettings
    vocabulary: int
    batch: int
    bptt: int = 1
    zipf: bool = False
    """Whether the ids are as frequent as words; else all are alike."""
    processes: int | None = None
    """Ours, and threads of a peer; None: as many as there are cores."""

    @property
    def name(self) -> str:
        settings = self.settings
        if isinstance(settings, FeedForwardSettings):
            sizes = f"V={self.vocabulary} context={settings.context} m={settings.embed}"
            return f"feed-forward {sizes} h={settings.hidden[0]} B={self.batch}"
        name = NAMES[settings.cell] + (f" {settings.layers} layers" if settings.layers > 1 else "")
        sizes = f"V={self.vocabulary} E={settings.embed} H={settings.hidden}"
        return f"{name} {sizes} B={self.batch} T={self.bptt}"

    @property
    def tokens(self) -> int:
        """How many a step predicts."""
        return self.batch * self.bptt

    def multiply_adds(self, *, of_inputs: bool = True) -> int:
        """Multiplications with an addition that the equations have for a token, forward.

        Matrix products alone, for all else is of a lower order. Looking up an embedding has none.
        `of_inputs` false leaves out those of the embeddings with a first layer's input weights.
        """
        settings = self.settings
        if isinstance(settings, FeedForwardSettings):
            (hidden,) = settings.hidden
            first = settings.context * settings.embed * hidden if of_inputs else 0
            return first + hidden * self.vocabulary
        hidden, width = settings.hidden, GATES[settings.cell] * settings.hidden
        inputs = settings.embed * width if of_inputs else 0
        above = (settings.layers - 1) * hidden * width
        return inputs + above + settings.layers * hidden * width + hidden * self.vocabulary

    def flops(self, *, of_inputs: bool = True) -> float:
        """Floating-point operations of a training step.

        A multiply-add is two. Backward takes twice what forward takes: a product gives the gradient
        of its one factor and another that of the other.
        """
        return 6.0 * self.tokens * self.multiply_adds(of_inputs=of_inputs)

    def frequencies(self) -> NDArray[np.float64]:
        """The relative frequency (V,) of each id: by Zipf and Mandelbrot, or one for all.

        The special tokens come first, and are as rare as the last word.
        """
        ranks = np.arange(self.vocabulary, dtype=np.float64) - 3
        ranks[:3] = self.vocabulary
        weights = 1 / (ranks + 2.7) if self.zipf else np.ones(self.vocabulary)
        return weights / weights.sum()

    def ids(self, rng: np.random.Generator, *shape: int) -> NDArray[np.int64]:
        """Random ids."""
        return rng.choice(self.vocabulary, shape, p=self.frequencies())

    @property
    def adaptive(self) -> Shape:
        """The same with an adaptive softmax, whose cut-offs are those of ``lm train``."""
        inputs = (
            self.settings.hidden[-1]
            if isinstance(self.settings, FeedForwardSettings)
            else self.settings.hidden
        )
        cutoffs = SoftmaxCost(1e6 * self.frequencies(), inputs, self.tokens).cheapest()
        settings = replace(self.settings, softmax="adaptive", cutoffs=cutoffs)
        return replace(self, settings=settings)

    @property
    def steps(self) -> int:
        """How many make a measurement."""
        if self.settings.cutoffs:  # the arithmetic of a full softmax says little of it
            return MOST_STEPS // 10
        return max(3, min(MOST_STEPS, round(RUN / self.flops())))


def lstm(hidden: int, embed: int = 128, batch: int = 64, *, cell: str = "lstm") -> Shape:
    """One layer over 65 characters."""
    return Shape(RecurrentSettings(cell=cell, hidden=hidden, embed=embed), 65, batch, 64)


SHAPES = (
    *(
        lstm(hidden, embed, batch, cell=cell)
        for cell in ("lstm", "gru", "elman")
        for hidden, embed, batch in ((128, 64, 32), (256, 128, 64), (512, 128, 64))
    ),
    Shape(RecurrentSettings(layers=2, hidden=512, embed=128), 65, 64, 64),
    Shape(RecurrentSettings(layers=2, hidden=200, embed=200), 10_000, 20, 35),
    Shape(FeedForwardSettings(context=5, embed=60, hidden=(100,)), 10_000, 256),
)

WORDS = tuple(
    shape
    for vocabulary in (17_000, 50_000)
    for shape in (
        Shape(FeedForwardSettings(context=5, embed=60, hidden=(100,)), vocabulary, 256, zipf=True),
        Shape(RecurrentSettings(hidden=200, embed=200), vocabulary, 20, 35, zipf=True),
        Shape(RecurrentSettings(hidden=200, embed=200), vocabulary, 64, 35, zipf=True),
    )
)
"""Large vocabularies, for the adaptive softmax."""

MANY_CORES = (
    lstm(128, 64, 32),
    lstm(512),
    Shape(RecurrentSettings(layers=2, hidden=200, embed=200), 10_000, 20, 35),
    Shape(FeedForwardSettings(context=5, embed=60, hidden=(100,)), 10_000, 256),
)
"""Those of which the speed is measured by the number of processes."""
