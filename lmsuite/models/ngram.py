"""The n-gram model: a text encoder and a back-off table.

The code that estimates, prunes and reads ARPA files is imported when it is used: a saved model does
not need it.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from lmsuite.errors import DataError, ModelFileError, UsageError
from lmsuite.files import AnyPath
from lmsuite.files.atomic import replacing
from lmsuite.files.compression import unpacked
from lmsuite.models.interface import LanguageModel, State
from lmsuite.ngram.backed_off import BackedOff
from lmsuite.ngram.context_buckets import ContextBuckets
from lmsuite.ngram.discounts import Discounts
from lmsuite.ngram.quantizing import from_quantized_arrays, quantized_arrays
from lmsuite.ngram.settings import IMPORTED, SMOOTHINGS, NgramSettings
from lmsuite.ngram.table import BackoffTable, Match
from lmsuite.settings import read
from lmsuite.text.encoding import Boundaries, TextEncoder
from lmsuite.text.vocabulary import BOS
from lmsuite.types import Array, FloatArray, IntArray

if TYPE_CHECKING:
    from lmsuite.ngram.text_counts import JoinedCounts, TextCounts
    from lmsuite.ngram.workplace import Workplace

__all__ = ["SMOOTHINGS", "NgramModel", "NgramSettings", "Trace"]

# A gzipped ARPA file may unpack to this many bytes, or to this many times its size. gzip makes
# numbers of nine digits three times smaller.
_UNPACKED = 1 << 20
_RATIO = 20
_KEPT = "counts."  # the names of the arrays of kept counts begin so


@dataclass(frozen=True)
class Trace:
    """How the model computed one probability; natural logarithms."""

    id: int
    """The word."""
    context: tuple[int, ...]
    """The longest context that the model knows: the last ids of the history."""
    order: int
    """The order of the n-gram found: 1 + the number of context words used."""
    log_prob: float
    """The log-probability of that n-gram."""
    log_backoffs: tuple[tuple[int, float], ...]
    """(number of context words, log back-off weight) for each longer context that was given up."""

    @property
    def total(self) -> float:
        """The log-probability of the word: the sum of `log_prob` and the back-off weights."""
        return self.log_prob + sum(weight for _, weight in self.log_backoffs)


class NgramModel(LanguageModel):
    """A distribution over the next token, given the last order - 1 tokens."""

    kind: ClassVar[str] = "ngram"

    def __init__(
        self,
        encoder: TextEncoder,
        settings: NgramSettings,
        table: BackoffTable,
        discounts: tuple[Discounts, ...] = (),
        messages: tuple[str, ...] = (),
        kept: Mapping[str, Array] | None = None,
    ) -> None:
        """A model from its parts; `fit` makes a model from text, `fit_counts` one from counts."""
        self.encoder = encoder
        self._settings = settings
        self.table = table
        self.discounts = discounts
        self.messages = messages
        self._kept = dict(kept or {})
        self.is_normalised = settings.smoothing != "stupid-backoff"

    @property
    def settings(self) -> NgramSettings:
        """How the model was estimated."""
        return self._settings

    @classmethod
    def fit(
        cls,
        encoder: TextEncoder,
        ids: IntArray,
        settings: NgramSettings,
        held_out: IntArray | None = None,
        *,
        memory: int | None = None,
        threads: int | None = None,
        place: Workplace | None = None,
        dtype: DTypeLike = np.float32,
    ) -> Self:
        """Estimate a model from ids (N,), as `encoder.encode` gives them.

        Args:
            encoder: the encoder of the ids.
            ids: the training text.
            settings: order, smoothing and the rest.
            held_out: ids of another text, to fit jelinek-mercer's weights to; without it, the last
                tenth of the training text is set aside for that.
            memory: the most bytes that all processes may use; what does not fit goes to temporary
                files, and the model is the same. Not for jelinek-mercer.
            threads: the most processes that share the work on a long text; None for all cores.
            place: where the work is done, from `lmsuite.ngram.workplace.workplace`: a cluster, or a
                scratch folder of one's own; instead of `threads`.
            dtype: of the table's logarithms. float64 is for checks of the method: such a model
                cannot be restored from its arrays, which are float32 in every model file.

        Raises:
            TrainingError: the text is shorter than the order, or has only one kind of token; or
                temporary files cannot be written.
            UsageError: the settings are out of range or contradict each other, or `memory` is too
                little for the text.
        """
        from lmsuite.ngram.estimate import estimate

        estimated = estimate(
            ids,
            held_out,
            encoder.impossible,
            len(encoder.vocabulary),
            settings,
            sentences=encoder.boundaries.has_sequences,
            memory=memory,
            threads=threads,
            place=place,
            dtype=dtype,
        )
        return cls(encoder, settings, estimated.table, estimated.discounts, estimated.messages)

    @property
    def reach(self) -> int:  # type: ignore[override]  # a fact of the table
        """The number of words of the longest context."""
        return self.table.order - 1

    def start(self, batch_size: int) -> State:
        """The state of `batch_size` texts at their beginning, after ``<s>``."""
        return self.table.start(batch_size)

    def null_context(self, batch_size: int) -> State:
        """The state (B, order - 1) of `batch_size` texts without known context."""
        return np.full_like(self.start(batch_size), -1)

    def step(self, state: State, ids: IntArray) -> State:
        """The state after one more token of each text of the batch, ids (B,)."""
        return self.table.extend(state, self.checked(ids))

    def log_probs(self, state: State) -> FloatArray:
        """Natural log-probabilities of the next token, (B, V)."""
        return self.table.log_probs(state)

    def backed_off(self, state: State) -> list[BackedOff]:
        """`log_probs` with few numbers a row."""
        return [self.table.backed_off(contexts) for contexts in state.tolist()]

    def score_next(self, state: State, ids: IntArray) -> tuple[NDArray[np.float64], State]:
        """As `LanguageModel.score_next`; only the n-grams that end with the ids are looked up."""
        return self.table.score_next(state, self.checked(ids))

    def score(self, ids: IntArray) -> NDArray[np.float64]:
        """Natural log-probabilities (M,) of every id in ids (N,) that is not ``<s>``, in order."""
        return self.table.score(self.checked(ids))

    def score_without_bos(self, ids: IntArray) -> NDArray[np.float64]:
        """As `score`, but every sentence begins in `null_context`."""
        return self.table.score(self.checked(ids), bos=False)

    def matched_orders(self, ids: IntArray, *, bos: bool = True) -> NDArray[np.int64]:
        """For every id that is not ``<s>``, the order of the n-gram that was found, (M,)."""
        return self.table.matched_orders(self.checked(ids), bos=bos)

    def context_buckets(self) -> ContextBuckets:
        return ContextBuckets(self.table)

    def trace(self, history: IntArray, id: int) -> Trace:
        """How the probability of `id` is computed after `history`, ids (N,) from the beginning."""
        state = self.start(1)
        (id,) = self.checked(np.array([id])).tolist()
        recent = np.concatenate(([BOS], self.checked(history)))[-self.table.order :]
        for word in recent.tolist():
            state = self.table.extend(state, np.array([word]))
        match: Match = self.table.trace(state, id)
        known = np.flatnonzero(state[0] >= 0)
        length = int(known[-1]) + 1 if len(known) else 0
        context = tuple(recent[len(recent) - length :].tolist())
        return Trace(id, context, match.order, match.log_prob, match.log_backoffs)

    def prune_entropy(self, threshold: float) -> Self:
        """A smaller model, without n-grams that lower perplexity by a share below `threshold`.

        Raises:
            UsageError: the threshold is not above 0, or the model is of stupid backoff.
            ModelFileError: the model's numbers are no probabilities: its file may be damaged.
        """
        from lmsuite.ngram.entropy_pruning import entropy_pruned

        settings = replace(self._settings, entropy_prune=threshold)
        if threshold == 0:
            raise UsageError("{entropy_prune} must be above 0, not 0", "entropy_prune", value=0)
        with np.errstate(over="ignore", invalid="ignore"):
            table = entropy_pruned(self.table, threshold)
        table.check()  # damaged weights may be so large that NaN comes out
        return type(self)(self.encoder, settings, table, self.discounts, self.messages)

    @classmethod
    def from_arpa(
        cls,
        path: AnyPath,
        *,
        like: TextEncoder | None = None,
        tokenizer: str | None = None,
        boundaries: Boundaries | str | None = None,
    ) -> Self:
        """The model in an ARPA file, gzipped or not.

        If the file gives ``</s>`` a probability, a line is a sentence. If not, the text is one
        stream. Text is split at white space, unless `like` or `tokenizer` says otherwise. Tokens of
        white space, which `to_arpa` has escaped, are restored where the tokenizer can make them.

        Args:
            path: the file.
            like: read text with the tokenizer and the boundaries of this encoder. If the file has
                its words, the model has its ids, too, so that the two models can be mixed.
            tokenizer: the name of the tokenizer; not ``bpe``, which is learned from a text.
            boundaries: what the sequences of the text are.

        Raises:
            ModelFileError: the file is missing, malformed or cut short; the message names the line.
                Or the tokenizer of `like` cannot make its tokens.
            UsageError: the file has other boundaries than these; or the tokenizer cannot be made.
        """
        from lmsuite.models.arpa_import import reading_of
        from lmsuite.ngram.arpa import read_arpa

        path = Path(path)
        chosen = {"tokenizer": tokenizer, "boundaries": boundaries}
        given = {name: value for name, value in chosen.items() if value is not None}
        if like is not None and given:
            raise UsageError(
                f"{{like}} says how text is read; leave out {{{min(given)}}}", "like", min(given)
            )
        arpa = read_arpa(_read_unzipped(path), str(path))
        encoder, table = reading_of(arpa, str(path), given, like)
        table.make_flat()
        return cls(encoder, NgramSettings(order=table.order, smoothing=IMPORTED), table)

    def to_arpa(self, target: BinaryIO | AnyPath) -> None:
        """Write the model as an ARPA file, UTF-8, to a stream or a path.

        Raises:
            ModelFileError: two tokens would be written alike, or a token cannot be written; an
                older file is unchanged.
        """
        if isinstance(target, str | os.PathLike):
            with replacing(Path(target)) as stream:
                self._write_arpa(stream)
        else:
            self._write_arpa(target)

    def _write_arpa(self, stream: BinaryIO) -> None:
        from lmsuite.ngram.arpa import write_arpa

        writer = io.TextIOWrapper(stream, encoding="utf-8", newline="\n")
        try:
            write_arpa(self.table, self.encoder.vocabulary.tokens, writer)
        except UnicodeEncodeError as error:
            raise ModelFileError(
                f"a token holds {error.object[error.start]!r}, half a character, which no ARPA "
                "file can hold; train on text in its right {encoding}",
                "encoding",
            ) from error
        finally:
            writer.detach()

    def arrays(self) -> Mapping[str, Array]:
        """The arrays of the table (uint8 if quantized), discounts (order, 3), messages (UTF-8).

        If the model keeps the counts of its text, their arrays, too; their names begin with
        ``counts.``.
        """
        discounts = [discounts.as_tuple() for discounts in self.discounts]
        arrays = quantized_arrays(self.table) if self._settings.quantize else self.table.arrays()
        return {
            **arrays,
            "discounts": np.array(discounts, dtype=np.float64).reshape(-1, 3),
            "messages": np.frombuffer("\n".join(self.messages).encode(), dtype=np.uint8),
            **{_KEPT + name: array for name, array in self._kept.items()},
        }

    @classmethod
    def restore(
        cls, encoder: TextEncoder, settings: Mapping[str, Any], arrays: Mapping[str, Array]
    ) -> Self:
        """The model that gave this encoder, `settings_dict` and `arrays`.

        Raises:
            ModelFileError: a setting or an array is missing or unknown, or does not fit.
        """
        restored = _settings_from(settings, arrays)
        learned = dict(arrays)
        discounts, messages = learned.pop("discounts", None), learned.pop("messages", None)
        kept = {
            name.removeprefix(_KEPT): learned.pop(name) for name in arrays if name.startswith(_KEPT)
        }
        _check_flags(kept)
        read = from_quantized_arrays if restored.quantize else BackoffTable.from_arrays
        table = read(learned, restored.order, len(encoder.vocabulary))
        table.make_flat()
        return cls(
            encoder,
            restored,
            table,
            _discounts_from(discounts, restored.order),
            _messages_from(messages),
            kept,
        )

    def summary(self) -> Mapping[str, Any]:
        """Order, smoothing, sizes, discounts and notes."""
        facts: dict[str, Any] = {
            "order": self.table.order,
            "smoothing": self._settings.smoothing,
            "vocabulary": self.table.vocabulary_size,
        }
        for n, size in enumerate(self.table.sizes, start=1):
            facts[f"{n}-grams"] = size
        for n, discounts in enumerate(self.discounts, start=1):
            amounts = dict.fromkeys(discounts.as_tuple())
            facts[f"discounts {n}"] = " ".join(f"{amount:.6g}" for amount in amounts)
        if self._kept:
            facts["counts"] = "kept: lm train ngram --from can add another text"
        if self.messages:
            facts["notes"] = list(self.messages)
        return facts


def fit_counts(
    counts: JoinedCounts,
    settings: NgramSettings,
    *,
    memory: int | None = None,
    threads: int | None = None,
    place: Workplace | None = None,
    kept: TextCounts | None = None,
) -> NgramModel:
    """The model that `NgramModel.fit` makes of a text, from its counts; arguments as there.

    With `kept`, the counts of the same text, the model keeps these: those of another text can be
    added later.

    Raises:
        DataError: the counts lack the end of an n-gram that they have.
        TrainingError: as `NgramModel.fit`.
        UsageError: as `NgramModel.fit`, or the smoothing is jelinek-mercer, which needs the text.
    """
    from lmsuite.ngram.estimate import estimate_counted

    made = estimate_counted(counts, settings, memory=memory, threads=threads, place=place)
    arrays: dict[str, Array] = {}
    if kept is not None:
        flags = np.array([kept.grows, kept.is_open], np.uint8)
        arrays = {**kept.arrays(), "flags": flags}
    return NgramModel(counts.encoder, settings, made.table, made.discounts, made.messages, arrays)


def kept_counts(model: NgramModel) -> TextCounts | None:
    """The counts of the training text, if the model keeps them: to go on from them.

    Raises:
        ModelFileError: they are damaged.
    """
    from lmsuite.ngram.text_counts import TextCounts

    arrays = {
        name.removeprefix(_KEPT): array
        for name, array in model.arrays().items()
        if name.startswith(_KEPT)
    }
    if not arrays:
        return None
    grows, is_open = arrays.pop("flags").tolist()
    try:
        return TextCounts.from_arrays(
            "the counts in the model", model.encoder, arrays, grows=grows, is_open=is_open
        )
    except ValueError as error:
        raise ModelFileError(f"the counts in the model are damaged: {error}") from error


def _check_flags(kept: Mapping[str, Array]) -> None:
    """Refuse kept counts without their flags; `NgramModel.counts` checks the others when needed."""
    flags = kept.get("flags")
    if kept and (flags is None or flags.dtype != np.uint8 or flags.shape != (2,)):
        raise ModelFileError(
            f"the n-gram model's array '{_KEPT}flags' is missing or is not what it should be; the "
            "file is damaged"
        )


def _read_unzipped(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read ({error.strerror})") from None
    try:
        return unpacked(data, str(path), always=_UNPACKED, ratio=_RATIO)
    except DataError as error:
        raise ModelFileError(str(error)) from None


def _settings_from(given: Mapping[str, Any], arrays: Mapping[str, Array]) -> NgramSettings:
    """The settings in a manifest."""
    settings = read(NgramSettings, given, "the n-gram model")
    if settings.order > len(arrays):  # checked first: a damaged order could make long loops
        raise ModelFileError(f"the n-gram model has no arrays for its order {settings.order}")
    return settings


def _discounts_from(array: Array | None, order: int) -> tuple[Discounts, ...]:
    fits = array is not None and array.dtype == np.float64 and array.shape in {(0, 3), (order, 3)}
    if array is None or not fits or not np.isfinite(array).all():
        raise ModelFileError(
            "the n-gram model's array 'discounts' is missing or is not what it should be; the "
            "file is damaged"
        )
    return tuple(Discounts(*row) for row in array.tolist())


def _messages_from(array: Array | None) -> tuple[str, ...]:
    if array is None or array.dtype != np.uint8 or array.ndim != 1:
        raise ModelFileError(
            "the n-gram model's array 'messages' is missing or is not what it should be; the "
            "file is damaged"
        )
    try:
        return tuple(array.tobytes().decode().splitlines())
    except UnicodeDecodeError as error:
        raise ModelFileError(
            "the n-gram model's array 'messages' is not UTF-8; the file is damaged"
        ) from error
