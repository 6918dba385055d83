"""Linear interpolation: several models that predict together, p(w | h) = sum_k w_k p_k(w | h).

EM finds the weights that predict a held-out text best (`lmsuite.models.interpolation`). If a cache
is among the members (`lmsuite.models.cache`), the same text chooses its half-life, from powers of
two: EM finds the weights for each half-life, and the best mixture is kept.

A mixture is complete in itself: its settings and arrays contain those of its members. The names of
the arrays of member i begin with ``i.``.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from lmsuite.errors import DataError, ModelFileError, UsageError
from lmsuite.files import records
from lmsuite.models.cache import CacheModel, CacheSettings
from lmsuite.models.interface import Decoder, LanguageModel, State
from lmsuite.models.interpolation import em_weights, interpolate
from lmsuite.models.registry import model_class
from lmsuite.models.settings import AdaptationSettings
from lmsuite.models.widened import Widened, WidenedSettings
from lmsuite.text.encoding import TextEncoder
from lmsuite.types import Array, FloatArray, IntArray

MOST_MODELS = 100
"""The most models in a mixture; the models of mixtures within it are counted too."""

MOST_LEVELS = 8
"""The most levels of mixtures within mixtures."""

_SUMS_TO_ONE = 1e-12

HALF_LIVES = tuple(float(2**k) for k in range(2, 15))
"""The half-lives, in tokens, that are tried for a cache."""


@dataclass(frozen=True)
class Member:
    """The description of a member in the mixture's settings."""

    name: str
    kind: str
    settings: dict[str, Any]


@dataclass(frozen=True)
class MixtureSettings:
    """The members of a mixture, in order."""

    members: tuple[Member, ...]


@dataclass(frozen=True)
class Contribution:
    """One member's part in the probability of a token."""

    name: str
    weight: float
    prob: float  # the member's own probability of the token
    share: float  # posterior of the member: weight times prob, over the mixture's probability


class DifferentTokensError(DataError):
    """Two models were meant to predict the same tokens, but do not."""

    def __init__(self, reference: str, other: str) -> None:
        super().__init__(
            f"{other} has other tokens than {reference} (tokenizer, vocabulary or boundaries): "
            f"train it again with {{like}} {reference}",
            "like",
            value=reference,
        )
        self.reference, self.other = reference, other


