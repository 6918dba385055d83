"""Go on from a finished model: with the same text for longer, or with another text.

A network keeps its weights, its encoder and its architecture; all that belongs to the training
alone is new. New tokens may join its vocabulary. Each starts as ``<unk>``: its embedding and its
output weights are those of ``<unk>``. Its bias is such that its mean probability in the text is
about its relative frequency there,

    b_t = b_unk + ln(c_t / N) - ln(mean of p(<unk> | h) over histories h of the text).

No existing row changes, and the probabilities of the known tokens keep their ratios.

An n-gram model keeps its counts, if it was told to. To these the counts of the second text are
added, each as often as its weight says, and the model is estimated from the sum. So it is the model
of both texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from lmsuite.errors import DataError, UsageError
from lmsuite.files.stored_text import Text
from lmsuite.models.interface import LanguageModel
from lmsuite.models.neural import NeuralModel
from lmsuite.models.ngram import NgramModel, NgramSettings, fit_counts
from lmsuite.models.settings import OF_TRAINING
from lmsuite.ngram.counting import count_ngrams
from lmsuite.ngram.estimate import require_short
from lmsuite.ngram.longest import LongestNgrams
from lmsuite.ngram.settings import check_counted
from lmsuite.ngram.text_counts import TextCounts, joined
from lmsuite.text.encoding import TextEncoder
from lmsuite.text.settings import TextSettings
from lmsuite.text.vocabulary import BOS, UNK, Vocabulary
from lmsuite.types import IntArray


def require_kind(start: LanguageModel, kind: str, name: str = "the model") -> None:
    """Raise UsageError if the model to start from is of another kind."""
    if start.kind == kind:
        return
    trainable = start.kind in (NgramModel.kind, "ffnn", "rnn")
    other = f"go on from it with lm train {start.kind}" if trainable else "it cannot be trained"
    raise UsageError(f"{{start}}: {name} is a {start.kind} model, not {kind}; {other}", "start")


def grown(encoder: TextEncoder, text: Text, min_count: int, *, name: str) -> TextEncoder:
    """The encoder, whose vocabulary the new tokens of a text have joined, the frequent ones first.

    Args:
        encoder: the encoder.
        text: the training text.
        min_count: new tokens that are rarer stay unknown.
        name: what messages call the text.

    Raises:
        DataError: as `TextEncoder.train`.
        UsageError: the tokenizer has a fixed vocabulary.
    """
    if encoder.tokenizer.fixed_tokens() is not None:
        raise UsageError(
            f"the tokenizer {encoder.tokenizer.name} has tokens for every text; leave out "
            "{grow_vocab}",
            "grow_vocab",
        )
    known = encoder.vocabulary
    of_text = _vocabulary_of(encoder, text, min_count, name)
    new = [token for token in of_text.tokens if token not in known]
    return replace(encoder, vocabulary=known.extended(new))


def _vocabulary_of(encoder: TextEncoder, text: Text, min_count: int, name: str) -> Vocabulary:
    """The vocabulary of a text that is read as this encoder reads it."""
    how = TextSettings(boundaries=encoder.boundaries)
    if encoder.tokenizer.fixed_tokens() is None:
        how = replace(how, min_count=min_count)
    of_text, _ = TextEncoder.train(text, how, tokenizer=encoder.tokenizer, name=name)
    return of_text.vocabulary


def continued_settings(start: NeuralModel, chosen: Mapping[str, Any], share: float) -> Any:
    """The settings of the network that goes on from `start`.

    Args:
        start: the network to start from.
        chosen: settings of the network that the user gave, by name.
        share: the new `unknown_share`.

    Raises:
        UsageError: a setting contradicts the network.
    """
    settings = start.settings
    for name, value in chosen.items():
        has = getattr(settings, name)
        if name not in OF_TRAINING and value != has:
            raise UsageError(
                f"{{{name}}} {_shown(value)} contradicts the model of {{start}}, which has "
                f"{_shown(has)}; leave it out",
                *(name, "start"),
                value=value,
            )
    return replace(settings, **chosen, unknown_share=share)


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def continued(
    start: NeuralModel, encoder: TextEncoder, settings: Any, ids: IntArray
) -> NeuralModel:
    """A network with the weights of `start`, which is not changed, and rows for all tokens.

    Args:
        start: the network.
        encoder: its encoder, or one from `grown`.
        settings: from `continued_settings`.
        ids: the text (N,), as this encoder encodes it.

    Raises:
        UsageError: tokens are new, and the network has no row of its own for each token.
    """
    before, after = len(start.encoder.vocabulary), len(encoder.vocabulary)
    model = type(start).initial(encoder, settings, np.random.default_rng(0))
    for name in model.parameters:
        old, new = start.parameters[name], model.parameters[name]
        axes = [axis for axis in range(new.ndim) if old.shape[axis] != new.shape[axis]]
        if not axes:
            new[...] = old
            continue
        had, has = (array.shape[axes[0]] for array in (old, new))
        is_cluster = had != before and bool(start.output.cutoffs)  # the last, of the rarest tokens
        if len(axes) > 1 or has - had != after - before or not (had == before or is_cluster):
            raise UsageError(
                f"the array {name!r} of this model has no row for each token, so no token can "
                "join; leave out {grow_vocab}",
                "grow_vocab",
            )
        if is_cluster:  # a new token begins as their mean
            mean = old.mean(axis=axes[0], keepdims=True)
            new[...] = np.concatenate((old, mean.repeat(has - had, axes[0])), axis=axes[0])
            continue
        rows = np.concatenate((np.arange(before), np.full(after - before, UNK)))
        new[...] = old.take(rows, axis=axes[0])
    if after > before:
        counts = np.bincount(ids[ids != BOS], minlength=after)
        share = counts[before:] / counts.sum()
        cutoffs = start.output.cutoffs
        if cutoffs:  # as likely in its cluster as it is frequent among the tokens there
            offset = np.log(counts[before:] / max(1.0, counts[cutoffs[-1] : before].mean()))
        else:
            offset = np.log(share) - _mean_of_unknown(start, ids)
        model.output.last_bias[before - after :] += offset
    return model


_READ = 300  # tokens, to learn how probable <unk> is


def _mean_of_unknown(start: NeuralModel, ids: IntArray) -> float:
    """ln of the mean probability of ``<unk>`` in the beginning of a text, new tokens unknown."""
    decoder, state, probs = start.decoder(1), start.start(1), []
    for token in ids[:_READ].tolist():
        if token != BOS:
            probs.append(np.exp(float(decoder.log_probs(state)[0, UNK])))
        known = token if token < len(start.encoder.vocabulary) else UNK
        state = decoder.step(state, np.array([known], np.int32))
    return float(np.log(np.mean(probs)))


def count_text(
    text: Text, encoder: TextEncoder, ids: IntArray, order: int, *, grows: bool, name: str
) -> TextCounts:
    """The counts of a text whose ids (N,) the encoder has made; as `TextCounts.of`.

    Raises:
        TrainingError: the text is too long to be counted in memory.
    """
    require_short(len(ids))
    sentences = encoder.boundaries.has_sequences
    counts = count_ngrams(ids, len(encoder.vocabulary), order, sentences=sentences)
    longest = LongestNgrams.of(counts)
    return TextCounts.of(longest, text, encoder, ids, grows=grows, name=name)


def with_another_text(
    start: LanguageModel, text: Text, weight: int, *, names: tuple[str, str]
) -> TextCounts:
    """The counts of the text of an n-gram model and of a second text behind it.

    Words of the second text join the vocabulary, unless that of the model was limited.

    Args:
        start: an n-gram model that keeps its counts.
        text: the second text.
        weight: how many times the second text counts.
        names: what messages call the model and the text.

    Raises:
        DataError: the text has no tokens, or a reserved token; or the model keeps no counts.
        UsageError: the model is no n-gram model, or the weight is not a whole number above 0.
    """
    require_kind(start, NgramModel.kind, names[0])
    counts = start.counts if isinstance(start, NgramModel) else None
    if counts is None:
        raise DataError(
            f"{names[0]} does not keep the counts of its text, to which those of {names[1]} would "
            "be added: train it again with {keep_counts}; or count both texts (lm count TEXT -o "
            "FILE.counts) and train from {counts}",
            *("keep_counts", "counts"),
        )
    if counts.encoder.backward:
        raise UsageError(
            f"{names[0]} reads text backward, so a second text would come before the first; train "
            "on both texts with {backward}",
            "backward",
        )
    counts = replace(counts, name=names[0])
    encoder = counts.encoder
    if counts.grows:
        encoder = replace(encoder, vocabulary=_vocabulary_of(encoder, text, 1, names[1]))
    ids = encoder.encode(text, name=names[1])
    if not len(ids):
        raise DataError(f"{names[1]} has no tokens to count; give some text")
    order = counts.longest.order
    second = count_text(text, encoder, ids, order, grows=counts.grows, name=names[1])
    return joined([counts, second.times(weight)], order, {}).whole()


def settings_after(start: NgramModel, counts: TextCounts, chosen: Mapping[str, Any]) -> Any:
    """The settings of the n-gram model that goes on from `start`: its own, unless others are given.

    Raises:
        UsageError: the order is above that of the counts, or settings contradict each other.
    """
    settings: NgramSettings = replace(start.settings, **chosen)
    check_counted(settings)
    if settings.order > counts.longest.order:
        raise UsageError(
            f"{{order}} {settings.order} is above {counts.longest.order}, the order of the counts "
            "that the model of {start} keeps",
            *("order", "start"),
            value=settings.order,
        )
    return settings


def fit_kept(counts: TextCounts, settings: NgramSettings, *, keep: bool) -> NgramModel:
    """The n-gram model of a text with these counts; it keeps them, if asked to.

    Raises:
        TrainingError, UsageError: as `fit_counts`.
    """
    return fit_counts(counts.alone(settings.order), settings, kept=counts if keep else None)
