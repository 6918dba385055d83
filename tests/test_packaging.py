"""The wheel and the source distribution hold what they should, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.metadata import Metadata

from hardening.oldest import oldest

ROOT = Path(__file__).resolve().parents[1]

# What lies about in a folder in which somebody works.
RUBBISH = (
    "lmsuite/__pycache__/app.cpython-311.pyc",
    "lmsuite/text/__pycache__/words.cpython-311.pyc",
    "tests/__pycache__/conftest.cpython-311.pyc",
    ".hypothesis/examples/1",
    ".mypy_cache/x.json",
    ".pytest_cache/x",
    ".ruff_cache/x",
    ".venv/bin/python",
    "models/ngram.safetensors",
    "demo/report.html",
    "dist/lmsuite-0.0.0.tar.gz",
    "build/lib/x.py",
    "lmsuite.egg-info/PKG-INFO",
)


@dataclass(frozen=True)
class Built:
    """What was built of a copy of the checkout."""

    tracked: frozenset[str]
    wheel: Path
    sdist: Path


def build(source: Path, target: Path) -> list[Path]:
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(target)],
        cwd=source,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return sorted(target.iterdir())


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    pytest.importorskip("hatchling", reason="hatchling, which builds the package, is not installed")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip(f"{ROOT} is no checkout, so nothing says which files belong to the project")
    tracked = [n for n in listed.stdout.decode().split("\0") if n and (ROOT / n).is_file()]
    source = tmp_path_factory.mktemp("source")
    for name in tracked:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, source / name)
    for name in RUBBISH:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text("rubbish")
    wheel, sdist = build(source, tmp_path_factory.mktemp("built"))
    return Built(frozenset(tracked), wheel, sdist)


def below(names: frozenset[str], *folders: str) -> set[str]:
    return {name for name in names if name.split("/")[0] in folders}


def test_the_wheel_holds_the_package_and_its_corpora_and_nothing_else(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as wheel:
        names = {name for name in wheel.namelist() if not name.endswith("/")}
    about = {name for name in names if name.split("/")[0].endswith(".dist-info")}
    assert {Path(name).name for name in about} == {
        "METADATA",
        "WHEEL",
        "RECORD",
        "entry_points.txt",
        "LICENSE",
    }
    package = below(built.tracked, "lmsuite")
    corpora = {f"lmsuite/{name}" for name in below(built.tracked, "corpora")}
    assert names - about == package | corpora
    assert "lmsuite/py.typed" in names
    assert {"lmsuite/corpora/catalogue.toml", "lmsuite/corpora/act5.txt"} <= names


def test_the_source_distribution_holds_what_is_needed_to_build_and_test(built: Built) -> None:
    with tarfile.open(built.sdist) as sdist:
        assert all(member.isfile() for member in sdist.getmembers())
        names = {member.name.partition("/")[2] for member in sdist.getmembers()}
    folders = ("lmsuite", "corpora", "tests", "hardening", "benchmarks", "docs", ".ci")
    files = {"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE"}
    made = {"pyproject.toml", ".gitignore", "PKG-INFO"}
    assert names == below(built.tracked, *folders) | files | made


def test_an_index_takes_both(built: Built) -> None:
    """What ``twine check --strict`` asks: sound metadata, and a description that can be shown."""
    with zipfile.ZipFile(built.wheel) as wheel, tarfile.open(built.sdist) as sdist:
        [inside] = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        [beside] = (name for name in sdist.getnames() if name.endswith("/PKG-INFO"))
        notes = sdist.extractfile(beside)
        assert notes is not None
        for written in (wheel.read(inside), notes.read()):
            metadata = Metadata.from_email(written)  # raises for all that is not sound
            assert metadata.description_content_type == "text/markdown"
            assert (metadata.description or "").startswith("# ")
            assert {"all", "plot", "test"} <= set(metadata.provides_extra or [])


def test_the_source_distribution_makes_the_same_wheel(built: Built, tmp_path: Path) -> None:
    again = unpacked_and_built(built, tmp_path)
    with zipfile.ZipFile(built.wheel) as one, zipfile.ZipFile(again) as other:
        assert sorted(one.namelist()) == sorted(other.namelist())
        for name in one.namelist():
            assert one.read(name) == other.read(name), name


@pytest.mark.slow
def test_the_wheel_made_of_the_source_distribution_works_where_it_is_installed(
    built: Built, tmp_path: Path
) -> None:
    wheel = unpacked_and_built(built, tmp_path)
    place = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    python = place / "bin" / "python"
    subprocess.run(
        [str(python), "-m", "pip", "install", "-q", "--no-deps", "--no-index", str(wheel)],
        check=True,
    )
    # The dependencies are those of this environment: what is tried is the package, not the index.
    own = Path(subprocess.check_output([str(python), "-c", _SITE], text=True).strip())
    (own / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "LM_MODELS")}
    for command, said in (
        ([str(python), "-c", "import lmsuite; print(lmsuite.__file__)"], str(own)),
        ([str(place / "bin" / "lm"), "corpus", "show", "play"], str(own / "lmsuite" / "corpora")),
        ([str(place / "bin" / "lm"), "train", "ngram", "play", "--n", "2", "-q"], "ngram"),
        ([str(place / "bin" / "lm"), "report", "ngram", "-o", "report.html"], "report.html"),
    ):
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert said in done.stdout + done.stderr


_SITE = "import sysconfig; print(sysconfig.get_path('purelib'))"


def unpacked_and_built(built: Built, folder: Path) -> Path:
    """The wheel that the source distribution makes."""
    with tarfile.open(built.sdist) as sdist:
        sdist.extractall(folder, filter="data")
    return build(folder / built.sdist.name.removesuffix(".tar.gz"), folder / "built")[0]


def test_every_dependency_says_from_which_version_on_it_will_do(tmp_path: Path) -> None:
    pins = oldest()
    assert "numpy==2.0" in pins
    assert {"pytest", "hatchling"} <= {pin.partition("==")[0] for pin in pins}
    careless = tmp_path / "pyproject.toml"
    for wanted in ("numpy", "numpy<3", "numpy>=2,<3"):
        careless.write_text(
            f'[project]\ndependencies = ["{wanted}"]\noptional-dependencies = {{test = []}}\n'
        )
        with pytest.raises(ValueError, match="no lower bound, or more than that"):
            oldest(careless)
