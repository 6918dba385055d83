"""A mixture of models with different tokens: they predict whole lines together.

A line with its end, or a document, is the smallest piece of text to which models with different
tokenizers all give a probability, the product over its tokens:

    p(line | before) = sum_k  w_k  prod_i  p_k(token i of the line | tokens before),

where a member that reads a word of the line as ``<unk>`` gives the line probability 0, for it
knows only the probability of all lines with any unknown word there. (If no member knows all the
words, each gives just that probability.)

What sums to one? No line is the beginning of another, for each ends with its end. So the
probabilities that a model gives to all sequences of tokens that end with a line's end sum to one
(to less, if it may go on for ever), and with them those of the mixture, if each line has one
sequence of tokens, and each sequence one line. That holds for characters. With ``bpe`` the sum over
lines is below one, for a model gives some of its probability to sequences that no text has. A
tokenizer that drops spaces has one sequence for all lines that differ in spaces alone, and gives
each the probability of all of them: over all lines, however they are spaced, the sum is above one.

Such a mixture has no distribution over a next token, so it cannot be sampled. Its tokens are those
of its first member, for all counts. Each token of a line has, instead of a probability of its own,
what the first member gives it, and an equal share of the line's difference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn, Self

import numpy as np
from numpy.typing import NDArray

from lmsuite.errors import DataError, ModelFileError, UsageError
from lmsuite.files import records
from lmsuite.files.stored_text import Text, blocks
from lmsuite.models.cache import CacheModel
from lmsuite.models.interface import LanguageModel, State
from lmsuite.models.interpolation import em_weights, interpolate
from lmsuite.models.mixture import checked_weights
from lmsuite.models.registry import model_class
from lmsuite.models.sentences import LineScorer, encoded_units, line_sums
from lmsuite.text.encoding import TextEncoder
from lmsuite.text.vocabulary import BOS, UNK
from lmsuite.types import Array, FloatArray, IntArray

MOST_MEMBERS = 20


@dataclass(frozen=True)
class LineMember:
    """The description of a member in the mixture's settings."""

    name: str
    kind: str
    settings: dict[str, Any]
    text: dict[str, Any]
    """Its encoder, without the vocabulary."""


@dataclass(frozen=True)
class LineMixtureSettings:
    """The members of a mixture, in order."""

    members: tuple[LineMember, ...]


