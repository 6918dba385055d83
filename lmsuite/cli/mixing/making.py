"""The steps that every kind of mixture is made by, from what the user asked for to a saved model.

The kinds differ in which members they take, which is checked before the work, and in how a text
makes a model of them: a `Mixing` has done the first, and does the second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import typer

from lmsuite.cli.mixing.member_table import MemberRow, show_members
from lmsuite.cli.mixing.members import Members
from lmsuite.cli.saving import announce, command_line, facts_of, reserve, write_arpa
from lmsuite.cli.streams import note, read_texts, say, write_json
from lmsuite.errors import DataError
from lmsuite.files.stored_text import Text
from lmsuite.models.interface import LanguageModel
from lmsuite.models.ngram import NgramModel
from lmsuite.sources.settings import ReadingSettings
from lmsuite.store.folder import ModelsFolder
from lmsuite.store.opening import shared_validation_text
from lmsuite.store.records import Provenance, TrainingRecord
from lmsuite.training.validated import ValidatedModel


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the user asked for, whatever the kind of mixture."""

    context: typer.Context
    models: Sequence[str]  # as they were typed
    weights: Sequence[float] | None
    text: str | None  # to choose the weights on
    reading: ReadingSettings
    folder: ModelsFolder
    name: str  # of the mixture
    arpa: Path | None  # the file to write instead of a model
    as_json: bool


@dataclass(frozen=True)
class Mixed:
    """A finished mixture."""

    model: LanguageModel
    rows: Sequence[MemberRow]
    tuned_on: str
    """How much text chose the weights or other numbers; empty if none did."""


class Mixing(Protocol):
    """Members that can be mixed in one way."""

    @property
    def members(self) -> Members:
        """The members, before they are mixed."""

    def fit(self, text: Text, weights: Sequence[float] | None) -> Mixed:
        """Mix them. The text may be empty if the weights are given."""


def make(asked: Asked, mixing: Mixing) -> None:
    """Read the text, mix the members, save the mixture, and print the results."""
    if asked.arpa is None:
        reserve(asked.context, asked.folder.path(asked.name))
    members = mixing.members
    text, rule = _text(asked, members)
    mixed = mixing.fit(text, asked.weights)
    if mixed.tuned_on:
        of = ", ".join(one.name for one in members.opened)
        note(f"tuned on {mixed.tuned_on}: {asked.text or f'the validation text of {of}'}")
    if asked.arpa is None:
        _save(asked, mixed, _origin(asked, members, mixed), text, rule)
    else:
        _write(asked, mixed, asked.arpa)


def _text(asked: Asked, members: Members) -> tuple[Text, str]:
    """The text to choose the weights on, and its name in the model file.

    If the weights are given, there may be none: then the text is empty.
    """
    if asked.text is not None:
        boundaries = members.opened[0].model.encoder.boundaries
        corpus = read_texts([asked.text], asked.reading, [boundaries])
        return corpus.text, corpus.name
    try:
        valid = shared_validation_text(members.opened)
    except DataError:
        if asked.weights is not None:
            return "", "none"
        raise
    return valid, members.opened[0].provenance.validation.split


def _origin(asked: Asked, members: Members, mixed: Mixed) -> Provenance:
    made = [one.provenance for one in members.opened if one.manifest]
    corpora = ", ".join(dict.fromkeys(each.corpus for each in made))
    checksums = {each.corpus_sha256 for each in made}
    weights = {row.name: row.weight for row in mixed.rows}
    return Provenance(
        command=command_line(asked.context),
        corpus=corpora or "unknown",
        corpus_sha256=checksums.pop() if len(checksums) == 1 else "",
        training=TrainingRecord(weights=weights, tuned=bool(mixed.tuned_on)),
    )


def _save(asked: Asked, mixed: Mixed, origin: Provenance, text: Text, rule: str) -> None:
    """Evaluate the mixture, save it, and print the results."""
    made = ValidatedModel.of(asked.name, mixed.model, text, origin, rule=rule)
    made.save(asked.folder)
    if asked.as_json:
        write_json(facts_of(asked.folder, made) | _member_facts(mixed))
        return
    if mixed.rows:
        show_members(mixed.rows)
    announce(asked.folder, made)


def _write(asked: Asked, mixed: Mixed, arpa: Path) -> None:
    """Write the mixture as an ARPA file, and print the results."""
    assert isinstance(mixed.model, NgramModel), "only a static mixture goes to an ARPA file"
    write_arpa(mixed.model, arpa)
    size = arpa.stat().st_size
    if asked.as_json:
        facts = {"model": arpa.name, "kind": mixed.model.kind, "file": str(arpa), "bytes": size}
        write_json(facts | _member_facts(mixed))
        return
    show_members(mixed.rows)
    say(f"saved       {arpa} ({size / 1e6:.1f} MB)")


def _member_facts(mixed: Mixed) -> dict[str, list[dict[str, object]]]:
    return {"members": [row.facts() for row in mixed.rows]} if mixed.rows else {}
