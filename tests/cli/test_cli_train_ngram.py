"""``lm train ngram``: its own options, as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from hardening.command import Run


def test_a_cap_on_memory_and_threads_change_no_array(lm: Run, tmp_path: Path, play: str) -> None:
    text = tmp_path / "play.txt"
    text.write_text(play[:50_000], "utf-8")
    for name, more in (("free", ()), ("capped", ("--memory", "1.5G", "--threads", "2"))):
        trained = lm(
            *("train", "ngram", text, "--n", 4, "--name", name, "--models", tmp_path / "m", *more)
        )
        assert trained.code == 0
    free, capped = (
        load_file(tmp_path / "m" / f"{name}.safetensors") for name in ("free", "capped")
    )
    assert free.keys() == capped.keys()
    assert all(free[name].tobytes() == capped[name].tobytes() for name in free)


@pytest.mark.parametrize(
    ("options", "said", "code"),
    [
        (("--memory", "much"), "--memory must be an amount such as 800M or 1.5G, not 'much'", 2),
        (("--memory", "1M"), "--memory 1M is too little", 2),
        (
            ("--memory", "1G", "--smoothing", "jelinek-mercer"),
            "--smoothing jelinek-mercer reads held-out text again and again",
            2,
        ),
        (("--quantize", "--smoothing", "stupid-backoff"), "stupid-backoff has only scores", 2),
    ],
)
def test_what_does_not_go_together_is_refused_in_one_line(
    lm: Run, tmp_path: Path, options: tuple[str, ...], said: str, code: int
) -> None:
    refused = lm("train", "ngram", "play", "--models", tmp_path / "m", *options)
    assert refused.code == code
    # Before it, there may be how many tokens the text has.
    *_, error = refused.err.splitlines()
    assert said in error and error.startswith("error: ")
    assert not list((tmp_path / "m").glob("*"))


def test_a_quantized_model_is_smaller_and_used_as_any_other(
    lm: Run, tmp_path: Path, play: str
) -> None:
    text, models = tmp_path / "play.txt", ("--models", tmp_path / "m")
    text.write_text(play, "utf-8")
    for name, more in (("plain", ()), ("small", ("--quantize",))):
        assert lm("train", "ngram", text, "--n", 5, "--name", name, *models, *more).code == 0
    plain, small = (tmp_path / "m" / f"{name}.safetensors" for name in ("plain", "small"))
    assert small.stat().st_size < 0.7 * plain.stat().st_size
    assert lm("check", "small", *models).code == 0
    evaluated = json.loads(lm("eval", "plain", "small", "--json", *models).out)
    perplexities = [row["perplexity"] for row in evaluated]
    assert perplexities[1] == pytest.approx(perplexities[0], rel=0.005)
    assert lm("sample", "small", "--max-tokens", 5, "--seed", 1, *models).code == 0


def test_check_reads_every_byte(lm: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = ("--models", tmp_path / "m")
    assert lm("train", "ngram", "play", *models).code == 0
    path = tmp_path / "m" / "ngram.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    monkeypatch.setattr("lmsuite.store.artefact._CHECKED_AT_ONCE", 0)
    checked = lm("check", "ngram", *models)
    assert checked.code == 1 and "checksum" in checked.err