class Mixture(LanguageModel):
    """The weighted sum of its members' distributions. Its state is the tuple of their states.

    A subclass may have other weights in each state: it says so in `weights_in` and `weights_along`.
    """

    kind: ClassVar[str] = "mixture"

    def __init__(
        self, members: Mapping[str, LanguageModel], weights: Sequence[float] | NDArray[np.float64]
    ) -> None:
        """The mixture of `members`, by name; the weights (K,) are scaled to sum to one.

        Raises:
            UsageError, DifferentTokensError: see `check_members`; or there are more or fewer
                weights than members, or a weight is negative, or all are zero.
        """
        check_members(members)
        self.names = tuple(members)
        self.members = tuple(members.values())
        self.weights = checked_weights(weights, len(members))
        self.encoder = self.members[0].encoder
        self.remembers_text = any(member.remembers_text for member in self.members)
        reaches = [member.reach for member in self.members]
        known = [reach for reach in reaches if reach is not None]
        self.reach = max(known) if len(known) == len(reaches) else None

    @classmethod
    def fit(
        cls,
        members: Mapping[str, LanguageModel],
        ids: IntArray,
        weights: Sequence[float] | None = None,
        scores: Mapping[str, NDArray[np.float64]] | None = None,
    ) -> Self:
        """The mixture that predicts a text best.

        Args:
            members: by name. If a cache is among them, its half-life is chosen anew.
            ids: the text (N,); no member should have been trained on it.
            weights: fixed weights of the members; then only the half-life is chosen.
            scores: the result of `member_scores`, if the caller has it.

        Raises:
            UsageError, DifferentTokensError: see `check_members`.
            DataError: the text has no token that a member can predict.
        """
        check_members(members)
        scores = member_scores(members, ids) if scores is None else scores
        caches = [name for name, member in members.items() if isinstance(member, CacheModel)]
        best, best_total = None, -np.inf
        for candidate, columns in _candidates(members, ids, scores, caches):
            fitted = (
                em_weights(columns) if weights is None else checked_weights(weights, len(members))
            )
            logs = interpolate(fitted, columns)
            total = float(logs[logs > -np.inf].sum())
            if best is None or total > best_total:
                best, best_total = cls(candidate, fitted), total
        assert best is not None
        return best

    @property
    def settings(self) -> MixtureSettings:
        pairs = zip(self.names, self.members, strict=True)
        return MixtureSettings(tuple(Member(n, m.kind, m.settings_dict()) for n, m in pairs))

    def start(self, batch_size: int) -> tuple[State, ...]:
        return tuple(member.start(batch_size) for member in self.members)

    def null_context(self, batch_size: int) -> tuple[State, ...]:
        return tuple(member.null_context(batch_size) for member in self.members)

    def weights_in(self, state: tuple[State, ...]) -> NDArray[np.float64]:
        """The weights (K, B) of the members in a state; (K, 1) if they are the same in all."""
        return self.weights[:, None]

    def weights_along(self) -> Callable[[IntArray], NDArray[np.float64]]:
        """What gives the weights along a text: called with each piece in turn, those (K, M) of its
        tokens; (K, 1) if they are the same for all."""
        return lambda ids: self.weights[:, None]

    def step(self, state: tuple[State, ...], ids: IntArray) -> tuple[State, ...]:
        return self._reader(self.members).step(state, ids)

    def log_probs(self, state: tuple[State, ...]) -> FloatArray:
        return self._reader(self.members).log_probs(state)

    def score_next(
        self, state: tuple[State, ...], ids: IntArray
    ) -> tuple[NDArray[np.float64], tuple[State, ...]]:
        return self._reader(self.members).score_next(state, ids)

    def decoder(self, batch_size: int) -> Decoder:
        return self._reader([member.decoder(batch_size) for member in self.members])

    def _reader(self, members: Sequence[Decoder]) -> _MixtureDecoder:
        return _MixtureDecoder(members, self.weights_in)

    def read(self, state: tuple[State, ...], ids: IntArray) -> tuple[State, ...]:
        return tuple(m.read(s, ids) for m, s in zip(self.members, state, strict=True))

    def select(self, state: tuple[State, ...], rows: Sequence[int] | IntArray) -> State:
        return tuple(m.select(s, rows) for m, s in zip(self.members, state, strict=True))

    def join(self, states: Sequence[tuple[State, ...]]) -> State:
        by_member = zip(*states, strict=True)
        return tuple(m.join(own) for m, own in zip(self.members, by_member, strict=True))

    def state_key(self, state: tuple[State, ...], row: int) -> Hashable:
        return tuple(m.state_key(s, row) for m, s in zip(self.members, state, strict=True))

    def score(self, ids: IntArray) -> NDArray[np.float64]:
        return self._scorer([member.score for member in self.members])(ids)

    def piece_scorer(self) -> Callable[[IntArray], NDArray[np.float64]]:
        return self._scorer([member.piece_scorer() for member in self.members])

    def adapting_scorer(
        self, settings: AdaptationSettings
    ) -> Callable[[IntArray], NDArray[np.float64]]:
        """The networks among the members adapt; the others stay as they are."""
        return self._scorer(self._adapting_scorers(settings))

    def _scorer(
        self, scorers: Sequence[Callable[[IntArray], NDArray[np.float64]]]
    ) -> Callable[[IntArray], NDArray[np.float64]]:
        """What scores a text in pieces, made of what scores it for each member."""
        weights = self.weights_along()
        return lambda ids: interpolate(weights(ids), [score(ids) for score in scorers])

    def _adapting_scorers(
        self, settings: AdaptationSettings
    ) -> list[Callable[[IntArray], NDArray[np.float64]]]:
        """What scores a text in pieces for each member, adapting where there is a network.

        Raises:
            UsageError: there is none.
        """
        scorers, adapting = [], 0
        for member in self.members:
            try:
                scorers.append(member.adapting_scorer(settings))
                adapting += 1
            except UsageError:
                scorers.append(member.piece_scorer())
        if not adapting:
            super().adapting_scorer(settings)
        return scorers

    def contributions(self, state: tuple[State, ...], token_id: int) -> tuple[Contribution, ...]:
        """How each member predicts one token after a state of batch size 1."""
        pairs = zip(self.members, state, strict=True)
        logs = np.array([member.log_probs(own)[0, token_id] for member, own in pairs])
        probs = np.exp(np.minimum(logs, 700.0))  # finite, even if the model is damaged
        weights = self.weights_in(state)[:, 0]
        parts = weights * probs
        shares = parts / parts.sum() if parts.sum() else np.zeros(len(parts))
        columns = zip(self.names, weights, probs, shares, strict=True)
        return tuple(Contribution(n, float(w), float(p), float(s)) for n, w, p, s in columns)

    def arrays(self) -> Mapping[str, Array]:
        arrays: dict[str, Array] = {"weights": self.weights}
        for i, member in enumerate(self.members):
            arrays |= {f"{i}.{name}": array for name, array in member.arrays().items()}
        return arrays

    @classmethod
    def restore(
        cls, encoder: TextEncoder, settings: Mapping[str, Any], arrays: Mapping[str, Array]
    ) -> Self:
        of_member: dict[str, dict[str, Array]] = {}
        for name, array in arrays.items():
            number, rest = name.split(".", 1) if "." in name else ("", name)
            of_member.setdefault(number, {})[rest] = array
        weights = of_member.pop("", {})
        if weights.keys() != {"weights"} or weights["weights"].dtype != np.float64:
            raise ModelFileError("a mixture has one array of its own, the float64 'weights'")
        described = _described(settings)
        _require_few(settings)
        members: dict[str, LanguageModel] = {}
        for i, member in enumerate(described):
            own = of_member.pop(str(i), {})
            members[member.name] = model_class(member.kind).restore(encoder, member.settings, own)
        if of_member:
            raise ModelFileError(f"a mixture of {len(described)} has no member {min(of_member)!r}")
        if len(members) < len(described):
            raise ModelFileError("two members of the mixture have the same name")
        try:
            return cls(members, weights["weights"])
        except UsageError as error:
            raise ModelFileError(str(error)) from error

    def summary(self) -> Mapping[str, Any]:
        facts: dict[str, Any] = {"interpolation": f"of {len(self.members)} models"}
        for name, member, weight in zip(self.names, self.members, self.weights, strict=True):
            facts[name] = f"{weight:.4f} × {member.kind}"
            facts |= {f"{name}: {label}": fact for label, fact in member.summary().items()}
        return facts


