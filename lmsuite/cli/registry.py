"""The table of commands: the lines of ``lm --help``, and the place of each command's code.

A command is a function in a module of its own. The module is imported only to run the command, to
complete its arguments or to show its help, so ``lm --help`` stays quick. To add a command, write
the function and add its line here. The docstring of the function is the command's help. Its first
line is repeated as `Entry.help`; a test compares the two.
"""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """The place of a command, and its line in the ``--help`` of its group."""

    target: str  # "module:function" below lmsuite.cli.commands
    help: str


GROUPS = {
    "train": "Train a model on a text.",
    "corpus": "Texts that can be used by name, without a file.",
}

COMMANDS = {
    "train ngram": Entry("train_ngram:train_ngram", "Train an n-gram model."),
    "train ffnn": Entry("train_ffnn:train_ffnn", "Train a feed-forward network."),
    "train rnn": Entry("train_rnn:train_rnn", "Train a recurrent network."),
    "eval": Entry("evaluate:evaluate", "Compare models on a text: perplexity in one table."),
    "sample": Entry("sample:sample", "Write text in the manner of a model."),
    "score": Entry("score:score", "Print the log-probability of each sentence of a text."),
    "mix": Entry("mix:mix", "Mix models: interpolate their probabilities."),
    "compare": Entry(
        "compare:compare", "Tell whether one model is better than another, and where."
    ),
    "explain": Entry("explain:explain", "Show how a model came to the probability of each token."),
    "trace": Entry("trace:trace", "Show the numbers behind a model's prediction, one by one."),
    "neighbours": Entry("neighbours:neighbours", "List a token's nearest tokens in an embedding."),
    "embed": Entry("embed:embed", "Write the hidden vectors of a text's tokens in their context."),
    "count": Entry("count:count", "Count the n-grams of a text."),
    "prune": Entry("prune:prune", "Make an n-gram model smaller."),
    "convert": Entry(
        "convert:convert", "Turn an ARPA file into a model file, or a model into another program's."
    ),
    "check": Entry("check:check", "Verify a model: sums of probabilities, scores, gradients."),
    "info": Entry("info:info", "Show what a model is and how it was made."),
    "models": Entry("models:models", "List the models in the models folder."),
    "plot": Entry(
        "plot:plot", "Draw learning curves, perplexity by order, or a map of an embedding."
    ),
    "report": Entry("report:report", "Write one page about models, to read and to show."),
    "serve": Entry(
        "serve:serve", "Answer over HTTP as OpenAI's API does, and show a page to try models on."
    ),
    "vocab": Entry("vocab:vocab", "Print the vocabulary of a model, a token a line."),
    "tokenize": Entry("tokenize:tokenize", "Show the tokens of a text."),
    "corpus list": Entry("corpus:list_corpora", "List the texts that have a name."),
    "corpus show": Entry(
        "corpus:show_corpus", "Show where a named text comes from, or how a text is read."
    ),
    "corpus fetch": Entry("corpus:fetch_corpora", "Download named texts, to use later."),
    "demo": Entry("demo:demo", "Train, compare and sample models of the embedded play."),
}
"""The commands by the words that a user types, in the order of ``--help``."""
