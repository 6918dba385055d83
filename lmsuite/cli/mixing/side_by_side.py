"""Which kind of mixture models side by side make: their tokens decide."""

from __future__ import annotations

from lmsuite.cli.mixing.lines import LineMixing
from lmsuite.cli.mixing.making import Asked, Mixing
from lmsuite.cli.mixing.members import NEURAL_CACHE, open_members
from lmsuite.cli.mixing.network_alone import NetworkWithCache
from lmsuite.cli.mixing.remedy import with_remedy
from lmsuite.cli.mixing.tokens import TokenMixing
from lmsuite.errors import UsageError
from lmsuite.models.mixing import first_to_read_differently


def side_by_side(asked: Asked, *, by_context: bool) -> Mixing:
    """The members, to be mixed token by token if their tokenizers allow it, else over lines.

    Raises:
        UsageError, DataError: they cannot be mixed so.
    """
    if asked.weights and (by_context or NEURAL_CACHE in asked.models):
        raise UsageError("--weights: a text chooses the weights by context and of a neural cache")
    members = open_members(asked.folder.root, asked.models)
    if len(members.models) == 1 and members.cached:
        return NetworkWithCache(members)
    other = first_to_read_differently(members.models)
    if other is None:
        return TokenMixing(members, by_context=by_context)
    error = with_remedy(members, other)
    if by_context or members.cached or members.has_cache:  # these are for tokens
        raise error
    return LineMixing(members, error)
