"""How a model was made, as a part of a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lmsuite.files.records import as_json
from lmsuite.report.markup import Markup, element, quoted, together
from lmsuite.report.subject import Subject


def making_of(subjects: Sequence[Subject]) -> Markup:
    """For each model a block that opens: the command to make it again, and all its settings."""
    return together(_block(subject) for subject in subjects)


def _block(subject: Subject) -> Markup:
    kind = element("span", f" {subject.model.kind}", class_="soft")
    provenance = subject.provenance
    command = (
        element("pre", element("code", provenance.command))
        if provenance
        else element("p", "Read from an ARPA file, which does not say how it was made.")
    )
    return element(
        "details",
        element("summary", quoted(subject.name), kind),
        command,
        _facts(_origin(subject) | dict(subject.model.summary())),
        element("h4", "Settings"),
        _facts(subject.model.settings_dict()),
    )


def _origin(subject: Subject) -> dict[str, Any]:
    provenance = subject.provenance
    if provenance is None:
        return {}
    return {
        "trained on": provenance.corpus,
        "SHA-256 of that text": provenance.corpus_sha256,
        "made": provenance.created,
        "by": f"lmsuite {provenance.version}",
        **{f"training: {key}": value for key, value in as_json(provenance.training).items()},
    }


def _facts(facts: Mapping[str, Any]) -> Markup:
    return element(
        "dl",
        (
            together(element("dt", label.replace("_", " ")), element("dd", quoted(_shown(value))))
            for label, value in facts.items()
            if value not in (None, "", (), [], {})
        ),
    )


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_shown(entry)}" for key, entry in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_shown, value))
    if isinstance(value, int):
        return f"{value:,}" if value >= 10_000 else str(value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)
