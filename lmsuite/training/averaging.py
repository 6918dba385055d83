"""The mean of the weights along a training, which is often a better model than the last weights.

Polyak and Juditsky (1992) average all of them. Here late weights count for more, by the polynomial
decay of Shamir and Zhang (2013), eq. 3: with w_n the weights and c ≥ 1,

    a_n = a_{n-1} + c / (n + c - 1) (w_n - a_{n-1}),

so w_m has about the weight (m/n)^(c-1), and the mean age of the weights in the mean is n / (c + 1).
That is a share of the training so far, whose length need not be known in advance. With c = 1, it is
the plain mean of all.
"""

from __future__ import annotations

EVERY = 8
"""Updates from one to the next that the mean takes in: its cost is so many times smaller."""


def pull(updates: int, share: float) -> float:
    """How far the mean goes to the weights after so many updates: from 0, not at all, to 1.

    Args:
        updates: made so far, at least one.
        share: the mean age of the weights in the mean, as a share of the training so far: at most a
            half. At 0 there is no mean.
    """
    if not share or updates % EVERY:
        return 0.0
    c = 1 / share - 1
    return c / (updates // EVERY + c - 1)
