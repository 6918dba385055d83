"""Language models for the shell and for Python: n-gram, feed-forward and recurrent, in numpy.

The command is ``lm`` (``lm --help``). This is the same from Python, as a tutorial; it is run as a
test, so it is true.

**Text becomes ids.** A corpus is a file, standard input (``-``) or a name; ``play`` is embedded.
The last tenth is set aside for validation, and the encoder (tokenizer, vocabulary, boundaries) is
made of the rest alone.

>>> import lmsuite
>>> import numpy as np
>>> text = lmsuite.read_corpus(["play"]).text
>>> train, valid = lmsuite.split_text(text, 0.1, whole_lines=True)
>>> settings = lmsuite.TextSettings(tokenizer="word")
>>> encoder, ids = lmsuite.TextEncoder.train(train, settings)
>>> encoder.decode(encoder.encode("Good masters, I walked nine miles."))
'Good masters, I walked nine miles.'

**Ids become a model.** Modified Kneser-Ney is the default smoothing, estimated as KenLM does.

>>> trigram = lmsuite.NgramModel.fit(encoder, ids, lmsuite.NgramSettings(order=3))
>>> trigram.table.sizes == (len(encoder.vocabulary), *trigram.table.sizes[1:])
True

**A model is a distribution over the next token, given a state.** States are values: a step makes a
new one, and the old one can be returned to. Units are nats.

>>> state = trigram.start(batch_size=1)
>>> for token in encoder.encode_prompt("THE TIDE-"):
...     state = trigram.step(state, np.array([token]))
>>> log_probs = trigram.log_probs(state)  # (1, V)
>>> round(float(np.exp(log_probs).sum()), 4)
1.0

`score` gives the log-probability of every token of a text at once, which is fast.

>>> scores = trigram.score(encoder.encode(valid))
>>> bool((scores < 0).all())
True

**All that `lm train` does** is one call: it divides the text, makes the encoder, chooses by the
size of the text what is not given, and teaches a network what an unknown word is.

>>> small = lmsuite.fit("rnn", train[:20_000], tokenizer="char", hidden=16, epochs=1)
>>> small.encoder.decode(small.encoder.encode("Good masters"))
'Good masters'

**Models are compared by one evaluation**, whatever their family.

>>> unigram = lmsuite.NgramModel.fit(encoder, ids, lmsuite.NgramSettings(order=1))
>>> better = lmsuite.evaluate(trigram, valid, name="trigram")
>>> worse = lmsuite.evaluate(unigram, valid, name="unigram")
>>> better.tokens == worse.tokens and better.perplexity < worse.perplexity / 3
True

**A neural model** begins with random weights, and `train` gives it better ones. It needs the
validation ids to know when to stop. (This one is tiny, for the sake of the test.)

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

**Sampling**: the same seed gives the same text, whole or in pieces, each drawn when asked for.

>>> warm = lmsuite.SamplingSettings(temperature=0.8, max_tokens=20)
>>> [one] = lmsuite.sample(trigram, "My lord,", warm, seed=7)
>>> pieces = list(lmsuite.stream(trigram, "My lord,", warm, seed=7))
>>> "".join(piece.text for piece in pieces) == one.text, pieces[-1].finish_reason
(True, 'length')

`astream` is for event loops; a `Batcher` steps one model for many readers at once.

>>> with lmsuite.Batcher(trigram) as batcher:
...     streams = [batcher.submit("My lord,", warm, seed) for seed in (7, 8)]
...     texts = ["".join(piece.text for piece in stream) for stream in streams]
>>> texts[0] == one.text
True

**Models are saved** as one file each, complete by itself; ``lm`` reads it as well.

>>> from pathlib import Path
>>> lmsuite.save_model(Path("trigram.safetensors"), trigram)
>>> again = lmsuite.load_model(Path("trigram.safetensors"))
>>> bool((again.score(ids) == trigram.score(ids)).all())
True

N-gram models are exchanged with other programs as ARPA files.

>>> with open("trigram.arpa", "wb") as stream:
...     trigram.to_arpa(stream)
>>> imported = lmsuite.NgramModel.from_arpa(Path("trigram.arpa"))
>>> imported.table.sizes == trigram.table.sizes
True
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False  # typing itself is not needed to run
if TYPE_CHECKING:
    from typing import Any

__version__ = "0.1.0"

# Public names and where they live. Each is imported when it is first asked for, so that the
# command line, which imports this package too, does not wait for numpy before it needs it.
_HOMES = {
    "Alternative": "lmsuite.analysis.explanation",
    "AnyPath": "lmsuite.files",
    "Array": "lmsuite.types",
    "BackoffTable": "lmsuite.ngram.table",
    "Batcher": "lmsuite.generation.batcher",
    "BoolArray": "lmsuite.types",
    "Boundaries": "lmsuite.text.settings",
    "Comparison": "lmsuite.analysis.comparison",
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
    "LmError": "lmsuite.errors",
    "Logs": "lmsuite.ngram.table",
    "Match": "lmsuite.ngram.table",
    "MaybeInfinite": "lmsuite.files.records",
    "Member": "lmsuite.models.mixture",
    "Mixture": "lmsuite.models.mixture",
    "MixtureSettings": "lmsuite.models.mixture",
    "ModelFileError": "lmsuite.errors",
    "NeuralModel": "lmsuite.models.neural",
    "NgramModel": "lmsuite.models.ngram",
    "NgramSettings": "lmsuite.ngram.settings",
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
    "State": "lmsuite.models.interface",
    "StreamDecoder": "lmsuite.text.encoding",
    "Surprisal": "lmsuite.models.text_scores",
    "TableOrder": "lmsuite.ngram.table",
    "Tally": "lmsuite.analysis.comparison",
    "TextEncoder": "lmsuite.text.encoding",
    "TextSettings": "lmsuite.text.settings",
    "TimeLimits": "lmsuite.training.clock",
    "Token": "lmsuite.text.encoding",
    "TokenExplanation": "lmsuite.analysis.explanation",
    "Tokenizer": "lmsuite.text.tokenizer",
    "Trace": "lmsuite.models.ngram",
    "TrainingError": "lmsuite.errors",
    "TrainingFiles": "lmsuite.training.loop",
    "TrainingInterruptedError": "lmsuite.training.interrupts",
    "TrainingRecord": "lmsuite.store.records",
    "TrainingResult": "lmsuite.training.loop",
    "TrainingSettings": "lmsuite.training.settings",
    "Unit": "lmsuite.models.text_scores",
    "UsageError": "lmsuite.errors",
    "ValidationRecord": "lmsuite.store.records",
    "Vocabulary": "lmsuite.text.vocabulary",
    "astream": "lmsuite.generation.batcher",
    "compare": "lmsuite.analysis.comparison",
    "evaluate": "lmsuite.analysis.evaluation",
    "explain": "lmsuite.analysis.explanation",
    "fit": "lmsuite.training.fit",
    "load_model": "lmsuite.store.artefact",
    "read_corpus": "lmsuite.sources.corpus",
    "sample": "lmsuite.generation",
    "save_model": "lmsuite.store.artefact",
    "split_text": "lmsuite.sources.splitting",
    "stream": "lmsuite.generation",
    "train": "lmsuite.training.loop",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
