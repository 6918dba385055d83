"""The tokenizer of the Penn Treebank, by NLTK."""

from __future__ import annotations

from collections.abc import Iterator

from lmsuite.text.tokenizer import Joiner, Tokenizer


class TreebankTokenizer(Tokenizer):
    """NLTK's ``TreebankWordTokenizer``, a line at a time; a newline token between lines.

    Changes characters (straight double quotes become `````` and ``''``) and is slow, about 0.1
    million tokens a second; it is here for texts and models that use these conventions.
    """

    name = "treebank"
    lossless = False

    def __init__(self) -> None:
        from nltk.tokenize import TreebankWordTokenizer

        self._tokenize_line = TreebankWordTokenizer().tokenize

    def tokens(self, text: str) -> list[str]:
        first, *others = text.split("\n")
        tokens: list[str] = self._tokenize_line(first)
        for line in others:
            tokens.append("\n")
            tokens.extend(self._tokenize_line(line))
        return tokens

    def located(self, text: str) -> Iterator[tuple[str, int, int]]:
        place = 0
        for token in self.tokens(text):
            while text[place].isspace() and text[place] != token:
                place += 1
            # The tokenizer writes a straight quotation mark as two backquotes or two apostrophes.
            length = 1 if text[place] == '"' else len(token)
            yield token, place, place + length
            place += length

    def joiner(self) -> Joiner:
        return _LineJoiner()


class _LineJoiner:
    """Writes a line when it is complete: NLTK's detokenizer looks at a whole line."""

    def __init__(self) -> None:
        from nltk.tokenize import TreebankWordDetokenizer

        self._detokenize_line = TreebankWordDetokenizer().detokenize
        self._line: list[str] = []

    def push(self, token: str) -> str:
        if token != "\n":
            self._line.append(token)
            return ""
        return self.finish() + "\n"

    def finish(self) -> str:
        line: str = self._detokenize_line(self._line)
        self._line = []
        return line