class LineMixture(LanguageModel):
    """The weighted sum of the probabilities that its members give to a line."""

    kind: ClassVar[str] = "line-mixture"
    predicts_lines = True

    def __init__(
        self, members: Mapping[str, LanguageModel], weights: Sequence[float] | NDArray[np.float64]
    ) -> None:
        """The mixture of `members`, by name; the weights (K,) are scaled to sum to one.

        Raises:
            UsageError: see `check_line_members`; or the weights do not fit.
            DataError: one member is of documents, and another of lines.
        """
        check_line_members(members)
        self.names = tuple(members)
        self.members = tuple(members.values())
        self.weights = checked_weights(weights, len(members))
        self.encoder = self.members[0].encoder
        self.remembers_text = any(member.remembers_text for member in self.members)

    @classmethod
    def fit(
        cls,
        members: Mapping[str, LanguageModel],
        text: Text,
        weights: Sequence[float] | None = None,
    ) -> Self:
        """The mixture that predicts the lines of a text best, each after those before it.

        Raises:
            UsageError, DataError: as the constructor; or the text has no line that a member can
                predict.
        """
        check_line_members(members)
        if weights is not None:
            return cls(members, weights)
        equal = cls(members, np.ones(len(members)))
        score = equal._line_totals(in_context=True)
        parts = list(encoded_units(equal.encoder, blocks(text), "the text"))
        if not parts:
            raise DataError("no weights can be found: the text has no tokens")
        totals = np.concatenate([score(*part)[1] for part in parts], axis=1)  # (K, L)
        return cls(members, em_weights(list(totals)))

    def _line_totals(
        self, *, in_context: bool
    ) -> Callable[[str, IntArray, IntArray], tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """As `line_scorer`, with the first member's (M,) and all members' sums of lines (K, L)."""
        scorers = [member.line_scorer(in_context=in_context) for member in self.members]

        def score(
            part: str, ids: IntArray, lengths: IntArray
        ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
            own = scorers[0](part, ids, lengths)
            totals, unknown = [line_sums(own, lengths)], [_unknown(ids, lengths)]
            for member, scorer in zip(self.members[1:], scorers[1:], strict=True):
                other, of_lines = member.encoder.encode_lines(part)
                # White space after the last line end has tokens for some, and is no line.
                more = max(0, len(lengths) - len(of_lines))
                for found, sums in (
                    (totals, line_sums(scorer(part, other, of_lines), of_lines)),
                    (unknown, _unknown(other, of_lines)),
                ):
                    found.append(np.pad(sums, (0, more))[: len(lengths)])
            knows = np.stack(unknown) == 0  # (K, L)
            is_left_out = knows.any(axis=0) & ~knows
            return own, np.where(is_left_out, -np.inf, np.stack(totals))

        return score

    def line_scorer(self, *, in_context: bool) -> LineScorer:
        score_all = self._line_totals(in_context=in_context)

        def score(part: str, ids: IntArray, lengths: IntArray) -> NDArray[np.float64]:
            own, totals = score_all(part, ids, lengths)
            mixed = interpolate(self.weights, list(totals))
            return _spread(own, lengths, line_sums(own, lengths), mixed)

        return score

    @property
    def settings(self) -> LineMixtureSettings:
        pairs = zip(self.names, self.members, strict=True)
        return LineMixtureSettings(
            tuple(
                LineMember(name, member.kind, member.settings_dict(), member.encoder.describe())
                for name, member in pairs
            )
        )

    def _refuse(self) -> NoReturn:
        raise UsageError(
            f"a mixture of models with different tokens ({', '.join(self.names)}) predicts whole "
            "lines, so it has no next token: it cannot sample, and is for lm eval, lm score and lm "
            "compare; for all else mix models with the same tokens ({like})",
            "like",
        )

    def start(self, batch_size: int) -> State:
        self._refuse()

    def step(self, state: State, ids: IntArray) -> State:
        self._refuse()

    def log_probs(self, state: State) -> FloatArray:
        self._refuse()

    def score(self, ids: IntArray) -> NDArray[np.float64]:
        self._refuse()

    def piece_scorer(self) -> Callable[[IntArray], NDArray[np.float64]]:
        self._refuse()

    def arrays(self) -> Mapping[str, Array]:
        arrays: dict[str, Array] = {"weights": self.weights}
        for i, member in enumerate(self.members):
            own = {f"text.{name}": array for name, array in member.encoder.arrays().items()}
            own |= {f"model.{name}": array for name, array in member.arrays().items()}
            arrays |= {f"{i}.{name}": array for name, array in own.items()}
        return arrays

    @classmethod
    def restore(
        cls, encoder: TextEncoder, settings: Mapping[str, Any], arrays: Mapping[str, Array]
    ) -> Self:
        try:
            described = records.read(LineMixtureSettings, settings).members
        except ValueError as error:
            raise ModelFileError(f"the list of the mixture's members is damaged: {error}") from None
        rest = dict(arrays)
        weights = rest.pop("weights", np.zeros(0))
        if weights.dtype != np.float64 or not 2 <= len(described) <= MOST_MEMBERS:
            raise ModelFileError(
                f"a mixture over lines has the float64 array 'weights' and 2 to {MOST_MEMBERS} "
                "members"
            )
        members: dict[str, LanguageModel] = {}
        for i, member in enumerate(described):
            if member.kind == cls.kind:
                raise ModelFileError("a member of a mixture over lines cannot be another one")
            text = _taken(rest, f"{i}.text.")
            own = TextEncoder.restore(member.text, text)
            members[member.name] = model_class(member.kind).restore(
                own, member.settings, _taken(rest, f"{i}.model.")
            )
        if rest:
            raise ModelFileError(f"the mixture has an array {min(rest)!r} that no member has")
        if len(members) < len(described):
            raise ModelFileError("two members of the mixture have the same name")
        if next(iter(members.values())).encoder.fingerprint() != encoder.fingerprint():
            raise ModelFileError("the mixture has other tokens than its first member")
        try:
            return cls(members, weights)
        except (UsageError, DataError) as error:
            raise ModelFileError(str(error)) from error

    def summary(self) -> Mapping[str, Any]:
        facts: dict[str, Any] = {"interpolation": f"over lines, of {len(self.members)} models"}
        for name, member, weight in zip(self.names, self.members, self.weights, strict=True):
            facts[name] = f"{weight:.4f} × {member.kind}, {member.encoder.tokenizer.title}"
        return facts


def check_line_members(members: Mapping[str, LanguageModel]) -> None:
    """Refuse members that cannot be mixed over lines.

    Raises:
        UsageError: there are fewer than two, or very many; or one is a cache or a mixture over
            lines, or gives scores that are no probabilities.
        DataError: one member is of documents, and another of lines.
    """
    if not 2 <= len(members) <= MOST_MEMBERS:
        raise UsageError(f"a mixture over lines needs 2 to {MOST_MEMBERS} members")
    (first, reference), *_ = members.items()
    for name, member in members.items():
        if isinstance(member, CacheModel) or member.predicts_lines or not member.is_normalised:
            raise UsageError(
                f"{name} ({member.kind}) cannot be mixed with models of other tokens: leave it out"
            )
        if member.encoder.boundaries.unit != reference.encoder.boundaries.unit:
            raise DataError(
                f"{name} predicts {member.encoder.boundaries.unit}s, and {first} "
                f"{reference.encoder.boundaries.unit}s, so they have no unit in common: train one "
                f"of them again {{like}} the other",
                "like",
                value=first,
            )


def _unknown(ids: IntArray, lengths: IntArray) -> NDArray[np.float64]:
    """How many unknown words each line (L,) has."""
    return line_sums((ids[ids != BOS] == UNK).astype(np.float64), lengths)


def _spread(
    log_probs: NDArray[np.float64],
    lengths: IntArray,
    own: NDArray[np.float64],
    mixed: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Numbers (M,) for the tokens of the first member, whose sums are those of the mixture (L,)."""
    share = np.maximum(lengths, 1)
    is_finite = np.isfinite(own)
    with np.errstate(invalid="ignore"):
        difference = np.where(is_finite, (mixed - own) / share, mixed / share)
    is_possible = np.repeat(is_finite, lengths)
    spread: NDArray[np.float64] = np.where(is_possible, log_probs, 0.0)
    spread += np.repeat(difference, lengths)
    return spread


def _taken(arrays: dict[str, Array], prefix: str) -> dict[str, Array]:
    """The arrays whose names begin so, taken out, without the beginning."""
    names = [name for name in arrays if name.startswith(prefix)]
    return {name.removeprefix(prefix): arrays.pop(name) for name in names}
