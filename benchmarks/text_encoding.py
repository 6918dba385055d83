"""A text made into an encoder and its ids, against NLTK's tokenizers, which give tokens alone.

python -m benchmarks --only text_encoding
"""

from __future__ import annotations

from collections.abc import Iterator

from nltk.tokenize import RegexpTokenizer, WhitespaceTokenizer

from benchmarks.alternating import compare
from benchmarks.measuring import Options, Row, rate_row
from lmsuite.text.encoding import TextEncoder, TextSettings
from lmsuite.text.words import word_pattern


def by_dict(text: str) -> list[int]:
    """As the small character models that people read do it."""
    ids = {character: number for number, character in enumerate(sorted(set(text)))}
    return [ids[character] for character in text]


def rows(options: Options) -> Iterator[Row]:
    """A row for each tokenizer."""
    text = options.text("tinyshakespeare/train.txt").read_text(encoding="utf-8")
    peers = {
        "char": ("a dict of characters", lambda: by_dict(text)),
        "word": ("NLTK RegexpTokenizer", lambda: RegexpTokenizer(word_pattern()).tokenize(text)),
        "whitespace": ("NLTK WhitespaceTokenizer", lambda: WhitespaceTokenizer().tokenize(text)),
    }
    for name, (peer_name, peer) in peers.items():
        settings = TextSettings(name)
        found = compare(
            f"encoder and ids of 1 MB of text: {name}",
            peer_name,
            lambda settings=settings: TextEncoder.train(text, settings),
            peer,
            repeats=options.repeats,
        )
        yield rate_row(found, len(text) / 1e6, "MB/s")
