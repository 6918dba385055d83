"""What to do about models with different tokenizers: the command that trains one like another."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from lmsuite.cli.mixing.members import Members
from lmsuite.errors import DataError
from lmsuite.models.mixture import DifferentTokensError

# The options of a training that --like stands for.
_FLAGS = {"--lines", "--stream", "--documents"}
_VALUED = {
    *("--tokenizer", "--min-count", "--max-vocab", "--vocab", "--bpe-size"),
    *("--valid", "--like"),
}


def with_remedy(members: Members, other: str) -> DataError:
    """The error that a member has other tokens than the first, with a command that helps."""
    reference, found = next(iter(members.source.values())), members.source[other]
    error = DifferentTokensError(reference.name, found.name)
    command = shlex.split(found.provenance.command)
    if command[:2] != ["lm", "train"]:
        return error
    again = f"{shlex.join(_without_tokens(command))} --like {shlex.quote(reference.name)}"
    return DataError(f"{error.message}: {again}", *error.fields)


def _without_tokens(command: Sequence[str]) -> list[str]:
    """A training command without the options that ``--like`` stands for."""
    kept, words = [], iter(command)
    for word in words:
        if word in _VALUED:
            next(words, None)
        elif word not in _FLAGS and word.partition("=")[0] not in _VALUED:
            kept.append(word)
    return kept
