"""The models folder: the file of each model's name, and the names of all models in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lmsuite.errors import ModelFileError, UsageError

SUFFIX = ".safetensors"


@dataclass(frozen=True)
class ModelsFolder:
    """A folder of trained models; it need not exist yet."""

    root: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", Path(self.root))

    def names(self) -> list[str]:
        """The names of the models here, sorted."""
        if not self.root.is_dir():
            return []
        return sorted(
            file.name.removesuffix(SUFFIX)
            for file in self.root.glob(f"*{SUFFIX}")
            if not file.name.startswith(".")
        )

    def path(self, name: str) -> Path:
        """The model file of this name, whether it exists or not.

        Raises:
            UsageError: a file cannot have that name.
        """
        if not name or name.startswith(".") or any(mark in name for mark in "/\\\0"):
            raise UsageError(
                f"{name!r} is no name for a model: leave out slashes and a leading dot "
                "(another folder is named by {models})",
                "models",
            )
        return self.root / f"{name}{SUFFIX}"

    def new_path(self, name: str) -> Path:
        """The file of a new model of this name.

        Raises:
            UsageError: as `path`, or the name has a line end, which would break the lines of a
                table or of a shell.
        """
        path = self.path(name)
        if "\n" in name:
            raise UsageError(f"{name!r} is no name for a model: leave out line ends")
        return path

    def resolve(self, name_or_path: str) -> Path:
        """The file of an existing model, given by its name here or by its path.

        Raises:
            ModelFileError: there is no such model; the message lists those in the folder.
        """
        if "/" not in name_or_path and "\\" not in name_or_path and name_or_path[:1] not in ".":
            by_name = self.path(name_or_path)
            if by_name.is_file():
                return by_name
        by_path = Path(name_or_path)
        if by_path.is_file():
            return by_path
        if by_path.is_dir():
            raise ModelFileError(
                f"{name_or_path} is a folder, not a model ({{models}} names one)", "models"
            )
        names = self.names()
        there_are = f"there are: {', '.join(names)}" if names else "there are none yet: lm train"
        raise ModelFileError(f"no model {name_or_path!r} in {self.root} ({there_are})")

    def checkpoint_path(self, name: str) -> Path:
        """The checkpoint of an unfinished training of the model of this name."""
        return self._beside(name, ".checkpoint")

    def history_path(self, name: str) -> Path:
        """The learning curve of the model of this name."""
        return self._beside(name, ".history.jsonl")

    def _beside(self, name: str, suffix: str) -> Path:
        return self.path(name).with_name(name + suffix)


def valid_path_beside(model: Path) -> Path:
    """The file of the validation text, beside the model file `model`, in any folder."""
    return model.with_name(model.name.removesuffix(SUFFIX) + ".valid.txt.gz")
