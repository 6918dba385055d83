"""What a model file says of itself: its manifest, how the model came to be, how well it does."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Self

from lmsuite import __version__
from lmsuite.files.records import Count, MaybeInfinite, named, others
from lmsuite.sources.splitting import SplitRule


@dataclass(frozen=True)
class ValidationRecord:
    """How a model does on the text that was set aside; without such a text, only the rule.

    Raises:
        UsageError: the rule is of no share of a text.
    """

    split: str = "none"
    """How the text was chosen: a `SplitRule`, the name of a file, or "none"."""
    sha256: str | None = None
    """Of the text in UTF-8; None if there is no text."""
    tokens: Count | None = None
    oov: Count | None = None
    cross_entropy: MaybeInfinite | None = None
    """In nats a token."""
    perplexity: MaybeInfinite | None = None
    perplexity_without_oov: MaybeInfinite | None = None
    bits_per_char: MaybeInfinite | None = None
    sample: float | None = None
    """The share of the text that was read; None for all of it."""

    def __post_init__(self) -> None:
        SplitRule.parse(self.split)


@dataclass(frozen=True)
class TrainingRecord:
    """What made the model's parameters. Estimated n-gram models need no more than settings."""

    settings: dict[str, Any] = others()
    """Of the training of a network, by name."""
    processes: Count | None = None
    steps: Count | None = None
    best_step: Count | None = None
    """After which the network did best on the validation text, and was kept."""
    seconds: float | None = None
    stopped_early: bool | None = None
    weights: dict[str, float] | None = None
    """Of the members of a mixture."""
    tuned: bool | None = named("tuned on the validation text")
    """Whether they come from that text."""
    pruned_from: str | None = named("pruned from")
    """The name of the larger n-gram model."""


@dataclass(frozen=True)
class Provenance:
    """How a model came to be; empty where a program that calls the library did not say."""

    command: str = ""
    version: str = __version__  # of lmsuite
    corpus: str = ""
    corpus_sha256: str = ""
    created: str = ""  # ISO 8601, UTC
    validation: ValidationRecord = ValidationRecord()
    training: TrainingRecord = field(default_factory=TrainingRecord)

    def made_now(self) -> Self:
        """The same, of a model that was made just now."""
        return replace(self, created=datetime.now(UTC).isoformat(timespec="seconds"))


UNSAID = Provenance()
"""Of a model whose maker did not say how."""


@dataclass(frozen=True)
class Manifest:
    """What a model file says of itself; readable without loading the model."""

    kind: str
    settings: dict[str, Any]
    text: dict[str, Any]  # TextEncoder.describe()
    checksum: int  # CRC-32 of the arrays' bytes, in the order of their names
    provenance: Provenance