@dataclass(frozen=True)
class _MixtureDecoder:
    """A decoder made of the members' decoders."""

    members: Sequence[Decoder]
    weights_in: Callable[[tuple[State, ...]], NDArray[np.float64]]

    def step(self, state: tuple[State, ...], ids: IntArray) -> tuple[State, ...]:
        return tuple(m.step(s, ids) for m, s in zip(self.members, state, strict=True))

    def log_probs(self, state: tuple[State, ...]) -> FloatArray:
        logs = [m.log_probs(s) for m, s in zip(self.members, state, strict=True)]
        return interpolate(self.weights_in(state)[:, :, None], logs)

    def score_next(
        self, state: tuple[State, ...], ids: IntArray
    ) -> tuple[NDArray[np.float64], tuple[State, ...]]:
        pairs = [m.score_next(s, ids) for m, s in zip(self.members, state, strict=True)]
        scores = interpolate(self.weights_in(state), [logs for logs, _ in pairs])
        return scores, tuple(after for _, after in pairs)


def check_members(members: Mapping[str, LanguageModel]) -> None:
    """Refuse members that cannot be mixed.

    Raises:
        UsageError: there are fewer than two members; there are more than `MOST_MODELS` models or
            `MOST_LEVELS` levels; there are two caches; or a member gives scores that are no
            probabilities.
        DifferentTokensError: a member has other tokens than the first.
    """
    if len(members) < 2:
        raise UsageError("a mixture needs two members or more")
    models, levels = _extent(members.values())
    if models > MOST_MODELS or levels > MOST_LEVELS:
        raise UsageError(
            f"a mixture of {models} models in {levels} levels is too large; it can have "
            f"{MOST_MODELS} models in {MOST_LEVELS} levels"
        )
    if sum(isinstance(member, CacheModel) for member in members.values()) > 1:
        raise UsageError("a mixture can have one cache; leave the others out")
    (first, reference), *others = members.items()
    strangers = [
        (name, member) for name, member in others if member.encoder is not reference.encoder
    ]
    expected = reference.encoder.fingerprint() if strangers else ""
    for name, member in strangers:
        if member.encoder.fingerprint() != expected:
            raise DifferentTokensError(first, name)
    for name, member in members.items():
        if not member.is_normalised:
            raise UsageError(
                f"{name} gives scores that are not probabilities (stupid backoff): it cannot be "
                "mixed; train it with another {smoothing}",
                "smoothing",
            )


