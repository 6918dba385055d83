"""The weights of a linear interpolation, by expectation maximisation.

Jelinek and Mercer (1980), "Interpolated estimation of Markov source parameters from sparse data":
with p(w) = sum_k w_k p_k(w), the share of member k in predicting token i is its posterior
probability w_k p_k(i) / p(i), and the new weight is the mean of these shares,

    w_k  <-  w_k g_k,    g_k = (1/M) sum_i p_k(i) / p(i).

The log-likelihood is concave in the weights, so there is one maximum, and the distance to it has a
known bound: no weights gain more than ln(max_k g_k) nats per token over the present ones (Cover
1984, "An algorithm for maximizing expected log investment return", theorem 3). EM stops when this
bound is small.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lmsuite.errors import DataError

_CLOSE_ENOUGH = 1e-7  # nats per token that the best weights could still gain
_MOST_ROUNDS = 20_000


def em_weights(log_probs: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """The weights (K,) with which K members together predict a text best.

    Args:
        log_probs: for every member, those (M,) of the M tokens of the text, in nats.

    Raises:
        DataError: no token has a probability above 0 from any member.
    """
    probs = _relative_probs(log_probs)
    weights = np.full(len(probs), 1 / len(probs))
    for _ in range(_MOST_ROUNDS):
        gains = probs @ (1.0 / (weights @ probs)) / probs.shape[1]  # (K,)
        weights *= gains
        if np.log(gains.max()) < _CLOSE_ENOUGH:
            break
    # If the maximum is a corner of the simplex, EM approaches it but never reaches it: take it.
    with np.errstate(divide="ignore"):
        alone = np.log(probs).mean(axis=1)
    corner = int(alone.argmax())
    if alone[corner] >= np.log(weights @ probs).mean():
        weights = np.zeros(len(probs))
        weights[corner] = 1.0
    normalised: NDArray[np.float64] = weights / weights.sum()
    return normalised


def em_weights_near(
    log_probs: Sequence[NDArray[np.float64]], prior: NDArray[np.float64], tokens: float
) -> NDArray[np.float64]:
    """As `em_weights`, of a text that may be short: it has some more `tokens`.

    On those the members have the shares `prior` (K,). So the weights are the most probable ones
    under a Dirichlet prior, w_k <- (sum_i of the shares of k + tokens prior_k) / (M + tokens).
    """
    probs = _relative_probs(log_probs)
    weights = np.full(len(probs), 1 / len(probs))
    for _ in range(_MOST_ROUNDS):
        before = weights
        shares = weights * (probs @ (1.0 / (weights @ probs)))  # (K,), M in all
        weights = (shares + tokens * prior) / (probs.shape[1] + tokens)
        if np.abs(weights - before).max() < _CLOSE_ENOUGH:
            break
    return weights


def _relative_probs(log_probs: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """The probabilities (K, M) up to a factor for each token: 1 for the best member.

    A token that no member can predict has probability 0 for all weights, and is left out.
    """
    stacked = np.stack(log_probs)
    best = stacked.max(axis=0)
    possible = best > -np.inf
    if not possible.any():
        raise DataError("no weights can be found: the text has no token that a member can predict")
    relative: NDArray[np.float64] = np.exp(stacked[:, possible] - best[possible])
    return relative


def interpolate(
    weights: NDArray[np.float64], log_probs: Sequence[NDArray[np.floating]]
) -> NDArray[np.float64]:
    """ln sum_k w_k p_k, from the members' log-probabilities, K arrays of any one shape.

    The weights are (K,), or K arrays that broadcast against the others.
    """
    with np.errstate(divide="ignore"):
        log_weights = np.log(weights)
    terms = np.stack([w + logs for w, logs in zip(log_weights, log_probs, strict=True)])
    best = terms.max(axis=0)
    best[best == -np.inf] = 0.0
    terms -= best
    with np.errstate(divide="ignore"):
        total: NDArray[np.float64] = np.log(np.exp(terms, out=terms).sum(axis=0)) + best
    return total
