"""Open a saved n-gram model with the standard library alone, to score a few lines.

Importing numpy takes several times as long as mapping a model file and looking up the words of a
line. So this module is for shell scripts, which start a process for each line. The numbers are
those of `lmsuite.NgramModel.score`, to the bit.

::

    from lmsuite.mapped_ngram import MappedNgram
    print(MappedNgram("models/ngram.safetensors").score("a line of text".split()))

Only those parts of the file are read that a look-up needs. No look-up reads beyond the end of the
file, even if the file is damaged. But most damage goes unnoticed: `lmsuite.load_model` checks more.
"""

from __future__ import annotations

import json
import mmap
from bisect import bisect_left

from lmsuite.errors import DataError, ModelFileError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

# Type in the file -> format for `memoryview.cast`.
_FORMATS: dict[str, Any] = {"U8": "B", "U16": "H", "U32": "I", "F32": "f"}
_UNK, _BOS, _EOS = "<unk>", "<s>", "</s>"
_SEPARATOR = b"\xff"
_SPECIALS = _SEPARATOR + _SEPARATOR.join(s.encode() for s in (_UNK, _BOS, _EOS)) + _SEPARATOR
_NEWEST_FORMAT = 1


class MappedNgram:
    """An n-gram model that is not quantized; it can only `score`."""

    def __init__(self, path: str) -> None:
        """Map the model file `path`.

        Raises:
            ModelFileError: the file cannot be read, or is not such a model.
        """
        try:
            with open(path, "rb") as stream:  # noqa: PTH123 (pathlib takes longer to start)
                memory = memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
            start = 8 + int.from_bytes(memory[:8], "little")
            self._header: dict[str, Any] = json.loads(bytes(memory[8:start]))
            self._data = memory[start:]
            manifest = json.loads(self._header["__metadata__"]["lmsuite"])
            is_known = manifest["format"] <= _NEWEST_FORMAT and manifest["kind"] == "ngram"
            if not is_known or manifest["settings"]["quantize"]:
                raise ModelFileError(f"{path} is not an n-gram model, or is quantized")
            if "direction" in manifest["text"]:
                raise ModelFileError(f"{path} reads text backward; lmsuite.load_model opens it")
            self._has_sequences = manifest["text"]["boundaries"] != "stream"
            self._order: int = manifest["settings"]["order"]
            if self._order < 1:
                raise ValueError("its order is below 1")
            tokens = bytes(self._array("text.vocabulary", "U8"))
            self._tokens = _SEPARATOR + tokens + _SEPARATOR
            if not self._tokens.startswith(_SPECIALS):
                raise ValueError("its vocabulary lacks the special tokens")
            self._open_orders()
        except OSError as error:
            raise ModelFileError(f"cannot read {path}: {error.strerror or error}") from error
        except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise ModelFileError(f"{path} is not a model file, or is damaged ({error})") from error

    def _open_orders(self) -> None:
        size = self._tokens.count(_SEPARATOR) - 1
        word = "U16" if size <= 1 << 16 else "U32"
        self._log_probs = [self._array(f"model.order{n}.log_probs", "F32") for n in self._orders(1)]
        self._words = [self._array(f"model.order{n}.words", word) for n in self._orders(2)]
        longer = range(1, self._order)
        self._log_backoffs = [self._array(f"model.order{n}.log_backoffs", "F32") for n in longer]
        self._first_child = [self._array(f"model.order{n}.first_child", "U32") for n in longer]

    def _orders(self, first: int) -> range:
        return range(first, self._order + 1)

    def _array(self, name: str, kind: str) -> Any:
        entry = self._header[name]
        if entry["dtype"] != kind:
            raise ValueError(f"{name} is of type {entry['dtype']}")
        begin, end = entry["data_offsets"]
        return self._data[begin:end].cast(_FORMATS[kind])

    def score(self, tokens: Sequence[str]) -> list[float]:
        """The natural log-probability of every token of `tokens`, which begin a text.

        The tokens are as the model's tokenizer gives them. For a model that reads lines, they are
        one line, and the last number is for the end of that line; for one that reads documents,
        they are one document.

        Raises:
            DataError: a token is reserved.
            ModelFileError: the file is damaged.
        """
        reserved = {_BOS, _EOS}.intersection(tokens)
        if reserved:
            raise DataError(f"the token {min(reserved)} is reserved; remove or rename it")
        ids = [self._id(token) for token in tokens] + [self._id(_EOS)] * self._has_sequences
        contexts = [self._id(_BOS)][: self._order - 1]
        scores = []
        try:
            for word in ids:
                score, contexts = self._step(contexts, word)
                scores.append(score)
        except IndexError as error:
            raise ModelFileError("the model file is damaged: an index is out of range") from error
        if any(score != score for score in scores):
            raise ModelFileError("the model file is damaged: a probability is no number")
        return scores

    def _id(self, token: str) -> int:
        """The id of a token: the number of separators before it in the list of all tokens."""
        spelled = token.encode("utf-8", "surrogatepass")
        begin = self._tokens.find(_SEPARATOR + spelled + _SEPARATOR)
        return self._tokens.count(_SEPARATOR, 0, begin) if begin >= 0 else self._id(_UNK)

    def _step(self, contexts: list[int], word: int) -> tuple[float, list[int]]:
        """The log-probability of a word, and the contexts after it.

        Contexts are indices as in `lmsuite.ngram.table`, up to the longest context stored.
        """
        total: float = self._log_probs[0][word]
        longer = [word]
        for length, context in enumerate(contexts, start=1):
            index = self._find(length, context, word)
            if index is None:
                total += self._log_backoffs[length - 1][context]
            else:
                total = self._log_probs[length][index]
                longer.append(index)
        return total, longer[: self._order - 1]

    def _find(self, length: int, context: int, word: int) -> int | None:
        """The index of the n-gram "context, word", with a context of this length, if stored."""
        first_child, words = self._first_child[length - 1], self._words[length - 1]
        end = min(first_child[context + 1], len(words))
        at = bisect_left(words, word, first_child[context], max(first_child[context], end))
        return at if at < end and words[at] == word else None
