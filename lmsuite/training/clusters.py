"""Which softmax a network gets, and the cut-offs of an adaptive one: those of the least cost.

The cost of a training step is estimated from the counts of the ids, as Grave et al. (2017) do in
their section 4. A logit that is formed costs its products and its exponential; a parameter costs
its update, even if no token needs it. The weights of these costs are constants, measured once, so
that the same text gets the same cut-offs on every machine. A softmax is adaptive if that makes the
step's softmax at least `PAYS` times cheaper, and the vocabulary is not small.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from lmsuite.nn.output import tail_sizes

PRODUCT, LOGIT, PARAMETER, CLUSTER = 0.075, 4.0, 5.0, 1e5
"""Nanoseconds of one core: a multiply-add, forward and backward; what else a logit takes; the
update of a parameter; the calls for a cluster."""

PAYS = 3.0
LARGE = 8000
"""Ids. Below, the softmax takes too small a part of a step."""

MOST = 3
"""Clusters: a fourth would save little, and its words would be known by few numbers."""
FEWEST = 500  # words of the shortlist
SHORTLISTED = 0.4
"""The least share of the tokens that the shortlist must have, for a softmax that was not asked for.
A vocabulary that is not in the order of frequency, such as a given one, may fall below."""
PER_DOUBLING = 3  # cut-offs are tried at so many places between n and 2 n


@dataclass(frozen=True)
class SoftmaxCost:
    """What the softmax takes of a training step."""

    counts: NDArray[np.float64]
    """(V,) of each id in the training text."""
    inputs: int
    """The size D of the vectors that the softmax reads."""
    tokens: int
    """How many tokens a step predicts."""
    tied: bool = False
    """Whether the embeddings are the weights."""

    @cached_property
    def _shares(self) -> NDArray[np.float64]:
        """The share of the tokens whose ids are below each id (V + 1,)."""
        below: NDArray[np.float64] = np.concatenate([[0.0], np.cumsum(self.counts)])
        below /= max(1.0, below[-1])
        return below

    def __call__(self, cutoffs: tuple[int, ...]) -> float:
        """Estimated nanoseconds on one core; without cut-offs those of a full softmax."""
        edges = (0, *cutoffs, self.counts.size)
        inside = self.tokens * np.diff(self._shares[list(edges)])
        sizes = [self.inputs] * len(cutoffs) if self.tied else tail_sizes(self.inputs, len(cutoffs))
        cost = _layer(self.tokens, self.inputs, edges[1] + len(cutoffs))
        for tokens, size, (first, last) in zip(
            inside[1:].tolist(), sizes, pairwise(edges[1:]), strict=True
        ):
            cost += _layer(tokens, size, last - first) + CLUSTER
            if not self.tied:
                cost += self.inputs * size * (tokens * PRODUCT + PARAMETER)
        return cost

    def cheapest(self) -> tuple[int, ...]:
        """The cut-offs of the least cost, by moving, adding and removing one at a time.

        There is none if the vocabulary is too small for a shortlist and a cluster.
        """
        places = _places(self.counts.size)
        best: tuple[int, ...] = min(((place,) for place in places), key=self, default=())
        while best:
            others = []
            for place in places:
                if place not in best and len(best) < MOST:
                    others.append(tuple(sorted((*best, place))))
                for cutoff in best:
                    kept = tuple(each for each in best if each != cutoff)
                    others.append(tuple(sorted({*kept, place})))
            better = min(others, key=self)
            if self(better) >= self(best):
                break
            best = better
        return best

    def chosen(self) -> tuple[int, ...]:
        """The cut-offs by the module's rule; none for a full softmax."""
        cutoffs = self.cheapest()
        if not cutoffs or self.counts.size < LARGE or self(()) < PAYS * self(cutoffs):
            return ()
        return cutoffs if self._shares[cutoffs[0]] >= SHORTLISTED else ()


def _layer(tokens: float, inputs: int, outputs: int) -> float:
    return outputs * (tokens * (PRODUCT * inputs + LOGIT) + PARAMETER * inputs)


def _places(vocabulary: int) -> list[int]:
    """Round numbers, evenly on a scale of doublings, where a vocabulary may be cut."""
    places = []
    place = float(FEWEST)
    while place < vocabulary:
        digits = 10 ** (len(str(int(place))) - 2)
        places.append(round(place / digits) * digits)
        place *= 2 ** (1 / PER_DOUBLING)
    return [place for place in places if place < vocabulary]  # rounding may have gone beyond
