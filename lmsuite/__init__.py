"""Language models for the shell and for Python: n-gram, feed-forward and recurrent, in numpy.

The command is ``lm`` (``lm --help``). This tutorial does the same from Python. It is run as a test,
so its outputs are true.

**Text becomes ids.** A corpus is a file, standard input (``-``) or a name; ``play`` comes with the
package. The last tenth is set aside for validation. The encoder (tokenizer, vocabulary, boundaries)
is made from the rest only.

>>> import lmsuite
>>> import numpy as np
>>> text = lmsuite.read_corpus(["play"]).text
>>> train, valid = lmsuite.split_text(text, 0.1, whole_lines=True)
>>> settings = lmsuite.TextSettings(tokenizer="word")
>>> encoder, ids = lmsuite.TextEncoder.train(train, settings)
>>> encoder.decode(encoder.encode("Good masters, I walked nine miles."))
'Good masters, I walked nine miles.'

**Ids become a model.** The default smoothing is modified Kneser-Ney, estimated as in KenLM.

>>> trigram = lmsuite.NgramModel.fit(encoder, ids, lmsuite.NgramSettings(order=3))
>>> trigram.table.sizes == (len(encoder.vocabulary), *trigram.table.sizes[1:])
True

**A model is a distribution over the next token, given a state.** States are values: a step makes a
new state, and you can still use the old one. Units are nats.

>>> state = trigram.start(batch_size=1)
>>> for token in encoder.encode_prompt("THE TIDE-"):
...     state = trigram.step(state, np.array([token]))
>>> log_probs = trigram.log_probs(state)  # (1, V)
>>> round(float(np.exp(log_probs).sum()), 4)
1.0

`score` gives the log-probabilities of all tokens of a text in one fast call.

>>> scores = trigram.score(encoder.encode(valid))
>>> bool((scores < 0).all())
True

**One call does all that `lm train` does.** It divides the text and makes the encoder. Settings that
you do not give get values that suit the size of the text. A network also learns what an unknown
word is.

>>> small = lmsuite.fit("rnn", train[:20_000], tokenizer="char", hidden=16, epochs=1)
>>> small.encoder.decode(small.encoder.encode("Good masters"))
'Good masters'

**One evaluation compares models** of all families.

>>> unigram = lmsuite.NgramModel.fit(encoder, ids, lmsuite.NgramSettings(order=1))
>>> better = lmsuite.evaluate(trigram, valid, name="trigram")
>>> worse = lmsuite.evaluate(unigram, valid, name="unigram")
>>> better.tokens == worse.tokens and better.perplexity < worse.perplexity / 3
True

**A neural model** begins with random weights, and `train` improves them. `train` needs the
validation ids to know when to stop. (This model is tiny, so that the test is fast.)

>>> network = lmsuite.Recurrent.initial(
...     encoder, lmsuite.RecurrentSettings(hidden=16, embed=8), np.random.default_rng(1)
... )
>>> trained = lmsuite.train(
...     network,
...     ids[:4000],
...     encoder.encode(valid)[:500],
...     lmsuite.TrainingSettings(epochs=2, minutes=None, batch=4, bptt=16, learning_rate=0.01),
... ).model
>>> short = valid[:2000]
>>> untrained = lmsuite.evaluate(network, short, name="untrained")
>>> lmsuite.evaluate(trained, short, name="trained").cross_entropy < untrained.cross_entropy
True

**Sampling**: the same seed gives the same text, whole or in pieces. `stream` draws each piece when
you ask for it.

>>> warm = lmsuite.SamplingSettings(temperature=0.8, max_tokens=20)
>>> [one] = lmsuite.sample(trigram, "My lord,", warm, seed=7)
>>> pieces = list(lmsuite.stream(trigram, "My lord,", warm, seed=7))
>>> "".join(piece.text for piece in pieces) == one.text, pieces[-1].finish_reason
(True, 'length')

`astream` is for event loops. A `Batcher` steps one model for many readers at once.

>>> with lmsuite.Batcher(trigram) as batcher:
...     streams = [batcher.submit("My lord,", warm, seed) for seed in (7, 8)]
...     texts = ["".join(piece.text for piece in stream) for stream in streams]
>>> texts[0] == one.text
True

**A model is saved** as one file, which holds all that is needed; ``lm`` reads it, too.

>>> from pathlib import Path
>>> lmsuite.save_model(Path("trigram.safetensors"), trigram)
>>> again = lmsuite.load_model(Path("trigram.safetensors"))
>>> bool((again.score(ids) == trigram.score(ids)).all())
True

ARPA files exchange n-gram models with other programs.

>>> with open("trigram.arpa", "wb") as stream:
...     trigram.to_arpa(stream)
>>> imported = lmsuite.NgramModel.from_arpa(Path("trigram.arpa"))
>>> imported.table.sizes == trigram.table.sizes
True
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False  # type checkers take it as True; importing typing would take time
if TYPE_CHECKING:
    from typing import Any

__version__ = "0.1.0"

# Public names and their modules. Each is imported when it is first used: the command line imports
# this package, too, and must not wait for numpy.
_HOMES = {
    "AdaptationSettings": "lmsuite.models.settings",
    "Alternative": "lmsuite.analysis.explanation",
    "Ancestor": "lmsuite.store.records",
    "AnyPath": "lmsuite.files",
    "Array": "lmsuite.types",
    "BackedOff": "lmsuite.ngram.backed_off",
    "BackoffTable": "lmsuite.ngram.table",
    "Batcher": "lmsuite.generation.batcher",
    "BoolArray": "lmsuite.types",
    "Boundaries": "lmsuite.text.settings",
    "Comparison": "lmsuite.analysis.comparison",
    "Condition": "lmsuite.generation.conditions",
    "Context": "lmsuite.ngram.backed_off",
    "ContextBuckets": "lmsuite.ngram.context_buckets",
    "Contribution": "lmsuite.models.mixture",
    "Corpus": "lmsuite.sources.corpus",
    "Count": "lmsuite.files.records",
    "DataError": "lmsuite.errors",
    "Decoder": "lmsuite.models.interface",
    "DifferentTokensError": "lmsuite.models.mixture",
    "Discounts": "lmsuite.ngram.discounts",
    "Drive": "lmsuite.nn.drive",
    "Estimate": "lmsuite.analysis.bootstrap",
    "Evaluation": "lmsuite.analysis.evaluation",
    "Factor": "lmsuite.analysis.explanation",
    "FeedForward": "lmsuite.models.feedforward",
    "FeedForwardSettings": "lmsuite.models.settings",
    "Figures": "lmsuite.analysis.comparison",
    "Float64Array": "lmsuite.types",
    "FloatArray": "lmsuite.types",
    "FullScore": "lmsuite.models.text_scores",
    "HeldOut": "lmsuite.sources.splitting",
    "HistoryRow": "lmsuite.store.history",
    "IntArray": "lmsuite.types",
    "Joiner": "lmsuite.text.tokenizer",
    "KeyIndex": "lmsuite.ngram.lookup",
    "LaidOut": "lmsuite.nn.drive",
    "LanguageModel": "lmsuite.models.interface",
    "LineMember": "lmsuite.models.line_mixture",
    "LineMixture": "lmsuite.models.line_mixture",
    "LineMixtureSettings": "lmsuite.models.line_mixture",
    "LineScorer": "lmsuite.models.sentences",
    "LmError": "lmsuite.errors",
    "Logs": "lmsuite.ngram.table",
    "Match": "lmsuite.ngram.table",
    "MaxCopy": "lmsuite.generation.copying",
    "MaybeInfinite": "lmsuite.files.records",
    "Member": "lmsuite.models.mixture",
    "Mixture": "lmsuite.models.mixture",
    "MixtureSettings": "lmsuite.models.mixture",
    "ModelFileError": "lmsuite.errors",
    "NetworkTrace": "lmsuite.analysis.network_trace",
    "NeuralModel": "lmsuite.models.neural",
    "NgramModel": "lmsuite.models.ngram",
    "NgramSettings": "lmsuite.ngram.settings",
    "NgramTracer": "lmsuite.analysis.ngram_trace",
    "Origin": "lmsuite.sources.corpus",
    "Pair": "lmsuite.analysis.minimal_pairs",
    "PairScores": "lmsuite.analysis.minimal_pairs",
    "Piece": "lmsuite.generation.texts",
    "Place": "lmsuite.analysis.comparison",
    "Progress": "lmsuite.training.checkpoint",
    "Provenance": "lmsuite.store.records",
    "Reader": "lmsuite.nn.reader",
    "Recurrent": "lmsuite.models.recurrent",
    "RecurrentSettings": "lmsuite.models.settings",
    "Reporter": "lmsuite.training.reporting",
    "Sample": "lmsuite.generation.texts",
    "SamplingSettings": "lmsuite.sampling",
    "Seed": "lmsuite.generation.texts",
    "SharedStream": "lmsuite.generation.batcher",
    "Shown": "lmsuite.analysis.network_trace",
    "State": "lmsuite.models.interface",
    "StoredText": "lmsuite.files.stored_text",
    "StreamDecoder": "lmsuite.text.encoding",
    "Surprisal": "lmsuite.models.text_scores",
    "TableOrder": "lmsuite.ngram.table",
    "Tally": "lmsuite.analysis.comparison",
    "Text": "lmsuite.files.stored_text",
    "TextEncoder": "lmsuite.text.encoding",
    "TextSettings": "lmsuite.text.settings",
    "TimeLimits": "lmsuite.training.clock",
    "Token": "lmsuite.text.encoding",
    "TokenExplanation": "lmsuite.analysis.explanation",
    "TokenTrace": "lmsuite.analysis.ngram_trace",
    "Tokenizer": "lmsuite.text.tokenizer",
    "Trace": "lmsuite.models.ngram",
    "TracedNumber": "lmsuite.analysis.ngram_trace",
    "TracedOrder": "lmsuite.analysis.ngram_trace",
    "TracedStep": "lmsuite.analysis.network_trace",
    "TrainingError": "lmsuite.errors",
    "TrainingFiles": "lmsuite.training.loop",
    "TrainingInterruptedError": "lmsuite.training.interrupts",
    "TrainingRecord": "lmsuite.store.records",
    "TrainingResult": "lmsuite.training.loop",
    "TrainingSettings": "lmsuite.training.settings",
    "Unit": "lmsuite.models.text_scores",
    "UsageError": "lmsuite.errors",
    "ValidationRecord": "lmsuite.store.records",
    "Vectors": "lmsuite.analysis.vectors",
    "Vocabulary": "lmsuite.text.vocabulary",
    "astream": "lmsuite.generation.batcher",
    "beam": "lmsuite.generation.beam",
    "compare": "lmsuite.analysis.comparison",
    "evaluate": "lmsuite.analysis.evaluation",
    "explain": "lmsuite.analysis.explanation",
    "export": "lmsuite.exporting",
    "fit": "lmsuite.training.fit",
    "load_model": "lmsuite.store.artefact",
    "mix": "lmsuite.models.mixing",
    "read_corpus": "lmsuite.sources.corpus",
    "read_pairs": "lmsuite.analysis.minimal_pairs",
    "sample": "lmsuite.generation",
    "sample_each": "lmsuite.generation",
    "save_model": "lmsuite.store.artefact",
    "score_pairs": "lmsuite.analysis.minimal_pairs",
    "side_by_side": "lmsuite.analysis.vectors",
    "split_text": "lmsuite.sources.splitting",
    "stream": "lmsuite.generation",
    "stream_corpus": "lmsuite.sources.corpus",
    "trace_network": "lmsuite.analysis.network_trace",
    "train": "lmsuite.training.loop",
    "vectors": "lmsuite.analysis.vectors",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
