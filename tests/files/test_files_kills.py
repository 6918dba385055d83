"""SIGKILL at random moments: the old file or the new one, whole, and no litter.

Long runs: ``python -m hardening.kills --kills 100 --seed S``.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from hardening import kills
from hardening.workplace import TEXT, files, import_all, surroundings
from hardening.writers import WRITERS
from lmsuite.files import disk

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="needs fork and its SIGKILL"
)


@pytest.mark.slow
def test_a_save_killed_at_each_of_its_steps_leaves_the_old_or_the_new() -> None:
    """Every file opened, flushed, renamed or removed: killed just before it."""
    writer = WRITERS["ngram"]
    import_all()
    with surroundings():
        Path("text.txt").write_text(TEXT)
        before, versions, seen = files(), [], []
        for arguments in writer.arguments:
            kills.measured(writer, arguments)
            versions.insert(0, kills.versions_of(writer))
        for step in count(1):
            process, _ = kills.run_forked(writer, writer.arguments[0], step)
            code = kills.wait_or_kill(process, 60)
            kills.verify(writer, before, versions)
            seen.append(versions.index(kills.versions_of(writer)))
            if code == 0:  # it has fewer steps
                break
            assert code == -9
        assert len(seen) > 10
        assert seen[0] == 0
        assert seen[-1] == 1
        assert seen == sorted(seen)
        kills.measured(writer, writer.arguments[0])
        assert files() - before == set(writer.files)


def test_interrupted_at_each_of_its_steps_a_save_leaves_the_old_or_the_new() -> None:
    """Ctrl-C too may come between the model's taking its place and its text's."""

    def interrupt_at(step: int) -> None:
        flush = disk._flush_folder
        flushes = [0]

        def interrupted(folder: Path) -> None:
            flush(folder)
            flushes[0] += 1
            if flushes[0] == step:
                raise KeyboardInterrupt

        disk._flush_folder = interrupted

    plain = WRITERS["ngram"]
    import_all()
    with surroundings():
        Path("text.txt").write_text(TEXT)
        before, versions = files(), []
        for arguments in plain.arguments:
            kills.measured(plain, arguments)
            versions.append(kills.versions_of(plain))
        for step in (1, 2):
            writer = replace(plain, patch=partial(interrupt_at, step))
            process, _ = kills.run_forked(writer, plain.arguments[0])
            assert kills.wait_or_kill(process, 60) == 130
            kills.verify(plain, before, versions)
            assert files() - before == set(plain.files)
            assert kills.versions_of(plain) == versions[2 - step]


@pytest.mark.slow
@pytest.mark.parametrize("writer", WRITERS)
def test_killed_at_random_moments(writer: str) -> None:
    import_all()
    with surroundings():
        tally = kills.attack(writer, 4, seed=0)
    assert tally.kills == 4
