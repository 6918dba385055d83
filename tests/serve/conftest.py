"""Models that are served, and services of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("httpx")

from contract_cases import TRAINING, given_to, mixture, network, ngram
from serving import InProcess, Server, server

from lmsuite.models.interface import LanguageModel
from lmsuite.models.ngram import NgramModel, NgramSettings
from lmsuite.serve.limits import Limits
from lmsuite.store.artefact import save_model
from lmsuite.store.records import Provenance
from lmsuite.text.encoding import Boundaries, TextEncoder, TextSettings

ACCENTS = "Où était la vache ? Là-bas, près de l'été… « çà » 😀 et là. "


def trained(tokenizer: str, boundaries: Boundaries, order: int = 3) -> LanguageModel:
    """An n-gram model of the small text and of some characters of several bytes."""
    settings = TextSettings(tokenizer=tokenizer, boundaries=boundaries, bpe_size=262)
    encoder, ids = TextEncoder.train(given_to(boundaries, TRAINING + ACCENTS * 3), settings)
    return NgramModel.fit(encoder, ids, NgramSettings(order=order, smoothing="witten-bell"))


@pytest.fixture(scope="session")
def models() -> dict[str, LanguageModel]:
    """Models of every family, boundary and kind of tokens."""
    return {
        "words": ngram("modified-kneser-ney", 3, Boundaries.STREAM).make(),
        "lstm": network("lstm", Boundaries.LINES).make(),
        "mix": mixture(("witten-bell", "cache", "elman"), Boundaries.DOCUMENTS).make(),
        "chars": trained("char", Boundaries.LINES, 4),
        "bytes": trained("bpe", Boundaries.STREAM),
        "spaces": trained("whitespace", Boundaries.DOCUMENTS),
        "ffnn": network("ffnn", Boundaries.STREAM).make(),
    }


@pytest.fixture(scope="module")
def service(models: dict[str, LanguageModel]) -> Iterator[InProcess]:
    """A service of all models, whose threads end with the module: other tests fork."""
    with InProcess(models, Limits(max_tokens=500, seconds=60.0)) as running:
        yield running


@pytest.fixture(scope="session")
def folder(models: dict[str, LanguageModel], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose models/ has some of the models."""
    folder = tmp_path_factory.mktemp("served")
    for name in ("words", "lstm", "chars"):
        save_model(folder / "models" / f"{name}.safetensors", models[name], Provenance(version="1"))
    return folder


@pytest.fixture(scope="session")
def running(folder: Path) -> Iterator[Server]:
    """A server of these models."""
    with server(folder, "words", "lstm", "chars") as found:
        yield found
