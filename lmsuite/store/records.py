"""The manifest of a model file: how the model was made, and how well it predicts."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Self

from lmsuite import __version__
from lmsuite.files.records import Count, MaybeInfinite, named, others
from lmsuite.sources.splitting import SplitRule


@dataclass(frozen=True)
class ValidationRecord:
    """The results on the validation text; without such a text, only the rule.

    Raises:
        UsageError: the rule names an impossible share of a text.
    """

    split: str = "none"
    """The rule that chose the text: a `SplitRule`, the name of a file, or "none"."""
    sha256: str | None = None
    """Of the text in UTF-8; None if there is no text."""
    tokens: Count | None = None
    oov: Count | None = None
    cross_entropy: MaybeInfinite | None = None
    """In nats per token."""
    perplexity: MaybeInfinite | None = None
    perplexity_without_oov: MaybeInfinite | None = None
    bits_per_char: MaybeInfinite | None = None
    sample: float | None = None
    """The share of the text that was read; None for all of it."""

    def __post_init__(self) -> None:
        SplitRule.parse(self.split)


@dataclass(frozen=True)
class TrainingRecord:
    """How the model got its parameters. For an estimated n-gram model its settings say it all."""

    settings: dict[str, Any] = others()
    """The settings of a network's training, by name."""
    processes: Count | None = None
    steps: Count | None = None
    best_step: Count | None = None
    """The step after which the validation loss was lowest; the model has the weights of then."""
    seconds: float | None = None
    stopped_early: bool | None = None
    weights: dict[str, float] | None = None
    """The weights of a mixture's members, by name."""
    tuned: bool | None = named("tuned on the validation text")
    """Whether those weights were fitted to the validation text."""
    pruned_from: str | None = named("pruned from")
    """The name of the larger n-gram model."""


@dataclass(frozen=True)
class Ancestor:
    """A model from which a training went on; entries as in its `Provenance`."""

    model: str
    """Its name."""
    command: str = ""
    corpus: str = ""
    corpus_sha256: str = ""
    created: str = ""
    perplexity: MaybeInfinite | None = None
    """On its own validation text."""


@dataclass(frozen=True)
class Provenance:
    """How a model was made; entries are empty if the program that made it did not give them."""

    command: str = ""
    version: str = __version__  # of lmsuite
    corpus: str = ""
    corpus_sha256: str = ""
    created: str = ""  # ISO 8601, UTC
    validation: ValidationRecord = ValidationRecord()
    training: TrainingRecord = field(default_factory=TrainingRecord)
    corpus_files: dict[str, str] = field(default_factory=dict)
    """The SHA-256 of each file's bytes, in the order in which they were read; none if very many."""
    ancestors: tuple[Ancestor, ...] | None = named("continued from")
    """The models from which the training went on, one from the other, the oldest first."""

    def lineage(self, name: str) -> tuple[Ancestor, ...]:
        """The ancestors of a model that goes on from this one, which is called `name`."""
        own = Ancestor(
            *(name, self.command, self.corpus, self.corpus_sha256, self.created),
            perplexity=self.validation.perplexity,
        )
        return (*(self.ancestors or ()), own)

    def made_now(self) -> Self:
        """The same, with the present time as `created`."""
        return replace(self, created=datetime.now(UTC).isoformat(timespec="seconds"))


UNSAID = Provenance()
"""For a model of which nothing is recorded."""


@dataclass(frozen=True)
class Manifest:
    """The description in a model file; it can be read without loading the model."""

    kind: str
    settings: dict[str, Any]
    text: dict[str, Any]  # TextEncoder.describe()
    checksum: int  # CRC-32 of the arrays' bytes, in the order of their names
    provenance: Provenance