def member_scores(
    members: Mapping[str, LanguageModel], ids: IntArray
) -> dict[str, NDArray[np.float64]]:
    """The log-probabilities (M,) of the text `ids` (N,) from every member that is no cache."""
    return {
        name: member.score(ids)
        for name, member in members.items()
        if not isinstance(member, CacheModel)
    }


def _candidates(
    members: Mapping[str, LanguageModel],
    ids: IntArray,
    scores: Mapping[str, NDArray[np.float64]],
    caches: list[str],
) -> Iterator[tuple[Mapping[str, LanguageModel], list[NDArray[np.float64]]]]:
    """The members and their scores; if there is a cache, once for each half-life to try."""
    if not caches:
        yield members, [scores[name] for name in members]
        return
    encoder = members[caches[0]].encoder
    for half_life in HALF_LIVES:
        cache = CacheModel(encoder, CacheSettings(half_life))
        with_cache = {**scores, caches[0]: cache.score(ids)}
        yield {**members, caches[0]: cache}, [with_cache[name] for name in members]


def checked_weights(
    weights: Sequence[float] | NDArray[np.float64], count: int
) -> NDArray[np.float64]:
    """The weights (K,), scaled to sum to one.

    Raises:
        UsageError: there are not `count`, or one is negative, or all are 0.
    """
    checked = np.array(weights, np.float64)
    shown = ",".join(f"{weight:g}" for weight in checked.ravel())
    if checked.shape != (count,):
        raise UsageError(
            f"{{weights}} must be {count} numbers, one for each member, not {shown}",
            "weights",
            value=weights,
        )
    with np.errstate(over="ignore"):
        total = checked.sum()
    if not ((checked >= 0).all() and 0 < total < np.inf):
        raise UsageError(
            f"{{weights}} must be numbers of at least 0, and not all be 0, not {shown}",
            "weights",
            value=weights,
        )
    if abs(total - 1) > _SUMS_TO_ONE:  # weights from a file sum to one, and must not change
        checked /= total
    return checked


def _extent(members: Iterable[LanguageModel]) -> tuple[int, int]:
    """How many models these are, with those within mixtures, and how many levels they have."""
    cores = [member.inner if isinstance(member, Widened) else member for member in members]
    inner = [_extent(core.members) if isinstance(core, Mixture) else (1, 0) for core in cores]
    return sum(models for models, _ in inner), 1 + max(levels for _, levels in inner)


def _require_few(settings: Mapping[str, Any], left: int = MOST_LEVELS) -> int:
    """The number of models that a mixture's settings describe; checked before any is made.

    Raises:
        ModelFileError: there are too many models, levels or caches.
    """
    if not left:
        raise ModelFileError(f"the mixture has more than {MOST_LEVELS} levels of mixtures")
    members = [_core(member) for member in _described(settings)]
    caches = sum(member.kind == CacheModel.kind for member in members)
    models = sum(
        _require_few(member.settings, left - 1) if member.kind == Mixture.kind else 1
        for member in members
    )
    if caches > 1 or models > MOST_MODELS:
        raise ModelFileError(f"a mixture cannot have {models} models, {caches} of them caches")
    return models


def _core(member: Member) -> Member:
    """The description of the model in a widened one."""
    if member.kind != Widened.kind:
        return member
    try:
        inner = records.read(WidenedSettings, member.settings)
    except ValueError as error:
        raise ModelFileError(f"the widened model {member.name} is damaged: {error}") from error
    if inner.kind == Widened.kind:
        raise ModelFileError(f"the model {member.name} is widened twice")
    return Member(member.name, inner.kind, inner.settings)


def _described(settings: Mapping[str, Any]) -> list[Member]:
    try:
        return list(records.read(MixtureSettings, settings).members)
    except ValueError as error:
        raise ModelFileError(f"the list of the mixture's members is damaged: {error}") from error
