"""A mixture over whole lines, of models with different tokenizers."""

from __future__ import annotations

from collections.abc import Sequence

from lmsuite.analysis.evaluation import evaluate
from lmsuite.cli.mixing.making import Mixed
from lmsuite.cli.mixing.member_table import MemberRow
from lmsuite.cli.mixing.members import Members
from lmsuite.cli.streams import note
from lmsuite.errors import DataError
from lmsuite.files.stored_text import Text
from lmsuite.models.line_mixture import LineMixture, check_line_members


class LineMixing:
    """The members, none of which is a cache: that predicts tokens."""

    def __init__(self, members: Members, error: DataError) -> None:
        """The members; the error says why they cannot be mixed token by token.

        Raises:
            UsageError, DataError: see `check_line_members`.
        """
        check_line_members(members.models)
        self.members, self._error = members, error

    def fit(self, text: Text, weights: Sequence[float] | None) -> Mixed:
        """Mix them, and say what such a mixture cannot do."""
        mixture = LineMixture.fit(self.members.models, text, weights)
        remedy = self._error.spelled(lambda field: f"--{field}")
        note(
            "note: these models have different tokens, so the mixture predicts whole lines: lm "
            f"eval, score and compare can use it. To mix them token by token: {remedy}"
        )
        rows = []
        for name, model, weight in zip(
            mixture.names, mixture.members, mixture.weights.tolist(), strict=True
        ):
            alone = (
                {"bits_per_char": evaluate(model, text, name=name).bits_per_char} if text else {}
            )
            rows.append(MemberRow(name, model.kind, weight, alone))
        return Mixed(mixture, rows, f"{len(text):,} characters" if weights is None else "")
