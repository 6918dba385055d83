"""What a report tells of its models: everything that is computed before anything is drawn."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lmsuite.analysis.comparison import Comparison, compare
from lmsuite.analysis.evaluation import Evaluation, evaluate
from lmsuite.analysis.explanation import TokenExplanation, explain
from lmsuite.models.ngram import NgramModel
from lmsuite.report.orders import OrderRow, by_order
from lmsuite.report.passages import passage_of
from lmsuite.report.samples import Written, written_by
from lmsuite.report.standing import contenders
from lmsuite.report.subject import Subject


@dataclass(frozen=True)
class Contents:
    """The findings about some models on one text. Mappings go by the model's name."""

    subjects: Sequence[Subject]
    text_name: str
    results: Sequence[Evaluation]
    lead: Comparison | None  # of the best contender over the second; None if not defined
    orders: Mapping[str, Sequence[OrderRow]]  # of the n-gram models
    explanations: Mapping[str, Sequence[TokenExplanation]]  # of a passage of the text
    samples: Mapping[str, Sequence[Written]]  # of the models that can write


def gather(
    subjects: Sequence[Subject],
    text: str,
    *,
    text_name: str,
    prompt: str,
    seed: int,
    progress: Callable[[str], None],
) -> Contents:
    """Evaluate, explain and sample the models; `progress` is told what is being done.

    Every model's samples, and every interval, come from `seed` alone: they do not depend on which
    other models are in the report.

    Args:
        subjects: at least one model, their names distinct.
        text: what they are to predict.
        text_name: what the text is called.
        prompt: the beginning of every sample; may be empty.
        seed: of the samples and the intervals.
        progress: called with a line at a time.

    Raises:
        DataError: the text has no tokens.
    """
    passage = passage_of(text)
    results: list[Evaluation] = []
    orders: dict[str, list[OrderRow]] = {}
    explanations: dict[str, list[TokenExplanation]] = {}
    samples: dict[str, list[Written]] = {}
    for subject in subjects:
        name, model = subject.name, subject.model
        progress(f"evaluating, explaining and sampling {name}")
        result = evaluate(model, text, name=name, rng=np.random.default_rng(seed))
        results.append(result)
        if isinstance(model, NgramModel):
            orders[name] = by_order(model, text)
        explanations[name] = list(explain(model, passage))
        rng = np.random.default_rng(seed)
        samples[name] = written_by(model, result.chars / result.tokens, prompt, rng)
    lead = _lead(subjects, results, text, np.random.default_rng(seed))
    return Contents(subjects, text_name, results, lead, orders, explanations, samples)


def _lead(
    subjects: Sequence[Subject],
    results: Sequence[Evaluation],
    text: str,
    rng: np.random.Generator,
) -> Comparison | None:
    """The best contender against the second; None without two whose difference is finite."""
    best, *others = contenders(subjects, results)
    if not others or not math.isfinite(others[0].bits_per_char):
        return None
    models = {subject.name: subject.model for subject in subjects}
    first, second = best.model, others[0].model
    return compare(models[first], models[second], text, rng, names=(first, second))
