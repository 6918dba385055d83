"""Which tokenizers there are, by name: made anew, or as a model describes its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lmsuite.errors import ModelFileError, UsageError
from lmsuite.text.settings import TOKENIZERS, TextSettings
from lmsuite.text.tokenizer import CharTokenizer, Tokenizer
from lmsuite.text.whitespace import WhitespaceTokenizer


def make_tokenizer(
    name: str, training_text: str | None = None, bpe_size: int = TextSettings.bpe_size
) -> Tokenizer:
    """The tokenizer of that name.

    Args:
        name: one of `TOKENIZERS`.
        training_text: what ``bpe`` learns its tokens from; the others need none.
        bpe_size: how many tokens ``bpe`` learns, the 256 single bytes included.

    Raises:
        UsageError: the name is unknown, or ``bpe`` has no text or too small a size.
    """
    if name == "bpe":
        from lmsuite.text.bpe import BpeTokenizer

        if training_text is None:
            raise UsageError("the tokenizer bpe is learned from a text; give one")
        return BpeTokenizer.train(training_text, bpe_size)
    if name not in TOKENIZERS:
        raise UsageError(
            f"{{tokenizer}} must be one of {', '.join(TOKENIZERS)}, not {name!r}",
            "tokenizer",
            value=name,
        )
    return _PLAIN[name]()


def tokenizer_from(description: Any) -> Tokenizer:
    """The tokenizer whose `describe` gave this.

    Raises:
        ModelFileError: it did not.
    """
    name = description.get("name") if isinstance(description, Mapping) else None
    if name == "bpe":
        from lmsuite.text.bpe import BpeTokenizer

        return BpeTokenizer.from_description(description)
    if name == "word":
        from lmsuite.text.words import RULES, WordTokenizer

        rule = description.get("rule", RULES[0])
        if rule in RULES and set(description) <= {"name", "rule"}:
            return WordTokenizer(rule)
    if name not in TOKENIZERS or set(description) != {"name"}:
        raise ModelFileError(
            f"not the description of a tokenizer: {description!r}; "
            "the model file is damaged or of a newer version"
        )
    return _PLAIN[name]()


def _word() -> Tokenizer:
    from lmsuite.text.words import WordTokenizer

    return WordTokenizer()


def _treebank() -> Tokenizer:
    from lmsuite.text.treebank import TreebankTokenizer

    return TreebankTokenizer()


# Those without parameters. Word and treebank bring a large pattern and NLTK, loaded when used.
_PLAIN = {
    "char": CharTokenizer,
    "whitespace": WhitespaceTokenizer,
    "word": _word,
    "treebank": _treebank,
}
