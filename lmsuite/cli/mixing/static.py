"""A static mixture: one table of n-gram models."""

from __future__ import annotations

from collections.abc import Sequence

from lmsuite.analysis.evaluation import perplexity_of
from lmsuite.cli.mixing.making import Asked, Mixed
from lmsuite.cli.mixing.member_table import MemberRow
from lmsuite.cli.mixing.members import CACHE, NEURAL_CACHE, Members, open_members
from lmsuite.errors import UsageError
from lmsuite.files.stored_text import Text
from lmsuite.models.static_mixture import StaticMixing


class TableMixing:
    """The n-gram models, and the words of all of them."""

    def __init__(self, members: Members, *, is_log_linear: bool) -> None:
        """The members; `is_log_linear` interpolates the logarithms of their probabilities.

        Raises:
            UsageError, DataError: see `StaticMixing`.
        """
        self.members, self._is_log_linear = members, is_log_linear
        self._mixing = StaticMixing(members.models)

    def fit(self, text: Text, weights: Sequence[float] | None) -> Mixed:
        """Make the table."""
        mixing = self._mixing
        ids = mixing.encoder.encode(text)
        find = mixing.log_linear_weights if self._is_log_linear else mixing.linear_weights
        used = find(ids).tolist() if weights is None else weights
        model = mixing.model(used, is_log_linear=self._is_log_linear)
        scale = 1 if self._is_log_linear else sum(used)
        scores = mixing.scores(ids) if text else {}
        alone = {name: {"perplexity": perplexity_of(-own.mean())} for name, own in scores.items()}
        rows = [
            MemberRow(name, member.kind, weight / scale, alone.get(name, {}))
            for (name, member), weight in zip(mixing.members.items(), used, strict=True)
        ]
        return Mixed(model, rows, f"{len(ids):,} tokens" if weights is None else "")


def one_table(asked: Asked, *, is_log_linear: bool) -> TableMixing:
    """The members, to be mixed into one table.

    Raises:
        UsageError, DataError: they cannot be.
    """
    if CACHE in asked.models or NEURAL_CACHE in asked.models:
        raise UsageError("a cache is no table of n-grams; leave it out, or --static")
    members = open_members(asked.folder.root, asked.models)
    return TableMixing(members, is_log_linear=is_log_linear)
