"""A mixture token by token, of models with the same tokenizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lmsuite.analysis.evaluation import perplexity_of
from lmsuite.cli.mixing.making import Mixed
from lmsuite.cli.mixing.member_table import MemberRow
from lmsuite.cli.mixing.members import Members
from lmsuite.files.stored_text import Text
from lmsuite.models.cache import CacheModel
from lmsuite.models.context_mixture import ContextMixture
from lmsuite.models.interface import LanguageModel
from lmsuite.models.mixing import with_all_words
from lmsuite.models.mixture import Mixture, check_members, member_scores


class TokenMixing:
    """The members, each with the words of all."""

    def __init__(self, members: Members, *, by_context: bool) -> None:
        """The members; `by_context` lets their weights depend on the context.

        Raises:
            UsageError: see `check_members`.
        """
        check_members(with_all_words(members.models))
        self.members, self._by_context = members, by_context

    def fit(self, text: Text, weights: Sequence[float] | None) -> Mixed:
        """Mix them; the text chooses the half-life of a cache, too."""
        models = with_all_words(self.members.fitted(text))
        ids = next(iter(models.values())).encoder.encode(text)
        scores = member_scores(models, ids) if text else {}
        # Without a text, a cache has the default half-life.
        mixture = (
            Mixture.fit(models, ids, weights, scores) if text else Mixture(models, weights or ())
        )
        if self._by_context:
            mixture = ContextMixture.of(mixture, ids, [each.score(ids) for each in mixture.members])
        members = zip(mixture.names, mixture.members, mixture.weights.tolist(), strict=True)
        rows = [MemberRow(n, m.kind, w, _alone(n, m, scores)) for n, m, w in members]
        is_tuned = bool(text) and (weights is None or self.members.has_cache)
        return Mixed(mixture, rows, f"{len(ids):,} tokens" if is_tuned else "")


def _alone(
    name: str, model: LanguageModel, scores: Mapping[str, NDArray[np.float64]]
) -> dict[str, float]:
    if isinstance(model, CacheModel):
        return {"half_life": model.settings.half_life}
    return {"perplexity": perplexity_of(-scores[name].mean())} if name in scores else {}
