"""Compute everything that a report says about its models, before anything is drawn."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lmsuite.analysis.comparability import same_tokens
from lmsuite.analysis.comparison import Comparison, compare
from lmsuite.analysis.evaluation import Evaluation, evaluate
from lmsuite.analysis.explanation import TokenExplanation, explain
from lmsuite.generation import sample
from lmsuite.models.interface import LanguageModel
from lmsuite.models.ngram import NgramModel
from lmsuite.report.charts import Interval, IntervalChart
from lmsuite.report.model_charts import OrderRow, TrainedModel, by_order

TEMPERATURES = (0.5, 0.8, 1.1)
_SAMPLE = 320  # characters
_LONGEST_PASSAGE = 360  # characters
_SHORTEST_PASSAGE = 200


@dataclass(frozen=True)
class Findings:
    """The findings about some models on one text. The keys of mappings are names of models."""

    models: Sequence[TrainedModel]
    text_name: str
    results: Sequence[Evaluation]  # in the order of the models
    lead: Comparison | None  # of the best contender over the second; None if not defined
    orders: Mapping[str, Sequence[OrderRow]]  # of the n-gram models
    explanations: Mapping[str, Sequence[TokenExplanation]]  # of a passage of the text
    samples: Mapping[str, Sequence[tuple[float, str]]]  # at each of `TEMPERATURES`


def gather(
    models: Sequence[TrainedModel],
    text: str,
    *,
    text_name: str,
    prompt: str,
    seed: int,
    progress: Callable[[str], None],
) -> Findings:
    """Evaluate, explain and sample the models.

    Every model's samples, and every interval, come from `seed` alone: they do not depend on the
    other models in the report.

    Args:
        models: at least one, their names distinct.
        text: the text to predict.
        text_name: the name of the text.
        prompt: the beginning of every sample; may be empty.
        seed: of the samples and the intervals.
        progress: called with a line about each model before its turn.

    Raises:
        DataError: the text has no tokens, or the prompt holds a reserved token.
    """
    passage = passage_of(text)
    results: list[Evaluation] = []
    orders: dict[str, list[OrderRow]] = {}
    explanations: dict[str, list[TokenExplanation]] = {}
    samples: dict[str, list[tuple[float, str]]] = {}
    for each in models:
        name, model = each.name, each.model
        progress(f"evaluating, explaining and sampling {name}")
        result = evaluate(model, text, name=name, rng=np.random.default_rng(seed))
        results.append(result)
        if isinstance(model, NgramModel):
            orders[name] = by_order(model, text)
        explanations[name] = list(explain(model, passage))
        rng = np.random.default_rng(seed)
        samples[name] = _samples(model, result.chars / result.tokens, prompt, rng)
    lead = _lead(models, results, text, np.random.default_rng(seed))
    return Findings(models, text_name, results, lead, orders, explanations, samples)


def passage_of(text: str) -> str:
    """A few hundred characters from the first paragraph that begins in `text`.

    A validation text mostly begins in the middle of a sentence, so the passage begins after the
    first blank line. It ends with a paragraph if one ends in time, else with a line, else with a
    word.
    """
    _, found, rest = text.partition("\n\n")
    rest = rest.lstrip("\n")
    start = rest if found and len(rest) >= _SHORTEST_PASSAGE else text.lstrip("\n")
    if len(start) <= _LONGEST_PASSAGE:
        return start.rstrip("\n")
    ends = (start.rfind(end, _SHORTEST_PASSAGE, _LONGEST_PASSAGE) for end in ("\n\n", "\n", " "))
    return start[: next((end for end in ends if end >= 0), _LONGEST_PASSAGE)].rstrip()


def _samples(
    model: LanguageModel, chars_per_token: float, prompt: str, rng: np.random.Generator
) -> list[tuple[float, str]]:
    """Pairs of a temperature and a text that begins with the prompt, all of about equal length."""
    tokens = max(round(_SAMPLE / chars_per_token), 1)
    texts = []
    for temperature in TEMPERATURES:
        drawn = sample(model, prompt, seed=rng, temperature=temperature, max_tokens=tokens)[0]
        texts.append((temperature, (prompt + drawn.text).strip("\n")))
    return texts


def ranking(
    models: Sequence[TrainedModel], results: Sequence[Evaluation]
) -> tuple[list[Evaluation], list[Evaluation]]:
    """The contenders, whose bits a character can be ranked, and the others; the best come first.

    Models with the same tokens leave the same characters unpredicted, so all are contenders. Of
    models with different tokens, only those are contenders that predict every character: they read
    no word as unknown, and their tokens show every space. If there is none, all are contenders.
    """
    ranked = results
    if not same_tokens(each.model.encoder for each in models):
        lossless = {each.name for each in models if each.model.encoder.lossless}
        ranked = [each for each in results if each.model in lossless and not each.oov] or results
    parts = ranked, [each for each in results if each not in ranked]
    contenders, others = (sorted(part, key=lambda each: each.bits_per_char) for part in parts)
    return contenders, others


def _lead(
    models: Sequence[TrainedModel],
    results: Sequence[Evaluation],
    text: str,
    rng: np.random.Generator,
) -> Comparison | None:
    """The comparison of the best two contenders; None if their difference is not finite.

    It is also None if there is only one contender.
    """
    best_two = ranking(models, results)[0][:2]
    if len(best_two) < 2 or not math.isfinite(best_two[1].bits_per_char):
        return None
    by_name = {each.name: each.model for each in models}
    a, b = (result.model for result in best_two)
    return compare(by_name[a], by_name[b], text, rng, names=(a, b))


def bits_interval(result: Evaluation) -> tuple[float, float] | None:
    """The interval of bits a character, converted from the interval of the perplexity."""
    if result.perplexity_interval is None:
        return None
    low, high = (
        math.log2(perplexity) * result.tokens / result.chars
        for perplexity in result.perplexity_interval
    )
    return low, high


def comparison_chart(findings: Findings) -> IntervalChart | None:
    """The models' bits a character with intervals, the best first; None if all are infinite."""
    names = [each.name for each in findings.models]
    rows = []
    contenders, others = ranking(findings.models, findings.results)
    for result in contenders + others:
        if math.isfinite(result.bits_per_char):
            low, high = bits_interval(result) or (None, None)
            style = names.index(result.model)
            rows.append(Interval(result.model, result.bits_per_char, low, high, style))
    return IntervalChart("bits a character: less is better", rows) if rows else None
