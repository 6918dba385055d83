"""A word 5-gram, text file to saved model and held-out text to scores, against KenLM.

Training is whole processes, ours and `lmplz` with `build_binary trie`; scoring is in-process,
ours and the `kenlm` module's `full_scores`. `lmplz` and `build_binary` are found on the PATH or
in the folder that KENLM_BIN names (benchmarks/README.md says how to build them).

    python -m benchmarks.ngram_kenlm TRAIN VALID
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import kenlm

from benchmarks.alternating import MARKDOWN_HEAD, compare
from lmsuite.storage.artefact import load_model

ORDER = 5


def find_program(name: str) -> str:
    folder = os.environ.get("KENLM_BIN")
    found = shutil.which(name, path=folder) if folder else shutil.which(name)
    if found is None:
        sys.exit(f"{name} is not on the PATH; benchmarks/README.md says how to build it.")
    return found


def train_ours(text: Path, folder: Path) -> Path:
    command = [sys.executable, "-m", "lmsuite", "train", "ngram", str(text), "--n", str(ORDER)]
    command += ["--tokenizer", "whitespace", "--lines", "--valid", "0", "--models", str(folder)]
    subprocess.run([*command, "-q"], check=True, capture_output=True)
    return folder / "ngram.safetensors"


def train_kenlm(text: Path, folder: Path) -> Path:
    arpa, binary = folder / "kenlm.arpa", folder / "kenlm.trie"
    with text.open("rb") as source, arpa.open("wb") as target:
        lmplz = [find_program("lmplz"), "-o", str(ORDER), "-S", "2G", "-T", str(folder)]
        subprocess.run(lmplz, check=True, stdin=source, stdout=target, stderr=subprocess.DEVNULL)
    build = [find_program("build_binary"), "trie", str(arpa), str(binary)]
    subprocess.run(build, check=True, capture_output=True)
    return binary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("train", type=Path)
    parser.add_argument("valid", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trained = compare(
            f"train a word {ORDER}-gram of {arguments.train.name}, file to saved model",
            "lmplz + build_binary trie",
            lambda: train_ours(arguments.train, folder),
            lambda: train_kenlm(arguments.train, folder),
        )
        model, _ = load_model(folder / "ngram.safetensors")
        peer = kenlm.Model(str(folder / "kenlm.trie"))
    text = arguments.valid.read_text(encoding="utf-8")
    ids, lines = model.text.encode(text), text.splitlines()
    scored = compare(
        f"score {arguments.valid.name}",
        "kenlm full_scores",
        lambda: model.score(ids),
        lambda: [score for line in lines for score in peer.full_scores(line)],
        repeats=15,
    )
    print(MARKDOWN_HEAD, trained.markdown_row(), scored.markdown_row(), sep="\n")


if __name__ == "__main__":
    main()
