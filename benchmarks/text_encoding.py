"""A text made into an encoder and its ids, against NLTK's tokenizers, which give tokens alone.

python -m benchmarks.text_encoding TEXT
"""

from __future__ import annotations

import argparse
from pathlib import Path

from nltk.tokenize import RegexpTokenizer, WhitespaceTokenizer

from benchmarks.alternating import MARKDOWN_HEAD, compare
from lmsuite.text.encoding import TextEncoder, TextSettings
from lmsuite.text.words import word_pattern


def by_dict(text: str) -> list[int]:
    """As the small character models that people read do it."""
    ids = {character: number for number, character in enumerate(sorted(set(text)))}
    return [ids[character] for character in text]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("text", type=Path)
    text = parser.parse_args().text.read_text(encoding="utf-8")
    peers = {
        "char": ("a dict of characters", lambda: by_dict(text)),
        "word": ("RegexpTokenizer", lambda: RegexpTokenizer(word_pattern()).tokenize(text)),
        "whitespace": ("WhitespaceTokenizer", lambda: WhitespaceTokenizer().tokenize(text)),
    }
    print(MARKDOWN_HEAD)
    for name, (peer_name, peer) in peers.items():
        settings = TextSettings(name)
        row = compare(
            f"{name}: encoder and ids of {len(text):,} characters",
            peer_name,
            lambda settings=settings: TextEncoder.train(text, settings),
            peer,
        )
        print(row.markdown_row())


if __name__ == "__main__":
    main()
