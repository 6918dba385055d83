"""Model files made by version 0.1 open, and keep their values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lmsuite.store.artefact import load_model, read_manifest
from lmsuite.store.history import read_history

FOLDER = Path(__file__).resolve().parents[1] / "fixtures" / "v0.1"
VALUES: dict[str, Any] = json.loads((FOLDER / "values.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", sorted(VALUES["models"]))
def test_a_model_of_version_0_1_keeps_its_values(name: str) -> None:
    model = load_model(FOLDER / f"{name}.safetensors")
    expected = VALUES["models"][name]
    ids = model.encoder.encode(VALUES["text"])
    assert ids.tolist() == expected["ids"]
    np.testing.assert_allclose(model.score(ids), expected["log_probs"], rtol=0, atol=2e-5)


def test_all_files_have_values() -> None:
    assert {path.stem for path in FOLDER.glob("*.safetensors")} == set(VALUES["models"])


def test_what_version_0_1_recorded_is_read() -> None:
    provenance = read_manifest(FOLDER / "words.safetensors").provenance
    assert provenance.validation.tokens == 245
    assert provenance.validation.perplexity == pytest.approx(137.02, abs=0.01)
    history = read_history(FOLDER / "lstm.history.jsonl")
    assert history[0].step == 0 < history[-1].step
